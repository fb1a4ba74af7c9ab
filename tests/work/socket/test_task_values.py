"""Values that tasks set for each other, progress and logged events, against a real store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from pit.errors import Refused
from pit.events import AttemptStarted, Event, Logged, Progressed, RunStarted, TaskEnded
from pit.model import Reason, TaskState
from pit.state.store.store import Store
from pit.work.socket.answers import task_values
from pit.work.socket.answers.task_values import RunFacts
from pit.work.socket.call import Caller

TASKS = ("extract", "load", "report:JFK", "report:LGA")
ABOVE = {"load": {"extract"}, "report:JFK": {"load", "extract"}, "report:LGA": {"load", "extract"}}


def caller(task: str, attempt: int = 1, run: str = "r2") -> Caller:
    return Caller(run=run, dag="sales", task=task, attempt=attempt, data=Path("/nowhere"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "pit_metadata.db") as opened:
        for run in ("r1", "r2"):
            opened.emit(
                RunStarted(
                    run=run, at=1.0, dag="sales", run_dir="", project="", tasks=TASKS, params={}
                )
            )
        yield opened


Make = Callable[..., RunFacts]


@pytest.fixture
def mailbox() -> SimpleQueue[Any]:
    return SimpleQueue()


@pytest.fixture
def make(store: Store, mailbox: SimpleQueue[Any]) -> Iterator[Make]:
    made: list[RunFacts] = []

    def make(run: str = "r2", **options: Any) -> RunFacts:
        made.append(
            RunFacts(
                run,
                emit=store.emit,
                mailbox=mailbox,
                store=store,
                tasks=TASKS,
                above=lambda task: ABOVE.get(task, set()),
                **options,
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


def received(mailbox: SimpleQueue[Any]) -> list[Event]:
    found = []
    while True:
        try:
            found.append(mailbox.get_nowait())
        except Empty:
            return found


# ---------------------------------------------------------------- values


def test_a_value_is_there_at_once_for_whoever_depends_on_its_task(make: Make) -> None:
    run = make()
    run.set_value(caller("extract"), "rows", "42")
    assert run.value(caller("load"), "rows", "") == "42"
    assert run.value(caller("extract"), "rows", "") == "42"
    assert run.value(caller("load"), "rows", "extract") == "42"
    assert run.value(caller("load"), "columns", "") is None


def test_a_task_that_nothing_depends_on_is_asked_only_by_its_name(make: Make) -> None:
    run = make()
    run.set_value(caller("report:JFK"), "late", "3")
    assert run.value(caller("report:LGA"), "late", "") is None
    assert run.value(caller("report:LGA"), "late", "report:JFK") == "3"


def test_one_name_of_two_tasks_must_be_told_apart(make: Make) -> None:
    run = make()
    run.set_value(caller("extract"), "rows", "1")
    run.set_value(caller("load"), "rows", "2")
    with pytest.raises(Refused, match=r"several tasks .*: extract, load"):
        run.value(caller("report:JFK"), "rows", "")
    assert run.value(caller("report:JFK"), "rows", "load") == "2"


def test_an_unknown_task_is_named_with_the_nearest(make: Make) -> None:
    run = make()
    with pytest.raises(Refused, match='no task "lod"') as told:
        run.value(caller("load"), "rows", "lod")
    assert told.value.hint == 'Did you mean "load"?'
    with pytest.raises(Refused) as told:
        run.value(caller("load"), "rows", "report")
    assert told.value.hint == 'Did you mean "report:JFK"?'


def test_the_values_of_a_failed_attempt_are_forgotten(make: Make, store: Store) -> None:
    run = make()
    for attempt, values in ((1, {"half": "1", "rows": "1"}), (2, {"rows": "2"})):
        started = AttemptStarted(run="r2", at=2.0, task="extract", attempt=attempt, attempts=2)
        store.emit(started)
        for name, value in values.items():
            run.set_value(caller("extract", attempt), name, value)
    assert run.values("extract") == {"rows": "2"}
    store.barrier()
    assert [(v.name, v.value) for v in store.values.of_run("r2", "extract")] == [("rows", "2")]


def test_a_skipped_task_hands_on_the_values_of_the_run_that_made_it(
    make: Make, store: Store
) -> None:
    done(store, "r1", "extract")
    make("r1").set_value(caller("extract", run="r1"), "rows", "42")
    skipped(store, "r2", "extract", Reason.CURRENT, made_by="r1")
    assert make().value(caller("load"), "rows", "") == "42"


def test_a_task_that_the_run_leaves_out_hands_on_its_last_success(make: Make, store: Store) -> None:
    done(store, "r1", "extract")
    make("r1").set_value(caller("extract", run="r1"), "rows", "42")
    skipped(store, "r2", "extract", Reason.SINGLE_TASK)
    assert make().value(caller("load"), "rows", "") is None
    assert make(left_out={"extract": "r1"}).value(caller("load"), "rows", "") == "42"


def done(store: Store, run: str, task: str) -> None:
    store.emit(AttemptStarted(run=run, at=2.0, task=task, attempt=1, attempts=1))
    store.emit(TaskEnded(run=run, at=3.0, task=task, state=TaskState.SUCCESS, attempts=1))
    store.barrier()


def skipped(store: Store, run: str, task: str, reason: Reason, made_by: str = "") -> None:
    ended = TaskEnded(
        run=run, at=3.0, task=task, state=TaskState.SKIPPED, reason=reason, made_by=made_by
    )
    store.emit(ended)
    store.barrier()


def test_there_is_an_end_to_how_many_values_a_task_may_set(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_values, "MOST_VALUES", 2)
    run = make()
    for name in ("a", "b", "a"):
        run.set_value(caller("extract"), name, "1")
    with pytest.raises(Refused, match="2 values already"):
        run.set_value(caller("extract"), "c", "1")


# ---------------------------------------------------------------- progress and events


def test_a_flood_of_progress_becomes_a_trickle_whose_last_word_counts(
    make: Make, mailbox: SimpleQueue[Any]
) -> None:
    run = make()
    began = time.monotonic()
    for done in range(20_000):
        run.progress(caller("load"), done, 20_000, "")
    run.settle("load")
    told = received(mailbox)
    seconds = time.monotonic() - began
    assert all(isinstance(event, Progressed) for event in told)
    assert told[-1].done == 19_999  # type: ignore[attr-defined]
    assert len(told) <= seconds / 0.1 + 2


def test_held_back_progress_is_told_by_itself(make: Make, mailbox: SimpleQueue[Any]) -> None:
    run = make()
    for done in (1, 2, 3):
        run.progress(caller("load"), done, None, "")
    event = mailbox.get(timeout=30)
    while event.done < 3:
        event = mailbox.get(timeout=30)
    assert event.total is None


def test_events_are_told_in_order_and_none_is_lost(make: Make, mailbox: SimpleQueue[Any]) -> None:
    run = make()
    for number in range(100):
        run.logged(caller("load"), "info", "row", {"number": number})
    told = received(mailbox)
    assert [event.fields["number"] for event in told] == list(range(100))  # type: ignore[attr-defined]
    assert isinstance(told[0], Logged)


def test_progress_of_many_tasks_at_once(make: Make, mailbox: SimpleQueue[Any]) -> None:
    run = make()

    def work(task: str) -> None:
        for done in range(500):
            run.progress(caller(task), done, 500, "")
        run.settle(task)

    threads = [threading.Thread(target=work, args=(task,)) for task in TASKS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = {event.task: event.done for event in received(mailbox)}  # type: ignore[attr-defined]
    assert last == dict.fromkeys(TASKS, 499)


@pytest.mark.parametrize(
    ("message", "fields", "line"),
    [
        ("two files late", {}, "[info] two files late"),
        ("late", {"count": 2, "who": "a b", "day": "x"}, '[info] late  count=2 who="a b" day=x'),
    ],
)
def test_an_event_as_a_line(message: str, fields: dict[str, Any], line: str) -> None:
    assert task_values.line("info", message, fields) == line
