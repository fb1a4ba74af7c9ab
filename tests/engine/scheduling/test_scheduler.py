"""The scheduler with an executor and a clock that are lists: order, slots, retries, endings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pit.engine.scheduling.attempt import Policy
from pit.engine.scheduling.checker import Judged
from pit.engine.scheduling.clock import Clock
from pit.engine.scheduling.executor import Finished
from pit.engine.scheduling.jobs import Job, Refusal
from pit.engine.scheduling.ports import Ports
from pit.engine.scheduling.scheduler import Scheduler
from pit.engine.scheduling.tally import Tally
from pit.engine.staleness.planner import Action, Decision
from pit.errors import StoreUnavailable
from pit.events import AttemptEnded, AttemptStarted, Event, TaskEnded, Waits
from pit.model import Reason, RunState, TaskState
from pit.order import Order, Outcome

Script = dict[str, list[tuple[Reason | None, float]]]
"""What each attempt of a task does: its reason (None: success) and how many seconds it takes."""


class Switch:
    """A cancel switch that nobody but the test turns."""

    def __init__(self) -> None:
        self.level = 0
        self.reason: Reason | None = None

    def request(self, level: int, reason: Reason) -> None:
        self.level = max(self.level, level)
        self.reason = self.reason or reason


class World(Clock):
    """All ports of the scheduler in one: orders end when the clock reaches their time."""

    def __init__(self, script: Script) -> None:
        self.script, self.time = script, 0.0
        self.mailbox: SimpleQueue[Any] = SimpleQueue()
        self.events: list[Event] = []
        self.flushed = 0
        self.open: list[tuple[float, Order]] = []
        self.busiest = 0
        self.cancel = Switch()
        self.cancel_at: float | None = None
        self.cancel_unheard = False  # until an attempt that it has ended is heard of
        self.fails: Callable[[Event], bool] = lambda event: False
        self.refused: dict[str, Refusal] = {}
        self.databases: dict[str, str] = {}
        self.used: dict[str, float] = {}
        self.kept: set[str] = set()
        self.asked = 0
        self.waits: list[str] = []
        self.judged: set[str] = set()
        self.taken: dict[str, float] = {}
        self.claimed: set[str] = set()
        self.shown: list[str] = []
        self.asked_to_end: list[list[str]] = []

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def wait(self, mailbox: SimpleQueue[Any], seconds: float | None) -> Any:
        due = self.time + (float("inf") if seconds is None else seconds)
        if not mailbox.empty():
            return mailbox.get()
        first = min(self.open, default=None, key=lambda item: item[0])
        moment = min(due, first[0] if first else due)
        if self.cancel_at is not None and self.cancel_at <= moment:
            self.time, self.cancel_at = max(self.time, self.cancel_at), None
            self.stop()
            return self.take(0) if self.open and self.cancel_unheard else None
        assert moment < float("inf"), "the scheduler waits for nothing"
        self.time = max(self.time, moment)
        if first is None or first[0] > due:
            return None
        return self.take(self.open.index(first))

    def take(self, place: int) -> Finished:
        _, order = self.open.pop(place)
        return Finished(order=order, outcome=self.outcome(order))

    def stop(self) -> None:
        self.cancel.request(1, Reason.CANCELLED)
        self.open = [(self.time, order) for _, order in self.open]
        for _, order in self.open:
            self.script[order.task][order.attempt - 1] = (Reason.CANCELLED, 0.0)

    def outcome(self, order: Order) -> Outcome:
        reason, seconds = self.script[order.task][order.attempt - 1]
        return Outcome(
            started_at=self.time - seconds,
            ended_at=self.time,
            seconds=seconds,
            reason=reason,
            error=f"{order.task} broke" if reason else "",
        )

    def order(self, task: str, attempt: int) -> Order | Refusal:
        if task in self.refused:
            return self.refused[task]
        return Order(
            run="r",
            dag="d",
            task=task,
            attempt=attempt,
            attempts=9,
            marker="",
            log="",
            runner="bash",
            connection=self.databases.get(task, ""),
            timeout=60.0 if task.startswith("hasty") else None,
        )

    def reserve(self, order: Order) -> str:
        self.asked += 1
        if self.time < self.used.get(order.connection, 0.0):
            return f"{order.connection}: in use by run 2"
        self.kept.add(order.task)
        return ""

    def dismiss(self, order: Order) -> None:
        self.kept.discard(order.task)

    def submit(self, order: Order, *, settled: bool) -> None:
        if settled:
            self.barrier()
        assert not order.connection or order.task in self.kept
        assert order.task not in self.judged or order.task in self.claimed
        seconds = self.script[order.task][order.attempt - 1][1]
        self.open.append((self.time + seconds, order))
        self.busiest = max(self.busiest, len(self.open))

    def ask(self, task: str) -> None:
        assert task in self.judged, f"{task} is not tracked"
        decision = Decision(task=task, action=Action.RUN)
        self.mailbox.put(Judged(task=task, decision=decision, why=f"{task} has changed"))

    def claim(self, task: str, params: str) -> bool:
        if self.time < self.taken.get(task, 0.0):
            return False
        self.claimed.add(task)
        return True

    def claimant(self, task: str) -> str:
        return "run 2"

    def release(self, task: str) -> None:
        self.claimed.discard(task)

    def emit(self, kind: type[Any], /, **facts: Any) -> Any:
        event = kind(run="r", at=self.time, **facts)
        self.tell(event)
        return event

    def tell(self, event: Event) -> None:
        if self.fails(event):
            raise StoreUnavailable("the store is gone")
        self.events.append(event)

    def show_stub(self, job: Job) -> None:
        self.shown.append(job.name)

    def show_wait(self, order: Order, what: str) -> None:
        self.waits.append(f"{order.task}: {what}")

    def show_ending(self, tasks: Sequence[str]) -> None:
        self.asked_to_end.append(list(tasks))

    def barrier(self) -> None:
        self.flushed = len(self.events)

    # ---------------------------------------------------------------- what the tests ask

    def run(self, jobs: list[Job], slots: int = 4, timeout: float | None = None) -> Tally:
        ports = Ports(
            orders=self,
            checker=self,
            executor=self,
            claims=self,
            reservations=self,
            log=self,
            cancel=self.cancel,
            mailbox=self.mailbox,
            clock=self,
        )
        return Scheduler("d", jobs, ports, slots, timeout).run()

    def ended(self) -> dict[str, TaskEnded]:
        ends = [event for event in self.events if isinstance(event, TaskEnded)]
        assert len(ends) == len({end.task for end in ends}), "a task ended twice"
        return {end.task: end for end in ends}

    def started(self, task: str) -> list[float]:
        return [e.at for e in self.events if isinstance(e, AttemptStarted) and e.task == task]


def job(name: str, *depends_on: str, **facts: Any) -> Job:
    policy = facts.pop("policy", Policy())
    return Job(name=name, depends_on=depends_on, policy=policy, **facts)


GOOD = (None, 1.0)
BAD = (Reason.EXIT, 1.0)


def test_a_task_starts_as_soon_as_what_it_needs_has_ended() -> None:
    world = World({"slow": [(None, 9.0)], "fast": [GOOD], "next": [GOOD]})
    verdict = world.run([job("slow"), job("fast"), job("next", "fast")])
    assert world.started("next") == [1.0], "no barrier between levels"
    assert verdict.state is RunState.SUCCESS
    assert verdict.counts == {TaskState.SUCCESS: 3}


def test_failure_marks_everything_downstream_and_nothing_else() -> None:
    world = World({name: [GOOD] for name in "abcde"} | {"a": [BAD]})
    jobs = [job("a"), job("b", "a"), job("c", "b"), job("d"), job("e", "d")]
    verdict = world.run(jobs)
    states = {name: end.state for name, end in world.ended().items()}
    assert states == {
        "a": TaskState.FAILED,
        "b": TaskState.UPSTREAM_FAILED,
        "c": TaskState.UPSTREAM_FAILED,
        "d": TaskState.SUCCESS,
        "e": TaskState.SUCCESS,
    }
    assert (verdict.state, verdict.error) == (RunState.FAILED, "failed: a")


def test_a_delayed_retry_holds_no_slot() -> None:
    world = World({"flaky": [BAD, GOOD], "other": [(None, 5.0)]})
    flaky = job("flaky", policy=Policy(attempts=2, delay=60.0))
    assert world.run([flaky, job("other")], slots=1).state is RunState.SUCCESS
    assert world.started("flaky") == [0.0, 61.0]
    assert world.started("other") == [1.0]
    assert world.ended()["flaky"].attempts == 2
    retries = [e.retry_in for e in world.events if isinstance(e, AttemptEnded)]
    assert retries == [60.0, None, None]


def test_nothing_starts_on_a_result_that_is_not_durable() -> None:
    world = World({"a": [GOOD], "b": [GOOD]})
    seen = []
    world.fails = lambda event: (
        (
            seen.append(world.flushed)
            if isinstance(event, AttemptStarted) and event.task == "b"
            else None
        )
        is not None
    )
    world.run([job("a"), job("b", "a")])
    end_of_a = next(i for i, e in enumerate(world.events) if isinstance(e, TaskEnded))
    assert seen
    assert seen[0] > end_of_a


def test_the_time_out_of_the_run_ends_what_runs_and_skips_the_rest() -> None:
    world = World({"a": [(Reason.TIMEOUT, 10.0)], "b": [GOOD], "c": [GOOD]})
    verdict = world.run([job("a"), job("b", "a"), job("c", "b")], timeout=4.0)
    assert world.cancel.reason is Reason.TIMEOUT
    assert (verdict.state, verdict.reason) == (RunState.FAILED, Reason.TIMEOUT)
    assert world.asked_to_end == [["a"]]
    ended = world.ended()
    assert (ended["a"].state, ended["a"].reason) == (TaskState.FAILED, Reason.TIMEOUT)
    assert (ended["b"].state, ended["b"].reason) == (TaskState.SKIPPED, Reason.TIMEOUT)
    assert (ended["c"].state, ended["c"].reason) == (TaskState.SKIPPED, Reason.TIMEOUT)


@pytest.mark.parametrize("unheard", [False, True])
def test_a_cancel_keeps_apart_what_failed_before_it(unheard: bool) -> None:
    script: Script = {name: [GOOD] for name in ("bad", "after", "long", "later", "retried")}
    script |= {"bad": [BAD], "long": [(None, 100.0)], "retried": [BAD, GOOD]}
    world = World(script)
    world.cancel_at, world.cancel_unheard = 5.0, unheard
    retried = job("retried", policy=Policy(attempts=2, delay=50.0))
    jobs = [job("bad"), job("after", "bad"), job("long"), job("later", "long"), retried]
    assert world.run(jobs).state is RunState.CANCELLED
    ended = {name: (end.state, end.reason) for name, end in world.ended().items()}
    assert ended == {
        "bad": (TaskState.FAILED, Reason.EXIT),
        "after": (TaskState.UPSTREAM_FAILED, Reason.UPSTREAM_FAILED),
        "long": (TaskState.CANCELLED, Reason.CANCELLED),
        "later": (TaskState.SKIPPED, Reason.CANCELLED),
        "retried": (TaskState.CANCELLED, Reason.CANCELLED),
    }


def test_stubs_skip_what_follows_and_refusals_fail() -> None:
    world = World({name: [GOOD] for name in "abcd"})
    world.refused["c"] = Refusal(reason=Reason.MISSING_CONNECTION, error="no connection")
    jobs = [job("a", stub="select 1"), job("b", "a"), job("c"), job("d", "c", "b")]
    verdict = world.run(jobs)
    ended = {name: (end.state, end.reason) for name, end in world.ended().items()}
    assert ended == {
        "a": (TaskState.SKIPPED, Reason.NO_SECRETS),
        "b": (TaskState.SKIPPED, Reason.UPSTREAM_SKIPPED),
        "c": (TaskState.FAILED, Reason.MISSING_CONNECTION),
        "d": (TaskState.UPSTREAM_FAILED, Reason.UPSTREAM_FAILED),
    }
    assert verdict.stub
    assert world.shown == ["a"]
    assert all(not world.started(name) for name in "abcd")


def test_no_claim_is_left_on_a_task_that_could_not_begin() -> None:
    world = World({"a": [GOOD], "b": [GOOD]})
    world.judged = {"a", "b"}
    world.refused["a"] = Refusal(reason=Reason.MISSING_INPUT, error="no input")
    world.run([job("a", tracked=True, params=""), job("b", tracked=True, params="")])
    assert world.ended()["a"].reason is Reason.MISSING_INPUT
    assert not world.claimed


def test_a_stale_task_waits_while_another_run_is_at_it_and_is_looked_at_again() -> None:
    world = World({"a": [GOOD], "b": [GOOD]})
    world.judged, world.taken = {"a"}, {"a": 5.0}
    jobs = [job("a", tracked=True, params="{}"), job("b")]
    assert world.run(jobs, slots=1).counts == {TaskState.SUCCESS: 2}
    assert world.started("b") == [0.0], "who waits for a claim holds no slot"
    assert world.started("a")[0] == pytest.approx(5.0, abs=0.3)
    assert [e.why for e in world.events if isinstance(e, Waits)] == ["run 2 is doing it"]
    assert world.ended()["a"].why == "a has changed"
    assert not world.claimed


def test_who_waits_for_a_file_of_another_run_holds_no_slot() -> None:
    world = World({"load": [GOOD], "save": [GOOD], "other": [GOOD], "next": [GOOD]})
    world.databases = {"load": "w", "save": "w"}
    world.used["w"] = 10.0
    verdict = world.run([job("load"), job("save"), job("other"), job("next", "other")], slots=1)
    assert verdict.counts == {TaskState.SUCCESS: 4}
    assert world.started("other") == [0.0]
    assert world.started("next") == [1.0]
    assert world.started("load")[0] == pytest.approx(10.0, abs=0.3)
    assert world.started("save") == [world.started("load")[0] + 1.0]
    assert world.waits == ["load: w: in use by run 2", "save: w: in use by run 2"]
    assert [e.task for e in world.events if isinstance(e, Waits)] == ["load"]
    assert world.busiest == 1
    assert not world.kept


def test_a_thousand_who_wait_for_one_file_ask_as_often_as_one() -> None:
    names = [f"t{n}" for n in range(1000)]
    world = World({name: [GOOD] for name in names})
    world.databases = dict.fromkeys(names, "w")
    world.used["w"] = 10.0
    assert world.run([job(name) for name in names]).counts == {TaskState.SUCCESS: 1000}
    assert world.asked < 1000 + 60
    assert max(world.started(name)[0] for name in names) < 10.0 + 250 + 1


def test_a_wait_is_no_longer_than_an_attempt_may_be() -> None:
    world = World({"hasty": [GOOD], "hasty too": [GOOD], "patient": [GOOD]})
    world.databases = dict.fromkeys(world.script, "w")
    world.used["w"] = 100.0
    world.run([job("hasty"), job("hasty too"), job("patient")])
    ended = world.ended()
    late = ended["hasty"]
    assert (late.state, late.reason, late.attempts) == (TaskState.FAILED, Reason.TIMEOUT, 0)
    assert late.error == "waited for its time-out for w: in use by run 2"
    assert late.at == pytest.approx(60.0, abs=0.3)
    assert ended["hasty too"].reason is Reason.TIMEOUT
    assert ended["patient"].state is TaskState.SUCCESS
    assert not world.kept


def test_a_cancel_ends_the_wait() -> None:
    world = World({"a": [GOOD], "b": [GOOD]})
    world.databases = {"a": "w", "b": "v"}
    world.used = {"w": 100.0, "v": 100.0}
    world.cancel_at = 5.0
    assert world.run([job("a"), job("b")]).state is RunState.CANCELLED
    assert {end.reason for end in world.ended().values()} == {Reason.CANCELLED}
    assert world.time == 5.0


def test_a_store_that_fails_ends_what_runs() -> None:
    world = World({"a": [GOOD], "b": [(None, 50.0)]})
    world.fails = lambda event: isinstance(event, AttemptEnded)
    with pytest.raises(StoreUnavailable):
        world.run([job("a"), job("b")])
    assert world.cancel.level == 1
    assert world.open == [], "nothing is left behind"


def test_a_store_that_fails_as_an_attempt_begins_leaves_nothing_to_wait_for() -> None:
    world = World({"a": [(None, 50.0)], "b": [GOOD]})
    world.fails = lambda event: isinstance(event, AttemptStarted) and event.task == "b"
    with pytest.raises(StoreUnavailable):
        world.run([job("a"), job("b")])
    assert world.open == [], "what ran has ended, and what did not begin is not waited for"


graphs = st.integers(1, 12).flatmap(
    lambda size: st.tuples(
        st.just(size),
        st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=30),
        st.lists(
            st.lists(st.sampled_from([GOOD, GOOD, BAD]), min_size=3, max_size=3),
            min_size=size,
            max_size=size,
        ),
        st.integers(1, 4),
        st.integers(1, 3),
        st.none() | st.floats(0.5, 20.0),
    )
)


@settings(max_examples=300, deadline=None)
@given(graphs)
def test_any_graph_ends_with_every_task_in_its_final_state(
    case: tuple[int, list[tuple[int, int]], list[list[Any]], int, int, float | None],
) -> None:
    size, pairs, attempts, slots, tries, cancel_at = case
    needs: dict[int, set[int]] = {n: set() for n in range(size)}
    for one, other in pairs:
        if one != other:
            needs[max(one, other)].add(min(one, other))
    jobs = [
        job(f"t{n}", *(f"t{d}" for d in sorted(needs[n])), policy=Policy(attempts=tries, delay=1.5))
        for n in range(size)
    ]
    world = World({f"t{n}": list(attempts[n]) for n in range(size)})
    world.cancel_at = cancel_at
    world.run(jobs, slots=slots)
    ended = world.ended()
    assert set(ended) == {f"t{n}" for n in range(size)}
    assert world.busiest <= slots
    for one in jobs:
        ups = {ended[name].state for name in one.depends_on}
        if world.started(one.name):
            assert ups <= {TaskState.SUCCESS}
            assert min(world.started(one.name)) >= max(
                (e.at for name in one.depends_on if (e := ended[name])), default=0.0
            )
        elif not world.cancel.level:
            assert ups & {TaskState.FAILED, TaskState.UPSTREAM_FAILED}
