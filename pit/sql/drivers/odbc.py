"""The ODBC driver: any database behind an ODBC driver, by a connection string of its own.

A driver that takes batches is sent the script whole, so it means what the database says it means;
one that takes single statements gets them one by one, each for itself unless the script says BEGIN.
SQL Server behind such a string is treated as `sqlserver` treats it.
"""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from pit.sql.connection import odbc_string
from pit.sql.connection.urls import Database
from pit.sql.driver import (
    CANCELLED,
    Failure,
    Result,
    Rows,
    SqlFailure,
    Statement,
    Tell,
    Unavailable,
)
from pit.sql.drivers.odbc_cancel import UnderWay
from pit.sql.drivers.odbc_errors import OdbcSource, clean, told, unreached
from pit.sql.text import dialect, split, table

if TYPE_CHECKING:
    import pyodbc

CONNECT = 15
"""Seconds to wait for a server."""
_BATCH = 1000
_BATCH_SUPPORT = 121
"""SQL_BATCH_SUPPORT of SQLGetInfo, for which pyodbc has no name; 0 says single statements alone."""
_SQLSERVER_DRIVER = re.compile(r"sql server|freetds|tdsodbc|msodbcsql", re.IGNORECASE)
_NUMBERS = (int, float, decimal.Decimal)


def library() -> Any:
    """The pyodbc module; raises Unavailable where the system lacks what it stands on."""
    try:
        import pyodbc
    except ImportError as error:
        if "libodbc" not in str(error):
            raise Unavailable("ODBC needs pyodbc: pip install pyodbc") from None
        raise Unavailable(
            "ODBC needs the system's unixODBC: apt-get install unixodbc "
            "(Fedora: dnf install unixODBC; macOS: brew install unixodbc)"
        ) from None
    # The driver manager would keep connections without resetting them.
    pyodbc.pooling = False
    return pyodbc


def open_connection(
    text: str, source: OdbcSource, hide: Callable[[str], str], timeout: int = CONNECT
) -> pyodbc.Connection:
    """A connection that commits by itself; raises SqlFailure, without the text's secrets."""
    pyodbc = library()
    try:
        return pyodbc.connect(text, autocommit=True, timeout=timeout)
    except pyodbc.Error as error:
        raise SqlFailure(unreached(error, source, hide)) from None


class ODBC:
    """The driver: a new connection for each script, since not every driver can reset one."""

    def parse(self, text: str, database: Database) -> list[Statement]:
        """The statements of a script, or its batches where the driver is one for SQL Server."""
        if is_sqlserver(database):
            return batched(text)
        return split.statements(text, _grammar(database))

    def connect(self, database: Database, script: Sequence[Statement], tell: Tell) -> OdbcSession:
        """A session on a connection of its own."""
        driver = database.options.get("driver") or database.options.get("dsn", "")
        source = OdbcSource(driver=driver, place=database.display)
        text = odbc_string.join(database.options)
        connection = open_connection(text, source, database.hide)
        return session(connection, source, script, tell, lambda clean: connection.close())


def is_sqlserver(database: Database) -> bool:
    """Whether an ODBC string asks for a driver that is made for SQL Server."""
    return _SQLSERVER_DRIVER.search(database.options.get("driver", "")) is not None


def _grammar(database: Database) -> split.Grammar:
    """How the product behind an ODBC string most likely writes SQL."""
    driver = database.options.get("driver", "").lower()
    if "postgres" in driver or "psqlodbc" in driver:
        return split.POSTGRES
    return split.SQLITE if "sqlite" in driver else split.ANY


def batched(text: str) -> list[Statement]:
    """A T-SQL script as its batches."""
    return [_statement(batch) for batch in split.batches(text)]


def _statement(batch: split.Batch) -> Statement:
    first = split.statements(batch.text, split.TSQL)
    skipped = first[0].line - 1 if first else 0
    lines = batch.text.split("\n")[skipped:]
    return Statement(
        line=batch.line + skipped,
        above=batch.line,
        text="\n".join(lines).strip(),
        native=batch,
    )


def session(
    connection: pyodbc.Connection,
    source: OdbcSource,
    script: Sequence[Statement],
    tell: Tell,
    release: Callable[[bool], None],
) -> OdbcSession:
    """The session that suits the product behind the connection."""
    import pyodbc

    product = dialect.of_product(_info(connection, pyodbc.SQL_DBMS_NAME) or "")
    whole = bool(_info(connection, _BATCH_SUPPORT)) and product is not dialect.SQLSERVER
    if product is dialect.POSTGRES:
        split.refuse_copy(script)
    return OdbcSession(connection, source, product, script if whole else (), tell, release)


