"""Why a task would (not) run, followed from task to task back to what somebody did.

A cause is one link: what changed for a task, and below it why that changed. Where the maker of a
changed file would run too, its own causes follow; where it has run already, what its run said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pit.config.dag.dataflow import makes
from pit.engine.planning import explain
from pit.engine.staleness import comparison
from pit.engine.staleness.comparison import Change, Kind
from pit.engine.staleness.planner import Action, Decision
from pit.model import Record, Task, TaskRecord
from pit.text.naming import tasks_named

if TYPE_CHECKING:
    from pit.engine.planning.look import Look
    from pit.state.store.store import Store
    from pit.state.store.tables.runs import TaskRow

_DEEPEST = 40
_DIFF_LINES = 12


class Cause(Record):
    """One link of a chain: `sentence` says why task `task` runs, `causes` why that is so.

    `kind` is one of `Kind`, or: `would_run` and `ran`, of an upstream task; `deferred`;
    `last_time`, of an earlier attempt. `diff` are lines of a short diff.
    """

    task: str
    kind: str
    sentence: str
    subject: str = ""
    was: str = ""
    now: str = ""
    run: str = ""
    at: float | None = None
    diff: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()


class Causes:
    """The chains behind the decisions of a look; `absent` says why a task has no record."""

    def __init__(
        self,
        look: Look,
        decisions: Iterable[Decision],
        store: Store,
        absent: Callable[[Task], tuple[Cause, ...]] = lambda task: (),
    ) -> None:
        self._target = look.target
        self._tasks, self._needs = look.target.dag.tasks, look.target.dag.needs
        self._decisions = {decision.task: decision for decision in decisions}
        self._fingerprints, self._store, self._absent = look.fingerprints, store, absent
        self._successes = store.runs.last_successes(look.target.dag.name)
        self._runs: dict[str, dict[str, TaskRow]] = {}
        self._told: set[str] = set()

    def of(self, name: str) -> tuple[Cause, ...]:
        """Why a task would run, or may; empty if it is current."""
        self._told = {name}
        return tuple(self._now(self._decisions[name], 0))

    # ------------------------------------------------------------------ what would run now

    def _now(self, decision: Decision, depth: int) -> Iterator[Cause]:
        for change in explain.ordered(decision.changes):
            yield self._changed(decision, change, depth)
        if decision.action is Action.DEFER:
            for upstream in decision.after:
                yield self._deferred(decision.task, upstream, depth)

    def _changed(self, decision: Decision, change: Change, depth: int) -> Cause:
        sentence, diff = self._words(decision, change)
        behind = tuple(self._behind(decision.task, change, depth + 1))
        if change.kind is Kind.SUCCESS and len(behind) == 1:
            # It says itself what is behind it: that another task ran, or would.
            sentence = sentence if behind[0].kind == "ran" else behind[0].sentence
            behind = behind[0].causes
        run, at = "", None
        if change.kind is Kind.NO_RECORD and behind:
            # What became of the record is the better sentence.
            sentence, run, at = behind[0].sentence, behind[0].run, behind[0].at
            behind = (*behind[0].causes, *behind[1:])
        return Cause(
            task=decision.task,
            kind=change.kind,
            sentence=sentence,
            subject=change.subject,
            was=change.was,
            now=change.now,
            run=run,
            at=at,
            diff=diff,
            causes=behind,
        )

    def brief(self, name: str) -> str:
        """Why a task would run, or may, in one line."""
        decision = self._decisions[name]
        if decision.action is Action.DEFER and decision.after:
            verb = "makes" if len(decision.after) == 1 else "make"
            return f"depends on what {tasks_named(decision.after, 3)} {verb}"
        changes = explain.ordered(decision.changes)
        return explain.listed([self._words(decision, change)[0] for change in changes])

    def _deferred(self, name: str, upstream: str, depth: int) -> Cause:
        would = self._would_run(upstream, depth + 1)
        return Cause(
            task=name,
            kind="deferred",
            subject=upstream,
            sentence=f"{name} depends on what {upstream} makes, and {would.sentence}",
            causes=would.causes,
        )

    def _behind(self, name: str, change: Change, depth: int) -> Iterator[Cause]:
        """Why a record is missing, or a file or a success upstream changed."""
        if change.kind is Kind.NO_RECORD:
            yield from self._absent(self._tasks[name])
        maker = self._maker(name, change)
        if not maker:
            return
        decision = self._decisions.get(maker)
        if decision is not None and decision.action is not Action.SKIP:
            yield self._would_run(maker, depth)
            return
        success = self._successes.get(maker)
        if success is not None:
            yield from self._ran(maker, success.run, depth)

    def _maker(self, name: str, change: Change) -> str:
        if change.kind is Kind.UPSTREAM:
            return change.maker
        if change.kind is Kind.SUCCESS:
            return change.subject
        if change.kind is Kind.INPUT:
            makers = (self._tasks[upstream] for upstream in self._needs[name])
            return next((task.name for task in makers if makes(task, change.subject)), "")
        return ""

    def _would_run(self, name: str, depth: int) -> Cause:
        decision = self._decisions[name]
        may = "may run" if decision.action is Action.DEFER else "would run"
        cause = Cause(task=name, kind="would_run", subject=name, sentence=f"{name} {may}")
        if name in self._told:
            return _with(cause, sentence=f"{name} {may}, as said above")
        self._told.add(name)
        if depth > _DEEPEST:
            return _with(cause, sentence=f"{name} {may}; in the end because {self._root(name)}")
        return _with(cause, causes=tuple(self._now(decision, depth + 1)))

    def _root(self, name: str) -> str:
        """The first cause of a long chain, without what lies between."""
        decision = self._decisions[name]
        while decision.action is Action.DEFER and decision.after:
            decision = self._decisions[decision.after[0]]
        first = explain.ordered(decision.changes)[0]
        return f"{decision.task}: {self._words(decision, first)[0]}"

    # ------------------------------------------------------------------ what has run

    def in_run(self, name: str, run: str) -> tuple[Cause, ...]:
        """Why a task ran in an earlier run, as was told then."""
        self._told = set()
        return tuple(cause for ran in self._ran(name, run, 0) for cause in ran.causes)

    def _ran(self, name: str, run: str, depth: int) -> Iterator[Cause]:
        row = self._rows(run).get(name)
        if row is None or name in self._told or depth > _DEEPEST:
            return
        self._told.add(name)
        yield Cause(
            task=name,
            kind="ran",
            subject=name,
            sentence=f"{name} ran",
            run=run,
            at=row.started_at,
            causes=tuple(self._reason_then(row, run, depth + 1)),
        )

    def _reason_then(self, row: TaskRow, run: str, depth: int) -> Iterator[Cause]:
        if not row.why:
            task = self._tasks.get(row.task)
            if task is not None and not comparison.is_tracked(task):
                kind = Kind.ALWAYS if task.always else Kind.UNTRACKED
                yield Cause(task=row.task, kind=kind, sentence=explain.sentence(Change(kind=kind)))
            return
        upstream = [name for name in self._needs.get(row.task, ()) if _names(row.why, name)]
        ran = [name for name in upstream if (u := self._rows(run).get(name)) and u.attempts]
        yield Cause(
            task=row.task,
            kind="last_time",
            sentence=row.why,
            causes=tuple(cause for name in ran for cause in self._ran(name, run, depth + 1)),
        )

    def _rows(self, run: str) -> dict[str, TaskRow]:
        if run not in self._runs:
            self._runs[run] = {row.task: row for row in self._store.runs.tasks(run)}
        return self._runs[run]

    # ------------------------------------------------------------------ words and differences

    def _words(self, decision: Decision, change: Change) -> tuple[str, tuple[str, ...]]:
        """A change as a clause, and the lines of a diff if there is one to show."""
        record = decision.record
        if change.kind is Kind.ENVIRONMENT and record is not None:
            return self._environment(change, record)
        if change.kind is Kind.SOURCE:
            return explain.sentence(change), self._source_diff(change)
        if change.kind is Kind.NO_RECORD:
            wanted = self._target.key(self._tasks[decision.task])
            return explain.no_record(wanted, change.subject), ()
        if change.subject == "inline metadata":
            return explain.sentence(change), _text_diff(change.was, change.now)
        if change.kind is Kind.SUCCESS and change.now:
            was = f" ({change.was} before)" if change.was else ""
            return f"{change.subject} ran in run {change.now}{was}", ()
        return explain.sentence(change), ()

    def _text(self, digest: str) -> bytes | None:
        """A source by its digest, as a record kept it or as this look has read it."""
        return self._store.records.text(digest) or self._fingerprints.text(digest)

    def _source_diff(self, change: Change) -> tuple[str, ...]:
        old, new = self._text(change.was), self._text(change.now)
        if not change.was or not change.now or old is None or new is None:
            return ()
        return _diff(old, new, change.subject)

    def _environment(self, change: Change, record: TaskRecord) -> tuple[str, tuple[str, ...]]:
        lock = _read(self._target.dag.project / "uv.lock")
        moved = explain.packages(self._text(record.fingerprint.packages), lock)
        sentence = explain.environment(change, moved)
        if moved or not change.now:
            return sentence, tuple(moved) if len(moved) > 1 else ()
        files = {"pyproject": "pyproject.toml", "uv_lock": "uv.lock"}
        now = {
            kind: hashlib.sha256(data).hexdigest()
            for kind, name in files.items()
            if (data := _read(self._target.dag.project / name)) is not None
        }
        parts = explain.environment_parts(self._store.runs.environments(record.run), now)
        return f"{sentence}: {', '.join(parts)}" if parts else sentence, ()


def _with(cause: Cause, sentence: str = "", causes: tuple[Cause, ...] = ()) -> Cause:
    return Cause(
        task=cause.task,
        kind=cause.kind,
        subject=cause.subject,
        sentence=sentence or cause.sentence,
        causes=causes,
    )


def _names(why: str, task: str) -> bool:
    """Whether a sentence of an earlier run says that a task upstream was its cause."""
    return f"made by {task}" in why or why.startswith(f"{task} ran") or " more" in why


def _text_diff(was: str, now: str) -> tuple[str, ...]:
    old, new = (explain.plain(value).encode() for value in (was, now))
    return _diff(old, new, "")


def _diff(old: bytes, new: bytes, path: str) -> tuple[str, ...]:
    from pit.project.python.meaning import diff  # heavy, and seldom needed

    lines = diff(old, new, path, _DIFF_LINES).splitlines()
    return tuple(lines[1:] if lines[:1] == [path] else lines)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
