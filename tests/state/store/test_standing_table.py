"""How tasks stand by their own last attempts, whatever runs of others come and go."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from pit.events import AttemptStarted, Event, FoundCurrent, TaskEnded
from pit.model import Reason, RunState, TaskState
from pit.state.store import migrations
from pit.state.store.store import Store
from pit.state.store.tables.dags import StandingRow
from tests.state.story import EPOCH, attempted, ended, run_id, started, task_ended, whole


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An open store in a fresh folder."""
    with Store.open(tmp_path / "pit_metadata.db") as opened:
        yield opened


def tell(store: Store, events: Iterable[Event]) -> None:
    """Durably."""
    for event in events:
        store.emit(event)
    store.barrier()


def tried(run: str, task: str, reason: Reason | None = None, at: float = EPOCH) -> Iterator[Event]:
    """A task from its attempt to its end."""
    yield from attempted(run, task, at=at, reason=reason)
    state = TaskState.SUCCESS if reason is None else TaskState.FAILED
    yield task_ended(run, task, state, reason, at=at + 2)


def skipped(run: str, task: str, reason: Reason, made_by: str = "") -> TaskEnded:
    """A task that its run did not try."""
    state = TaskState.SKIPPED
    return TaskEnded(run=run, at=EPOCH, task=task, state=state, reason=reason, made_by=made_by)


def standing(store: Store, task: str) -> StandingRow:
    """How one task stands."""
    return next(row for row in store.dags.standings("sales") if row.task == task)


def test_a_run_of_other_tasks_leaves_it_as_it_was(store: Store) -> None:
    one, two = run_id(1), run_id(2)
    tell(store, [started(one), *tried(one, "extract"), *tried(one, "load", Reason.EXIT)])
    tell(store, [ended(one, RunState.FAILED)])
    before = standing(store, "load")
    assert (before.run, before.state, before.reason) == (one, TaskState.FAILED, "exit")
    others = [skipped(two, "load", Reason.SINGLE_TASK), *tried(two, "extract", at=EPOCH + 50)]
    tell(store, [started(two, selection="extract", whole=False), *others, ended(two)])
    assert standing(store, "load") == before
    assert standing(store, "extract").run == two
    assert store.runs.last_success("sales") is None
    (summary,) = store.dags.summaries()
    assert [row.task for row in summary.failing] == ["load"]
    assert (summary.success_rate, len(summary.recent)) == (0.0, 1)
    assert store.runs.forget([one]) == 1
    assert standing(store, "load") == before


def test_a_failure_keeps_what_was_made_before(store: Store) -> None:
    one, two = run_id(1), run_id(2)
    tell(store, whole(one))
    tell(store, [started(two), *tried(two, "load", Reason.EXIT, EPOCH + 50)])
    found = store.dags.last_made("sales", "load")
    assert found is not None
    assert (found.run, found.at) == (one, EPOCH + 2)
    assert standing(store, "load").run == two
    assert store.dags.last_made("sales", "nothing") is None


def test_what_was_superseded_made_nothing(store: Store) -> None:
    one, two = run_id(1), run_id(2)
    tell(store, whole(one))
    late = task_ended(two, "load", TaskState.SUCCESS, Reason.SUPERSEDED, at=EPOCH + 60)
    tell(store, [started(two), *attempted(two, "load", at=EPOCH + 50), late])
    found = store.dags.last_made("sales", "load")
    assert found is not None
    assert found.run == one


def test_of_a_matrix_the_last_instance_counts(store: Store) -> None:
    one = run_id(1)
    names = ("load:a", "load:b", "loader")
    tell(store, [started(one, tasks=names)])
    for at, name in enumerate(names):
        tell(store, tried(one, name, at=EPOCH + at))
    found = store.dags.last_made("sales", "load")
    assert found is not None
    assert found.task == "load:b"


def test_what_a_run_did_not_come_to_is_kept_until_it_is_done(store: Store) -> None:
    one, two, three = run_id(1), run_id(2), run_id(3)
    tell(store, whole(one))
    after = TaskEnded(
        run=two,
        at=EPOCH,
        task="load",
        state=TaskState.UPSTREAM_FAILED,
        reason=Reason.UPSTREAM_FAILED,
        error="after extract",
    )
    tell(store, [started(two), *tried(two, "extract", Reason.EXIT), after])
    found = standing(store, "load")
    assert (found.run, found.state) == (one, TaskState.SUCCESS)
    assert (found.left_run, found.left_state) == (two, TaskState.UPSTREAM_FAILED)
    tell(store, [started(three), skipped(three, "load", Reason.CURRENT, made_by=one)])
    found = standing(store, "load")
    assert (found.left_state, found.done_seq, found.made_by) == (None, 3, one)


def test_a_selection_with_nothing_to_do_says_what_it_looked_at(store: Store) -> None:
    one, two = run_id(1), run_id(2)
    tell(store, whole(one))
    tell(store, [started(two, tasks=(), selection="load", whole=False)])
    tell(store, [FoundCurrent(run=two, at=EPOCH + 9, tasks=("load",))])
    assert (standing(store, "load").done_seq, standing(store, "load").run) == (2, one)
    assert standing(store, "extract").done_seq == 1