def _info(connection: pyodbc.Connection, number: int) -> Any:
    import pyodbc

    try:
        return connection.getinfo(number)
    except pyodbc.Error:
        return None


class OdbcSession:
    """One script's connection; `whole` are the statements of a script that is sent at once."""

    def __init__(
        self,
        connection: pyodbc.Connection,
        source: OdbcSource,
        product: dialect.Dialect,
        whole: Sequence[Statement],
        tell: Tell,
        release: Callable[[bool], None],
    ) -> None:
        self.native = connection
        self.product = product
        self._source = source
        self._whole = whole
        self._results: Iterator[Result] | None = None
        self._tell, self._release = tell, release
        self._under_way = UnderWay()
        self._interrupted = self._failed = False
        self._heard: list[str] = []

    @property
    def at_once(self) -> bool:
        """Whether a script of several statements went to the driver whole."""
        return len(self._whole) > 1

    def declare(self, variables: Mapping[str, str]) -> None:
        """Set them where the product has a place for such things: Postgres and SQL Server."""
        literal = self.product.literal
        if self.product is dialect.SQLSERVER:
            calls = [
                f"EXEC sp_set_session_context @key = {literal(name)}, @value = {literal(value)}"
                for name, value in variables.items()
            ]
            self._quietly(";\n".join(calls))
        elif self.product is dialect.POSTGRES and variables:
            names = [f"pit.{name.removeprefix('pit_')}" for name in variables]
            pairs = zip(names, variables.values(), strict=True)
            sets = (f"set_config({literal(n)}, {literal(v)}, false)" for n, v in pairs)
            self._quietly(f"SELECT {', '.join(sets)}")

    def _quietly(self, text: str) -> None:
        """Carry out what is Pit's and not the script's."""
        if text:
            for _ in self._send(text, None):
                pass

    def execute(self, statement: Statement) -> Iterator[Result]:
        """The statement's results; those of a whole script are dealt out one by one."""
        if not self._whole:
            batch = statement.native
            times = batch.times if isinstance(batch, split.Batch) else 1
            text = batch.text if isinstance(batch, split.Batch) else statement.text
            for _ in range(times):
                yield from self._send(text, statement)
            return
        if self._results is None:
            self._results = self._send(_between(self._whole), statement)
        if statement is self._whole[-1]:
            yield from self._results
        else:
            yield from (one for one in (next(self._results, None),) if one is not None)

    def _send(self, text: str, statement: Statement | None) -> Iterator[Result]:
        """Send a text and read all that it returns."""
        import pyodbc

        cursor = self.native.cursor()
        try:
            with self._under_way.on(cursor):
                cursor.execute(text)
                while True:
                    self._heed()
                    self._hear(cursor)
                    if cursor.description or cursor.rowcount >= 0 or self._whole:
                        yield _read(cursor)
                    if not cursor.nextset():
                        self._hear(cursor)
                        return
        except pyodbc.Error as error:
            self._failed = True
            self._heed()
            raise SqlFailure(told(error, self._source, self.product, text, statement)) from None
        finally:
            _finish(cursor)

    def rows(self, statement: Statement) -> Rows:
        """All rows of a query, as values; those of a batch's further results follow."""
        results = self._results_of(statement)
        return replace(next(results), following=results)

    def _results_of(self, statement: Statement) -> Iterator[Rows]:
        """Every result of a batch that has columns; one without, if there is none."""
        cursor = self.native.cursor()
        try:
            with self._under_way.on(cursor):
                yield from self._each_of(cursor, statement)
        finally:
            _finish(cursor)

    def _each_of(self, cursor: pyodbc.Cursor, statement: Statement) -> Iterator[Rows]:
        changed: int | None = None
        silent = True
        with self._telling(statement):
            cursor.execute(statement.text)
        while True:
            self._hear(cursor)
            if cursor.description:
                silent = False
                yield self._read_on(cursor, statement)
            elif cursor.rowcount >= 0:
                changed = cursor.rowcount
            self._heed()
            with self._telling(statement):
                if not cursor.nextset():
                    break
        self._hear(cursor)
        if silent:
            yield Rows(columns=(), batches=iter(()), changed=changed)

    def _read_on(self, cursor: pyodbc.Cursor, statement: Statement) -> Rows:
        """The result at which the cursor stands."""

        def batches() -> Iterator[Sequence[Sequence[Any]]]:
            with self._telling(statement):
                while batch := cursor.fetchmany(_BATCH):
                    yield batch

        header = cursor.description
        return Rows(
            columns=tuple(str(column[0]) for column in header),
            batches=batches(),
            numeric=tuple(column[1] in _NUMBERS for column in header),
            header=header,
        )

    @contextmanager
    def _telling(self, statement: Statement) -> Iterator[None]:
        """What the driver raises becomes a SqlFailure."""
        import pyodbc

        try:
            yield
        except pyodbc.Error as error:
            self._failed = True
            self._heed()
            text = statement.text
            raise SqlFailure(told(error, self._source, self.product, text, statement)) from None
        except ValueError as error:  # what pyodbc makes of a time such as 24:00
            self._failed = True
            message = f"the driver hands over a value that cannot be read ({error})"
            remedy = "cast the column to text in the query"
            raise SqlFailure(
                Failure(message=f"{message}; {remedy}", line=statement.line, kind="type")
            ) from None

    def _heed(self) -> None:
        """Some drivers call a statement that was cancelled a success."""
        if self._interrupted:
            raise SqlFailure(Failure(message="cancelled", kind=CANCELLED)) from None

    def _hear(self, cursor: pyodbc.Cursor) -> None:
        """Pass on what the server says; some drivers say it again with every result."""
        messages = [clean(message) for _, message in cursor.messages or ()]
        if messages != self._heard:
            for message in messages:
                self._tell(message)
        self._heard = messages

    def interrupt(self) -> None:
        """Cancel what is being executed, if anything is."""
        self._interrupted = True
        self._under_way.cancel()

    def roll_back(self) -> bool:
        """Undo the open transaction, as far as the product tells whether there is one."""
        if isinstance(self._results, Iterator):
            self._results.close()  # type: ignore[attr-defined]
        if self.product is dialect.SQLSERVER:
            return self._ask("SELECT @@TRANCOUNT") and self._try("IF @@TRANCOUNT > 0 ROLLBACK")
        if self.product is dialect.POSTGRES:
            # A transaction that began before this statement; in a failed one nothing can be asked.
            begun = self._ask("SELECT now() < statement_timestamp()", otherwise=self._failed)
            return begun and self._try("ROLLBACK")
        if self.product is dialect.SQLITE:
            return self._try("ROLLBACK")
        import pyodbc

        with suppress(pyodbc.Error):
            self.native.rollback()
        return False

    def _ask(self, query: str, otherwise: bool = False) -> bool:
        import pyodbc

        try:
            row = self.native.execute(query).fetchone()
        except pyodbc.Error:
            return otherwise
        return bool(row and int(row[0]))

    def _try(self, text: str) -> bool:
        import pyodbc

        try:
            self.native.execute(text).close()
        except pyodbc.Error:
            return False
        return True

    def close(self) -> None:
        """Give the connection back."""
        import pyodbc

        with suppress(pyodbc.Error):
            self._release(not self._interrupted and not self._failed)


