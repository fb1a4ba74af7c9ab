"""`pit why`: the chain of causes behind a task that would run, or since when it is current."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import click
from msgspec.structs import replace

from pit.cli.commands.plan import parameters_of
from pit.cli.complete import complete_target, param_option
from pit.cli.options import Settings, command, json_option
from pit.cli.target import look, one, stale_above, target_of
from pit.cli.terminal.console import count, duration
from pit.engine.planning.causes import Cause
from pit.engine.staleness.planner import Action
from pit.state.store.store import Store
from pit.text.control import printable
from pit.text.times import ago
from pit.views.plan import Since
from pit.views.why import WhyView, why_view

_CAUSES = 6


@command("why", short_help="Explain why a task would run, or would not.")
@click.argument("target", metavar="DAG/TASK", shell_complete=complete_target)
@param_option
@json_option
def why(settings: Settings, target: str, pairs: Sequence[str], as_json: bool) -> None:
    """Explain why a task would run, back to what somebody changed; or since when it is current.

    Nothing is started, and nothing is changed.
    """
    found = target_of(settings, target, pairs)
    task = one(found)
    with Store.open_readonly(found.config.metadata_db) as store:
        seen = look(settings, found.choosing(found.dag.tasks), store)
        with seen.asking():
            decisions = seen.decisions()
        seen.save()
        view = why_view(seen, decisions, store, task.name)
        if view.action is not Action.SKIP:
            stale, hint = stale_above(settings, found, store)
            view = replace(view, stale=stale, hint=hint)
    if as_json:
        settings.console.json(view)
    else:
        _Screen(settings).show(view)


# ---------------------------------------------------------------- on the screen


class _Screen:
    """Writes a view as lines, each cause below what it causes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._console = settings.console
        self._arrow = "←" if settings.console.unicode else "<-"
        self._now = time.time()

    def show(self, view: WhyView) -> None:
        """Write it."""
        name = self._console.paint(f"{view.dag}/{view.task}", "bold")
        params = f" ({parameters_of(view.params)})" if view.params else ""
        if view.since is not None:
            self._current(f"{name}{params}", view, view.since)
            return
        verb = "may run" if view.action is Action.DEFER else "would run"
        self._console.out(f"{name}{params} {verb}:\n")
        self._write(self._lines(view.causes, 1))
        if view.stale:
            self._console.warning(view.stale, view.hint)

    def _current(self, name: str, view: WhyView, known: Since) -> None:
        out = self._console.out
        run = f" since run {known.run}" if known.run else ""
        out(f"{name} is current{run}, {ago(known.at, self._now)}")
        if known.note:
            out(f'  Somebody accepted it as it stands: "{printable(known.note)}"')
        if known.seconds:
            out(f"  Skipping it saves {duration(known.seconds)}.")
        if view.then:
            out("\nIt ran the last time because:\n")
            self._write(self._lines(view.then, 1))

    def _write(self, lines: Iterable[tuple[str, str | None]]) -> None:
        for line, hang in lines:
            if hang is None:
                self._console.out(line)
            else:
                self._console.prose(line, hang)

    def _lines(self, causes: Sequence[Cause], depth: int) -> Iterator[tuple[str, str | None]]:
        """Lines, each with what a long one goes on below with; None for one that stays whole."""
        shown = len(causes) if self._settings.verbose else _CAUSES
        indent = "  " * depth
        arrow = f"{self._arrow} " if depth > 1 else ""
        for cause in causes[:shown]:
            hang = f"{indent}{' ' * (len(arrow) + 2)}"
            yield f"{indent}{arrow}{printable(cause.sentence)}{self._when(cause)}", hang
            yield from ((f"{indent}    {self._coloured(line)}", None) for line in cause.diff)
            yield from self._lines(cause.causes, depth + 1)
        if len(causes) > shown:
            yield f"{indent}{arrow}… and {count(len(causes) - shown, 'more cause')}", None

    def _when(self, cause: Cause) -> str:
        words = []
        if cause.at is not None:
            words.append(ago(cause.at, self._now))
        if cause.run:
            words.append(f"in run {cause.run}")
        return f" ({', '.join(words)})" if words else ""

    def _coloured(self, line: str) -> str:
        styles = {"+": "green", "-": "red", "@": "dim"}
        return self._console.paint(printable(line), styles.get(line[:1], ""))
