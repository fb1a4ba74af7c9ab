"""The store: what ran and how it ended, in one SQLite file that survives whatever happens.

Written through events by one `pit run`, read by every command beside it. The layout and the
reasons for it stand in `migrations.py`; `recording.py` says what each event writes, `history.py`
what can be asked of the past, `records.py` what is kept of each task's last success. The file, its
log (`-wal`), its index (`-shm`) and its reserve (`-reserve`) are readable by their owner alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from pit.errors import PitError, StoreUnavailable
from pit.events import Fact, RunStarted
from pit.model import RunState, TaskRecord
from pit.state.store.database import Database, open_for_reading, open_for_writing
from pit.state.store.reserve import Reserve
from pit.state.store.tables import (
    audit,
    digests,
    history,
    intents,
    makings,
    owners,
    records,
    snapshots,
    standings,
)
from pit.state.store.tables.audit import RequestRow, SecretChange, ValueRow
from pit.state.store.tables.digests import Seen
from pit.state.store.tables.history import (
    AttemptRow,
    DagSummary,
    LastSuccess,
    OutputRow,
    ProgressRow,
    RunRow,
    TaskRow,
    TriedRow,
    WarningRow,
)
from pit.state.store.tables.intents import Intent
from pit.state.store.tables.makings import Making
from pit.state.store.tables.records import NoteRow
from pit.state.store.tables.standings import LastMade, StandingRow
from pit.state.store.writer import Writer


class Store(AbstractContextManager["Store"]):
    """An open metadata database; it takes facts where it was opened for writing.

    Any thread may call anything. Reads see what is durable, so not what was emitted since the
    last `barrier`.
    """

    def __init__(self, database: Database, writer: Writer | None) -> None:
        self._database = database
        self._writer = writer

    @classmethod
    def open(cls, path: Path) -> Store:
        """Opens for reading and writing, made or migrated as needed.

        StoreUnavailable, or DiskFull, says why it cannot be.
        """
        database = open_for_writing(path)
        reserve = Reserve(path)
        reserve.keep()
        return cls(database, Writer(database, reserve))

    @classmethod
    def open_readonly(cls, path: Path) -> Store:
        """Opens for reading, also on a disk that is read-only.

        Where there is no database yet, it is a store in which nothing is: see `exists`.
        """
        return cls(open_for_reading(path), None)

    @property
    def path(self) -> Path:
        """Where the database lies."""
        return self._database.path

    @property
    def exists(self) -> bool:
        """Whether there is a database at all; one that is not there yet reads as an empty one."""
        return self._database.exists

    # ----------------------------------------------------------------------------- taking facts

    def emit(self, fact: Fact) -> None:
        """Takes a fact, durable at the latest 50 ms later, and of progress the last a second
        later; a RunStarted is durable on return, or an error is raised and nothing of it is kept.

        May raise what an earlier commit in the background ran into (DiskFull, StoreUnavailable);
        the fact is queued even so.
        """
        if isinstance(fact, RunStarted):
            self._sink().add_now(fact)
        else:
            self._sink().add(fact)

    def barrier(self) -> None:
        """Returns when everything emitted before is durable.

        Raises StoreUnavailable or DiskFull if it could not be; what was emitted stays queued and
        the next barrier tries again. When the disk is full, the reserve is used and DiskFull is
        raised once all the same: the run should end, and its end can be recorded.
        """
        self._sink().flush()

    def _sink(self) -> Writer:
        if self._writer is None:
            raise StoreUnavailable(f"{self.path} was opened for reading only")
        return self._writer

    def close(self) -> None:
        """Makes everything durable and closes; raises as `barrier` does, closed even then."""
        try:
            if self._writer is not None:
                self._writer.close()
        finally:
            self._database.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------------------------------------- reading

    def one_state(self) -> AbstractContextManager[None]:
        """Reads inside see one state of the history, whatever is written meanwhile."""
        return self._database.snapshot()

    def runs(
        self,
        dag: str | None = None,
        limit: int | None = 20,
        before_seq: int | None = None,
        state: RunState | None = None,
    ) -> tuple[RunRow, ...]:
        """The latest runs first; `before_seq` continues a listing, `limit` None means all."""
        return history.runs(self._database, dag, limit, before_seq, state)

    def run(self, run_id: str) -> RunRow:
        """The run of this id or unique beginning of one; UnknownRun, or BadArgument if several."""
        return history.run(self._database, run_id)

    def runs_named(self, run_ids: Iterable[str]) -> tuple[RunRow, ...]:
        """Those of the named runs that are known, the latest first."""
        return history.runs_named(self._database, run_ids)

    def oldest(self, dag: str, before: float) -> tuple[RunRow, ...]:
        """Those of the first thousand runs of a DAG that started before a time."""
        return history.oldest(self._database, dag, before)

    def run_ids(self, prefix: str = "", limit: int = 50) -> tuple[str, ...]:
        """Ids that begin with `prefix`, the latest first."""
        return history.run_ids(self._database, prefix, limit)

    def tasks(self, run_id: str) -> tuple[TaskRow, ...]:
        """The tasks of a run in the order of pit.toml, also those that never started."""
        return history.tasks(self._database, run_id)

    def attempts(self, run_id: str, task: str | None = None) -> tuple[AttemptRow, ...]:
        """The attempts of a run, or of one task, in the order in which they started."""
        return history.attempts(self._database, run_id, task)

    def progress(self, run_id: str) -> tuple[ProgressRow, ...]:
        """How far the tasks of a run said that they were, of those that did."""
        return history.progress(self._database, run_id)

    def warnings(self, run_id: str) -> tuple[WarningRow, ...]:
        """What a run has warned of, in that order."""
        return history.warnings(self._database, run_id)

    def environments(self, run_id: str) -> dict[str, str]:
        """The digests that a run was executed with, by kind."""
        return history.environments(self._database, run_id)

    def environments_of(self, run_ids: Iterable[str]) -> frozenset[str]:
        """The digests of the Python environments of runs and of those that they continued."""
        return history.environments_of(self._database, run_ids)

    def last_run(self, dag: str) -> RunRow | None:
        """The latest run of a DAG, whatever became of it."""
        return history.last_run(self._database, dag)

    def last_success(self, dag: str) -> RunRow | None:
        """The run after which a whole DAG was known to be done most lately; no stub counts."""
        return history.last_success(self._database, dag)

    def last_complete(self, dag: str) -> RunRow | None:
        """The latest run after which no task of a DAG was left undone."""
        return history.last_complete(self._database, dag)

    def last_worked(self, dag: str) -> RunRow | None:
        """The latest run of a DAG that had something to do."""
        return history.last_worked(self._database, dag)

    def standings(self, dag: str) -> tuple[StandingRow, ...]:
        """How each task stands that a DAG has or had, by its own last attempt."""
        return standings.standings(self._database, dag)

    def last_successes(self, dag: str) -> dict[str, LastSuccess]:
        """The run that last did each task's work, by task, as far as recent runs tell."""
        return history.last_successes(self._database, dag)

    def tried(self, dag: str) -> tuple[TriedRow, ...]:
        """How the tasks that the last runs of a DAG tried came out, the latest run first."""
        return history.tried(self._database, dag)

    def open_runs(self, dag: str | None = None) -> tuple[RunRow, ...]:
        """The runs that are `running` as far as the store knows: `recover` asks their locks."""
        return history.open_runs(self._database, dag)

    def ancestry(self, run_id: str) -> tuple[RunRow, ...]:
        """A run, the run whose task started it, and so on upwards."""
        return history.ancestry(self._database, run_id)

    def owner(self, dag: str) -> str:
        """The real path of the workspace that a DAG belongs to; empty if it is nobody's yet."""
        return owners.owner(self._database, dag)

    def dags(self) -> tuple[str, ...]:
        """Every DAG that has a run, by name."""
        return history.dags(self._database)

    def summaries(self) -> tuple[DagSummary, ...]:
        """Every DAG that has a run with its last run and its recent ones, by name."""
        return history.summaries(self._database)

    def made(self, dag: str, task: str) -> LastMade | None:
        """The last success of a task, or of one of its instances, that reached the project."""
        return standings.made(self._database, dag, task)

    def outputs(self) -> tuple[OutputRow, ...]:
        """What the last success of each whole DAG declared to make."""
        return history.outputs(self._database)

    # --------------------------------------------------------------------------------- changing

    def interrupt(self, run_id: str, at: float) -> bool:
        """Ends a run whose holder died, durably; False if it was not `running` any more."""
        return history.interrupt(self._database, run_id, at)

    def take(self, dag: str, workspace: str, is_free: Callable[[str], bool]) -> str:
        """Makes a DAG that of a workspace, durably, if `is_free` says so of the one that has it.

        Returns whose it is then.
        """
        return owners.take(self._database, dag, workspace, is_free)

    def forget(self, run_ids: Iterable[str]) -> int:
        """Deletes the rows of these runs, except of running ones; returns how many went."""
        return history.forget(self._database, run_ids)

    # ------------------------------------------------------------------------ secrets and values

    def requests(
        self,
        *,
        run: str | None = None,
        dag: str | None = None,
        task: str | None = None,
        key: str | None = None,
        since: float | None = None,
        limit: int | None = 50,
    ) -> tuple[RequestRow, ...]:
        """Who asked for which secret, the latest first; `limit` None means all."""
        return audit.requests(
            self._database, run=run, dag=dag, task=task, key=key, since=since, limit=limit
        )

    def changes(
        self,
        *,
        scope: str | None = None,
        name: str | None = None,
        since: float | None = None,
        limit: int | None = 50,
    ) -> tuple[SecretChange, ...]:
        """What people did to secrets files, the latest first; `limit` None means all."""
        return audit.changes(self._database, scope=scope, name=name, since=since, limit=limit)

    def add_changes(self, changes: Sequence[SecretChange]) -> None:
        """Keeps what somebody did to a secrets file, durably."""
        audit.write_changes(self._database, changes)

    def values(self, run_id: str, task: str | None = None) -> tuple[ValueRow, ...]:
        """The small facts that the tasks of a run set, or those of one task."""
        return audit.values(self._database, run_id, task)

    def handed_values(self, run_id: str, name: str, left_out: Mapping[str, str]) -> dict[str, str]:
        """The values of a name, by task, that skipped tasks of a run hand on from earlier ones.

        `left_out` names the runs that did the work of tasks which this run leaves out.
        """
        return audit.handed_values(self._database, run_id, name, left_out)

    # ------------------------------------------------------------------- what makes tasks current

    def record(self, dag: str, task: str, params: str) -> TaskRecord | None:
        """The record of a task for these values of its parameters ("" for none)."""
        return records.record(self._database, dag, task, params)

    def records(self, dag: str, params: Collection[str] | None = None) -> tuple[TaskRecord, ...]:
        """The records of a DAG, by task; only those for some texts of parameters if given."""
        return records.records(self._database, (dag,), params)

    def records_for(self, dag: str, wanted: Mapping[str, str]) -> dict[str, TaskRecord]:
        """The records of several tasks of a DAG; `wanted` has the text of each one's parameters."""
        return records.records_for(self._database, dag, wanted)

    def records_of(self, dags: Iterable[str]) -> tuple[TaskRecord, ...]:
        """The records of several DAGs, by DAG and task."""
        return records.records(self._database, dags)

    def recorded(self, dag: str) -> frozenset[str]:
        """The tasks of a DAG that have records."""
        return records.recorded(self._database, dag)

    def outdated(self, dag: str, version: int) -> tuple[tuple[str, str], ...]:
        """Task and parameters of the records whose fingerprints are of another version."""
        return records.outdated(self._database, dag, version)

    def mark(self, dag: str) -> tuple[int, int]:
        """Numbers that grow with every run of a DAG that has tasks, and with every note."""
        return records.mark(self._database, dag)

    def text(self, digest: str) -> bytes | None:
        """A source by its digest, if a record or a recent run kept it."""
        return records.text(self._database, digest)

    def renew(self, renewed: Iterable[TaskRecord]) -> int:
        """Keeps today's form of records, durably, where they still are those of the same run.

        Returns how many were; none of a task that has started since.
        """
        with self._database.transaction() as connection:
            return records.renew(connection, renewed)

    def accept(self, record: TaskRecord, note: str = "") -> None:
        """Keeps a record that a person vouches for, durably, with a line in the history."""
        records.accept(self._database, record, note)

    def forget_record(self, dag: str, task: str, params: str | None = None, note: str = "") -> int:
        """Drops a task's record, or those for all its parameters, with a line in the history.

        Returns how many went.
        """
        return records.forget(self._database, dag, task, params, note)

    def makings(self, dag: str, task: str | None = None, besides: str = "") -> tuple[Making, ...]:
        """What the tasks of a DAG, or one of them, are known to have published, but for what run
        `besides` is publishing."""
        return makings.makings(self._database, dag, task, besides)

    def drop_making(self, dag: str, task: str, params: str) -> None:
        """Forgets what a task is known to have published: it has been removed."""
        with self._database.transaction() as connection:
            makings.drop(connection, dag, task, records.unbroken(params))

    def notes(
        self, dag: str | None = None, task: str | None = None, limit: int = 50
    ) -> tuple[NoteRow, ...]:
        """What people did to records, the latest first."""
        return records.notes(self._database, dag, task, limit)

    def pointed_at(self, dag: str) -> dict[str, bool]:
        """The runs that records of a DAG name, and whether products lie in their data folders."""
        return records.pointed_at(self._database, dag)

    def sweep(self) -> int:
        """Drops the sources that nothing needs any more, and the digests of files that are gone.

        Returns how many texts went.
        """
        digests.sweep(self._database)
        return records.sweep(self._database)

    def digests(self, *folders: str) -> dict[str, Seen]:
        """The digest cache by absolute path: of what lies under some folders, or all of it."""
        return digests.load(self._database, *folders)

    def save_digests(self, changes: Mapping[str, Seen | None]) -> None:
        """Brings the digest cache up to date, None drops a path.

        A store that was opened for reading is written to for this alone, if it can be: if not, or
        if there is none, what was digested is digested again the next time.
        """
        if not changes or not self.exists:
            return
        if self._writer is not None:
            digests.save(self._database, changes)
            return
        with suppress(PitError), Store.open(self.path) as store:
            store.save_digests(changes)

    def add_intent(self, intent: Intent) -> None:
        """Makes it durable that a task of a run is about to publish, with all emitted before.

        Raises as `barrier` does, and then the task must not publish. The commit that ends the
        task drops the intent.
        """
        self._sink().add(intent)
        self._sink().flush()

    def intents(self, dag: str | None = None) -> tuple[Intent, ...]:
        """What is being published, in the order of runs: `recover.stranded` tells which is dead."""
        return intents.left(self._database, dag)

    def is_outrun(self, run_id: str, task: str) -> bool:
        """Whether another run has been at a task since a run was about to publish, or still is."""
        return history.is_outrun(self._database, run_id, task)

    def draw(self, run_id: str = "") -> int:
        """The number of the snapshot that a run is about to take, later than all so far."""
        return snapshots.draw(self._database, run_id)

    def drawn(self, run_id: str) -> int:
        """The number of the snapshot that a run took; 0 if it is forgotten."""
        return snapshots.drawn(self._database, run_id)

    def end_intent(self, run_id: str, task: str, done: bool = False) -> None:
        """Drops the intent of a dead run, durably, once it has been finished, or cannot be."""
        with self._database.transaction() as connection:
            intents.end(connection, [(run_id, task, done)])
