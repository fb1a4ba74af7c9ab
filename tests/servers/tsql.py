"""Enough of T-SQL to test a client with: sqlglot turns it into DuckDB's SQL, DuckDB does it.

What it shows is drivers, types on the wire, transactions, error numbers and messages. What it
cannot show is T-SQL itself: control flow, stored procedures, locking, isolation levels.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import sqlglot
from pysqlbridge.tds.result import Column, Integer, NVarChar, VarBinary
from sqlglot import exp

from pit.sql.text import split
from tests.servers.tds_values import column_type

_SET_UP = """
CREATE SCHEMA dbo;
CREATE SCHEMA sys;
CREATE VIEW sys.columns AS SELECT table_oid AS object_id, column_name AS name,
    column_index AS column_id, data_type, is_nullable, false AS is_computed, false AS is_identity,
    CASE data_type WHEN 'INTEGER' THEN 56 WHEN 'BIGINT' THEN 127 WHEN 'VARCHAR' THEN 231
        WHEN 'DOUBLE' THEN 62 WHEN 'BOOLEAN' THEN 104 WHEN 'DATE' THEN 40 WHEN 'TIMESTAMP' THEN 42
        WHEN 'BLOB' THEN 165 ELSE 108 END AS system_type_id
    FROM duckdb_columns();
CREATE VIEW sys.tables AS SELECT table_oid AS object_id, table_name AS name,
    schema_oid AS schema_id FROM duckdb_tables();
CREATE MACRO type_name(t) AS (CASE t WHEN 56 THEN 'int' WHEN 127 THEN 'bigint'
    WHEN 231 THEN 'nvarchar' WHEN 62 THEN 'float' WHEN 104 THEN 'bit' WHEN 40 THEN 'date'
    WHEN 42 THEN 'datetime2' WHEN 165 THEN 'varbinary' ELSE 'numeric' END);
CREATE MACRO object_id(n) AS (SELECT max(table_oid) FROM duckdb_tables() WHERE lower(table_name)
    = lower(replace(replace(split_part(n, '.', -1), '[', ''), ']', '')));
"""
VARIABLES = {
    "version": "'Microsoft SQL Server 2022 (test server)'",
    "servername": "'test'",
    "microsoftversion": "268435456",
    "language": "'us_english'",
    "spid": "51",
    "options": "0",
    "textsize": "2147483647",
    "max_precision": "38",
    "error": "0",
    "identity": "NULL",
}


class Fault(Exception):
    """An error as SQL Server numbers it; `ends` says that it ends the batch."""

    def __init__(self, number: int, text: str, severity: int = 16, ends: bool = True) -> None:
        super().__init__(text)
        self.number, self.severity, self.ends = number, severity, ends


class HangUp(Exception):
    """The script wants the server to close the connection without a word."""


@dataclass(frozen=True)
class Answer:
    """What a statement gives: rows, or how many it changed (None for no such number)."""

    count: int | None = None
    columns: Sequence[Column] = ()
    rows: Sequence[Sequence[object]] = ()


@dataclass(frozen=True)
class Said:
    """PRINT, or an error of a severity that is none."""

    text: str
    number: int = 0
    severity: int = 0


Reply = Answer | Said | Fault


class Store:
    """The database that all sessions of a server see."""

    def __init__(self) -> None:
        self.root = duckdb.connect(config={"python_enable_replacements": "false"})
        self.root.execute(_SET_UP)
        self.application_locks = ApplicationLocks()
        self._keep_transactions()

    def _keep_transactions(self) -> None:
        """As in T-SQL, a statement that names what is not there leaves its transaction open.

        DuckDB does so by itself before 2.0.
        """
        name = "default_transaction_invalidation_policy"
        if self.root.execute(f"FROM duckdb_settings() WHERE name = '{name}'").fetchall():
            self.root.execute(f"SET GLOBAL {name} = 'SYNTACTIC_ERRORS_DO_NOT_INVALIDATE'")

    def session(self) -> Session:
        """A session of its own."""
        return Session(self)


class ApplicationLocks:
    """What sp_getapplock gives: by resource, the sessions that hold it and whether they share."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[str, dict[Session, bool]] = {}

    def take(self, resource: str, holder: Session, shared: bool, patience: int) -> int:
        """0, 1 after a wait, -1 when the time is over; milliseconds, or -1 for any time."""
        deadline = time.monotonic() + patience / 1000
        waited = 0
        with self._changed:
            while not self._is_free(resource, holder, shared):
                waited = 1
                if holder.stopped:
                    raise Fault(0, "stopped")
                if patience >= 0 and deadline <= time.monotonic():
                    return -1
                self._changed.wait(0.1)
            self._held.setdefault(resource, {})[holder] = shared
        return waited

    def _is_free(self, resource: str, holder: Session, shared: bool) -> bool:
        others = {one: mode for one, mode in self._held.get(resource, {}).items() if one != holder}
        return not others or (shared and all(others.values()))

    def leave(self, holder: Session) -> None:
        """All that the transaction held."""
        with self._changed:
            for holders in self._held.values():
                holders.pop(holder, None)
            self._changed.notify_all()


