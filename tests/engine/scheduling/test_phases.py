"""The table of phases says where a task stands, whatever happens to it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pit.engine.scheduling.attempt import (
    Block,
    DelayOver,
    Done,
    Look,
    Phase,
    Policy,
    Settle,
    Signal,
    Slot,
    Stale,
    Stop,
    Taken,
)
from pit.engine.scheduling.jobs import Job
from pit.engine.scheduling.phases import Phases
from pit.model import Reason
from pit.order import Outcome

BADLY = Outcome(started_at=1.0, ended_at=2.0, seconds=1.0, reason=Reason.EXIT, retryable=True)
SIGNALS: list[Signal] = [
    *(Look(), Stale(), Taken(), Block(), Slot(), DelayOver(), Settle()),
    *(Done(outcome=BADLY), Stop(reason=Reason.CANCELLED)),
]


def job(name: str) -> Job:
    return Job(name=name, depends_on=(), policy=Policy(attempts=3))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(SIGNALS)), max_size=40))
def test_a_task_stands_in_one_phase_that_of_its_life(sequence: list[tuple[int, Signal]]) -> None:
    phases = Phases()
    entries = [phases.add(job(f"t{n}")) for n in range(4)]
    for place, signal in sequence:
        phases.step(entries[place], signal)
    found = [(phase, entry) for phase in Phase for entry in phases.at(phase).values()]
    assert len(found) == len(entries)
    assert all(entry.life.phase is phase for phase, entry in found)
    busy = (Phase.RUNNING, Phase.ENDED)
    assert len(phases.waiting()) == sum(phase not in busy for phase, _ in found)
    assert phases.all_ended() == all(phase is Phase.ENDED for phase, _ in found)


def test_those_who_wait_come_up_in_the_order_in_which_they_came() -> None:
    phases = Phases()
    first, second = phases.add(job("b")), phases.add(job("a"))
    assert phases.first(Phase.WAITING) is first
    for signal in (Slot(), Done(outcome=BADLY), DelayOver()):
        phases.step(first, signal)
    assert phases.first(Phase.WAITING) is second
    assert list(phases.at(Phase.WAITING)) == ["a", "b"]
    assert phases.first(Phase.STALE) is None
