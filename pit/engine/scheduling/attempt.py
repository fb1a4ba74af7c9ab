"""The life of one task within a run as a pure state machine: `(state, signal) → (state, effects)`.

    WAITING ──Slot──▶ RUNNING ──Done(success)──────────────▶ ENDED
       ▲                 │ ├───Done(failure, retries left)─▶ DELAYED ──Stop──▶ ENDED
       │                 │ └───Done(failure)───────────────▶ ENDED
       ├──Done(lost)─────┘
       └──DelayOver── DELAYED

A task that its run ends, or that is not tried again because its run is ending, is cancelled: that
says nothing against it. Where the run's own time is up, it failed with the run.

No clock, no process, no thread: the scheduler carries the effects out. A task holds a slot only
while it is RUNNING, so a delayed retry never keeps another task from starting.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec.structs import replace

from pit.model import Outcome, Reason, Record, TaskState

LOST_LIMIT = 3
"""How often an attempt may be lost to someone else's fault before it counts as failed."""


class Policy(Record):
    """How often and how patiently a task is tried; delays in seconds."""

    attempts: int = 1
    delay: float = 0.0
    backoff: float = 1.0
    max_delay: float | None = None

    def delay_after(self, attempt: int) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 1)."""
        try:
            delay = self.delay * self.backoff ** (attempt - 1)
        except OverflowError:
            delay = float("inf")
        return delay if self.max_delay is None else min(delay, self.max_delay)


class Phase(StrEnum):
    """Where a task stands between its turns."""

    WAITING = "waiting"
    RUNNING = "running"
    DELAYED = "delayed"
    ENDED = "ended"


class Life(Record):
    """The state: phase, attempts begun, attempts lost, the last failure, and whether to stop."""

    phase: Phase = Phase.WAITING
    attempt: int = 0
    lost: int = 0
    last: Outcome | None = None
    stopping: Reason | None = None


# signals ---------------------------------------------------------------------------------


class Slot(Record):
    """A slot is free and it is this task's turn."""


class Done(Record):
    """The running attempt ended."""

    outcome: Outcome


class DelayOver(Record):
    """The delay before the next attempt is over."""


class Stop(Record):
    """The run is being cancelled or timed out."""

    reason: Reason


Signal = Slot | Done | DelayOver | Stop

# effects ---------------------------------------------------------------------------------


class Launch(Record):
    """Start attempt number `attempt`."""

    attempt: int


class Sleep(Record):
    """Come back with DelayOver after `seconds`."""

    seconds: float


class Queue(Record):
    """Ask for a slot."""


class End(Record):
    """The task is over."""

    state: TaskState
    reason: Reason | None = None
    error: str = ""


Effect = Launch | Sleep | Queue | End


def step(life: Life, signal: Signal, policy: Policy) -> tuple[Life, Effect | None]:
    """The next state and what is to be done; a signal that does not fit the phase is ignored."""
    match life.phase, signal:
        case Phase.WAITING, Slot():
            return replace(life, phase=Phase.RUNNING, attempt=life.attempt + 1), Launch(
                attempt=life.attempt + 1
            )
        case Phase.RUNNING, Done(outcome=outcome):
            return _done(life, outcome, policy)
        case Phase.RUNNING, Stop(reason=reason):
            return replace(life, stopping=life.stopping or reason), None
        case Phase.DELAYED, DelayOver():
            return replace(life, phase=Phase.WAITING), Queue()
        case ((Phase.WAITING | Phase.DELAYED), Stop(reason=reason)):
            return _stopped(life, reason)
    return life, None


def _ended(life: Life, end: End) -> tuple[Life, Effect]:
    return replace(life, phase=Phase.ENDED), end


def _done(life: Life, outcome: Outcome, policy: Policy) -> tuple[Life, Effect]:
    life = replace(life, last=outcome)
    if outcome.reason is None:
        return _ended(life, End(state=TaskState.SUCCESS))
    if life.stopping is None and outcome.lost and life.lost < LOST_LIMIT:
        again = replace(life, phase=Phase.WAITING, attempt=life.attempt - 1, lost=life.lost + 1)
        return again, Queue()
    if life.stopping is None and outcome.retryable and life.attempt < policy.attempts:
        return replace(life, phase=Phase.DELAYED), Sleep(seconds=policy.delay_after(life.attempt))
    if life.stopping is None:
        return _ended(life, End(state=TaskState.FAILED, reason=outcome.reason, error=outcome.error))
    return _done_while_ending(life, outcome, policy, life.stopping)


def _done_while_ending(
    life: Life, outcome: Outcome, policy: Policy, why: Reason
) -> tuple[Life, Effect]:
    """An attempt did not succeed, and the run is ending: by that, or by a fault of its own."""
    if outcome.reason is why:
        return _ended(life, _cut_short(why, outcome.error))
    lost = outcome.lost and life.lost < LOST_LIMIT
    if lost or (outcome.retryable and life.attempt < policy.attempts):
        return _stopped(life, why)
    return _ended(life, End(state=TaskState.FAILED, reason=outcome.reason, error=outcome.error))


def _stopped(life: Life, why: Reason) -> tuple[Life, Effect]:
    if life.last is None:
        return _ended(life, End(state=TaskState.SKIPPED, reason=why))
    error = f"{life.last.error}; not tried again because the run was ending"
    return _ended(life, _cut_short(why, error))


def _cut_short(why: Reason, error: str) -> End:
    """The end of a task that has run, and that its run ends for this reason."""
    state = TaskState.CANCELLED if why is Reason.CANCELLED else TaskState.FAILED
    return End(state=state, reason=why, error=error)
