"""Questions to the history: order, summaries, ancestry, interruption, a hundred thousand runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pit.events import AttemptStarted
from pit.model import Output, RunState, TaskState
from pit.state.store.store import Store
from tests.state.story import EPOCH, attempted, ended, run_id, started, task_ended, whole


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An open store in a fresh folder."""
    with Store.open(tmp_path / "pit_metadata.db") as opened:
        yield opened


def run(store: Store, number: int, dag: str = "sales", **end: object) -> str:
    """Records a run without tasks and returns its id."""
    name = run_id(number, dag)
    store.emit(started(name, dag, at=EPOCH + number, tasks=()))
    if end:
        store.emit(ended(name, at=EPOCH + number + 1, **end))  # type: ignore[arg-type]
    return name


def test_the_order_is_that_of_recording_not_of_clocks(store: Store) -> None:
    late, early = run(store, 500), run(store, 100)
    assert [row.id for row in store.runs.latest("sales")] == [early, late]
    last = store.runs.last_run("sales")
    assert last is not None
    assert last.id == early


def test_listings_can_be_filtered_and_continued(store: Store) -> None:
    for number in range(10):
        state = RunState.FAILED if number % 2 else RunState.SUCCESS
        run(store, number, "a" if number < 6 else "b", state=state)
    store.barrier()
    first = store.runs.latest(limit=4)
    then = store.runs.latest(limit=4, before_seq=first[-1].seq)
    assert [row.seq for row in (*first, *then)] == list(range(10, 2, -1))
    assert [row.seq for row in store.runs.latest("a", state=RunState.FAILED)] == [6, 4, 2]
    assert len(store.runs.latest(limit=None)) == 10
    assert store.dags.names() == ("a", "b")


def test_a_summary_tells_the_last_run_and_the_recent_ones(store: Store) -> None:
    for number in range(25):
        state = RunState.FAILED if number >= 20 else RunState.SUCCESS
        run(store, number, state=state, seconds=float(number))
    run(store, 30, state=RunState.SUCCESS, stub=True, seconds=99.0)
    running = run(store, 31)
    run(store, 1, "other", state=RunState.CANCELLED)
    store.barrier()
    other, sales = store.dags.summaries()
    assert (other.dag, other.success_rate, len(other.recent)) == ("other", 0.0, 1)
    assert (sales.dag, sales.last.id, sales.last.state) == ("sales", running, RunState.RUNNING)
    assert [each.seconds for each in sales.recent] == [float(n) for n in range(5, 25)]
    assert sales.success_rate == 15 / 20


def test_a_dag_without_a_finished_run_has_no_rate(store: Store) -> None:
    run(store, 1)
    assert store.dags.summaries()[0].success_rate is None


def test_the_last_success_is_no_stub(store: Store) -> None:
    assert store.runs.last_success("sales") is None
    real = run(store, 1, state=RunState.SUCCESS)
    run(store, 2, state=RunState.SUCCESS, stub=True)
    run(store, 3, state=RunState.FAILED)
    store.barrier()
    found = store.runs.last_success("sales")
    assert found is not None
    assert found.id == real


def test_outputs_are_those_of_the_last_success_of_each_dag(store: Store) -> None:
    made = (Output(name="new", type="file", location="out/a.csv"),)
    run(store, 1, state=RunState.SUCCESS, outputs=(Output(name="old"),))
    last = run(store, 2, state=RunState.SUCCESS, outputs=made)
    run(store, 3, state=RunState.FAILED, outputs=(Output(name="failed"),))
    run(store, 4, state=RunState.SUCCESS, stub=True, outputs=(Output(name="stub"),))
    run(store, 5, "other", state=RunState.SUCCESS, outputs=(Output(name="b"), Output(name="a")))
    store.barrier()
    found = [(row.dag, row.run, row.name) for row in store.dags.outputs()]
    other = run_id(5, "other")
    assert found == [("other", other, "b"), ("other", other, "a"), ("sales", last, "new")]


def test_ancestry_leads_up_through_the_parents(store: Store) -> None:
    top, middle, low = run_id(1, "top"), run_id(2, "middle"), run_id(3, "low")
    store.emit(started(top, "top"))
    store.emit(started(middle, "middle", parent=top))
    store.emit(started(low, "low", parent=middle))
    assert [row.dag for row in store.runs.ancestry(low)] == ["low", "middle", "top"]
    assert store.runs.ancestry(run_id(4)) == ()


def test_ancestry_of_a_loop_ends(store: Store) -> None:
    store.emit(started(run_id(1), parent=run_id(1)))
    assert store.runs.ancestry(run_id(1))