def _between(script: Sequence[Statement]) -> str:
    """A script that is sent whole: its statements on the lines that they had."""
    parts: list[str] = []
    line = 1
    for statement in script:
        parts.append("\n" * (statement.line - line) + statement.text + ";")
        line = statement.line + statement.text.count("\n")
    return "".join(parts)


def _finish(cursor: pyodbc.Cursor) -> None:
    """Be done with a text; what a failed batch has not done by now, the driver cancels."""
    import pyodbc

    with suppress(pyodbc.Error):
        cursor.close()


def _read(cursor: pyodbc.Cursor) -> Result:
    """One result, read to its end, for an error may hide there."""
    if not cursor.description:
        counted = cursor.rowcount >= 0
        return Result(rows=cursor.rowcount if counted else None, changed=counted)
    header = cursor.description
    first = cursor.fetchmany(table.ROWS)
    count = len(first)
    while batch := len(cursor.fetchmany(_BATCH)):
        count += batch
    return Result(
        rows=count,
        columns=tuple(str(column[0]) for column in header),
        numeric=tuple(column[1] in _NUMBERS for column in header),
        first=tuple(tuple(_text(value) for value in row) for row in first),
    )


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes | bytearray):
        return f"0x{bytes(value[: table.CELL]).hex()}"
    return str(value)[: 16 * table.CELL]
