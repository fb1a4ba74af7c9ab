"""The Postgres driver: a script is sent whole, so it means what Postgres says it means.

In one string, statements share one transaction unless they say BEGIN and COMMIT themselves, and
what cannot run in a transaction (VACUUM, CREATE DATABASE) has to be the only one. Their results
come back one by one, which is how the log tells them apart.
"""

from __future__ import annotations

import itertools
import select
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import psycopg.adapt
import psycopg.conninfo
from msgspec.structs import replace
from psycopg import pq

from pit.sql.connection.urls import Database
from pit.sql.driver import Document, Result, Rows, SqlFailure, Statement, Tell
from pit.sql.drivers.pool import Pool
from pit.sql.drivers.postgres_errors import lost, told, unreached
from pit.sql.drivers.transient import UNKNOWN_END
from pit.sql.text import split, table

_CHUNK = 1000
"""How many rows are read at once, so that memory stays flat."""
_DEFAULTS = {
    "connect_timeout": "10",
    "application_name": "pit",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "6",
    "tcp_user_timeout": "90000",
}
"""What an option of the URL overrides: 10 s to connect, and a server that has vanished without a
word is noticed after 90 s; the system's own answer takes hours."""
_CANCEL = 5.0
_LONGEST_PLAN = 20_000
_PLAN_ROWS = 500
_NUMBERS = frozenset((20, 21, 23, 26, 700, 701, 790, 1700))
"""Types shown flush right: int8, int2, int4, oid, float4, float8, money, numeric."""
_ROWS = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.SINGLE_TUPLE, pq.ExecStatus.TUPLES_CHUNK)
_COPIES = (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)
Connection = psycopg.Connection[Any]


class Postgres:
    """The driver: keeps connections between scripts, reset."""

    def __init__(self) -> None:
        self._pool: Pool[Connection] = Pool(_close)

    def parse(self, text: str, database: Database) -> list[Statement]:
        """The statements of a script; whether they are right only the server can tell."""
        found = split.statements(text, split.POSTGRES)
        split.refuse_copy(found)
        return [replace(one, native=text) for one in found]

    def connect(
        self, database: Database, script: Sequence[Statement], tell: Tell
    ) -> PostgresSession:
        """A session on a connection that is as good as new."""
        connection = self._pool.take(database.key)
        if connection is None or not _lives(connection):
            connection = connect(database)

        def release(clean: bool) -> None:
            if clean and _reset(connection):
                self._pool.give(database.key, connection)
            else:
                _close(connection)

        return PostgresSession(connection, len(script), tell, release)


def connect(database: Database) -> Connection:
    """A new connection, without a transaction; raises SqlFailure."""
    try:
        # DISCARD ALL drops prepared statements without psycopg's knowing.
        return psycopg.connect(conninfo(database), autocommit=True, prepare_threshold=None)
    except psycopg.Error as error:
        raise SqlFailure(unreached(error, database.display)) from None


def conninfo(database: Database) -> str:
    """The connection string for libpq; it holds the password. Raises SqlFailure."""
    given = {
        "host": database.host,
        "port": database.port,
        "user": database.user,
        "password": database.password,
        "dbname": database.database,
    }
    options = _DEFAULTS | database.options | {"client_encoding": "UTF8"}
    try:
        # As text, so that no option of the URL is taken for one of psycopg's own.
        return psycopg.conninfo.make_conninfo(
            **{name: value for name, value in given.items() if value}, **options
        )
    except psycopg.Error as error:
        raise SqlFailure(unreached(error, database.display)) from None


def _close(connection: Connection) -> None:
    with suppress(psycopg.Error):
        connection.close()


def _lives(connection: Connection) -> bool:
    try:
        connection.execute("")
    except psycopg.Error:
        return False
    return True


def _reset(connection: Connection) -> bool:
    """Leave nothing of a script: settings, temporary tables, locks, listeners."""
    try:
        connection.execute("DISCARD ALL")
    except psycopg.Error:
        return False
    return True