@dataclass
class Bulk:
    """A bulk copy that a client has announced."""

    table: str
    columns: list[str] = field(default_factory=list)


class Session:
    """One connection: its transaction, temporary tables and session context."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.bulk: Bulk | None = None
        self.depth = 0
        self.implicit = False
        self._context: dict[str, str] = {}
        self._counted = 0
        self._stop = threading.Event()
        self.cursor = self._open()

    def _open(self) -> duckdb.DuckDBPyConnection:
        cursor = self._store.root.cursor()
        cursor.execute("SET search_path = 'main,dbo'")
        return cursor

    def reset(self) -> None:
        """As sp_reset_connection: nothing of the last user is left."""
        self.close()
        self._context.clear()
        self.implicit = False
        self.cursor = self._open()

    def close(self) -> None:
        """Roll back what is open."""
        self.end(commit=False)
        self.cursor.close()

    def forget_interrupt(self) -> None:
        """Forget the interrupt of an earlier request; before the work on the next can start."""
        self._stop.clear()

    def interrupt(self) -> None:
        """End the running statement."""
        self._stop.set()
        self.cursor.interrupt()

    # ------------------------------------------------------------ transactions

    def begin(self) -> None:
        if not self.depth:
            self.cursor.execute("BEGIN")
        self.depth += 1

    def end(self, commit: bool) -> None:
        if not self.depth:
            return
        self.depth = 0 if not commit else self.depth - 1
        if not self.depth:
            try:
                self.cursor.execute("COMMIT" if commit else "ROLLBACK")
            finally:
                self._store.application_locks.leave(self)

    @property
    def stopped(self) -> bool:
        """Whether the client wants what runs to end."""
        return self._stop.is_set()

    def lock(self, match: re.Match[str]) -> Answer:
        """sp_getapplock for the transaction, which an implicit one begins with a table."""
        if self.implicit and not self.depth and "from sys." in match["before"].lower():
            self.begin()
        status = -999
        if self.depth:
            shared = match["mode"].lower() == "shared"
            status = self._store.application_locks.take(
                match["resource"], self, shared, int(match["patience"])
            )
        return Answer(1, [Column("turn", Integer(4))], [[status]])

    # ------------------------------------------------------------ batches

    def run(self, text: str, parameters: Mapping[str, object] | None = None) -> Iterator[Reply]:
        """Carry out a batch; a fault that does not end it is followed by the other statements."""
        known = self._for_clients(text)
        if known is not None:
            yield from known
            return
        statements = [one.text for one in split.statements(text, split.TSQL)]
        for statement in statements:
            _check(statement)
        for statement in statements:
            try:
                yield from self._statement(statement, parameters or {})
            except Fault as fault:
                yield fault
                if fault.ends or self.depth:
                    return

    def _statement(self, text: str, parameters: Mapping[str, object]) -> Iterator[Reply]:
        for pattern, handle in _SPECIAL:
            if match := pattern.fullmatch(text.strip()):
                yield from handle(self, match)
                return
        for tree in sqlglot.parse(self._filled_in(text), read="tsql"):
            if tree is not None:
                yield self._one(tree, parameters)

    def _filled_in(self, text: str) -> str:
        """The text with its @@variables and session context written out."""

        def variable(match: re.Match[str]) -> str:
            name = match[1].lower()
            if name == "trancount":
                return str(self.depth)
            return str(self._counted) if name == "rowcount" else VARIABLES.get(name, match[0])

        def context(match: re.Match[str]) -> str:
            value = self._context.get(match[1].lower())
            return "NULL" if value is None else f"'{_doubled(value)}'"

        text = re.sub(r"SESSION_CONTEXT\(\s*N?'([^']*)'\s*\)", context, text, flags=re.IGNORECASE)
        return re.sub(r"@@(\w+)", variable, text)

    def _one(self, tree: exp.Expression, parameters: Mapping[str, object]) -> Answer:
        if isinstance(tree, exp.Set | exp.Use | exp.Declare):
            said = tree.sql("tsql").lower()
            if "implicit_transactions" in said:
                self.implicit = "off" not in said
            return Answer()
        if isinstance(tree, exp.Transaction):
            self.begin()
            return Answer()
        if isinstance(tree, exp.Commit | exp.Rollback):
            self.end(isinstance(tree, exp.Commit))
            return Answer()
        if isinstance(tree, exp.Command):
            if tree.this.upper() in ("SET", "USE", "DBCC"):
                return Answer()
            raise Fault(2812, f"Could not find stored procedure '{tree.sql('tsql')[:80]}'.")
        if self.implicit and not self.depth and not isinstance(tree, exp.Select):
            self.begin()
        return self._execute(_translated(tree), tree, parameters)

    def _execute(self, text: str, tree: exp.Expression, parameters: Mapping[str, object]) -> Answer:
        used = {one.name.lower() for one in tree.find_all(exp.Var)}
        values = {name.lstrip("@").lower(): value for name, value in parameters.items()}
        given = {name: value for name, value in values.items() if name in used}
        try:
            self.cursor.execute(text, given or None)
            header = self.cursor.description
            rows = self.cursor.fetchall() if header else []
        except duckdb.Error as error:
            raise _fault(error, self._stop.is_set()) from None
        if _gives_rows(tree):
            self._counted = len(rows)
            columns = [Column(_named(one[0]), column_type(str(one[1]))) for one in header]
            return Answer(len(rows), columns, [[_plain(value) for value in row] for row in rows])
        counted = rows[0][0] if rows and isinstance(rows[0][0], int) else None
        self._counted = counted or 0
        return Answer(counted if not isinstance(tree, exp.Create | exp.Drop) else None)

    # ------------------------------------------------------------ what the SQL cannot say

    def say(self, match: re.Match[str]) -> Iterator[Reply]:
        yield Said(_unquoted(match["text"]))

    def raise_error(self, match: re.Match[str]) -> Iterator[Reply]:
        text, severity = _unquoted(match["text"]), int(match["severity"])
        if severity <= 10:
            yield Said(text, 50000, severity)
        else:
            yield Fault(50000, text, severity, ends=False)

    def raise_number(self, match: re.Match[str]) -> Iterator[Reply]:
        self.end(commit=False)
        raise Fault(int(match["number"]), _unquoted(match["text"]))

    def hang_up(self, match: re.Match[str]) -> Iterator[Reply]:
        raise HangUp

    def wait(self, match: re.Match[str]) -> Iterator[Reply]:
        hours, minutes, seconds = match["time"].split(":")
        if self._stop.wait((int(hours) * 60 + int(minutes)) * 60 + float(seconds)):
            raise Fault(0, "stopped")
        yield Answer()

    def set_context(self, match: re.Match[str]) -> Iterator[Reply]:
        self._context[_unquoted(match["key"]).lower()] = _unquoted(match["value"])
        yield Answer()

    def roll_back_if_open(self, match: re.Match[str]) -> Iterator[Reply]:
        self.end(match["what"].lower() == "commit")
        yield Answer()

    # ------------------------------------------------------------ what clients ask by themselves

    def _for_clients(self, text: str) -> list[Reply] | None:
        """Answers to what drivers ask about a table, to a bulk copy, and to a call for a lock."""
        if match := _APPLICATION_LOCK.fullmatch(text.strip()):
            return [self.lock(match)]
        if match := _BULK.match(text):
            columns = re.split(r",(?![^()]*\))", _before_with(match["columns"]))
            names = [re.match(r"\s*(\[[^\]]+\]|\"[^\"]+\"|\S+)", one) for one in columns]
            self.bulk = Bulk(match["table"], [name[1].strip('[]"') for name in names if name])
            return [Answer(0)]
        asked = _DESCRIBED.match(text) or _FMTONLY.search(text)
        if asked is None:
            return None
        columns = self.describe(asked["table"])
        replies: list[Reply] = [Answer(0, columns)]
        if "@@TRANCOUNT" in text.upper():
            replies.insert(0, Answer(1, [Column("", Integer(4))], [[self.depth]]))
        if "sp_tablecollations_100" in text.lower():
            replies.append(Answer(len(columns), _COLLATIONS, _collations(columns)))
        return replies

    def describe(self, table: str) -> list[Column]:
        """The columns of a table."""
        query = sqlglot.parse_one(f"SELECT * FROM {table}", read="tsql")
        self.cursor.execute(f"{_translated(query)} LIMIT 0")
        header = self.cursor.description or []
        return [Column(one[0], column_type(str(one[1])), flags=0x09) for one in header]

    def load(self, names: Sequence[str], rows: Sequence[Sequence[object]]) -> int:
        """Insert the rows of a bulk copy."""
        assert self.bulk is not None
        target = sqlglot.parse_one(f"SELECT * FROM {self.bulk.table}", read="tsql")
        table = target.find(exp.Table)
        assert table is not None
        table.set("catalog", None)
        if rows:
            import pyarrow

            data = {f"c{i}": [row[i] for row in rows] for i in range(len(names))}
            self.cursor.register("pit_bulk", pyarrow.table(data))
            quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
            into = table.sql("duckdb")
            try:
                self.cursor.execute(f"INSERT INTO {into} ({quoted}) SELECT * FROM pit_bulk")
            except duckdb.Error as error:
                raise _fault(error, self._stop.is_set()) from None
            finally:
                self.cursor.unregister("pit_bulk")
        return len(rows)


_TEXT = r"N?'(?:[^']|'')*'"
_SPECIAL = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), handle)
    for pattern, handle in (
        (rf"PRINT\s+(?P<text>{_TEXT})", Session.say),
        (rf"RAISERROR\s*\(\s*(?P<text>{_TEXT})\s*,\s*(?P<severity>\d+)\s*,\s*\d+\s*\)"
         r"(?:\s+WITH\s+NOWAIT)?", Session.raise_error),
        (rf"THROW\s+(?P<number>\d+)\s*,\s*(?P<text>{_TEXT})\s*,\s*\d+", Session.raise_number),
        (rf"EXEC\s+test_raise\s+(?P<number>\d+)\s*,\s*(?P<text>{_TEXT})", Session.raise_number),
        (r"EXEC\s+test_hang_up", Session.hang_up),
        (r"WAITFOR\s+DELAY\s+'(?P<time>[\d:.]+)'", Session.wait),
        (rf"EXEC\s+sp_set_session_context\s+@key\s*=\s*(?P<key>{_TEXT})\s*,"
         rf"\s*@value\s*=\s*(?P<value>{_TEXT})", Session.set_context),
        (r"IF\s+@@TRANCOUNT\s*>\s*0\s+(?P<what>ROLLBACK|COMMIT)(?:\s+TRAN(?:SACTION)?)?",
         Session.roll_back_if_open),
    )
)  # fmt: skip
_BULK = re.compile(
    r"\s*insert\s+bulk\s+(?P<table>\S+)\s*\((?P<columns>.+)\)", re.IGNORECASE | re.DOTALL
)
_APPLICATION_LOCK = re.compile(
    r"(?P<before>SET NOCOUNT ON; DECLARE @(?P<name>\w+) int; .*?)"
    r"EXEC @(?P=name) = (?:\[[^\]]+\]\.)?sys\.sp_getapplock "
    r"@Resource = N'(?P<resource>[^']{1,255})', @LockMode = N'(?P<mode>Shared|Exclusive)', "
    r"@LockOwner = N'Transaction', "
    r"@LockTimeout = (?P<patience>-?\d+); SET NOCOUNT OFF; SELECT @(?P=name) AS \w+",
    re.IGNORECASE | re.DOTALL,
)
_DESCRIBED = re.compile(
    r"(?=.*sp_executesql).*?OBJECT_ID\(N'(?P<table>.+?)'\)", re.IGNORECASE | re.DOTALL
)
_FMTONLY = re.compile(
    r"SET FMTONLY ON\s+select\s+\*\s+from\s+(?P<table>.+?)\s+SET FMTONLY OFF",
    re.IGNORECASE | re.DOTALL,
)
_COLLATIONS = [
    Column("colid", Integer(4)),
    Column("name", NVarChar(128)),
    Column("tds_collation", VarBinary(5)),
    Column("collation", NVarChar(128)),
]


def _before_with(columns: str) -> str:
    at = columns.lower().rfind(") with")
    return columns[:at] if at >= 0 else columns


def _collations(columns: Sequence[Column]) -> list[list[object]]:
    rows: list[list[object]] = []
    for number, column in enumerate(columns, 1):
        text = isinstance(column.type, NVarChar)
        collation = (bytes.fromhex("0904d00034"), "SQL_Latin1_General_CP1_CI_AS")
        rows.append([number, column.name, *(collation if text else (None, None))])
    return rows


def _doubled(text: str) -> str:
    return text.replace("'", "''")


def _unquoted(literal: str) -> str:
    return literal.lstrip("Nn")[1:-1].replace("''", "'")


def _named(name: str) -> str:
    return "" if name.startswith("_col") else name


def _plain(value: object) -> object:
    return str(value) if isinstance(value, uuid.UUID) else value


def _gives_rows(tree: exp.Expression) -> bool:
    if isinstance(tree, exp.Select) and tree.args.get("into"):
        return False
    return isinstance(tree, exp.Select | exp.Union | exp.Except | exp.Intersect | exp.Subquery)


def _check(statement: str) -> None:
    """Nothing of a batch is carried out when a statement of it cannot be parsed."""
    if any(pattern.fullmatch(statement.strip()) for pattern, _ in _SPECIAL):
        return
    try:
        trees = sqlglot.parse(statement, read="tsql")
    except sqlglot.errors.SqlglotError as error:
        near = getattr(error, "errors", None) or [{}]
        raise Fault(102, f"Incorrect syntax near '{near[0].get('highlight', '')}'.") from None
    for tree in trees:
        if isinstance(tree, exp.Alias | exp.Column):
            raise Fault(102, f"Incorrect syntax near '{statement.split()[0]}'.")


_BINARY = (exp.DataType.Type.BINARY, exp.DataType.Type.VARBINARY)
_TEXTS = tuple(exp.DataType.Type[name] for name in ("CHAR", "VARCHAR", "NCHAR", "NVARCHAR"))
_WHO = frozenset(("SUSER_SNAME", "ORIGINAL_LOGIN", "SUSER_NAME", "USER_NAME"))


def _translated(tree: exp.Expression) -> str:
    """The statement in DuckDB's SQL; its parameters become `$name`."""
    for table in list(tree.find_all(exp.Table)):
        table.set("catalog", None)
        if table.db.lower() == "dbo" and table.this.args.get("temporary"):
            table.set("db", None)
    for kind in list(tree.find_all(exp.DataType)):
        _translate_type(kind)
    for call in list(tree.find_all(exp.Anonymous)):
        name = call.name.upper()
        if name == "DB_NAME":
            call.replace(exp.Literal.string("master"))
        elif name in _WHO:
            call.replace(exp.Literal.string("sa"))
        elif name == "NEWID":
            call.replace(exp.func("uuid"))
    for parameter in tree.find_all(exp.Parameter):
        parameter.this.replace(exp.Var(this=parameter.name.lower()))
    return tree.sql("duckdb")


