"""What the store remembers, as frozen rows, and the questions that can be asked of it.

Every question is answered through an index: a million runs make no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from pit.errors import BadArgument, UnknownRun
from pit.model import Record, RunState, TaskState
from pit.state.store import standing_table
from pit.state.store.database import Database
from pit.state.store.tables import standings
from pit.state.store.tables.standings import StandingRow

RECENT = 20
_LAST_CHARACTER = "\U0010ffff"
_CHUNK = 500


class RunRow(Record, frozen=True):
    """One run as the store has it; `seconds` is None while it runs.

    `whole`: it was about every task of its DAG. `complete_at` is since when each of them has been
    known to be done, None if a run left something undone, or was a stub.
    """

    seq: int
    id: str
    dag: str
    state: RunState
    reason: str | None
    error: str
    started_at: float
    ended_at: float | None
    seconds: float | None
    run_dir: str
    project: str
    selection: str | None
    trigger: str
    parent: str | None
    retry_of: str | None
    params: dict[str, str]
    stub: bool
    concurrency: int
    pid: int
    pid_started: float
    boot_id: str
    pit_version: str
    whole: bool
    complete_at: float | None


class TaskRow(Record, frozen=True):
    """One task of a run; a task that never started has no times and no attempts.

    `why` is why it ran, or since when it is current, or before that what it waits for, since
    `waits_since`; a skipped task hands on the products of run `made_by`, which saved `saved`
    seconds.
    """

    task: str
    position: int
    state: TaskState
    reason: str | None
    error: str
    attempts: int
    started_at: float | None
    ended_at: float | None
    seconds: float | None
    why: str = ""
    made_by: str = ""
    saved: float = 0.0
    waits_since: float | None = None


class LastSuccess(Record, frozen=True):
    """The run that last did a task's work, and how many seconds it took there."""

    task: str
    run: str
    seconds: float


class TriedRow(Record, frozen=True):
    """How the tasks that one run tried came out: state and reason by task; its parameters."""

    params: dict[str, str]
    tasks: dict[str, tuple[TaskState, str | None]]


class AttemptRow(Record, frozen=True):
    """One attempt of a task; `state` is running, success, failed or cancelled.

    `allowed` is how many attempts the task may have, 0 if that is not known; `retry_at` is when
    the next one is due.
    """

    task: str
    attempt: int
    state: TaskState
    reason: str | None
    error: str
    started_at: float
    ended_at: float | None
    seconds: float | None
    exit_code: int | None
    signal: int | None
    cpu_seconds: float | None
    peak_memory: int | None
    allowed: int = 0
    retry_at: float | None = None


class ProgressRow(Record, frozen=True):
    """How far a task said that it was, the last time that it did: `done` of `total`."""

    task: str
    attempt: int
    at: float
    done: float
    total: float | None
    message: str


class WarningRow(Record, frozen=True):
    """What somebody should know of a run and what stopped nothing; `task` is empty if it is about
    none."""

    at: float
    task: str
    message: str
    hint: str


class OutputRow(Record, frozen=True):
    """One output as the last success of its whole DAG declared it; `run` is the last such success
    in which any task did some work."""

    dag: str
    run: str
    made_at: float | None
    name: str
    type: str
    location: str
    task: str
    extra: dict[str, Any]


class Finished(Record, frozen=True):
    """How a run ended, in brief."""

    state: RunState
    seconds: float


class DagSummary(Record, frozen=True):
    """One DAG at a glance: its last run; the last `whole` one; and the last `complete` one, after
    which nothing was left undone. `recent` are the last whole runs that ended, without stubs,
    oldest first. `failing` are the tasks whose last attempt did not succeed, or is under way.
    """

    dag: str
    last: RunRow
    recent: tuple[Finished, ...]
    whole: RunRow | None = None
    complete: RunRow | None = None
    failing: tuple[StandingRow, ...] = ()

    @property
    def success_rate(self) -> float | None:
        """The share of successes among the recent runs, 0 to 1; None if there are none."""
        if not self.recent:
            return None
        return sum(run.state is RunState.SUCCESS for run in self.recent) / len(self.recent)


def _columns(kind: type[Record], table: str = "") -> str:
    prefix = f"{table}." if table else ""
    return ", ".join(f'{prefix}"{name}"' for name in kind.__struct_fields__)


Row = TypeVar("Row", bound=Record)

_DECODED: dict[str, Callable[[Any], Any]] = {
    "params": msgspec.json.decode,
    "extra": msgspec.json.decode,
    "stub": bool,
    "whole": bool,
}