def test_a_task_that_could_not_begin_has_failed(store: Store) -> None:
    one, two = run_id(1), run_id(2)
    tell(store, whole(one))
    state, reason = TaskState.FAILED, Reason.MISSING_INPUT
    end = TaskEnded(run=two, at=EPOCH, task="load", state=state, reason=reason)
    tell(store, [started(two), end])
    assert (standing(store, "load").run, standing(store, "load").state) == (two, state)


def test_of_two_runs_at_once_the_attempt_that_began_last_counts(store: Store) -> None:
    one, two = run_id(1), run_id(2)
    tell(store, [started(one), started(two)])
    tell(store, attempted(one, "load"))
    tell(store, [AttemptStarted(run=two, at=EPOCH + 1, task="load", attempt=1, attempts=1)])
    tell(store, [task_ended(one, "load", TaskState.FAILED, Reason.EXIT)])
    assert (standing(store, "load").run, standing(store, "load").state) == (two, TaskState.RUNNING)
    tell(store, [task_ended(two, "load")])
    assert standing(store, "load").state is TaskState.SUCCESS


def test_an_interruption_is_one_of_the_tasks_too(store: Store) -> None:
    one = run_id(1)
    tell(store, [started(one, tasks=("extract", "load"))])
    tell(store, [AttemptStarted(run=one, at=EPOCH, task="extract", attempt=1, attempts=1)])
    assert store.runs.interrupt(one, EPOCH + 9)
    assert (standing(store, "extract").state, standing(store, "extract").reason) == (
        TaskState.FAILED,
        "interrupted",
    )
    assert standing(store, "load").left_reason == "interrupted"


@pytest.mark.parametrize(
    ("start", "end", "at"),
    [
        ({}, {}, EPOCH + 5),
        ({}, {"stub": True}, None),
        ({}, {"state": RunState.FAILED}, None),
        ({"selection": "load", "whole": False}, {}, None),
        ({"selection": "load", "whole": False}, {"complete_at": 7.0}, 7.0),
        ({"selection": "*"}, {}, EPOCH + 5),
    ],
)
def test_a_run_says_since_when_all_is_done(
    store: Store, start: dict[str, object], end: dict[str, object], at: float | None
) -> None:
    one = run_id(1)
    facts = {"complete_at": end.pop("complete_at", None)}
    last = ended(one, **end)  # type: ignore[arg-type]
    tell(store, [started(one, **start), replace(last, **facts)])
    assert store.runs.find(one).complete_at == at
    found = store.runs.last_success("sales")
    assert (found is None) == (at is None)


def test_the_freshest_success_counts_not_the_last_run(store: Store) -> None:
    one, two = run_id(1), run_id(2)
    tell(store, [started(one), ended(one, at=EPOCH + 100)])
    some = started(two, selection="load", whole=False)
    tell(store, [some, replace(ended(two, at=EPOCH + 200), complete_at=EPOCH + 50)])
    fresh, last = store.runs.last_success("sales"), store.runs.last_complete("sales")
    assert fresh is not None
    assert last is not None
    assert (fresh.id, last.id) == (one, two)


def test_an_earlier_layout_tells_what_it_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pit.db"
    monkeypatch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:3])
    monkeypatch.setattr(migrations, "VERSION", 3)
    connection = sqlite3.connect(path)
    migrations.migrate(connection)
    runs = [("success", None), ("success", "load"), ("failed", None), ("success", None)]
    for number, (state, selection) in enumerate(runs, 1):
        connection.execute(
            """INSERT INTO runs (id, dag, state, started_at, ended_at, run_dir, selection)
            VALUES (?, 'sales', ?, ?, ?, '/r', ?)""",
            (run_id(number), state, number, number + 0.5, selection),
        )
    rows = [
        (1, "extract", "success", None, 1), (1, "load", "success", None, 1),
        (2, "extract", "skipped", "single_task", 0), (2, "load", "success", None, 1),
        (3, "extract", "success", None, 1), (3, "load", "failed", "exit", 1),
        (4, "extract", "success", None, 1), (4, "load", "skipped", "single_task", 0),
    ]  # fmt: skip
    connection.executemany(
        """INSERT INTO tasks (run, task, position, state, reason, attempts)
        VALUES (?, ?, 0, ?, ?, ?)""",
        rows,
    )
    connection.commit()
    connection.close()
    monkeypatch.undo()
    for opening in (Store.open_readonly, Store.open):
        store = opening(path)
        assert store is not None
        with store:
            assert [run.whole for run in store.runs.latest("sales")] == [False, True, False, True]
            success = store.runs.last_success("sales")
            assert success is not None
            assert success.id == run_id(1)
            assert [(s.task, s.run, s.state, s.made_by) for s in store.dags.standings("sales")] == [
                ("extract", run_id(4), "success", run_id(4)),
                ("load", run_id(3), "failed", run_id(2)),
            ]
