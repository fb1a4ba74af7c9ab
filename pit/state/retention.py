"""What is kept of finished runs and for how long: a pure plan, then its execution.

Per DAG a run's folder stays while the run is younger than `days` or among the last `runs`; its
snapshot (`project/`) only for the last `snapshots` successes; and everything of the last run that
did not succeed, until a later one does. Rows stay for `history_days`, so `pit status` remembers
more than the disk holds. What a task's record points to outlives all of that: the rows of its run,
and its `data/` where products lie in it. A run whose lock is held is never touched.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from pit.errors import PitError
from pit.fs.files import failure, remove_tree, usage
from pit.fs.locks import Lock, held
from pit.model import Reason, Record, Retention, RunState
from pit.state import bases, trash
from pit.state.rundir import PARTS, UNFINISHED, RunDir, dag_of, is_run_id
from pit.state.store.store import Store
from pit.state.store.tables.runs import RunRow

DAY = 86400.0
_GRACE_FOR_ORPHANS = DAY

Keep = Callable[[str], Sequence[str]]


class Removal(Record, frozen=True):
    """What goes of one run: some parts of its folder or the `whole` of it, and its rows.

    `dag` is empty for a folder that belongs to no recorded run.
    """

    run: str
    dag: str = ""
    parts: tuple[str, ...] = ()
    whole: bool = False
    rows: bool = False


class Pruned(Record, frozen=True):
    """What an execution achieved: bytes freed, and a sentence for all that could not be removed."""

    bytes: int = 0
    runs: int = 0
    problems: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------- the plan


def plan(
    rows: Iterable[RunRow],
    now: float,
    retention: Retention,
    keep: Keep,
    pointed_at: Mapping[str, bool] | None = None,
) -> tuple[Removal, ...]:
    """What may go of the given runs, which hold the last ones of each DAG completely.

    `keep` gives the parts that a DAG keeps (`keep_artifacts`), `pointed_at` the runs that records
    name, and whether they need the data folder. Knows nothing of the disk.
    """
    by_dag: defaultdict[str, list[RunRow]] = defaultdict(list)
    for row in rows:
        by_dag[row.dag].append(row)
    planned = (
        _sparing(removal, pointed_at or {})
        for dag in sorted(by_dag)
        for removal in _plan_dag(by_dag[dag], now, retention, frozenset(keep(dag)))
    )
    return tuple(removal for removal in planned if removal.whole or removal.parts)


def _plan_dag(
    rows: list[RunRow], now: float, retention: Retention, keep: frozenset[str]
) -> list[Removal]:
    rows.sort(key=lambda row: -row.seq)
    whole_snapshots = _snapshots(rows, retention.snapshots)
    spared = _last_unsuccessful(rows)
    removals = []
    for rank, row in enumerate(rows):
        if row.state is RunState.RUNNING or row.seq == spared:
            continue
        age = now - row.started_at
        if age > retention.days * DAY and rank >= retention.runs:
            rows_too = age > retention.history_days * DAY
            removals.append(Removal(run=row.id, dag=row.dag, whole=True, rows=rows_too))
            continue
        parts = _parts(keep, row.seq in whole_snapshots)
        if parts:
            removals.append(Removal(run=row.id, dag=row.dag, parts=parts))
    return removals


def _sparing(removal: Removal, pointed_at: Mapping[str, bool]) -> Removal:
    """A removal without what records point to."""
    needs_data = pointed_at.get(removal.run)
    if needs_data is None:
        return removal
    if not needs_data:
        return msgspec.structs.replace(removal, rows=False)
    parts = tuple(part for part in (PARTS if removal.whole else removal.parts) if part != "data")
    return Removal(run=removal.run, dag=removal.dag, parts=parts)


def _snapshots(rows: list[RunRow], count: int) -> frozenset[int]:
    successes = [row.seq for row in rows if _succeeded(row)]
    return frozenset(successes[:count])


def _succeeded(row: RunRow) -> bool:
    # A stub did nothing: it is no success that could stand in for an earlier one.
    return row.state is RunState.SUCCESS and not row.stub


def _last_unsuccessful(rows: list[RunRow]) -> int | None:
    """The number of the last run that did not succeed, unless a later one succeeded."""
    for row in rows:
        if _succeeded(row):
            return None
        if row.state not in {RunState.RUNNING, RunState.SUCCESS}:
            return row.seq
    return None


def _parts(keep: frozenset[str], snapshot: bool) -> tuple[str, ...]:
    return tuple(part for part in PARTS if part not in keep or (part == "project" and not snapshot))


# --------------------------------------------------------------------------------- what is there


def survey(
    store: Store, runs_dir: Path, retention: Retention, dags: Iterable[str], now: float
) -> tuple[RunRow, ...]:
    """The rows that a plan for these DAGs needs: of every folder, the last runs, old history."""
    wanted = frozenset(dags)
    last = max(retention.runs, retention.snapshots, 1)
    folders = (name for name in _folders(runs_dir) if dag_of(name) in wanted)
    found = list(store.runs.named(folders))
    for dag in wanted:
        found.extend(store.runs.latest(dag, limit=last))
        found.extend(store.runs.oldest(dag, now - retention.history_days * DAY))
    return tuple({row.seq: row for row in found}.values())


def _folders(runs_dir: Path) -> list[str]:
    try:
        return sorted(path.name for path in runs_dir.iterdir() if is_run_id(path.name))
    except OSError:
        return []


def snapshots(runs_dir: Path) -> tuple[int, int]:
    """How many frozen projects there are, and the bytes that they take on disk."""
    found = [
        folder for name in _folders(runs_dir) if (folder := runs_dir / name / "project").is_dir()
    ]
    return len(found), sum(usage(folder, linked=False) for folder in found)


def orphans(store: Store, runs_dir: Path, now: float) -> tuple[Removal, ...]:
    """Folders of no recorded run, nor of a live one, that are older than a day."""
    known = {row.id for row in store.runs.named(_folders(runs_dir))}
    try:
        strange = [
            path
            for path in sorted(runs_dir.iterdir())
            if path.name not in known
            and (is_run_id(path.name) or path.name.startswith(UNFINISHED))
            and now - path.lstat().st_mtime > _GRACE_FOR_ORPHANS
            and not held(path / "lock")
        ]
    except OSError:
        return ()
    return tuple(Removal(run=path.name, whole=True) for path in strange)


def prune_plan(
    store: Store, runs_dir: Path, retention: Retention, keep: Keep, now: float | None = None
) -> tuple[Removal, ...]:
    """All that may go from a workspace now: only what is there, and of runs that are not alive."""
    at = time.time() if now is None else now
    of_runs = _plan_present(store, runs_dir, retention, keep, store.dags.names(), at)
    return (*of_runs, *orphans(store, runs_dir, at))


def _plan_present(
    store: Store,
    runs_dir: Path,
    retention: Retention,
    keep: Keep,
    dags: Iterable[str],
    now: float,
) -> tuple[Removal, ...]:
    named = tuple(dags)
    rows = survey(store, runs_dir, retention, named, now)
    pointed_at = {run: data for dag in named for run, data in store.records.pointed_at(dag).items()}
    planned = plan(rows, now, retention, keep, pointed_at)
    present = (_present(each, runs_dir) for each in planned)
    return tuple(removal for removal in present if removal)


def _present(removal: Removal, runs_dir: Path) -> Removal | None:
    """A removal reduced to what there is to remove; None if nothing is left of it."""
    if not is_run_id(removal.run):
        return removal if removal.rows else None
    folder = RunDir.at(runs_dir, removal.run)
    if folder.is_alive():
        return None
    there = folder.parts()
    whole = removal.whole and folder.root.exists()
    parts = there if whole else tuple(part for part in removal.parts if part in there)
    if not (whole or parts or removal.rows):
        return None
    return Removal(run=removal.run, dag=removal.dag, parts=parts, whole=whole, rows=removal.rows)


def size(removal: Removal, runs_dir: Path) -> int:
    """The bytes on disk that a removal would free."""
    root = runs_dir / removal.run
    if removal.whole:
        return usage(root)
    return sum(usage(root / part) for part in removal.parts)


def plan_of(store: Store, runs_dir: Path, rows: Iterable[RunRow]) -> tuple[Removal, ...]:
    """The folders of runs that are not alive, whatever retention says, without what records name.

    One that died while it published keeps its folder until that has been finished.
    """
    publishing = {intent.run for intent in store.publications.pending()}
    ended = [row for row in rows if row.id not in publishing]
    pointed_at = {
        run: data
        for dag in {row.dag for row in ended}
        for run, data in store.records.pointed_at(dag).items()
    }
    planned = (_sparing(Removal(run=row.id, dag=row.dag, whole=True), pointed_at) for row in ended)
    return tuple(each for removal in planned if (each := _present(removal, runs_dir)))


def plan_of_all(store: Store, runs_dir: Path) -> tuple[Removal, ...]:
    """The folders of all runs that have ended, as `plan_of` has them."""
    return plan_of(store, runs_dir, store.runs.named(_folders(runs_dir)))


def environments(store: Store, runs_dir: Path, going: Iterable[Removal] = ()) -> frozenset[str]:
    """The digests of the Python environments that runs use, or that a retry of one would need.

    Only a run that has its snapshot can be executed again; `going` are about to lose theirs.
    """
    gone = {each.run for each in going if each.whole or "project" in each.parts}
    return store.runs.environments_of(
        name
        for name in _folders(runs_dir)
        if name not in gone and (runs_dir / name / "project").is_dir()
    )


# ----------------------------------------------------------------------------------- carrying out


def apply(removals: Iterable[Removal], store: Store, runs_dir: Path, aside: bool = False) -> Pruned:
    """Removes what was planned, run by run, with each run's lock held; goes on after a problem.

    With `aside` it goes into the trash, so that nobody waits, and no bytes are counted.
    """
    freed, runs = 0, 0
    problems: list[str] = []
    forgotten: list[str] = []
    for removal in removals:
        try:
            gone = _remove(removal, runs_dir, aside)
        except PitError as error:
            problems.append(str(error))
            continue
        if gone is None:
            continue
        freed, runs = freed + gone, runs + 1
        if removal.rows:
            forgotten.append(removal.run)
    store.runs.forget(forgotten)
    return Pruned(bytes=freed, runs=runs, problems=tuple(problems))


def _remove(removal: Removal, runs_dir: Path, aside: bool) -> int | None:
    """Removes the files of one removal; the bytes freed, or None if the run turned out alive."""
    if not (removal.whole or removal.parts):
        return 0
    root = runs_dir / removal.run
    if not root.is_dir():
        return 0
    lock = Lock(root / "lock")
    if not lock.acquire():
        return None
    try:
        freed = 0 if aside else size(removal, runs_dir)
        _remove_files(removal, root, aside)
        return freed
    finally:
        lock.release()


def _remove_files(removal: Removal, root: Path, aside: bool) -> None:
    for path in [root] if removal.whole else [root / part for part in removal.parts]:
        if aside and _is_taken(path, root, removal.dag):
            continue
        try:
            remove_tree(path)
        except OSError as error:
            raise failure(error, f"cannot remove {error.filename or path}") from error


def _is_taken(path: Path, root: Path, dag: str) -> bool:
    """Whether something of a run's folder has another place: as a base, or in the trash."""
    if dag and path in (root, root / "project"):
        is_base = bases.offer(root, dag)
        if is_base and path != root:
            return True
    return trash.set_aside(path, root.parent)


