"""The store: what ran and how it ended, in one SQLite file that survives whatever happens.

Written through facts by one `pit run`, read by every command beside it. Its parts, in `tables/`,
answer questions and take what is no fact of a run. The layout and the reasons for it stand in
`migrations.py`; `recording.py` says what each fact writes. The file, its log (`-wal`), its index
(`-shm`) and its reserve (`-reserve`) are readable by their owner alone.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from pit.errors import StoreUnavailable
from pit.events import Fact, RunStarted
from pit.state.store.database import Database, Write, open_for_reading, open_for_writing
from pit.state.store.migrations import REVISION
from pit.state.store.reserve import Reserve
from pit.state.store.tables.audit import Audit
from pit.state.store.tables.dags import Dags
from pit.state.store.tables.publications import Publications
from pit.state.store.tables.records import Records
from pit.state.store.tables.runs import Runs
from pit.state.store.tables.snapshots import Snapshots
from pit.state.store.tables.values import Values
from pit.state.store.writer import Writer


class Store(AbstractContextManager["Store"]):
    """An open metadata database; it takes facts where it was opened for writing.

    runs            every run with its tasks and attempts
    dags            each DAG at a glance, how its tasks stand, whose it is
    records         what tracked tasks read and made when they last succeeded
    publications    what is being published, and what has been
    snapshots       the numbers by which snapshots come before and after each other
    values          the small facts that tasks have set
    audit           who has done what with secrets

    Any thread may call anything. Reads see what is durable, so not what was emitted since the
    last `barrier`.
    """

    def __init__(self, database: Database, writer: Writer | None) -> None:
        self.database = database
        self._writer = writer
        self.runs = Runs(database)
        self.dags = Dags(database, self.runs)
        self.records = Records(database)
        self.publications = Publications(database, self._flush)
        self.snapshots = Snapshots(database)
        self.values = Values(database)
        self.audit = Audit(database)

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
        return self.database.path

    @property
    def exists(self) -> bool:
        """Whether there is a database at all; one that is not there yet reads as an empty one."""
        return self.database.exists

    @property
    def revision(self) -> int:
        """A number that grows with each commit that changes anything, by whatever process.

        What is read after it is at least as new. It never goes back, whatever is deleted.
        """
        return int(self.database.query(REVISION)[0][0])

    def foreign_version(self) -> int:
        """A number that is another one once anybody but this store has committed anything."""
        return int(self.database.query("PRAGMA data_version")[0][0])

    def one_state(self) -> AbstractContextManager[None]:
        """Reads inside see one state of the history, whatever is written meanwhile."""
        return self.database.snapshot()

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

    def _flush(self, then: Write) -> None:
        self._sink().flush(then)

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
            self.database.close()

    def __exit__(self, *_: object) -> None:
        self.close()
