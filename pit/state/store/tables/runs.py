"""The runs that a store remembers with their tasks and attempts, and what can be asked of them.

Every question is answered through an index: a million runs make no difference.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pit.errors import BadArgument, UnknownRun
from pit.model import Record, RunState, TaskState
from pit.state.store import standing_table
from pit.state.store.database import Database
from pit.state.store.tables.rows import Row, columns, rows

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
    reason: str | None = None
    error: str = ""
    attempts: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    seconds: float | None = None
    why: str = ""
    made_by: str = ""
    saved: float = 0.0
    waits_since: float | None = None

    @property
    def is_done(self) -> bool:
        """Whether the run has the task's products: it succeeded, or they were handed on."""
        return self.state is TaskState.SUCCESS or bool(self.made_by)


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
    started_at: float
    reason: str | None = None
    error: str = ""
    ended_at: float | None = None
    seconds: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    cpu_seconds: float | None = None
    peak_memory: int | None = None
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


_RUN = columns(RunRow)
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

_LATEST = {
    "whole": "INDEXED BY runs_whole WHERE whole = 1",
    "complete": "INDEXED BY runs_complete WHERE complete_at IS NOT NULL",
    "worked": "INDEXED BY runs_worked WHERE reason IS NOT 'current'",
}

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


class Runs:
    """The part of a store that knows the runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def latest(
        self,
        dag: str | None = None,
        limit: int | None = 20,
        before_seq: int | None = None,
        state: RunState | None = None,
    ) -> tuple[RunRow, ...]:
        """The latest runs first; `before_seq` continues a listing, `limit` None means all."""
        given = {"dag = ?": dag, "state = ?": state, "seq < ?": before_seq}
        wanted = {test: value for test, value in given.items() if value is not None}
        where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
        found = self._database.query(
            f"SELECT {_RUN} FROM runs {where} ORDER BY seq DESC LIMIT ?",
            (*wanted.values(), -1 if limit is None else limit),
        )
        return rows(RunRow, found)

    def find(self, run_id: str) -> RunRow:
        """The run of this id or unique beginning of one; UnknownRun, or BadArgument if several."""
        exact = self._database.query(f"SELECT {_RUN} FROM runs WHERE id = ?", (run_id,))
        if exact:
            return rows(RunRow, exact)[0]
        near = self._database.query(
            f"SELECT {_RUN} FROM runs WHERE id >= ? AND id < ? ORDER BY id LIMIT 4",
            _prefixed(run_id),
        )
        if not near or not run_id:
            raise UnknownRun(run_id)
        found = rows(RunRow, near)
        if len(found) > 1:
            names = ", ".join(each.id for each in found[:3])
            raise BadArgument(
                f'more than one run begins with "{run_id}"',
                f"Give more of the id: {names}{', …' if len(found) > 3 else ''}",
            )
        return found[0]

    def named(self, run_ids: Iterable[str]) -> tuple[RunRow, ...]:
        """Those of the named runs that the store knows, the latest first."""
        wanted = list(run_ids)
        found: list[RunRow] = []
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            known = self._database.query(f"SELECT {_RUN} FROM runs WHERE id IN ({marks})", chunk)
            found.extend(rows(RunRow, known))
        return tuple(sorted(found, key=lambda row: -row.seq))

    def ids(self, prefix: str = "", limit: int = 50) -> tuple[str, ...]:
        """Ids that begin with `prefix`, the latest first: for completion."""
        found = self._database.query(
            "SELECT id FROM runs WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT ?",
            (*_prefixed(prefix), limit),
        )
        return tuple(name for (name,) in found)

    def oldest(self, dag: str, before: float, limit: int = 1000) -> tuple[RunRow, ...]:
        """Those of the first runs of a DAG that started before a time, for retention."""
        found = self._database.query(
            f"""SELECT * FROM (SELECT {_RUN} FROM runs WHERE dag = ? ORDER BY seq LIMIT ?)
            WHERE started_at < ?""",
            (dag, limit, before),
        )
        return rows(RunRow, found)

    def running(self, dag: str | None = None) -> tuple[RunRow, ...]:
        """The runs that are `running` as far as the store knows: `recover` asks their locks."""
        return self.latest(dag, limit=None, state=RunState.RUNNING)

    def ancestry(self, run_id: str) -> tuple[RunRow, ...]:
        """A run, the run whose task started it, and so on upwards."""
        found = self._database.query(
            f"""WITH RECURSIVE line(id, depth) AS (
                SELECT ?, 0
                UNION ALL
                SELECT runs.parent, depth + 1 FROM line JOIN runs USING (id)
                WHERE runs.parent IS NOT NULL AND depth < 100)
            SELECT {columns(RunRow, "runs")} FROM line JOIN runs USING (id) ORDER BY depth""",
            (run_id,),
        )
        return rows(RunRow, found)

    def last_run(self, dag: str) -> RunRow | None:
        """The latest run of a DAG, whatever became of it."""
        return next(iter(self.latest(dag, limit=1)), None)

    def last_success(self, dag: str) -> RunRow | None:
        """The run after which a whole DAG was known to be done most lately; no stub counts."""
        found = self._database.query(
            f"""SELECT {_RUN} FROM runs INDEXED BY runs_complete_at
            WHERE dag = ? AND complete_at IS NOT NULL
            ORDER BY complete_at DESC, seq DESC LIMIT 1""",
            (dag,),
        )
        return next(iter(rows(RunRow, found)), None)

    def last_whole(self, dag: str) -> RunRow | None:
        """The latest run of a DAG that was about all its tasks."""
        return self._latest(dag, "whole")

    def last_complete(self, dag: str) -> RunRow | None:
        """The latest run after which no task of a DAG was left undone."""
        return self._latest(dag, "complete")

    def last_worked(self, dag: str) -> RunRow | None:
        """The latest run of a DAG that keeps rows of its tasks: it had something to do."""
        return self._latest(dag, "worked")

    def _latest(self, dag: str, kind: str) -> RunRow | None:
        found = self._database.query(
            f"SELECT {_RUN} FROM runs {_LATEST[kind]} AND dag = ? ORDER BY seq DESC LIMIT 1", (dag,)
        )
        return next(iter(rows(RunRow, found)), None)

    def tasks(self, run_id: str) -> tuple[TaskRow, ...]:
        """The tasks of a run in the order of pit.toml, also those that never started."""
        return self._of_run(TaskRow, "tasks", "position", run_id)

    def attempts(self, run_id: str, task: str | None = None) -> tuple[AttemptRow, ...]:
        """The attempts of a run, or of one of its tasks, in the order in which they started."""
        found = self._database.query(
            f"""SELECT {columns(AttemptRow)} FROM attempts
            WHERE run = (SELECT seq FROM runs WHERE id = ?) {"" if task is None else "AND task = ?"}
            ORDER BY started_at, task, attempt""",
            (run_id,) if task is None else (run_id, task),
        )
        return rows(AttemptRow, found)

    def executing(self, dag: str, task: str) -> tuple[str, ...]:
        """The ids of the runs that are at a task of a DAG, the oldest first; not asked whether they
        are alive."""
        found = self._database.query(
            """SELECT runs.id FROM runs JOIN tasks ON tasks.run = runs.seq
            WHERE runs.dag = ? AND runs.state = 'running' AND task = ? AND tasks.state = 'running'
            ORDER BY runs.seq""",
            (dag, task),
        )
        return tuple(run for (run,) in found)

    def progress(self, run_id: str) -> tuple[ProgressRow, ...]:
        """How far the tasks of a run said that they were, of those that did."""
        return self._of_run(ProgressRow, "progress", "task", run_id)

    def warnings(self, run_id: str) -> tuple[WarningRow, ...]:
        """What a run has warned of, in that order."""
        return self._of_run(WarningRow, "warnings", "position", run_id)

    def _of_run(self, kind: type[Row], table: str, order: str, run_id: str) -> tuple[Row, ...]:
        found = self._database.query(
            f"""SELECT {columns(kind)} FROM {table}
            WHERE run = (SELECT seq FROM runs WHERE id = ?) ORDER BY {order}""",
            (run_id,),
        )
        return rows(kind, found)

    def environments(self, run_id: str) -> dict[str, str]:
        """The digests a run was executed with, by kind."""
        found = self._database.query(
            """SELECT kind, digest FROM environments
            WHERE run = (SELECT seq FROM runs WHERE id = ?) ORDER BY kind""",
            (run_id,),
        )
        return dict(found)

    def environments_of(self, run_ids: Iterable[str]) -> frozenset[str]:
        """The digests of the Python environments of runs, and of the runs that they continued."""
        named = list(run_ids)
        found: set[str] = set()
        for at in range(0, len(named), _CHUNK):
            chunk = named[at : at + _CHUNK]
            used = self._database.query(
                f"""WITH RECURSIVE line (seq, retry_of) AS (
                    SELECT seq, retry_of FROM runs WHERE id IN ({", ".join("?" * len(chunk))})
                    UNION
                    SELECT runs.seq, runs.retry_of FROM runs JOIN line ON runs.id = line.retry_of)
                SELECT DISTINCT digest FROM environments JOIN line ON run = seq
                WHERE kind = 'environment'""",
                tuple(chunk),
            )
            found.update(digest for (digest,) in used)
        return frozenset(found)

    def last_successes(self, dag: str, among: int = RECENT) -> dict[str, LastSuccess]:
        """Where each task of a DAG last succeeded, as far as its last runs with tasks tell.

        A task that was skipped as current names the run that it hands on.
        """
        found: dict[str, LastSuccess] = {}
        missing: set[str] | None = None
        for seq, run_id, _ in self._database.query(_WITH_TASKS, (dag, among)):
            if missing is None:
                names = self._database.query("SELECT task FROM tasks WHERE run = ?", (seq,))
                missing = {task for (task,) in names}
            for task, made_by, seconds in self._database.query(_DONE, (seq,)):
                done = LastSuccess(task=task, run=made_by or run_id, seconds=seconds or 0.0)
                found.setdefault(task, done)
                missing.discard(task)
            if not missing:
                break
        return found

    def tried(self, dag: str, among: int = RECENT) -> tuple[TriedRow, ...]:
        """How the tasks that the last runs of a DAG tried came out, the latest run first."""
        return tuple(
            TriedRow(
                params=msgspec.json.decode(params),
                tasks={
                    task: (TaskState(state), reason)
                    for task, state, reason in self._database.query(
                        "SELECT task, state, reason FROM tasks WHERE run = ? AND attempts > 0",
                        (seq,),
                    )
                },
            )
            for seq, _, params in self._database.query(_WITH_TASKS, (dag, among))
        )

    def interrupt(self, run_id: str, at: float) -> bool:
        """Ends a run whose holder has died; False if it is not (any more) `running`.

        `ended_at` is when that was found out; `seconds` reach to the last sign of life, for a crash
        found after a weekend did not take the weekend.
        """
        with self._database.transaction() as connection:
            found = connection.execute(
                "SELECT seq FROM runs WHERE id = ? AND state = 'running'", (run_id,)
            ).fetchone()
            if found is None:
                return False
            for statement in (*standing_table.INTERRUPT, *_INTERRUPT):
                connection.execute(statement, {"seq": found[0], "at": at})
        return True

    def forget(self, run_ids: Iterable[str]) -> int:
        """Deletes the rows of these runs, except of running ones; returns how many went."""
        wanted = [(run_id,) for run_id in run_ids]
        gone = 0
        for start in range(0, len(wanted), _CHUNK):
            with self._database.transaction() as connection:
                gone += connection.executemany(
                    "DELETE FROM runs WHERE id = ? AND state <> 'running'",
                    wanted[start : start + _CHUNK],
                ).rowcount
        return gone


def _prefixed(prefix: str) -> tuple[str, str]:
    """The bounds of the texts that begin with `prefix`, for a search in an index."""
    return prefix, prefix + _LAST_CHARACTER
