"""`pit graph`: a DAG drawn on the terminal, or as SVG, Mermaid or DOT for pages and slides."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from msgspec.structs import replace

from pit.cli.arguments import declared, typed
from pit.cli.complete import complete_target, param_option
from pit.cli.graph.boxes import Label, boxes
from pit.cli.graph.rails import rails
from pit.cli.options import Settings, command, json_option
from pit.cli.target import look
from pit.cli.terminal.console import Cell, Column, Console, count, fit
from pit.config.dag.expanded import ExpandedDag
from pit.engine.target.target import Target, resolve, without_params
from pit.errors import BadArgument, BadParameter, InvalidConfig, PitError, first_sentence
from pit.model import Dag
from pit.state.store.store import Store
from pit.text.naming import tasks_named
from pit.views.graph.layout import ordered, reduced
from pit.views.graph.picture import Picture, Shape, Standing, dot, graph_view, mermaid
from pit.views.graph.shapes import part_of, picture_of
from pit.views.graph.standings import Standings, standings

_MOST_BOXES = 40
_PAGE = 100
"""Cells per line where there is no window."""
_WIDEST_RAILS = 60
_MOST_IN_SVG = 2000
_LONGEST_NAME = 40

_FORMATS = ("text", "svg", "mermaid", "dot")
_SUFFIXES = {".svg": "svg", ".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot"}
_TEXT = ("", ".txt", ".text")

_SIGNS: Mapping[Standing | None, tuple[str, str, str]] = {
    Standing.FAILED: ("✗", "x", "bold red"),
    Standing.STALE: ("●", "*", "yellow"),
    Standing.DEFERRED: ("◌", "?", "yellow"),
    Standing.ALWAYS: ("»", ">", "cyan"),
    Standing.CURRENT: ("✓", "=", "green"),
    None: ("○", "o", ""),
}
"""Of each standing: its sign, its sign in ASCII, its colour."""


@command("graph", short_help="Draw a DAG: on the terminal, as SVG, Mermaid, DOT.")
@click.argument("target", metavar="DAG[/TASK]", shell_complete=complete_target)
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    metavar="FORMAT",
    help="text, svg, mermaid or dot (default: by FILE's ending, else text).",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to a file.",
)
@click.option("--compact", is_flag=True, help="As text, one line for each task.")
@click.option("--instances", is_flag=True, help="Draw each instance of a matrix.")
@click.option("--bare", is_flag=True, help="Do not look at how the tasks stand.")
@param_option
@json_option
def graph(
    settings: Settings,
    target: str,
    form: str | None,
    output: Path | None,
    compact: bool,
    instances: bool,
    bare: bool,
    pairs: Sequence[str],
    as_json: bool,
) -> None:
    """Draw a DAG, or what DAG/TASK needs and what depends on it.

    Boxes are coloured by what a run would do: current tasks are skipped, stale ones run, deferred
    ones depend on what stale ones make, and others always run. Lines that follow from others are
    left out on the terminal and in SVG.
    """
    picture = _picture(settings, target, pairs, instances, bare)
    if as_json:
        return settings.console.json(graph_view(picture))
    form = form or _form(output)
    if output is None and form == "text":
        return _show(settings.console, picture, compact)
    text = _text(picture, form, compact)
    if output is None:
        return settings.console.write(text)
    output.write_text(text, encoding="utf-8")
    settings.console.note(f"wrote {output}")


def _form(output: Path | None) -> str:
    """The format that a file's name asks for."""
    suffix = output.suffix.lower() if output else ""
    if suffix not in _SUFFIXES and suffix not in _TEXT:
        hint = f"Formats: {', '.join(_FORMATS)}; name one with --format, or by the file's ending"
        raise BadArgument(f'Pit cannot draw "{suffix}"', hint)
    return _SUFFIXES.get(suffix, "text")


# ---------------------------------------------------------------- what is drawn


def _picture(
    settings: Settings, target: str, pairs: Sequence[str], instances: bool, bare: bool
) -> Picture:
    """The DAG with how its tasks stand, as far as that can be told."""
    config, asked = settings.config(), typed(target, pairs)
    written = declared(config, asked)
    known: Standings = {}
    dag = None
    if not bare:
        try:
            whole = resolve(written, replace(asked, selection=""), config, settings.day)
            dag, known = whole.dag, _standings(settings, whole)
        except (PitError, OSError) as error:
            if pairs and isinstance(error, BadParameter):
                raise
            settings.console.warning(f"how the tasks stand is not shown: {first_sentence(error)}")
    dag = dag or _without_params(written)
    return picture_of(dag, part_of(dag, asked.selection), known, instances)


