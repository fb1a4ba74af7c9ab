"""The SQLite file itself: opened for writing or reading, transactions, errors in plain words.

Fifty runs may write at once: every transaction begins IMMEDIATE, so that it never fails half-way
for a lock, and beginning is tried again for a minute. `synchronous = FULL` in WAL mode syncs the
log at each commit: what was committed survives a power cut.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pit.errors import DiskFull, PitError, StoreUnavailable, on_error
from pit.fs.files import MAKE_ROOM, close_to_others, create_file, failure, make_folder
from pit.state.store import migrations
from pit.state.store.reserve import has_room

Write = Callable[[sqlite3.Connection], None]
"""Writes something within the transaction of a connection."""

PATIENCE = 60.0
_BUSY_TIMEOUT = 1.0
_SIDE_FILES = ("-wal", "-shm")
_NO_ROOM_HINT = f"{MAKE_ROOM} on that disk and try again"

# PROTOCOL is what SQLite says after ten seconds of losing every race for a reader's place.
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_FORBIDDEN = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_MAYBE_FULL = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def explain(error: sqlite3.Error, path: Path) -> PitError:
    """What a user is told for an error of SQLite."""
    code = _code(error)
    if code == sqlite3.SQLITE_FULL or (code in _MAYBE_FULL and not has_room_beside(path)):
        return DiskFull(f"the disk that holds {path} is full", _NO_ROOM_HINT)
    if code in _DAMAGED:
        return StoreUnavailable(
            f"{path} is damaged or not a SQLite database ({error})",
            f"Move it aside (mv {path} {path}.damaged); Pit then starts a new history. "
            "What can be saved: sqlite3 FILE .recover",
        )
    if code in _BUSY:
        return StoreUnavailable(
            f"{path} has been locked by another process for {PATIENCE:.0f} seconds",
            f"See who has it open: fuser -v {path}",
        )
    if code in _FORBIDDEN:
        return StoreUnavailable(
            f"{path} cannot be opened for writing ({error})",
            "Check the permissions of the file and its folder, and that the disk is writable",
        )
    if isinstance(error, sqlite3.IntegrityError):
        return StoreUnavailable(f"{path} does not take what was written to it: {error}")
    return StoreUnavailable(f"{path} cannot be used: {error}")


def has_room_beside(path: Path) -> bool:
    """Whether the folder of `path` can still take a few pages; True if it cannot be told."""
    try:
        return has_room(path.parent)
    except OSError:
        return True


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turns errors of SQLite into the errors that users meet."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, path) from error


def patiently(call: Callable[[], Any]) -> Any:
    """Calls again while the database is busy, for as long as PATIENCE; returns its result."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except sqlite3.OperationalError as error:
            if _code(error) not in _BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


class Database:
    """One connection, used by one thread at a time; whoever is second waits.

    `exists` is whether there is a database at `path`; if not, this is an empty one in memory.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        *,
        exists: bool = True,
        writable: bool = False,
    ) -> None:
        self.path, self.exists, self.writable = path, exists, writable
        self._connection = connection
        self._turn = threading.RLock()
        self._places: dict[str, tuple[int, int]] = {}

    def require_place(self) -> None:
        """Raises StoreUnavailable if another file, or none, stands where ours was opened.

        What is written then goes into a file without a name, which is gone when it is closed. The
        log counts as well: whoever opens the database next would begin another one beside ours.
        """
        for place, ours in self._places.items():
            try:
                found = os.stat(place)
            except FileNotFoundError:
                raise _out_of_place(f"{place} is gone") from None
            except OSError:
                continue  # a folder that cannot be looked into at the moment
            if (found.st_dev, found.st_ino) != ours:
                raise _out_of_place(f"another file stands at {place}")

    def note_place(self) -> None:
        """Takes the files that are there now, as they have just been opened, for ours."""
        real = os.path.realpath(self.path)  # where SQLite puts the log, if `path` is a link
        for place in (str(self.path), f"{real}-wal"):
            with suppress(FileNotFoundError):
                found = os.stat(place)
                self._places[place] = (found.st_dev, found.st_ino)

    @contextmanager
    def transaction(self, revised: bool = True) -> Iterator[sqlite3.Connection]:
        """A durable unit of work: committed at its end, rolled back if anything is raised.

        One that changes anything makes the store's revision grow, unless it is not `revised`: what
        it writes is not history.
        """
        with self._turn, explaining(self.path):
            patiently(lambda: self._connection.execute("BEGIN IMMEDIATE"))
            before = self._connection.total_changes
            with on_error(self._roll_back):
                yield self._connection
                if revised and self._connection.total_changes != before:
                    self._connection.execute(migrations.REVISE)
                self._connection.execute("COMMIT")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Queries inside see one state of the database, whatever is written meanwhile."""
        with self._turn, explaining(self.path):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._roll_back()

    def _roll_back(self) -> None:
        # After a full disk SQLite may have rolled back by itself already.
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._turn, explaining(self.path):
            return patiently(lambda: self._connection.execute(sql, parameters).fetchall())  # type: ignore[no-any-return]

    def close(self) -> None:
        """Closes the connection; the last one to close folds the log into the database."""
        with self._turn, explaining(self.path):
            self._connection.close()


# ------------------------------------------------------------------------------- for writing


