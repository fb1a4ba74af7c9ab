"""Takes the tasks of a run to their ends: slots, retries, time-out of the run, cancellation.

One thread, one mailbox. Tasks are taken from the dispatch while slots are free; each that ends is
told to it, which frees what waited for it. The life of each task is decided by `attempt.step`, and
where each stands is kept by `phases`; this module carries out what follows.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from pit.engine.doit.dispatch import Dispatch, Ending, Ready
from pit.engine.scheduling import attempt
from pit.engine.scheduling.attempt import Phase
from pit.engine.scheduling.checker import Broken, Judged, Many
from pit.engine.scheduling.executor import Finished
from pit.engine.scheduling.jobs import Job, Refusal
from pit.engine.scheduling.phases import Entry, Phases
from pit.engine.scheduling.ports import Ports
from pit.engine.scheduling.tally import Tally, tally
from pit.engine.scheduling.waiting import Blocked
from pit.errors import PitError
from pit.events import AttemptEnded, AttemptStarted, Event, TaskEnded, Waits, Warned
from pit.model import Reason, TaskState
from pit.order import Order
from pit.text.naming import tasks_named


class Scheduler:
    """One pass over the jobs of a DAG; `run()` returns when every task has its final state.

    At most `slots` tasks run at once; `timeout` are the seconds that the whole may take.
    """

    def __init__(
        self, dag: str, jobs: Sequence[Job], ports: Ports, slots: int, timeout: float | None = None
    ) -> None:
        self._dag, self._slots, self._ports = dag, slots, ports
        self._jobs = {job.name: job for job in jobs}
        self._log, self._clock, self._cancel = ports.log, ports.clock, ports.cancel
        self._blocked = Blocked(ports.reservations)
        self._deadline = None if timeout is None else self._clock.monotonic() + timeout
        self._dispatch = Dispatch(dag, {job.name: job.depends_on for job in jobs})
        self._phases = Phases()
        self._alarms: list[tuple[float, int, Entry]] = []
        self._tickets = count()
        self._unsettled: set[str] = set()
        self._claimed: list[str] = []  # tasks that have ended and are still claimed
        self._release_at = _NEVER
        self._ended: dict[str, TaskEnded] = {}
        self._stopping: Reason | None = None

    # ------------------------------------------------------------------ the loop

    def run(self) -> Tally:
        """Perform every job as far as its dependencies allow; raises what the store raises."""
        try:
            self._loop()
            self._skip_rest()
            return tally(list(self._ended.values()), self._stopping)
        except PitError:
            self._abandon()
            raise

    def _loop(self) -> None:
        while True:
            self._watch_cancel()
            self._advance()
            if self._claimed and self._clock.monotonic() >= self._release_at:
                self._make_durable()
            if self._phases.all_ended():
                self._make_durable()
                return
            message = self._clock.wait(self._ports.mailbox, self._patience())
            self._watch_cancel()  # first: what the message tells may be that very cancel's doing
            self._receive(message)

    def _receive(self, message: object) -> None:
        match message:
            case Many(messages=messages):
                for each in messages:
                    self._receive(each)
            case Finished():
                self._finished(message)
            case Judged():
                self._judged(message)
            case Broken(task=task, error=error, reason=reason):
                if (entry := self._phases.at(Phase.JUDGED).get(task)) is not None:
                    self._end(entry, TaskState.FAILED, reason, error)
            case Event():
                self._log.tell(message)
            case PitError():  # the store failed where nobody else would have told
                raise message

    def _advance(self) -> None:
        self._let_in()
        while self._has_room() and self._stopping is None:
            self._wake()
            if (entry := self._phases.first(Phase.WAITING)) is not None:
                self._launch(entry)
            elif (entry := self._phases.first(Phase.STALE)) is not None:
                self._begin(entry)
            elif (ready := self._next()) is not None:
                self._admit(ready)
            else:
                return

    def _next(self) -> Ready | None:
        """The next task whose dependencies have ended, unless enough are being judged."""
        if len(self._phases.at(Phase.JUDGED)) >= _AHEAD:
            return None
        return self._dispatch.next()

    def _patience(self) -> float | None:
        times = [self._alarms[0][0]] if self._alarms and self._has_room() else []
        if self._deadline is not None and self._stopping is None:
            times.append(self._deadline)
        if self._claimed:
            times.append(self._release_at)
        if self._blocked:
            times.append(self._blocked.next_look(self._has_room()))
        left = min(times, default=_NEVER) - self._clock.monotonic()
        return None if left == _NEVER else max(0.0, left)

    def _has_room(self) -> bool:
        return len(self._phases.at(Phase.RUNNING)) < self._slots

    # ------------------------------------------------------------------ before an attempt

    def _admit(self, ready: Ready) -> None:
        """Take a task whose dependencies have ended; it ends with them if one did not succeed."""
        entry = self._phases.add(self._jobs[ready.task])
        if ready.failed:
            after = f"after {tasks_named(ready.failed)}"
            self._end(entry, TaskState.UPSTREAM_FAILED, Reason.UPSTREAM_FAILED, after)
        elif ready.skipped:
            after = f"after {tasks_named(ready.skipped)}"
            self._end(entry, TaskState.SKIPPED, Reason.UPSTREAM_SKIPPED, after)
        else:
            self._consider(entry)

    def _consider(self, entry: Entry) -> None:
        """Launch a task, or end it at once when it cannot or need not run."""
        job = entry.job
        if job.stub is not None:
            self._log.show_stub(job)
            self._end(entry, TaskState.SKIPPED, Reason.NO_SECRETS)
        elif job.done:
            self._end(entry, TaskState.SKIPPED, Reason.SUCCEEDED_BEFORE, made_by=job.done)
        elif job.tracked:
            self._follow(entry, attempt.Look())
        else:
            self._launch(entry)

    def _judged(self, message: Judged) -> None:
        """Skip a current task; a stale one runs as soon as there is a slot."""
        entry, decision = self._phases.at(Phase.JUDGED).get(message.task), message.decision
        if entry is None:
            return  # the run was stopped meanwhile
        entry.why = message.why
        entry.superseded = decision.superseded
        entry.recorded = decision.record is not None and not decision.superseded
        if decision.current and decision.record is not None:
            record = decision.record
            self._end(
                entry,
                TaskState.SKIPPED,
                Reason.CURRENT,
                made_by=record.run,
                saved=record.seconds,
                record=decision.renewed,
            )
        else:
            self._phases.step(entry, attempt.Stale())

    def _begin(self, entry: Entry) -> None:
        """Launch a stale task, unless another run is at it, then look again."""
        name = entry.job.name
        if self._ports.claims.claim(name, entry.job.params or ""):
            self._launch(entry)
        else:
            other = self._ports.claims.claimant(name)
            if other and other != entry.waits_for:
                entry.waits_for = other
                self._log.emit(Waits, task=name, why=f"{other} is doing it")
            self._follow(entry, attempt.Taken())

    # ------------------------------------------------------------------ attempts

    def _launch(self, entry: Entry) -> None:
        """Begin an attempt, unless it cannot be made, or has to wait for a file without a slot."""
        self._settle(entry.job.depends_on)
        order = self._ports.orders.order(entry.job.name, entry.life.attempt + 1)
        if isinstance(order, Refusal):
            self._end(entry, TaskState.FAILED, order.reason, order.error)
        elif place := self._blocked.place(entry, order, self._clock.monotonic()):
            self._phases.step(entry, attempt.Block())
            self._log.show_wait(order, place.obstacle)
            if self._blocked.is_first(place):
                self._log.emit(Waits, task=order.task, why=place.obstacle)
        else:
            self._begin_attempt(entry, order)

    def _let_in(self) -> None:
        """Those who have waited for what another run used: it is free now, or they wait no more."""
        if not self._blocked or self._stopping is not None:
            return
        now = self._clock.monotonic()
        for place in self._blocked.late(now):
            self._ports.reservations.dismiss(place.order)
            error = f"waited for its time-out for {place.obstacle}"
            self._end(place.entry, TaskState.FAILED, Reason.TIMEOUT, error)
        free = self._blocked.free(now)
        while self._has_room():
            for place in free:
                self._begin_attempt(place.entry, place.order)
                break
            else:
                return

    def _begin_attempt(self, entry: Entry, order: Order) -> None:
        if entry.started_at is None:
            entry.started_at, entry.begun = self._clock.now(), self._clock.monotonic()
        self._log.emit(
            AttemptStarted,
            task=order.task,
            attempt=order.attempt,
            attempts=order.attempts,
            forgets=None if entry.superseded else entry.job.params,
        )
        self._phases.step(entry, attempt.Slot())  # runs only once the store has taken it
        # A record is dead before the task can change what it stood for.
        self._ports.executor.submit(order, settled=entry.recorded)

    def _finished(self, message: Finished) -> None:
        entry, effect = self._taken_back(message)
        self._tell_attempt(message, effect)
        if isinstance(effect, attempt.End) and effect.state is TaskState.SUCCESS:
            self._succeeded(entry, message)
        else:
            self._carry_out(entry, effect)

    def _taken_back(self, message: Finished) -> tuple[Entry, attempt.Effect | None]:
        """The task of an attempt that is over, and what follows from how it ended."""
        entry = self._phases.at(Phase.RUNNING)[message.order.task]
        self._ports.reservations.dismiss(message.order)
        if self._stopping is not None:
            self._phases.step(entry, attempt.Stop(reason=self._stopping))
        return entry, self._phases.step(entry, attempt.Done(outcome=message.outcome))

    def _tell_attempt(self, message: Finished, effect: attempt.Effect | None) -> None:
        order, outcome = message.order, message.outcome
        delay = effect.seconds if isinstance(effect, attempt.Sleep) else None
        if isinstance(effect, attempt.Queue):
            delay = 0.0
        self._log.emit(
            AttemptEnded, task=order.task, attempt=order.attempt, outcome=outcome, retry_in=delay
        )

    def _succeeded(self, entry: Entry, message: Finished) -> None:
        """A success may come with something that somebody should know."""
        remark, warning = message.remark, message.outcome.warning
        if warning:
            task = message.order.task
            hint = f"See: pit logs {self._dag}/{task}"
            self._log.emit(Warned, message=f"{task}: {warning}", hint=hint, task=task)
            remark = remark or Reason.WARNED
        self._end(entry, TaskState.SUCCESS, remark, warning, record=message.record)

    def _follow(self, entry: Entry, signal: attempt.Signal) -> None:
        self._carry_out(entry, self._phases.step(entry, signal))

    def _carry_out(self, entry: Entry, effect: attempt.Effect | None) -> None:
        match effect:
            case attempt.Sleep(seconds=seconds):
                due = self._clock.monotonic() + seconds
                heapq.heappush(self._alarms, (due, next(self._tickets), entry))
            case attempt.Judge():
                self._ports.checker.ask(entry.job.name)
            case attempt.End(state=state, reason=reason, error=error):
                self._end(entry, state, reason, error)

    def _wake(self) -> None:
        """Go on with those whose delay is over."""
        now = self._clock.monotonic()
        while self._alarms and self._alarms[0][0] <= now:
            self._follow(heapq.heappop(self._alarms)[2], attempt.DelayOver())

    def _end(
        self,
        entry: Entry,
        state: TaskState,
        reason: Reason | None = None,
        error: str = "",
        **facts: Any,
    ) -> None:
        if entry.life.phase is not Phase.ENDED:
            self._phases.step(entry, attempt.Settle())
        ended = self._told_end(entry, state, reason, error, **facts)
        if entry.job.tracked and entry.life.attempt:
            self._release_soon(entry.job.name)
        else:
            self._ports.claims.release(entry.job.name)
        self._ended[entry.job.name] = ended
        self._unsettled.add(entry.job.name)
        self._dispatch.ended(entry.job.name, _ending(ended))

    def _told_end(
        self, entry: Entry, state: TaskState, reason: Reason | None, error: str, **facts: Any
    ) -> TaskEnded:
        begun = entry.begun if entry.started_at is not None else self._clock.monotonic()
        ended: TaskEnded = self._log.emit(
            TaskEnded,
            task=entry.job.name,
            state=state,
            reason=reason,
            error=error,
            attempts=entry.life.attempt,
            started_at=entry.started_at,
            seconds=self._clock.monotonic() - begun,
            why=entry.why,
            **facts,
        )
        return ended

    def _settle(self, depends_on: Iterable[str]) -> None:
        """Nothing starts on the strength of a result that a crash could still take away."""
        if not self._unsettled.isdisjoint(depends_on):
            self._make_durable()

    def _make_durable(self) -> None:
        """All that has been told is durable, and the claims on what has ended are released."""
        self._log.barrier()
        self._unsettled.clear()
        for name in self._claimed:
            self._ports.claims.release(name)
        self._claimed.clear()

    def _release_soon(self, name: str) -> None:
        """Release the claim on a task once its record is durable: whoever waits for it finds it.

        Nobody else waits, so it may come with the commit that the store makes by itself.
        """
        if not self._claimed:
            self._release_at = self._clock.monotonic() + _RELEASED_WITHIN
        self._claimed.append(name)

    # ------------------------------------------------------------------ the end

    def _watch_cancel(self) -> None:
        if self._deadline is not None and self._clock.monotonic() >= self._deadline:
            self._cancel.request(1, Reason.TIMEOUT)
        if self._stopping is None and self._cancel.level > 0:
            self._stop(self._cancel.reason or Reason.CANCELLED)

    def _stop(self, reason: Reason) -> None:
        self._stopping = reason
        self._alarms.clear()
        for place in self._blocked.clear():
            self._ports.reservations.dismiss(place.order)
        for entry in self._phases.waiting():
            self._follow(entry, attempt.Stop(reason=reason))
        if running := list(self._phases.at(Phase.RUNNING)):
            self._log.show_ending(running)

    def _skip_rest(self) -> None:
        """Final states for what a cancelled run never came to, in topological order."""
        for job in self._jobs.values():
            if job.name in self._ended:
                continue
            state, reason, error = self._left_over(job)
            self._ended[job.name] = self._log.emit(
                TaskEnded, task=job.name, state=state, reason=reason, error=error
            )

    def _left_over(self, job: Job) -> tuple[TaskState, Reason | None, str]:
        failed = [
            name
            for name in job.depends_on
            if (dep := self._ended.get(name)) is not None
            and dep.reason is not self._stopping
            and dep.state in (TaskState.FAILED, TaskState.UPSTREAM_FAILED)
        ]
        if failed:
            after = f"after {tasks_named(sorted(failed))}"
            return TaskState.UPSTREAM_FAILED, Reason.UPSTREAM_FAILED, after
        return TaskState.SKIPPED, self._stopping, ""

    def _abandon(self) -> None:
        """The store does not take what it is told: end what runs, and tell how, for it may yet."""
        self._cancel.request(1, Reason.CANCELLED)
        self._stopping = self._stopping or Reason.CANCELLED
        while self._phases.at(Phase.RUNNING):
            message = self._clock.wait(self._ports.mailbox, None)
            if isinstance(message, Finished):
                entry, effect = self._taken_back(message)
                with suppress(PitError):  # what is emitted is queued even so
                    self._tell_attempt(message, effect)
                if isinstance(effect, attempt.End):
                    how = (effect.state, effect.reason or message.remark, effect.error)
                    with suppress(PitError):
                        self._told_end(entry, *how, record=message.record)


_RELEASED_WITHIN = 0.06
"""Seconds; by then the store has committed what it was told."""

_AHEAD = 1000
"""How many tasks are being judged at most."""

_NEVER = float("inf")

_HANDED_ON = (Reason.CURRENT, Reason.SUCCEEDED_BEFORE)


def _ending(ended: TaskEnded) -> Ending:
    """What the end of a task is to those that depend on it."""
    match ended.state:
        case TaskState.SUCCESS:
            return "done"
        case TaskState.SKIPPED:
            return "done" if ended.reason in _HANDED_ON else "skipped"
    return "failed"
