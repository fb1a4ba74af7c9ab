"""Retention: the plan as a table of cases, and its execution on real folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pit.fs.locks import Lock
from pit.model import FileMark, Fingerprint, Retention, RunState, TaskRecord
from pit.state import retention
from pit.state.retention import DAY, Removal
from pit.state.rundir import PARTS, UNFINISHED, RunDir
from pit.state.store.store import Store
from pit.state.store.tables.runs import RunRow
from tests.state import story
from tests.state.story import EPOCH, ended, run_id, started

NOW = EPOCH + 400 * DAY
RULES = Retention(days=30, runs=3, snapshots=2, history_days=365)
S, F, R, C, I = (  # noqa: E741
    RunState.SUCCESS,
    RunState.FAILED,
    RunState.RUNNING,
    RunState.CANCELLED,
    RunState.INTERRUPTED,
)


def row(
    number: int, state: RunState, days: float, stub: bool = False, dag: str = "sales"
) -> RunRow:
    """A run that began so many days ago."""
    at = NOW - days * DAY
    return story.row(
        RunRow, seq=number, id=run_id(number, dag), dag=dag, state=state, stub=stub,
        started_at=at, ended_at=at + 1, seconds=1.0, params={},
    )  # fmt: skip


def planned(
    states: list[tuple[RunState, float]], keep: tuple[str, ...] = PARTS
) -> dict[int, object]:
    """What goes of runs given oldest first: "whole", "rows" or the parts, by number."""
    rows = [row(number, state, days) for number, (state, days) in enumerate(states, 1)]
    found = {}
    for removal in retention.plan(rows, NOW, RULES, lambda _: keep):
        number = next(each.seq for each in rows if each.id == removal.run)
        whole = "rows" if removal.rows else "whole"
        found[number] = whole if removal.whole else removal.parts
    return found


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], {}),
        # Younger than 30 days: all stay, snapshots of the last two successes only.
        ([(S, 9), (S, 8), (S, 7), (S, 6)], {1: ("project",), 2: ("project",)}),
        # Old, but among the last three.
        ([(S, 99), (S, 98), (S, 97)], {1: ("project",)}),
        # Old and not among the last three.
        ([(S, 99), (S, 98), (S, 97), (S, 96)], {1: "whole", 2: ("project",)}),
        # Rows go after a year.
        ([(S, 366), (S, 364), (S, 3), (S, 2), (S, 1)], {1: "rows", 2: "whole", 3: ("project",)}),
        # The last failure keeps everything, however old, until a later success.
        ([(F, 99), (F, 98)], {1: ("project",)}),
        ([(F, 300), (R, 3), (R, 2), (R, 1)], {}),
        ([(S, 99), (F, 98), (S, 97)], {2: ("project",)}),
        ([(C, 9), (I, 8)], {1: ("project",)}),
        # A running run is never touched.
        ([(R, 999), (S, 3), (S, 2), (S, 1)], {2: ("project",)}),
    ],
)
def test_the_plan(states: list[tuple[RunState, float]], expected: dict[int, object]) -> None:
    assert planned(states) == expected


def test_parts_that_a_dag_does_not_keep_go() -> None:
    assert planned([(S, 2), (S, 1)], keep=("logs",)) == {
        1: ("project", "data"),
        2: ("project", "data"),
    }
    assert planned([(S, 1)], keep=()) == {1: PARTS}


def test_a_stub_is_no_success_that_frees_a_failure() -> None:
    rows = [row(1, F, 99), row(2, S, 98, stub=True)]
    assert [r.run for r in retention.plan(rows, NOW, RULES, lambda _: PARTS)] == [rows[1].id]


@pytest.mark.parametrize(
    ("days", "keep", "needs_data", "expected"),
    [
        # Old: the rows outlive a year, the data folder outlives everything.
        (366, PARTS, False, Removal(run=run_id(1), dag="sales", whole=True)),
        (366, PARTS, True, Removal(run=run_id(1), dag="sales", parts=("project", "logs"))),
        (99, PARTS, True, Removal(run=run_id(1), dag="sales", parts=("project", "logs"))),
        # Young: what the DAG does not keep goes, but for the data.
        (1, ("logs",), False, Removal(run=run_id(1), dag="sales", parts=("project", "data"))),
        (1, ("logs",), True, Removal(run=run_id(1), dag="sales", parts=("project",))),
        (1, ("logs", "project"), True, None),
    ],
)
def test_what_a_record_points_to_is_spared(
    days: float, keep: tuple[str, ...], needs_data: bool, expected: Removal | None
) -> None:
    rows = [row(number, S, days if number == 1 else 0) for number in range(1, 5)]
    rules = Retention(days=30, runs=3, snapshots=9, history_days=365)
    planned = retention.plan(rows, NOW, rules, lambda _: keep, {run_id(1): needs_data})
    assert [r for r in planned if r.run == run_id(1)] == ([expected] if expected else [])


def test_each_dag_counts_for_itself() -> None:
    rows = [row(n, S, 99 - n, dag="ab"[n % 2]) for n in range(1, 7)]
    assert not [r for r in retention.plan(rows, NOW, RULES, lambda _: PARTS) if r.whole]


# --------------------------------------------------------------------------- with real folders


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An open store beside the run folders."""
    with Store.open(tmp_path / "pit.db") as opened:
        yield opened


