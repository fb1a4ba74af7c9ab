"""Checks: the result of one query, held against what is expected of it.

The result goes to a Parquet file first, in flat memory; there it is counted and looked at, the same
way for every database. Only a check that fails keeps it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pit.model import Bounds, Expect, Record
from pit.sql import protocol, results
from pit.sql.driver import CHECK_FAILED, Driver, Failure, Session, SqlFailure, Statement
from pit.sql.drivers.duck import DuckSession
from pit.sql.text import table
from pit.sql.transfer.saving import Saving, columns_of, one_query


class Finding(Record, frozen=True):
    """One expectation that is not met; `rows` is a condition for the rows that show it."""

    sentence: str
    rows: str = "true"


class Checking(Saving):
    """A check being carried out."""

    def __init__(self, driver: Driver, order: protocol.Check, log: Callable[[str], None]) -> None:
        save = protocol.Save(
            id=order.id,
            script=order.script,
            text=order.text,
            database=order.database,
            path=order.keep,
            variables=order.variables,
            template=order.template,
        )
        super().__init__(driver, save, log)
        self._expect, self._keep, self._kept = order.expect, Path(order.keep), order.kept

    def _meet(self, statements: Sequence[Statement]) -> None:
        one_query("a check", statements, self._database.kind)

    def _each(self, session: Session, statements: Sequence[Statement]) -> None:
        (statement,) = statements
        self._heed()
        self._title(statement)
        begun = time.monotonic()
        self._keep.unlink(missing_ok=True)
        self._write(session, statement)
        self._keep.chmod(0o600)
        self._statements = 1
        self._judge(time.monotonic() - begun)

    def _saved(self, session: Session, statement: Statement, path: str) -> int:
        """As a save does, but two columns may have one name, as in `SELECT a.*, b.*`."""
        if isinstance(session, DuckSession):
            session.save(statement, path, _named)
            return 0
        with closing(session.rows(statement)) as rows:
            if not rows.columns:
                message = "a check is a query that returns rows; this returns none"
                raise SqlFailure(Failure(message=message, line=statement.line, kind="query"))
            columns = columns_of(rows, results.distinct(rows.columns))
            self._through(rows, columns, statement, path, "parquet")
        return 0

    def _judge(self, seconds: float) -> None:
        """Look at the result; SqlFailure if it is not as expected."""
        with results.private() as connection:
            kept = Kept(connection, self._keep)
            try:
                findings = list(found(self._expect, kept))
            except SqlFailure:
                self._keep.unlink(missing_ok=True)
                raise
            if not findings:
                self._indented(f"{_rows(kept.count)}, as expected, {seconds * 1000:.0f} ms")
            for condition in dict.fromkeys(one.rows for one in findings):
                if preview := kept.preview(condition):
                    self._indented(preview)
        if not findings or not kept.count:
            self._keep.unlink(missing_ok=True)
        if findings:
            sentence = "; ".join(one.sentence for one in findings)
            where = f"; see {self._kept}" if kept.count else ""
            raise SqlFailure(Failure(message=f"{sentence}{where}", kind=CHECK_FAILED))


def _named(names: Sequence[str]) -> str:
    return ", ".join(results.quoted(name) for name in results.distinct(names))


class Kept:
    """The result of a check's query in its file."""

    def __init__(self, connection: Any, path: Path) -> None:
        self._connection = connection
        where = str(path).replace("'", "''")
        self._source = f"read_parquet('{where}', hive_partitioning = false)"
        header = connection.execute(f"FROM {self._source} LIMIT 0").description
        self.columns = [str(column[0]) for column in header]
        self.count = int(self.ask("count(*)")[0])

    def ask(self, expressions: str, condition: str = "true") -> Sequence[Any]:
        """The first row of a query."""
        query = f"SELECT {expressions} FROM {self._source} WHERE {condition}"
        row: Sequence[Any] = self._connection.execute(query).fetchone() or ()
        return row

    def preview(self, condition: str) -> str:
        """The first rows for which a condition holds, as a table; empty if there are none."""
        names = [results.quoted(name) for name in self.columns]
        casts = ", ".join(f"left(CAST({name} AS VARCHAR), {2 * table.CELL})" for name in names)
        query = f"SELECT {casts} FROM {self._source} WHERE {condition}"
        rows = self._connection.execute(f"{query} LIMIT {_PREVIEW}").fetchall()
        if not rows:
            return ""
        count = int(self.ask("count(*)", condition)[0])
        first = f"first {len(rows)} of " if count > len(rows) else ""
        numeric = [str(kind) not in _TEXTS for kind in self._types()]
        shown = table.render(self.columns, numeric, rows, table.LOG_WIDTH)
        return f"{shown}\n{first}{_rows(count)}"

    def _types(self) -> list[str]:
        header = self._connection.execute(f"FROM {self._source} LIMIT 0").description
        return [str(column[1]) for column in header]