def _rows(kind: type[Row], found: Iterable[Sequence[Any]]) -> tuple[Row, ...]:
    names = kind.__struct_fields__
    decoded = [(name, _DECODED[name]) for name in names if name in _DECODED]
    dicts = [dict(zip(names, row, strict=True)) for row in found]
    for values in dicts:
        for name, decode in decoded:
            values[name] = decode(values[name])
    return tuple(msgspec.convert(dicts, list[kind]))  # type: ignore[valid-type]


_RUN = _columns(RunRow)


def _prefixed(prefix: str) -> tuple[str, str]:
    """The bounds of the texts that begin with `prefix`, for a search in an index."""
    return prefix, prefix + _LAST_CHARACTER


def runs(
    database: Database,
    dag: str | None = None,
    limit: int | None = 20,
    before_seq: int | None = None,
    state: RunState | None = None,
) -> tuple[RunRow, ...]:
    """The latest runs first; `before_seq` continues a listing, `limit` None means all."""
    given = {"dag = ?": dag, "state = ?": state, "seq < ?": before_seq}
    wanted = {test: value for test, value in given.items() if value is not None}
    where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
    found = database.query(
        f"SELECT {_RUN} FROM runs {where} ORDER BY seq DESC LIMIT ?",
        (*wanted.values(), -1 if limit is None else limit),
    )
    return _rows(RunRow, found)


def run(database: Database, run_id: str) -> RunRow:
    """The run of this id or unique beginning of one; UnknownRun, or BadArgument if several."""
    exact = database.query(f"SELECT {_RUN} FROM runs WHERE id = ?", (run_id,))
    if exact:
        return _rows(RunRow, exact)[0]
    near = database.query(
        f"SELECT {_RUN} FROM runs WHERE id >= ? AND id < ? ORDER BY id LIMIT 4", _prefixed(run_id)
    )
    if not near or not run_id:
        raise UnknownRun(run_id)
    found = _rows(RunRow, near)
    if len(found) > 1:
        names = ", ".join(each.id for each in found[:3])
        raise BadArgument(
            f'more than one run begins with "{run_id}"',
            f"Give more of the id: {names}{', …' if len(found) > 3 else ''}",
        )
    return found[0]


def runs_named(database: Database, run_ids: Iterable[str]) -> tuple[RunRow, ...]:
    """Those of the named runs that the store knows, the latest first."""
    wanted = list(run_ids)
    found: list[RunRow] = []
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        marks = ", ".join("?" * len(chunk))
        rows = database.query(f"SELECT {_RUN} FROM runs WHERE id IN ({marks})", chunk)
        found.extend(_rows(RunRow, rows))
    return tuple(sorted(found, key=lambda row: -row.seq))


def run_ids(database: Database, prefix: str = "", limit: int = 50) -> tuple[str, ...]:
    """Ids that begin with `prefix`, the latest first: for completion."""
    found = database.query(
        "SELECT id FROM runs WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT ?",
        (*_prefixed(prefix), limit),
    )
    return tuple(name for (name,) in found)


def oldest(database: Database, dag: str, before: float, limit: int = 1000) -> tuple[RunRow, ...]:
    """Those of the first runs of a DAG that started before a time, for retention."""
    found = database.query(
        f"""SELECT * FROM (SELECT {_RUN} FROM runs WHERE dag = ? ORDER BY seq LIMIT ?)
        WHERE started_at < ?""",
        (dag, limit, before),
    )
    return _rows(RunRow, found)


def tasks(database: Database, run_id: str) -> tuple[TaskRow, ...]:
    """The tasks of a run in the order of pit.toml."""
    found = database.query(
        f"""SELECT {_columns(TaskRow)} FROM tasks
        WHERE run = (SELECT seq FROM runs WHERE id = ?) ORDER BY position""",
        (run_id,),
    )
    return _rows(TaskRow, found)


_WITH_TASKS = """
    SELECT seq, id, params FROM (
        SELECT seq, id, params FROM runs WHERE dag = ? ORDER BY seq DESC LIMIT 1000)
    WHERE EXISTS (SELECT 1 FROM tasks WHERE run = seq) ORDER BY seq DESC LIMIT ?"""