def trim(folder: RunDir, keep: Sequence[str]) -> None:
    """Removes what `keep_artifacts` does not list of a run that has ended; with [] its folder."""
    for part in PARTS:
        path = folder.root / part
        if part not in keep and not _is_taken(path, folder.root, folder.dag):
            folder.remove(part)
    if not keep:
        folder.remove_all()


def empty(runs_dir: Path) -> None:
    """Removes what needs no room once room is asked for: the trash, and the bases of snapshots."""
    bases.empty(runs_dir)
    trash.empty(runs_dir)


def after_run(
    store: Store,
    runs_dir: Path,
    run_id: str,
    retention: Retention,
    keep: Sequence[str],
    now: float,
) -> Pruned:
    """What follows a run: its own folder is trimmed, and older runs of its DAG are retired.

    A run that did not succeed is left whole, for those who look into it. Never raises for a file
    that cannot be removed: the run is over and its result stands. What goes is in the trash until
    the next run, and a project may become its base; but for a disk that is full, where room is
    needed at once.
    """
    folder = RunDir.at(runs_dir, run_id)
    problems: tuple[str, ...] = ()
    full = False
    try:
        run = store.runs.find(run_id)
        full = run.reason == Reason.DISK_FULL
        if run.state is RunState.SUCCESS:
            needs_data = store.records.pointed_at(folder.dag).get(run_id, False)
            trim(folder, (*keep, "data") if needs_data else keep)
    except PitError as error:
        problems = (str(error),)
    planned = _plan_present(store, runs_dir, retention, lambda _: keep, (folder.dag,), now)
    pruned = apply(planned, store, runs_dir, aside=not full)
    if full:
        empty(runs_dir)
    return msgspec.structs.replace(pruned, problems=(*problems, *pruned.problems))