class PostgresSession:
    """One script's connection; `count` statements are expected."""

    def __init__(
        self, connection: Connection, count: int, tell: Tell, release: Callable[[bool], None]
    ) -> None:
        self.native = connection
        self._pg = connection.pgconn
        self._count = count
        self._tell, self._release = tell, release
        self._cancelling = threading.Lock()
        self._sent = self._over = self._closed = self._interrupted = False
        self._done = self._kept = 0
        self._undone = False
        connection.add_notice_handler(self._notice)

    @property
    def at_once(self) -> bool:
        """The server keeps small results to itself until the last statement has ended."""
        return self._count > 1

    def declare(self, variables: Mapping[str, str]) -> None:
        """Set pit.run_id and so on, so that scripts can say current_setting('pit.run_id')."""
        if not variables:
            return
        calls = ", ".join("set_config(%s, %s, false)" for _ in variables)
        values = [
            part
            for name, value in variables.items()
            for part in (f"pit.{name.removeprefix('pit_')}", value)
        ]
        try:
            self.native.execute(f"SELECT {calls}", values)
        except psycopg.Error as error:
            raise SqlFailure(told(error)) from None

    def execute(self, statement: Statement) -> Iterator[Result]:
        """What the statement did; the script is on its way once the first one is asked for."""
        try:
            if not self._sent:
                self._send(statement.native)
            yield self._next(statement)
            self._done += 1
            while self._done == self._count and not self._over:
                more = self._next(statement)  # a rule may answer more than it was asked
                if not self._over:
                    yield more
        except psycopg.Error as error:
            failure = replace(told(error, statement.native), kind="08006", retryable=True)
            if not failure.line:
                failure = replace(failure, line=statement.line)
            raise SqlFailure(
                replace(failure, message=f"{failure.message}; {UNKNOWN_END}")
            ) from None

    def rows(self, statement: Statement) -> Rows:
        """All rows of a query, as values, in chunks as the server sends them."""
        with self._telling(statement):
            self._send(statement.native)
        results = self._each(statement)
        first = next(results, None)
        if first is None or first.status not in _ROWS:
            changed = None if first is None else _command(first).rows
            return Rows(columns=(), batches=results, changed=changed)
        fields = range(first.nfields)
        return Rows(
            columns=tuple(first.fname(i).decode(errors="replace") for i in fields),
            batches=self._values(itertools.chain((first,), results)),
            numeric=tuple(first.ftype(i) in _NUMBERS for i in fields),
        )

    def _each(self, statement: Statement) -> Iterator[Any]:
        """What the server sends for a script, piece by piece."""
        with self._telling(statement):
            while (result := self._receive()) is not None:
                if result.status in _COPIES:
                    self._refuse_copy(result.status)
                    raise SqlFailure(split.refused_copy(statement.line))
                known = (*_ROWS, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY)
                if result.status not in known:
                    self._fail(result, statement)
                yield result

    def _values(self, results: Iterator[Any]) -> Iterator[Sequence[Sequence[Any]]]:
        """The rows of results; what Python has no value for, such as infinity, as text."""
        fast, patient = psycopg.adapt.Transformer(_faithful(self.native)), None
        for result in results:
            fast.set_pgresult(result)
            try:
                batch: Sequence[Sequence[Any]] = fast.load_rows(0, result.ntuples, tuple)
            except (psycopg.Error, ValueError):
                patient = patient or psycopg.adapt.Transformer(_tolerant(self.native))
                patient.set_pgresult(result)
                batch = patient.load_rows(0, result.ntuples, tuple)
            if batch:
                yield batch

    @contextmanager
    def _telling(self, statement: Statement) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            failure = told(error, statement.native)
            raise SqlFailure(
                failure if failure.line else replace(failure, line=statement.line)
            ) from None

    def _send(self, text: str) -> None:
        self._pg.send_query(text.encode())
        while self._pg.flush():
            select.select([self._pg.socket], [self._pg.socket], [])
            self._pg.consume_input()
        if hasattr(self._pg, "set_chunked_rows_mode") and pq.version() >= 170000:
            self._pg.set_chunked_rows_mode(_CHUNK)
        else:
            self._pg.set_single_row_mode()
        self._sent = True

    def _receive(self) -> Any:
        """The next result, waited for without the interpreter's lock."""
        if self._over:
            return None
        poll = select.poll()
        poll.register(self._pg.socket, select.POLLIN)
        while self._pg.is_busy():
            poll.poll()
            self._pg.consume_input()
        result = self._pg.get_result()
        self._over = result is None
        return result

    def _next(self, statement: Statement) -> Result:
        """One statement's result, read to its end."""
        rows = _Rows()
        while (result := self._receive()) is not None:
            status = result.status
            if status in _ROWS:
                rows.take(result)
                if status == pq.ExecStatus.TUPLES_OK:
                    return self._counted(rows.command, rows.result())
            elif status in _COPIES:
                self._refuse_copy(status)
                raise SqlFailure(split.refused_copy(statement.line))
            elif status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY):
                return self._counted(_tag(result)[0], _command(result))
            else:
                self._fail(result, statement)
        return Result()

    def _counted(self, command: str, told: Result) -> Result:
        """How much of the script a failure would undo."""
        ended = command in ("COMMIT", "ROLLBACK", "PREPARE")
        self._kept = 0 if ended else self._kept + 1
        return told

    def _fail(self, result: Any, statement: Statement) -> None:
        error = psycopg.errors.error_from_result(result, encoding="utf-8")
        failure = told(error, statement.native)
        failure = failure if failure.line else replace(failure, line=statement.line)
        self._drain()
        if lost(error) or self._pg.status == pq.ConnStatus.BAD:
            failure = replace(failure, retryable=True, message=f"{failure.message}; {UNKNOWN_END}")
        else:
            self._undone = self._kept > 0
        raise SqlFailure(failure)

    def _refuse_copy(self, status: int) -> None:
        if status == pq.ExecStatus.COPY_IN:
            self._pg.put_copy_end(b"refused by Pit")
            while self._pg.flush():
                select.select([], [self._pg.socket], [])
            self._drain()
        else:
            self._interrupted = True  # what is still to come is not worth reading
            self._over = True

    def _drain(self) -> None:
        with suppress(psycopg.Error):
            while self._receive() is not None:
                pass

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        parts = (f"{notice.severity}: {notice.message_primary}", notice.message_detail)
        hint = f"HINT: {notice.message_hint}" if notice.message_hint else ""
        self._tell("\n".join(filter(None, (*parts, hint))))

    def interrupt(self) -> None:
        """Have the server cancel what it is doing for this script."""
        with self._cancelling:
            if self._closed:
                return
            self._interrupted = True
            with suppress(psycopg.Error):
                self.native.cancel_safe(timeout=_CANCEL)

    def roll_back(self) -> bool:
        """Undo the open transaction; True also if the failure has undone earlier statements."""
        if self._sent and not self._over:
            self.interrupt()
            self._drain()
        try:
            if self._pg.transaction_status in (
                pq.TransactionStatus.INTRANS,
                pq.TransactionStatus.INERROR,
            ):
                self._pg.exec_(b"ROLLBACK")
                return True
        except psycopg.Error:
            return False
        return self._undone

    def close(self) -> None:
        """Give the connection back; one that was interrupted ends, for a cancel may come late."""
        with self._cancelling:
            self._closed = True
        self.native.remove_notice_handler(self._notice)
        idle = self._pg.status == pq.ConnStatus.OK and (
            self._pg.transaction_status == pq.TransactionStatus.IDLE
        )
        self._release(idle and not self._interrupted)