_DONE = """
    SELECT task, iif(state = 'success', '', made_by), CASE
        WHEN state = 'success' THEN seconds
        WHEN reason = 'succeeded_before' THEN (
            SELECT did.seconds FROM tasks AS did
            WHERE did.run = (SELECT seq FROM runs WHERE id = tasks.made_by)
                AND did.task = tasks.task)
        ELSE saved END
    FROM tasks WHERE run = ? AND (state = 'success' OR made_by <> '')"""


def last_successes(database: Database, dag: str, among: int = RECENT) -> dict[str, LastSuccess]:
    """Where each task of a DAG last succeeded, as far as its last runs with tasks tell.

    A task that was skipped as current names the run that it hands on.
    """
    found: dict[str, LastSuccess] = {}
    missing: set[str] | None = None
    for seq, run_id, _ in database.query(_WITH_TASKS, (dag, among)):
        if missing is None:
            names = database.query("SELECT task FROM tasks WHERE run = ?", (seq,))
            missing = {task for (task,) in names}
        for task, made_by, seconds in database.query(_DONE, (seq,)):
            done = LastSuccess(task=task, run=made_by or run_id, seconds=seconds or 0.0)
            found.setdefault(task, done)
            missing.discard(task)
        if not missing:
            break
    return found


def tried(database: Database, dag: str, among: int = RECENT) -> tuple[TriedRow, ...]:
    """How tasks came out in the last runs of a DAG that came to have tasks, the latest first."""
    return tuple(
        TriedRow(
            params=msgspec.json.decode(params),
            tasks={
                task: (TaskState(state), reason)
                for task, state, reason in database.query(
                    "SELECT task, state, reason FROM tasks WHERE run = ? AND attempts > 0", (seq,)
                )
            },
        )
        for seq, _, params in database.query(_WITH_TASKS, (dag, among))
    )


def is_outrun(database: Database, run_id: str, task: str) -> bool:
    """Whether another run of the same DAG has been at a task since a run was about to publish
    what it had made, or still is."""
    found = database.query(
        """SELECT 1 FROM intents JOIN runs ON runs.seq = intents.run
        WHERE runs.id = ?1 AND task = ?2 AND outrun
        UNION ALL SELECT 1 FROM attempts JOIN runs ON runs.seq = attempts.run
        WHERE runs.dag = (SELECT dag FROM runs WHERE id = ?1) AND runs.id <> ?1
            AND attempts.task = ?2 AND attempts.state = 'running' LIMIT 1""",
        (run_id, task),
    )
    return bool(found)


def attempts(database: Database, run_id: str, task: str | None = None) -> tuple[AttemptRow, ...]:
    """The attempts of a run, or of one of its tasks, in the order in which they started."""
    found = database.query(
        f"""SELECT {_columns(AttemptRow)} FROM attempts
        WHERE run = (SELECT seq FROM runs WHERE id = ?) {"" if task is None else "AND task = ?"}
        ORDER BY started_at, task, attempt""",
        (run_id,) if task is None else (run_id, task),
    )
    return _rows(AttemptRow, found)


def progress(database: Database, run_id: str) -> tuple[ProgressRow, ...]:
    """How far the tasks of a run said that they were, of those that did."""
    found = database.query(
        f"""SELECT {_columns(ProgressRow)} FROM progress
        WHERE run = (SELECT seq FROM runs WHERE id = ?) ORDER BY task""",
        (run_id,),
    )
    return _rows(ProgressRow, found)


def warnings(database: Database, run_id: str) -> tuple[WarningRow, ...]:
    """What a run has warned of, in that order."""
    found = database.query(
        f"""SELECT {_columns(WarningRow)} FROM warnings
        WHERE run = (SELECT seq FROM runs WHERE id = ?) ORDER BY position""",
        (run_id,),
    )
    return _rows(WarningRow, found)


def environments(database: Database, run_id: str) -> dict[str, str]:
    """The digests a run was executed with, by kind."""
    found = database.query(
        """SELECT kind, digest FROM environments
        WHERE run = (SELECT seq FROM runs WHERE id = ?) ORDER BY kind""",
        (run_id,),
    )
    return dict(found)


def environments_of(database: Database, run_ids: Iterable[str]) -> frozenset[str]:
    """The digests of the Python environments of runs, and of the runs that they continued."""
    named = list(run_ids)
    found: set[str] = set()
    for at in range(0, len(named), _CHUNK):
        chunk = named[at : at + _CHUNK]
        rows = database.query(
            f"""WITH RECURSIVE line (seq, retry_of) AS (
                SELECT seq, retry_of FROM runs WHERE id IN ({", ".join("?" * len(chunk))})
                UNION
                SELECT runs.seq, runs.retry_of FROM runs JOIN line ON runs.id = line.retry_of)
            SELECT DISTINCT digest FROM environments JOIN line ON run = seq
            WHERE kind = 'environment'""",
            tuple(chunk),
        )
        found.update(digest for (digest,) in rows)
    return frozenset(found)