def make_run(
    store: Store, runs_dir: Path, days: float, state: RunState = S, dag: str = "sales"
) -> RunDir:
    """A recorded run with something in each part of its folder, ended unless it is running."""
    at = NOW - days * DAY
    folder = RunDir.allocate(runs_dir, dag, at)
    for part in PARTS:
        (folder.root / part / "file").write_bytes(b"x" * 5000)
    store.emit(started(folder.id, dag, at=at, run_dir=str(folder.root)))
    if state is not R:
        store.emit(ended(folder.id, state, at=at + 1))
        store.barrier()
        folder.lock.release()
    return folder


def prune(store: Store, runs_dir: Path, rules: Retention = RULES) -> retention.Pruned:
    """Plans and applies, as `pit prune` does."""
    removals = retention.prune_plan(store, runs_dir, rules, lambda _: PARTS, NOW)
    return retention.apply(removals, store, runs_dir)


def test_pruning_removes_what_was_planned_and_then_nothing_more(
    store: Store, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    ancient, old, *recent = [make_run(store, runs, days) for days in (380, 99, 9, 8, 7)]
    removals = retention.prune_plan(store, runs, RULES, lambda _: PARTS, NOW)
    assert {(r.run, r.whole, r.rows) for r in removals} == {
        (ancient.id, True, True),
        (old.id, True, False),
        (recent[0].id, False, False),
    }
    expected = sum(retention.size(removal, runs) for removal in removals)
    assert expected > 7 * 4096
    pruned = retention.apply(removals, store, runs)
    assert (pruned.bytes, pruned.runs, pruned.problems) == (expected, 3, ())
    assert not ancient.root.exists()
    assert not old.root.exists()
    assert [folder.parts() for folder in recent] == [("logs", "data"), PARTS, PARTS]
    assert {each.id for each in store.runs.latest()} == {old.id, *(folder.id for folder in recent)}
    assert retention.prune_plan(store, runs, RULES, lambda _: PARTS, NOW) == ()


def test_a_live_run_is_never_touched(store: Store, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    alive = make_run(store, runs, 390, R)
    for days in (9, 8, 7, 6):
        make_run(store, runs, days)
    # Even if the store were wrong about it.
    store.runs.interrupt(alive.id, NOW)
    removals = [Removal(run=alive.id, dag="sales", whole=True, rows=True)]
    assert retention.apply(removals, store, runs) == retention.Pruned()
    prune(store, runs)
    assert alive.parts() == PARTS
    assert store.runs.find(alive.id).state is RunState.INTERRUPTED


def test_history_without_a_folder_is_forgotten_after_a_year(store: Store, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    folder = make_run(store, runs, 380)
    folder.remove_all()
    for days in (9, 8, 7):
        make_run(store, runs, days)
    prune(store, runs)
    assert store.runs.named([folder.id]) == ()


def test_folders_of_no_run_go_after_a_day(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    orphan = RunDir.allocate(runs, "gone", EPOCH)
    orphan.lock.release()
    locked = RunDir.allocate(runs, "starting", EPOCH)
    (runs / f"{UNFINISHED}0123").mkdir()
    (runs / "notes").mkdir()
    (runs / "README").write_text("mine")
    modified = orphan.root.stat().st_mtime
    assert retention.orphans(store, runs, modified + 0.9 * DAY) == ()
    removals = retention.orphans(store, runs, modified + 1.1 * DAY)
    assert {removal.run for removal in removals} == {orphan.id, f"{UNFINISHED}0123"}
    retention.apply(removals, store, runs)
    assert {path.name for path in runs.iterdir()} == {locked.id, "notes", "README"}


def test_a_folder_that_cannot_be_removed_is_reported_and_the_rest_goes(
    store: Store, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    first, second = make_run(store, runs, 99), make_run(store, runs, 98)
    for days in (9, 8, 7):
        make_run(store, runs, days)
    # A folder in the place of the lock file: it cannot be locked, so it must not be touched.
    (first.root / "lock").unlink()
    (first.root / "lock").mkdir()
    pruned = prune(store, runs)
    assert len(pruned.problems) == 1
    assert first.id in pruned.problems[0]
    assert first.parts() == PARTS
    assert not second.root.exists()


def test_after_a_run_its_dag_is_tidied_and_others_are_left(store: Store, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    other = make_run(store, runs, 99, dag="other")
    old, *kept = [make_run(store, runs, days) for days in (99, 3, 2, 1)]
    pruned = retention.after_run(store, runs, kept[-1].id, RULES, ("logs", "project"), NOW)
    assert pruned.problems == ()
    assert not old.root.exists()
    assert [folder.parts() for folder in kept] == [
        ("logs",),
        ("project", "logs"),
        ("project", "logs"),
    ]
    assert other.parts() == PARTS


def test_with_nothing_to_keep_the_history_alone_remains(store: Store, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    folder = make_run(store, runs, 0)
    retention.after_run(store, runs, folder.id, RULES, (), NOW)
    assert not folder.root.exists()
    assert store.runs.find(folder.id).state is S


def accept(store: Store, folder: RunDir, *places: str, task: str = "load") -> None:
    """A record of a task whose last success was in a run; `data:` is what it saved there."""
    mark = FileMark(digest="ab" * 32, size=1)
    saved = {place: mark for place in places if place.startswith("data:")}
    products = {place: mark for place in places if place not in saved}
    fingerprint = Fingerprint(version=1, products=products, handed=saved)
    record = TaskRecord(
        dag=folder.dag,
        task=task,
        params="",
        run=folder.id,
        at=NOW,
        seconds=1.0,
        fingerprint=fingerprint,
    )
    store.records.accept(record)


def test_products_in_a_runs_data_folder_stay_while_their_record_does(
    store: Store, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    saved, published, old = [make_run(store, runs, days) for days in (399, 398, 397)]
    for days in (9, 8, 7):
        make_run(store, runs, days)
    accept(store, saved, "out/a.csv", "data:table.parquet", task="save")
    accept(store, published, "out/b.csv", "/elsewhere/data/c.csv", task="publish")
    prune(store, runs)
    assert saved.parts() == ("data",)
    assert not published.root.exists()
    assert not old.root.exists()
    # What a record names can be looked up, and its folder is nobody's orphan.
    left = {saved.id, published.id}
    assert {each.id for each in store.runs.named([saved.id, published.id, old.id])} == left
    assert retention.prune_plan(store, runs, RULES, lambda _: PARTS, NOW) == ()
    store.records.forget("sales", "save")
    store.records.forget("sales", "publish")
    prune(store, runs)
    assert not saved.root.exists()
    assert store.runs.named(left) == ()


@pytest.mark.parametrize("keep", [(), ("logs",)])
def test_a_run_keeps_the_data_that_its_records_need_whatever_its_dag_keeps(
    store: Store, tmp_path: Path, keep: tuple[str, ...]
) -> None:
    runs = tmp_path / "runs"
    folder = make_run(store, runs, 0)
    accept(store, folder, "data:table.parquet")
    retention.after_run(store, runs, folder.id, RULES, keep, NOW)
    assert folder.parts() == (*keep, "data")
    later = make_run(store, runs, 0)
    accept(store, later)
    retention.after_run(store, runs, later.id, RULES, keep, NOW)
    assert folder.parts() == keep
    assert later.parts() == keep


def test_the_default_rules_keep_what_the_manual_promises(store: Store, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    folders = [make_run(store, runs, 60 - step) for step in range(25)]
    prune(store, runs, Retention())
    assert [folder.root.exists() for folder in folders] == [False] * 5 + [True] * 20
    assert ["project" in folder.parts() for folder in folders] == [False] * 22 + [True] * 3


def test_planning_does_not_need_the_folder_of_runs(store: Store, tmp_path: Path) -> None:
    assert retention.prune_plan(store, tmp_path / "missing", RULES, lambda _: PARTS, NOW) == ()


def test_pruning_takes_the_runs_lock_while_it_removes(store: Store, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    old = make_run(store, runs, 99)
    for days in (9, 8, 7):
        make_run(store, runs, days)
    removals = retention.prune_plan(store, runs, RULES, lambda _: PARTS, NOW)
    with Lock(old.root / "lock"):
        pruned = retention.apply(removals, store, runs)
        assert old.parts() == PARTS
    assert pruned.problems == ()
    assert msgspec.structs.asdict(pruned)["runs"] == len(removals) - 1