def test_interrupting_ends_what_ran_and_skips_what_waited(store: Store) -> None:
    one = run_id(1)
    store.emit(started(one, tasks=("done", "running", "waiting")))
    for event in attempted(one, "done"):
        store.emit(event)
    store.emit(task_ended(one, "done"))
    store.emit(AttemptStarted(run=one, at=EPOCH + 10, task="running", attempt=1, attempts=1))
    store.barrier()
    assert [row.id for row in store.runs.running()] == [one]
    assert store.runs.interrupt(one, EPOCH + 86400)
    row = store.runs.find(one)
    assert (row.state, row.reason, row.ended_at) == (
        RunState.INTERRUPTED,
        "interrupted",
        EPOCH + 86400,
    )
    assert row.seconds == 10.0
    assert [(t.task, t.state, t.reason) for t in store.runs.tasks(one)] == [
        ("done", TaskState.SUCCESS, None),
        ("running", TaskState.FAILED, "interrupted"),
        ("waiting", TaskState.SKIPPED, "interrupted"),
    ]
    (attempt,) = store.runs.attempts(one, "running")
    assert (attempt.state, attempt.reason) == (TaskState.FAILED, "interrupted")
    assert store.runs.running() == ()
    assert not store.runs.interrupt(one, EPOCH + 90000)
    assert store.runs.find(one) == row


def test_a_finished_run_cannot_be_interrupted(store: Store) -> None:
    one = run(store, 1, state=RunState.SUCCESS)
    store.barrier()
    assert not store.runs.interrupt(one, EPOCH)
    assert not store.runs.interrupt(run_id(2), EPOCH)
    assert store.runs.find(one).state is RunState.SUCCESS


def test_forgetting_takes_all_rows_of_a_run_but_never_a_running_one(store: Store) -> None:
    gone, alive = run_id(1), run_id(2)
    for event in whole(gone, outputs=(Output(name="o"),)):
        store.emit(event)
    store.emit(started(alive))
    assert store.runs.forget([gone, alive, run_id(3)]) == 1
    assert [row.id for row in store.runs.latest()] == [alive]
    for table in ("tasks", "attempts", "outputs"):
        left = store.database.query(f"SELECT DISTINCT run FROM {table}")
        assert left in ([], [(2,)]), table
    store.emit(started(run_id(3)))
    assert store.runs.find(run_id(3)).seq == 3


MANY = 100_000
INSERT_MANY = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
    INSERT INTO runs (id, dag, state, started_at, ended_at, seconds, run_dir, stub, whole, reason,
        complete_at)
    SELECT printf('20260101_%06d.%03d_dag%02d', i / 1000, i % 1000, i % 50),
           printf('dag%02d', i % 50),
           CASE WHEN i % 7 = 0 THEN 'failed' ELSE 'success' END, i, i + 5, 5.0, '/r', i % 50 = 3,
           i < 100, CASE WHEN i > 200 AND i % 50 = 7 THEN 'current' END,
           CASE WHEN i % 50 = 5 OR (i < 100 AND i % 50 <> 3) THEN i END
    FROM n"""


def test_a_hundred_thousand_runs_make_no_difference(store: Store) -> None:
    """Bounds are generous: each question takes well under a millisecond, or 3 for all summaries."""
    with store.database.transaction() as connection:
        connection.execute(INSERT_MANY, (MANY,))
    questions = {
        "summaries": lambda: store.dags.summaries(),
        "outputs": lambda: store.dags.outputs(),
        "runs": lambda: store.runs.latest(limit=50),
        "runs of a dag in a state": lambda: store.runs.latest("dag07", state=RunState.FAILED),
        "none in a state": lambda: store.runs.latest("dag07", state=RunState.CANCELLED),
        "continued": lambda: store.runs.latest("dag07", before_seq=MANY // 2),
        "open": lambda: store.runs.running(),
        "prefix": lambda: store.runs.find("20260101_000050.007"),
        "completion": lambda: store.runs.ids("20260101_00005"),
        "last success of stubs": lambda: store.runs.last_success("dag03"),
        "last success": lambda: store.runs.last_success("dag05"),
        "last success of old": lambda: store.runs.last_success("dag07"),
        "last complete of old": lambda: store.runs.last_complete("dag07"),
        "last that worked": lambda: store.runs.last_worked("dag07"),
        "standings": lambda: store.dags.standings("dag07"),
        "made": lambda: store.dags.last_made("dag07", "t"),
        "old": lambda: store.runs.oldest("dag07", 1000.0),
    }
    for name, ask in questions.items():
        fastest = min(_timed(ask) for _ in range(3))
        assert fastest < 0.05, f"{name} took {fastest:.3f} s of the processor"
    assert len(store.dags.summaries()) == 50
    assert store.runs.last_success("dag03") is None


def _timed(ask: object) -> float:
    begun = time.thread_time()
    ask()  # type: ignore[operator]
    return time.thread_time() - begun
