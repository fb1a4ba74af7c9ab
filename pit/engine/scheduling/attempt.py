"""The life of one task within a run as a pure state machine: `(state, signal) → (state, effects)`.

    WAITING ──Slot──▶ RUNNING ──Done(success)──────────────▶ ENDED
       ▲                 │ ├───Done(failure, retries left)─▶ DELAYED ──Stop──▶ ENDED
       │                 │ └───Done(failure)───────────────▶ ENDED
       ├──Done(lost)─────┘
       └──DelayOver── DELAYED

Before its first attempt a tracked task is judged, and another run may be at it; any attempt may
have to wait for something that another run uses.

    WAITING ──Look──▶ JUDGED ──Stale──▶ STALE ──Slot──▶ RUNNING
                        ▲                 │
                        └──DelayOver── CLAIMED ◀──Taken
    WAITING, STALE ──Block──▶ BLOCKED ──Slot──▶ RUNNING
    anywhere but RUNNING ──Settle, Stop──▶ ENDED

A task that its run ends, or that is not tried again because its run is ending, is cancelled: that
says nothing against it. Where the run's own time is up, it failed with the run.

No clock, no process, no thread: the scheduler carries the effects out. A task holds a slot only
while it is RUNNING, so a delayed retry never keeps another task from starting.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec.structs import replace

from pit.model import Reason, Record, TaskState
from pit.order import Outcome

LOST_LIMIT = 3
"""How often an attempt may be lost to someone else's fault before it counts as failed."""

LOOK_AGAIN = 0.2
"""Seconds between two looks at a task that another run is executing."""


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
    """Where a task stands whose dependencies have ended.

    WAITING: for a slot. JUDGED: it is being looked at, whether it is current. STALE: it is not, and
    waits for a slot. CLAIMED: another run is at it. BLOCKED: its attempt is ready, but for a file
    that another run uses. DELAYED: until its next attempt.
    """

    WAITING = "waiting"
    JUDGED = "judged"
    STALE = "stale"
    CLAIMED = "claimed"
    BLOCKED = "blocked"
    RUNNING = "running"
    DELAYED = "delayed"
    ENDED = "ended"


WAIT = (
    Phase.WAITING,
    Phase.DELAYED,
    Phase.CLAIMED,
    Phase.BLOCKED,
    Phase.STALE,
    Phase.JUDGED,
)
"""Where a task has not ended and holds no slot, in the order in which a stopped run ends them."""


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


class Look(Record):
    """The task is tracked: it may be current."""


class Stale(Record):
    """It is not current."""


class Taken(Record):
    """Another run is at the task."""


class Block(Record):
    """Another run uses what the attempt needs."""


class DelayOver(Record):
    """The delay before the next attempt, or the next look, is over."""


class Settle(Record):
    """The task is over for another reason than the end of an attempt."""


class Stop(Record):
    """The run is being cancelled or timed out."""

    reason: Reason


Signal = Slot | Done | Look | Stale | Taken | Block | DelayOver | Settle | Stop

# effects ---------------------------------------------------------------------------------


class Launch(Record):
    """Start attempt number `attempt`."""

    attempt: int


class Sleep(Record):
    """Come back with DelayOver after `seconds`."""

    seconds: float


class Queue(Record):
    """Ask for a slot."""


class Judge(Record):
    """Look whether the task is current."""


class End(Record):
    """The task is over."""

    state: TaskState
    reason: Reason | None = None
    error: str = ""


Effect = Launch | Sleep | Queue | Judge | End


def step(life: Life, signal: Signal, policy: Policy) -> tuple[Life, Effect | None]:
    """The next state and what is to be done; a signal that does not fit the phase is ignored."""
    match life.phase, signal:
        case ((Phase.WAITING | Phase.STALE | Phase.BLOCKED), Slot()):
            return replace(life, phase=Phase.RUNNING, attempt=life.attempt + 1), Launch(
                attempt=life.attempt + 1
            )
        case Phase.RUNNING, Done(outcome=outcome):
            return _done(life, outcome, policy)
        case Phase.RUNNING, Stop(reason=reason):
            return replace(life, stopping=life.stopping or reason), None
        case Phase.DELAYED, DelayOver():
            return replace(life, phase=Phase.WAITING), Queue()
        case phase, Stop(reason=reason) if phase in WAIT:
            return _stopped(life, reason)
        case phase, Settle() if phase in WAIT:
            return replace(life, phase=Phase.ENDED), None
    return _before(life, signal)


def _before(life: Life, signal: Signal) -> tuple[Life, Effect | None]:
    """What may come before an attempt."""
    match life.phase, signal:
        case Phase.WAITING, Look():
            return replace(life, phase=Phase.JUDGED), Judge()
        case Phase.JUDGED, Stale():
            return replace(life, phase=Phase.STALE), None
        case Phase.STALE, Taken():
            return replace(life, phase=Phase.CLAIMED), Sleep(seconds=LOOK_AGAIN)
        case Phase.CLAIMED, DelayOver():
            return replace(life, phase=Phase.JUDGED), Judge()
        case ((Phase.WAITING | Phase.STALE), Block()):
            return replace(life, phase=Phase.BLOCKED), None
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