_PREVIEW = 5
"""So many rows of what a check finds are logged; with their header they fit into a summary."""

_TEXTS = ("VARCHAR", "STRING", "BLOB", "BINARY", "DATETIME", "DATE", "Date", "UUID", "bool", "BOOL")


def found(expect: Expect | None, kept: Kept) -> Iterator[Finding]:
    """What of the expectations is not met."""
    if expect is None or expect == Expect():
        if kept.count:
            yield Finding(sentence=f"{_rows(kept.count)}, expected none")
        return
    if expect.rows is not None and not expect.rows.holds(kept.count):
        yield Finding(sentence=f"{_rows(kept.count)}, expected {expect.rows.text}")
    if expect.value is not None:
        yield from _value(expect.value, kept)
    if expect.max_null and expect.rows is None and not kept.count:
        yield Finding(sentence=_NO_SHARE)
    for column, share in expect.max_null.items():
        yield from _nulls(column, share, kept)


_NO_SHARE = (
    "no rows, so there is no share of NULLs for max_null to bound; "
    'if that is right, say so: rows = ">=0"'
)


def _value(wanted: Bounds | str | int | float | bool, kept: Kept) -> Iterator[Finding]:
    if len(kept.columns) != 1:
        raise _mistaken(f"expect.value is for a query of one column; there are {_have(kept)}")
    if kept.count != 1:
        yield Finding(sentence=f"the query returned {_rows(kept.count)}, expected one value")
        return
    name = results.quoted(kept.columns[0])
    text, number = kept.ask(f"CAST({name} AS VARCHAR), TRY_CAST({name} AS DOUBLE)")
    if not _meets(wanted, text, number):
        shown = "NULL" if text is None else table.clip(table.visible(text), table.CELL)
        told = wanted.text if isinstance(wanted, Bounds) else _told(wanted)
        if isinstance(wanted, Bounds):
            shown = _unbounded(number) or shown
        yield Finding(sentence=f"{kept.columns[0]} is {shown}, expected {told}")


def _unbounded(number: float | None) -> str:
    """What to say of a number that no range has in it, whatever its bounds; empty for others."""
    if number is None or math.isfinite(number):
        return ""
    if math.isnan(number):
        return "NaN: not a number, as when zero is divided by zero"
    sign = "-" if number < 0 else ""
    return f"{sign}infinity: outside every range, as when something is divided by zero"


def _meets(wanted: Bounds | str | int | float | bool, text: str | None, number: Any) -> bool:
    match wanted:
        case Bounds():
            return number is not None and wanted.holds(number)
        case bool():
            return text is not None and text.lower() in (("false", "0"), ("true", "1"))[wanted]
        case int() | float():
            return number is not None and float(number) == float(wanted)
    return text == wanted


def _told(wanted: str | int | float | bool) -> str:
    return str(wanted).lower() if isinstance(wanted, bool) else str(wanted)


def _nulls(column: str, share: float, kept: Kept) -> Iterator[Finding]:
    names = [name for name in kept.columns if name.lower() == column.lower()]
    if not names:
        raise _mistaken(f'expect.max_null: there is no column "{column}"; there are {_have(kept)}')
    name = results.quoted(column if column in names else names[0])
    count = int(kept.ask(f"count(*) FILTER ({name} IS NULL)")[0])
    if kept.count and count / kept.count > share:
        percent = 100 * count / kept.count
        yield Finding(
            sentence=f"{column} is NULL in {percent:.1f} % of {_rows(kept.count)}, "
            f"expected at most {100 * share:g} %",
            rows=f"{name} IS NULL",
        )


def _mistaken(message: str) -> SqlFailure:
    """An expectation that no result of this query could meet: never a mere warning."""
    return SqlFailure(Failure(message=message, kind="query"))


def _have(kept: Kept) -> str:
    names = ", ".join(table.visible(name) for name in kept.columns[:10])
    return f"{names}, …" if len(kept.columns) > 10 else names


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}" if count else "no rows"