def open_for_writing(path: Path) -> Database:
    """The database at `path`, made if missing and brought to the present layout."""
    _refuse_what_is_no_file(path)
    try:
        make_folder(path.parent)
        create_file(path)
    except OSError as error:
        raise _cannot_open(error, path) from error
    if not path.exists():
        raise StoreUnavailable(
            f"{path} is a link to {os.readlink(path)}, which is not there",
            "Remove the link or make what it leads to, or set metadata_db in pit_config.toml",
        )
    # SQLite would open it all the same, and fail at the first write.
    if not os.access(path, os.W_OK):
        raise _not_writable(path)
    for each in (path, *(path.with_name(path.name + side) for side in _SIDE_FILES)):
        close_to_others(each)
    with explaining(path):
        connection = _connect(f"{path.absolute().as_uri()}?mode=rw")
        with on_error(connection.close):
            _prepare(connection, path)
    database = Database(path, connection, writable=True)
    database.note_place()
    return database


def _cannot_open(error: OSError, path: Path) -> PitError:
    found = failure(error, f"cannot open {path}")
    if isinstance(found, DiskFull):
        return found
    return StoreUnavailable(
        str(found),
        "Set metadata_db in pit_config.toml to a file that can be made, or check that folder",
    )


def _not_writable(path: Path) -> StoreUnavailable:
    return StoreUnavailable(
        f"{path} cannot be written: its permissions or a read-only disk forbid it",
        "Check the permissions of the file and its folder, or set metadata_db in pit_config.toml",
    )


def _out_of_place(what: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"the database with the history was removed or replaced while it was in use: {what}",
        "What was done meanwhile is not on record: put the file back if you can, and run it again",
    )


def _refuse_what_is_no_file(path: Path) -> None:
    # A FIFO must not be opened at all: that could wait for ever.
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise StoreUnavailable(
            f"{path} is not a regular file",
            "Remove it, or set metadata_db in pit_config.toml to another path",
        )


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri,
        uri=True,
        timeout=_BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    for setting in (
        "synchronous = FULL",
        "fullfsync = ON",
        "checkpoint_fullfsync = ON",
        "foreign_keys = ON",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {setting}")
    # Looked at before the journal mode is changed: another program's file stays untouched.
    present = patiently(lambda: migrations.is_current(connection, path))
    patiently(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchone())
    if not present:
        patiently(lambda: _migrate(connection, path))


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    with on_error(lambda: connection.in_transaction and connection.execute("ROLLBACK")):
        # Again under the lock: another process may have done it in the meantime.
        if not migrations.is_current(connection, path):
            migrations.migrate(connection)
        connection.execute("COMMIT")


# ------------------------------------------------------------------------------- for reading


def open_for_reading(path: Path) -> Database:
    """The database at `path`, never changed by us; an empty one in memory if there is none yet.

    In order: as a reader beside running writers; as a file that nobody can be changing, on a disk
    where no lock files can be made; as a private copy with its log. A database of an earlier
    layout is read through a copy in memory that has been brought up to date.
    """
    _refuse_what_is_no_file(path)
    try:
        if os.stat(path).st_size == 0 and not _log_has_content(path):
            return _empty(path)
    except FileNotFoundError:
        return _empty(path)
    except OSError as error:
        raise _cannot_open(error, path) from error
    connection = _readable(path)
    with explaining(path), on_error(connection.close):
        return _reader(path, connection)


def _empty(path: Path) -> Database:
    """What is read where there is no database: the present layout, and nothing can be written."""
    connection = _connect("file::memory:")
    _migrate(connection, path)
    connection.execute("PRAGMA query_only = ON")
    return Database(path, connection, exists=False)


def _reader(path: Path, connection: sqlite3.Connection) -> Database:
    if migrations.is_empty(connection):
        connection.close()
        return _empty(path)
    if migrations.is_current(connection, path):
        return Database(path, connection)
    copy = _connect("file::memory:")
    connection.backup(copy)
    connection.close()
    _migrate(copy, path)
    return Database(path, copy)


def _log_has_content(path: Path) -> bool:
    try:
        return path.with_name(path.name + "-wal").stat().st_size > 0
    except OSError:
        return False


def _readable(path: Path) -> sqlite3.Connection:
    uri = path.absolute().as_uri()
    try:
        return _answering(f"{uri}?mode=ro")
    except sqlite3.Error as error:
        if _code(error) in _DAMAGED:
            raise explain(error, path) from error
        first = error
    try:
        if _log_has_content(path):
            return _private_copy(path)
        return _answering(f"{uri}?mode=ro&immutable=1")
    except (sqlite3.Error, OSError):
        # The first attempt's reason is the one that means something to the user.
        raise _unreadable(first, path) from first


def _unreadable(error: sqlite3.Error, path: Path) -> PitError:
    if _code(error) in _FORBIDDEN:
        return StoreUnavailable(
            f"{path} cannot be read ({error})", "Check the permissions of the file and its folder"
        )
    return explain(error, path)


def _answering(uri: str) -> sqlite3.Connection:
    connection = _connect(uri)
    with on_error(connection.close):
        patiently(lambda: connection.execute("SELECT count(*) FROM sqlite_master").fetchone())
    return connection


def _private_copy(path: Path) -> sqlite3.Connection:
    """A connection to a copy of the database and its log, whose files are unlinked at once."""
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory(prefix="pit-") as folder:
        copy = Path(folder) / "copy.db"
        shutil.copyfile(path, copy)
        shutil.copyfile(path.with_name(path.name + "-wal"), copy.with_name("copy.db-wal"))
        return _answering(copy.as_uri())
