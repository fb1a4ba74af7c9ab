"""`pit why`: the chain of causes behind a task that would run, or since when it is current."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import click
from msgspec.structs import replace

from pit.cli.commands.plan import Since, parameters_of, since
from pit.cli.complete import complete_target, param_option
from pit.cli.options import Settings, command, json_option
from pit.cli.target import look, one, stale_above, target_of
from pit.cli.terminal.console import ago, count, duration, printable
from pit.engine.planning import absence
from pit.engine.planning.causes import Cause, Causes
from pit.engine.planning.look import Look
from pit.engine.staleness.planner import Action, Decision
from pit.engine.target.target import Target
from pit.model import Record, Task
from pit.state.store.store import Store

_CAUSES = 6


class WhyView(Record):
    """The shape of `pit why --json`.

    `since` is null unless the task is current; then `then` says why it ran the last time. `causes`
    say why it would run now, or may. `stale` says what a run of this task alone would leave stale
    above it, and `hint` what to type instead; both are empty if nothing is.
    """

    dag: str
    task: str
    params: dict[str, str]
    action: Action
    since: Since | None
    seconds: float | None
    causes: tuple[Cause, ...]
    then: tuple[Cause, ...]
    stale: str = ""
    hint: str = ""


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
        view = _view(found, task, seen, store, decisions)
        if view.action is not Action.SKIP:
            stale, hint = stale_above(settings, found, store)
            view = replace(view, stale=stale, hint=hint)
    if as_json:
        settings.console.json(view)
    else:
        _Screen(settings).show(view)


def _view(
    found: Target, task: Task, seen: Look, store: Store, decisions: Sequence[Decision]
) -> WhyView:
    decision = next(each for each in decisions if each.task == task.name)
    causes = Causes(
        found,
        decisions,
        store,
        lambda digest: store.records.text(digest) or seen.fingerprints.text(digest),
        lambda each: _absent(found, each, store),
    )
    record = decision.record if decision.action is Action.SKIP else None
    return WhyView(
        dag=found.dag.name,
        task=task.name,
        params=found.params,
        action=decision.action,
        since=since(record) if record is not None else None,
        seconds=decision.seconds,
        causes=causes.of(task.name),
        then=causes.in_run(task.name, record.run) if record is not None else (),
    )


def _absent(found: Target, task: Task, store: Store) -> tuple[Cause, ...]:
    return absence.reasons(task, found.dag.name, found.key(task), store)


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