def last_run(database: Database, dag: str) -> RunRow | None:
    """The latest run of a DAG, whatever became of it."""
    return next(iter(runs(database, dag, limit=1)), None)


def last_success(database: Database, dag: str) -> RunRow | None:
    """The run after which a whole DAG was known to be done most lately; no stub counts."""
    found = database.query(
        f"""SELECT {_RUN} FROM runs INDEXED BY runs_complete_at
        WHERE dag = ? AND complete_at IS NOT NULL ORDER BY complete_at DESC, seq DESC LIMIT 1""",
        (dag,),
    )
    return next(iter(_rows(RunRow, found)), None)


_LATEST = {
    "whole": "INDEXED BY runs_whole WHERE whole = 1",
    "complete": "INDEXED BY runs_complete WHERE complete_at IS NOT NULL",
    "worked": "INDEXED BY runs_worked WHERE reason IS NOT 'current'",
}


def _latest(database: Database, dag: str, kind: str) -> RunRow | None:
    found = database.query(
        f"SELECT {_RUN} FROM runs {_LATEST[kind]} AND dag = ? ORDER BY seq DESC LIMIT 1", (dag,)
    )
    return next(iter(_rows(RunRow, found)), None)


def last_complete(database: Database, dag: str) -> RunRow | None:
    """The latest run after which no task of a DAG was left undone."""
    return _latest(database, dag, "complete")


def last_worked(database: Database, dag: str) -> RunRow | None:
    """The latest run of a DAG that keeps rows of its tasks: it had something to do."""
    return _latest(database, dag, "worked")


def open_runs(database: Database, dag: str | None = None) -> tuple[RunRow, ...]:
    """The runs that the store has as `running`, the latest first."""
    return runs(database, dag, limit=None, state=RunState.RUNNING)


def ancestry(database: Database, run_id: str) -> tuple[RunRow, ...]:
    """A run, the run whose task started it, and so on upwards."""
    found = database.query(
        f"""WITH RECURSIVE line(id, depth) AS (
            SELECT ?, 0
            UNION ALL
            SELECT runs.parent, depth + 1 FROM line JOIN runs USING (id)
            WHERE runs.parent IS NOT NULL AND depth < 100)
        SELECT {_columns(RunRow, "runs")} FROM line JOIN runs USING (id) ORDER BY depth""",
        (run_id,),
    )
    return _rows(RunRow, found)


# SELECT DISTINCT would read the whole index; this jumps from name to name.
_DAGS = """
    WITH RECURSIVE dags(dag) AS (
        SELECT min(dag) FROM runs
        UNION ALL
        SELECT (SELECT min(dag) FROM runs WHERE dag > dags.dag) FROM dags WHERE dag IS NOT NULL)"""


def dags(database: Database) -> tuple[str, ...]:
    """Every DAG that has a run, by name."""
    return tuple(
        name for (name,) in database.query(f"{_DAGS} SELECT dag FROM dags WHERE dag IS NOT NULL")
    )


def summaries(database: Database) -> tuple[DagSummary, ...]:
    """Every DAG that has a run, at a glance, by name."""
    found = database.query(
        f"""{_DAGS}
        SELECT (SELECT json_group_array(json_object('state', state, 'seconds', seconds)) FROM (
                SELECT state, coalesce(seconds, 0.0) AS seconds FROM runs INDEXED BY runs_finished
                WHERE dag = dags.dag AND whole = 1 AND stub = 0 AND state <> 'running'
                ORDER BY seq DESC LIMIT {RECENT})),
            {_columns(RunRow, "runs")}
        FROM dags JOIN runs ON runs.seq = (SELECT max(seq) FROM runs WHERE dag = dags.dag)
        ORDER BY dags.dag"""
    )
    lasts = _rows(RunRow, (row[1:] for row in found))
    return tuple(
        DagSummary(
            dag=last.dag,
            last=last,
            recent=_oldest_first(row[0]),
            whole=last if last.whole else _latest(database, last.dag, "whole"),
            complete=last if last.complete_at else last_complete(database, last.dag),
            failing=() if last.complete_at else _failing(database, last.dag),
        )
        for last, row in zip(lasts, found, strict=True)
    )