def _translate_type(kind: exp.DataType) -> None:
    if kind.this in _BINARY:
        kind.replace(exp.DataType.build("BLOB", dialect="duckdb"))
    elif kind.this is exp.DataType.Type.FLOAT:
        kind.set("this", exp.DataType.Type.DOUBLE)
        kind.set("expressions", [])
    elif kind.this is exp.DataType.Type.BIT:
        kind.set("this", exp.DataType.Type.BOOLEAN)
    elif kind.this in _TEXTS:
        kind.replace(exp.DataType.build("TEXT"))
    elif kind.this is exp.DataType.Type.MONEY:
        kind.replace(exp.DataType.build("DECIMAL(19,4)", dialect="duckdb"))


def _fault(error: duckdb.Error, stopped: bool) -> Fault:
    text = str(error).split("\n")[0]
    if stopped or isinstance(error, duckdb.InterruptException):
        return Fault(0, "stopped")
    if isinstance(error, duckdb.CatalogException):
        missing = re.search(r"Table with name (\S+) does not exist", text)
        if missing:
            return Fault(208, f"Invalid object name '{missing[1]}'.")
        return Fault(2714, f"There is already an object like that in the database: {text}")
    if isinstance(error, duckdb.ConstraintException):
        return Fault(2627, f"Violation of PRIMARY KEY constraint: {text}", 14, ends=False)
    if isinstance(error, duckdb.ConversionException):
        return Fault(245, f"Conversion failed: {text}")
    if isinstance(error, duckdb.BinderException):
        column = re.search(r'column "([^"]+)"', text)
        return Fault(207, f"Invalid column name '{column[1] if column else ''}'.")
    if isinstance(error, duckdb.TransactionException):
        return Fault(3960, f"Snapshot isolation transaction aborted due to update conflict: {text}")
    return Fault(50000, text)
