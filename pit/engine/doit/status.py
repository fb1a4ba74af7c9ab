"""How the tasks stand, for doit: current or not by Pit's records, in doit's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date

from pit.config.dag.expanded import ExpandedDag
from pit.engine.planning import explain
from pit.engine.staleness.planner import Action, Decision
from pit.engine.target.target import Target
from pit.errors import PitError
from pit.model import Record, WorkspaceConfig
from pit.text.naming import tasks_named

CURRENT, RUN, DEFERRED, ERROR = "up-to-date", "run", "deferred", "error"
"""What doit calls the state of a task; `deferred` is Pit's own, shown as D."""

_MANY = 10


class Subject(Record):
    """A DAG as it is shown; `target` is all of it, None where a parameter is missing or wrong, of
    which `lacking` speaks."""

    dag: ExpandedDag
    target: Target | None
    lacking: str = ""


class Outside(Record):
    """What the composition root plugs in.

    `config` reads the workspace's configuration, and `day` is what today means. `pit` carries out a
    command line and returns its exit code; `failed` shows an error and returns its exit code;
    `warn` shows a sentence and a hint; `look` takes a look at a DAG.
    """

    config: Callable[[], WorkspaceConfig]
    day: date
    pit: Callable[[Sequence[str]], int]
    failed: Callable[[PitError], int]
    warn: Callable[[str, str], None]
    look: Callable[[Target], Sequence[Decision]]


class Status(Record):
    """How one task stands, and why it is not current."""

    status: str
    reasons: tuple[str, ...] = ()


class Standing:
    """The state of every task of a face, each DAG looked at when it is first asked for."""

    def __init__(
        self,
        subjects: Mapping[str, Subject],
        looks: Callable[[Target], Sequence[Decision]],
    ) -> None:
        self._subjects, self._looks = subjects, looks
        self._known: dict[str, Mapping[str, Status]] = {}

    def of(self, name: str) -> Status:
        """How the task or group of this doit name stands."""
        dag, _, task = name.partition(":")
        subject = self._subjects.get(dag)
        if subject is None:
            return Status(status=RUN, reasons=("Pit does not know it: it is not in a pit.toml",))
        if dag not in self._known:
            self._known[dag] = self._look(subject)
        known = self._known[dag]
        if task in known:
            return known[task]
        among = subject.dag.instances.get(task, tuple(known))
        return _together({name: known[name] for name in among})

    def _look(self, subject: Subject) -> Mapping[str, Status]:
        names = subject.dag.tasks
        if subject.target is None:
            return dict.fromkeys(names, Status(status=RUN, reasons=(subject.lacking,)))
        try:
            found = {decision.task: _status(decision) for decision in self._looks(subject.target)}
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            why = f"{place}{error.strerror or error}"
            return dict.fromkeys(names, Status(status=ERROR, reasons=(why,)))
        return found


def _status(decision: Decision) -> Status:
    if decision.gaps:
        lost = ", ".join(gap.input for gap in decision.gaps)
        return Status(status=ERROR, reasons=(f"{lost} does not exist, and no task makes it",))
    match decision.action:
        case Action.SKIP:
            return Status(status=CURRENT)
        case Action.DEFER:
            made = f"it depends on what {tasks_named(decision.after)} will produce"
            unknown = [explain.sentence(change) for change in decision.changes]
            reasons = unknown if not decision.after else [made, *unknown]
            return Status(status=DEFERRED, reasons=tuple(reasons))
    told = [explain.sentence(change) for change in decision.changes[:_MANY]]
    more = len(decision.changes) - _MANY
    return Status(status=RUN, reasons=(*told, *([f"and {more} more"] if more > 0 else [])))


def _together(parts: Mapping[str, Status]) -> Status:
    """A group: the worst of its tasks, and which are not current."""
    present = {part.status for part in parts.values()}
    worst = next((state for state in (ERROR, RUN, DEFERRED) if state in present), CURRENT)
    words = {ERROR: "cannot run", RUN: "would run", DEFERRED: "is deferred"}
    told = [f"{name} {words[s.status]}" for name, s in parts.items() if s.status != CURRENT]
    more = [f"and {len(told) - _MANY} more"] if len(told) > _MANY else []
    return Status(status=worst, reasons=(*told[:_MANY], *more))