def _failing(database: Database, dag: str) -> tuple[StandingRow, ...]:
    """The tasks whose last attempt did not succeed, since the DAG was last complete; those that
    its last run did not have any more are forgotten."""
    found = database.query(
        f"""SELECT {standings.COLUMNS}
        FROM standings INDEXED BY standings_unsuccessful
        JOIN tasks ON tasks.task = standings.task AND tasks.run = (
            SELECT max(seq) FROM runs INDEXED BY runs_worked
            WHERE dag = ?1 AND reason IS NOT 'current')
        WHERE standings.dag = ?1 AND standings.state <> 'success'
            AND standings.done_seq <= standings.seq AND standings.seq > coalesce((
            SELECT max(seq) FROM runs INDEXED BY runs_complete
            WHERE dag = ?1 AND complete_at IS NOT NULL), 0)
        ORDER BY tasks.position""",
        (dag,),
    )
    return standings.rows(found)


def _oldest_first(recent: str) -> tuple[Finished, ...]:
    return tuple(reversed(msgspec.json.decode(recent, type=list[Finished])))


def outputs(database: Database) -> tuple[OutputRow, ...]:
    """What the last success of each whole DAG declared, by DAG and in the order of pit.toml."""
    found = database.query(
        f"""{_DAGS}
        SELECT dags.dag, made.id, made.ended_at, name, type, location, outputs.task, extra
        FROM dags
        JOIN outputs ON outputs.run = (
            SELECT max(seq) FROM runs INDEXED BY runs_made WHERE dag = dags.dag AND {_MADE})
        JOIN runs AS made ON made.seq = coalesce((
            SELECT seq FROM (
                SELECT seq FROM runs INDEXED BY runs_made WHERE dag = dags.dag AND {_MADE}
                ORDER BY seq DESC LIMIT 1000)
            WHERE EXISTS (SELECT 1 FROM tasks WHERE run = seq AND attempts > 0)
            ORDER BY seq DESC LIMIT 1), outputs.run)
        ORDER BY dags.dag, outputs.position"""
    )
    return _rows(OutputRow, found)


_MADE = "whole = 1 AND state = 'success' AND stub = 0 AND reason IS NOT 'current'"


# ----------------------------------------------------------------------------------- changes

_LAST_SIGN = """
    SELECT max(coalesce(max(ended_at), 0), coalesce(max(started_at), 0)) FROM (
        SELECT started_at, ended_at FROM attempts WHERE run = :seq
        UNION ALL SELECT started_at, ended_at FROM tasks WHERE run = :seq
        UNION ALL SELECT started_at, NULL FROM runs WHERE seq = :seq)"""

_INTERRUPT = (
    f"""UPDATE runs SET state = 'interrupted', reason = 'interrupted', ended_at = :at,
        seconds = max(0.0, ({_LAST_SIGN}) - started_at) WHERE seq = :seq""",
    """UPDATE attempts SET state = 'failed', reason = 'interrupted', ended_at = :at
        WHERE run = :seq AND state = 'running'""",
    """UPDATE tasks SET state = 'failed', reason = 'interrupted', ended_at = :at,
        waits_since = NULL WHERE run = :seq AND state = 'running'""",
    """UPDATE tasks SET state = 'skipped', reason = 'interrupted', waits_since = NULL
        WHERE run = :seq AND state = 'pending'""",
)


def interrupt(database: Database, run_id: str, at: float) -> bool:
    """Ends a run whose holder has died; False if it is not (any more) `running`.

    `ended_at` is when that was found out; `seconds` reach to the last sign of life, for a crash
    found after a weekend did not take the weekend.
    """
    with database.transaction() as connection:
        found = connection.execute(
            "SELECT seq FROM runs WHERE id = ? AND state = 'running'", (run_id,)
        ).fetchone()
        if found is None:
            return False
        for statement in (*standing_table.INTERRUPT, *_INTERRUPT):
            connection.execute(statement, {"seq": found[0], "at": at})
    return True


def forget(database: Database, run_ids: Iterable[str]) -> int:
    """Deletes the rows of these runs, except of running ones; returns how many went."""
    wanted = [(run_id,) for run_id in run_ids]
    gone = 0
    for start in range(0, len(wanted), _CHUNK):
        with database.transaction() as connection:
            gone += connection.executemany(
                "DELETE FROM runs WHERE id = ? AND state <> 'running'",
                wanted[start : start + _CHUNK],
            ).rowcount
    return gone
