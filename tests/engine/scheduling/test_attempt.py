"""The attempt state machine as a table, and its promises for every sequence of signals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pit.engine.scheduling.attempt import (
    LOOK_AGAIN,
    LOST_LIMIT,
    Block,
    DelayOver,
    Done,
    Effect,
    End,
    Judge,
    Launch,
    Life,
    Look,
    Phase,
    Policy,
    Queue,
    Settle,
    Signal,
    Sleep,
    Slot,
    Stale,
    Stop,
    Taken,
    step,
)
from pit.model import Reason, TaskState
from pit.order import Outcome


def outcome(reason: Reason | None = None, *, retryable: bool = True, lost: bool = False) -> Outcome:
    return Outcome(
        started_at=1.0,
        ended_at=2.0,
        seconds=1.0,
        reason=reason,
        error="boom" if reason else "",
        retryable=retryable,
        lost=lost,
    )


WELL = Done(outcome=outcome())
BADLY = Done(outcome=outcome(Reason.EXIT))
HOPELESS = Done(outcome=outcome(Reason.NOT_FOUND, retryable=False))
LOST = Done(outcome=outcome(Reason.SQL_ERROR, lost=True))
CANCEL = Stop(reason=Reason.CANCELLED)
TWICE = Policy(attempts=2, delay=3.0)


def after(policy: Policy, *signals: Signal) -> tuple[Life, list[Effect]]:
    life, effects = Life(), []
    for signal in signals:
        life, effect = step(life, signal, policy)
        if effect is not None:
            effects.append(effect)
    return life, effects


TIME_UP = Stop(reason=Reason.TIMEOUT)
ENDED = Done(outcome=outcome(Reason.CANCELLED, retryable=False))
OUT_OF_TIME = Done(outcome=outcome(Reason.TIMEOUT, retryable=False))
GONE = End(state=TaskState.FAILED, reason=Reason.NOT_FOUND, error="boom")
TIMED_OUT = End(state=TaskState.FAILED, reason=Reason.TIMEOUT, error="boom")
CANCELLED = End(state=TaskState.CANCELLED, reason=Reason.CANCELLED, error="boom")
NOT_AGAIN = End(
    state=TaskState.CANCELLED,
    reason=Reason.CANCELLED,
    error="boom; not tried again because the run was ending",
)
FAILED = End(state=TaskState.FAILED, reason=Reason.EXIT, error="boom")


@pytest.mark.parametrize(
    ("policy", "signals", "effects"),
    [
        (Policy(), [Slot(), WELL], [Launch(attempt=1), End(state=TaskState.SUCCESS)]),
        (Policy(), [Slot(), BADLY], [Launch(attempt=1), FAILED]),
        (TWICE, [Slot(), BADLY], [Launch(attempt=1), Sleep(seconds=3.0)]),
        (
            TWICE,
            [Slot(), BADLY, DelayOver(), Slot(), WELL],
            [
                Launch(attempt=1),
                Sleep(seconds=3.0),
                Queue(),
                Launch(attempt=2),
                End(state=TaskState.SUCCESS),
            ],
        ),
        (
            TWICE,
            [Slot(), BADLY, DelayOver(), Slot(), BADLY],
            [Launch(attempt=1), Sleep(seconds=3.0), Queue(), Launch(attempt=2), FAILED],
        ),
        (
            TWICE,
            [Slot(), HOPELESS],
            [
                Launch(attempt=1),
                End(state=TaskState.FAILED, reason=Reason.NOT_FOUND, error="boom"),
            ],
        ),
        (Policy(), [Slot(), LOST, Slot()], [Launch(attempt=1), Queue(), Launch(attempt=1)]),
        (
            Policy(),
            [Look(), Stale(), Taken(), DelayOver(), Stale(), Slot()],
            [Judge(), Sleep(seconds=LOOK_AGAIN), Judge(), Launch(attempt=1)],
        ),
        (Policy(), [Look(), Slot(), Settle(), Stale(), Slot()], [Judge()]),
        (Policy(), [Look(), Stale(), Block(), Slot()], [Judge(), Launch(attempt=1)]),
        (Policy(), [Block(), DelayOver(), Taken(), Slot()], [Launch(attempt=1)]),
        (
            TWICE,
            [Slot(), BADLY, DelayOver(), Block(), CANCEL],
            [Launch(attempt=1), Sleep(seconds=3.0), Queue(), NOT_AGAIN],
        ),
        (Policy(), [Slot(), Settle(), BADLY], [Launch(attempt=1), FAILED]),
        (Policy(), [CANCEL], [End(state=TaskState.SKIPPED, reason=Reason.CANCELLED)]),
        (Policy(), [Slot(), CANCEL, BADLY], [Launch(attempt=1), FAILED]),
        (TWICE, [Slot(), CANCEL, HOPELESS], [Launch(attempt=1), GONE]),
        (TWICE, [Slot(), CANCEL, ENDED], [Launch(attempt=1), CANCELLED]),
        (TWICE, [Slot(), TIME_UP, OUT_OF_TIME], [Launch(attempt=1), TIMED_OUT]),
        (TWICE, [Slot(), CANCEL, BADLY], [Launch(attempt=1), NOT_AGAIN]),
        (Policy(), [Slot(), CANCEL, LOST], [Launch(attempt=1), NOT_AGAIN]),
        (Policy(), [Slot(), LOST, CANCEL], [Launch(attempt=1), Queue(), NOT_AGAIN]),
        (
            TWICE,
            [Slot(), BADLY, DelayOver(), CANCEL],
            [Launch(attempt=1), Sleep(seconds=3.0), Queue(), NOT_AGAIN],
        ),
        (
            TWICE,
            [Slot(), CANCEL, WELL],
            [Launch(attempt=1), End(state=TaskState.SUCCESS)],
        ),
        (
            TWICE,
            [Slot(), BADLY, CANCEL],
            [
                Launch(attempt=1),
                Sleep(seconds=3.0),
                NOT_AGAIN,
            ],
        ),
        (
            TWICE,
            [Slot(), BADLY, TIME_UP],
            [
                Launch(attempt=1),
                Sleep(seconds=3.0),
                End(
                    state=TaskState.FAILED,
                    reason=Reason.TIMEOUT,
                    error="boom; not tried again because the run was ending",
                ),
            ],
        ),
    ],
)
def test_table(policy: Policy, signals: list[Signal], effects: list[Effect]) -> None:
    assert after(policy, *signals)[1] == effects


@pytest.mark.parametrize(
    "signals", [[], [Look()], [Look(), Stale()], [Look(), Stale(), Taken()], [Block()]]
)
def test_a_run_that_stops_ends_a_task_wherever_it_waits(signals: list[Signal]) -> None:
    life, effects = after(Policy(), *signals, CANCEL)
    assert effects[-1] == End(state=TaskState.SKIPPED, reason=Reason.CANCELLED)
    assert life.phase is Phase.ENDED


def test_an_attempt_is_lost_only_so_often() -> None:
    _, effects = after(Policy(), *[Slot(), LOST] * (LOST_LIMIT + 1))
    assert effects.count(Queue()) == LOST_LIMIT
    assert effects[-1] == End(state=TaskState.FAILED, reason=Reason.SQL_ERROR, error="boom")


def test_backoff_grows_to_its_limit_and_never_overflows() -> None:
    policy = Policy(attempts=9999, delay=2.0, backoff=3.0, max_delay=50.0)
    assert [policy.delay_after(n) for n in (1, 2, 3, 4, 9000)] == [2.0, 6.0, 18.0, 50.0, 50.0]


BEFORE = (Look(), Stale(), Taken(), Block())
signals = st.lists(
    st.sampled_from([*BEFORE, Slot(), WELL, BADLY, HOPELESS, LOST, DelayOver(), CANCEL]),
    max_size=40,
)
policies = st.builds(
    Policy,
    attempts=st.integers(1, 4),
    delay=st.floats(0, 10),
    backoff=st.floats(0.5, 4),
    max_delay=st.none() | st.floats(0, 20),
)


@given(policies, signals)
def test_no_sequence_of_signals_breaks_the_promises(policy: Policy, sequence: list[Signal]) -> None:
    life, effects = after(policy, *sequence)
    launches = [effect.attempt for effect in effects if isinstance(effect, Launch)]
    ends = [effect for effect in effects if isinstance(effect, End)]
    assert max(launches, default=0) <= policy.attempts
    assert len(launches) <= policy.attempts + LOST_LIMIT
    assert launches == sorted(launches)
    assert len(ends) == (life.phase is Phase.ENDED)
    if ends:
        assert isinstance(effects[-1], End), "nothing happens after the end"
        assert (ends[0].state is TaskState.SKIPPED) == (not launches)
    success = any(end.state is TaskState.SUCCESS for end in ends)
    assert success == (life.last is not None and life.last.reason is None)