class _Rows:
    """A result set's first rows, and how many there are."""

    def __init__(self) -> None:
        self._columns: tuple[str, ...] | None = None
        self._numeric: tuple[bool, ...] = ()
        self._first: list[tuple[str | None, ...]] = []
        self._count = 0
        self.command = ""

    def take(self, result: Any) -> None:
        """Some more rows."""
        if self._columns is None:
            fields = range(result.nfields)
            self._columns = tuple(result.fname(i).decode(errors="replace") for i in fields)
            self._numeric = tuple(result.ftype(i) in _NUMBERS for i in fields)
        wanted = _PLAN_ROWS if self._columns == ("QUERY PLAN",) else table.ROWS
        for row in range(min(result.ntuples, wanted - len(self._first))):
            cells = (result.get_value(row, column) for column in range(result.nfields))
            self._first.append(tuple(_text(cell) for cell in cells))
        self._count += result.ntuples
        # libpq has the command's word on the last rows, not on the empty end that follows them.
        self.command = _tag(result)[0] or self.command

    def result(self) -> Result:
        """What is told of it."""
        if self._columns == ("QUERY PLAN",):
            plan = "\n".join(str(row[0]) for row in self._first)
            return Result(text=plan[:_LONGEST_PLAN])
        return Result(
            rows=self._count,
            changed=self.command in _CHANGING and self.command != "SELECT",
            columns=self._columns or (),
            numeric=self._numeric,
            first=tuple(self._first),
        )