def _standings(settings: Settings, target: Target) -> Standings:
    """How each task stands, by name; raises as a look does if that cannot be told."""
    with Store.open_readonly(target.config.metadata_db) as store:
        seen = look(settings, target, store)
        with seen.asking():
            decisions = seen.decisions()
        seen.save()
        return standings(seen, decisions, store)


def _without_params(dag: Dag) -> ExpandedDag:
    """The DAG with its matrices expanded, if their values are there."""
    try:
        return without_params(dag)
    except InvalidConfig:
        return ExpandedDag.of(dag, dag.tasks)


# ---------------------------------------------------------------- as text


def _text(picture: Picture, form: str, compact: bool) -> str:
    """The picture in a format, as a file has it."""
    if form == "mermaid":
        return mermaid(picture)
    if form == "dot":
        return dot(picture)
    if form == "svg":
        from pit.views.graph.svg import svg

        if len(picture.shapes) > _MOST_IN_SVG:
            raise BadArgument(
                f"{count(len(picture.shapes), 'task')} are too many for one drawing",
                f"Draw a part: pit graph {picture.title}/TASK, or hand it on: --format dot",
            )
        return svg(picture)
    page = io.StringIO()
    _show(Console(page, page, {}), picture, compact)
    return page.getvalue()


def _show(console: Console, picture: Picture, compact: bool) -> None:
    """Boxes where they fit, else a line for each task; below it what the signs mean."""
    head = "  ".join(filter(None, (picture.title, picture.description)))
    head = fit(head, console.width) if console.width else head
    name, about = head[: len(picture.title)], head[len(picture.title) :]
    console.out(f"{console.paint(name, 'bold')}{about}\n")
    edges = reduced(picture.edges)
    drawn = None
    if not compact and len(picture.shapes) <= _MOST_BOXES:
        labels = {shape.name: _label(console, shape) for shape in picture.shapes}
        drawn = boxes(edges, labels, console.width or _PAGE, console.unicode)
    if drawn is None:
        return _lines(console, picture, edges)
    for line in drawn:
        console.out("".join(console.paint(text, style) for text, style in line))
    legend = _legend(console, picture)
    if legend:
        console.out(f"\n{legend}")


def _sign(console: Console, standing: Standing | None) -> str:
    return _SIGNS[standing][0 if console.unicode else 1]


def _name(console: Console, shape: Shape) -> str:
    return shape.label if console.unicode else shape.label.replace("×", "x")


def _label(console: Console, shape: Shape) -> Label:
    text = fit(_name(console, shape), _LONGEST_NAME)
    if shape.standing is None:
        return Label(text)
    return Label(f"{_sign(console, shape.standing)} {text}", _SIGNS[shape.standing][2])


def _legend(console: Console, picture: Picture) -> str:
    """Each sign in the drawing with what it means and how often it is there."""
    numbers = Counter(shape.standing for shape in picture.shapes)
    return "   ".join(
        console.paint(f"{_sign(console, standing)} {numbers[standing]} {standing}", style)
        for standing, (_, _, style) in _SIGNS.items()
        if standing and numbers[standing]
    )


def _lines(console: Console, picture: Picture, edges: Mapping[str, Sequence[str]]) -> None:
    """One line for each task beside rails, or beside what it depends on if that is too wide."""
    shapes = {shape.name: shape for shape in picture.shapes}
    marks = {name: _sign(console, shape.standing) for name, shape in shapes.items()}
    room = min((console.width or _PAGE) // 2, _WIDEST_RAILS)
    found = rails(edges, marks, room, console.unicode)
    rows = []
    for name, rail in found or [(name, marks[name]) for name in ordered(edges)]:
        shape = shapes[name]
        upstream = f"after {tasks_named(edges[name])}" if edges[name] else ""
        after = shape.why if found else upstream or shape.why
        word = Cell(shape.word, _SIGNS[shape.standing][2])
        rows.append((rail, Cell(_name(console, shape), "bold"), word, after))
    columns = (Column(""), Column("", flexible=True), Column(""), Column("", flexible=True))
    console.table(columns, rows)
