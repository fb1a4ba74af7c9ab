"""Where each task of a run stands: one table of phases, and one way to move in it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from pit.engine.scheduling import attempt
from pit.engine.scheduling.attempt import Life, Phase
from pit.engine.scheduling.jobs import Job


class Entry:
    """One task on its way through the run; `waits_for` is the run that is at it, once told."""

    __slots__ = (
        "begun",
        "job",
        "life",
        "recorded",
        "started_at",
        "superseded",
        "waits_for",
        "why",
    )

    def __init__(self, job: Job) -> None:
        self.job = job
        self.life = Life()
        self.started_at: float | None = None
        self.begun = 0.0
        self.why = ""
        self.recorded = job.params is not None and not job.tracked
        self.superseded = False
        self.waits_for = ""


class Phases:
    """The tasks that have come up, by phase, each phase in the order in which they came to it."""

    def __init__(self) -> None:
        self._at: dict[Phase, OrderedDict[str, Entry]] = {phase: OrderedDict() for phase in Phase}
        self._size = 0

    def add(self, job: Job) -> Entry:
        """Take a task whose dependencies have ended."""
        entry = Entry(job)
        self._size += 1
        self._at[entry.life.phase][job.name] = entry
        return entry

    def step(self, entry: Entry, signal: attempt.Signal) -> attempt.Effect | None:
        """Move a task on, and return what is to be done for it."""
        before = entry.life.phase
        entry.life, effect = attempt.step(entry.life, signal, entry.job.policy)
        if entry.life.phase is not before:
            name = entry.job.name
            del self._at[before][name]
            self._at[entry.life.phase][name] = entry
        return effect

    def at(self, phase: Phase) -> Mapping[str, Entry]:
        """The tasks that stand there, by name."""
        return self._at[phase]

    def first(self, phase: Phase) -> Entry | None:
        """Who has stood there for the longest time."""
        return next(iter(self._at[phase].values()), None)

    def waiting(self) -> list[Entry]:
        """All that have not ended and hold no slot."""
        return [entry for phase in attempt.WAIT for entry in self._at[phase].values()]

    def all_ended(self) -> bool:
        """Whether no task that has come up has anything before it."""
        return len(self._at[Phase.ENDED]) == self._size