_CHANGING = frozenset(("INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "SELECT"))
"""Commands that count rows which they wrote; SELECT without rows in return is CREATE TABLE AS."""


def _command(result: Any) -> Result:
    command, count = _tag(result)
    if count is None or command not in _CHANGING:
        return Result()
    return Result(rows=count, changed=True)


def _tag(result: Any) -> tuple[str, int | None]:
    """The command that the server says it has done, and its number of rows."""
    words = (result.command_status or b"").decode(errors="replace").split()
    if not words:
        return "", None
    return words[0], int(words[-1]) if words[-1].isdecimal() else None


_IN_WORDS = (
    "record",
    "interval",
    *("inet", "cidr"),
    *("int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange"),
    *("int4multirange", "int8multirange", "nummultirange"),
    *("datemultirange", "tsmultirange", "tstzmultirange"),
)
"""Types of which Python's own value says less, or something else: of a month, 30 days."""


class _DocumentLoader(psycopg.adapt.Loader):
    """JSON as it came."""

    def load(self, data: bytes | bytearray | memoryview) -> Document:
        return Document(bytes(data).decode(errors="replace"))


def _faithful(connection: Connection) -> psycopg.Cursor[Any]:
    """A context in which a value is what the server says: text where Python has no such value."""
    from psycopg.types.string import TextLoader

    cursor = connection.cursor()
    for name in _IN_WORDS:
        cursor.adapters.register_loader(name, TextLoader)
    for name in ("json", "jsonb"):
        cursor.adapters.register_loader(name, _DocumentLoader)
    return cursor


def _tolerant(connection: Connection) -> psycopg.Cursor[Any]:
    """A context in which times that Python has no value for are read as texts."""
    from psycopg.types import datetime as known

    def tolerant(base: Any) -> Any:
        class Loader(base):  # type: ignore[misc]
            def load(self, data: bytes | memoryview) -> Any:
                try:
                    return super().load(data)
                except (psycopg.Error, ValueError):
                    return bytes(data).decode(errors="replace")

        return Loader

    cursor = _faithful(connection)
    for name, base in (
        ("date", known.DateLoader),
        ("time", known.TimeLoader),
        ("timetz", known.TimetzLoader),
        ("timestamp", known.TimestampLoader),
        ("timestamptz", known.TimestamptzLoader),
    ):
        cursor.adapters.register_loader(name, tolerant(base))
    return cursor


def _text(cell: bytes | memoryview | None) -> str | None:
    return None if cell is None else bytes(cell)[: 16 * table.CELL].decode(errors="replace")
