"""What a person typed, sent to a database, and its rows as a table, CSV, JSON or Parquet."""

from __future__ import annotations

import decimal
import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import msgspec

from pit.sql import protocol, results
from pit.sql.connection.urls import Database
from pit.sql.driver import Document, Driver, Failure, Rows, Session, SqlFailure, Statement
from pit.sql.script import Execution, Report
from pit.sql.text import table
from pit.sql.transfer.saving import Saving

_PIECE = 60_000
"""Characters that are given at once, more or less."""
_SHOWN = 16 * table.CELL
_LEAST = 20
"""Terminal columns that a table takes in the narrowest window."""

Give = Callable[[str], None]


class ToParquet(Saving):
    """One query whose whole result goes to a file."""

    def _told(self, failure: Failure) -> Failure:
        """Who asked shows the failure himself."""
        return hidden(failure, self._database)

    def _shown(self) -> str:
        """As it would be written here: this process works in the person's folder."""
        here = f"{os.getcwd()}/"
        return self._path.removeprefix(here)


class Querying(Execution):
    """One text on its way; several statements are carried out as a task would, and told so."""

    def __init__(
        self, driver: Driver, order: protocol.Query, log: Callable[[str], None], give: Give
    ) -> None:
        super().__init__(driver, order.database, "query", order.text, {}, log)
        self._order, self._give = order, give
        self._changed: int | None = None

    def run(self) -> Report:
        """Send it; the answer is how many rows it changed, None if it changed none."""
        report = super().run()
        return msgspec.structs.replace(report, answer=self._changed)

    def _told(self, failure: Failure) -> Failure:
        """Who asked shows the failure himself."""
        return hidden(failure, self._database)

    def _meet(self, statements: Sequence[Statement]) -> None:
        if len(statements) > 1 and self._order.form != "table":
            message = f"as {self._order.form} only one query can be given; this is another"
            raise SqlFailure(Failure(message=message, line=statements[1].line, kind="query"))

    def _each(self, session: Session, statements: Sequence[Statement]) -> None:
        (statement, *others) = statements
        if others or getattr(statement.native, "times", 1) > 1:
            super()._each(session, statements)
            return
        self._heed()
        written = getattr(session, "documents", None) if self._order.form == "json" else None
        documents = written is not None
        asked: Rows = written(statement) if written is not None else session.rows(statement)
        with closing(asked) as rows:
            self._written(rows, documents)
            for more in self._more(rows, statement):
                self._written(more, documents)
        if session.roll_back():
            self._changed = None
            raise SqlFailure(Failure(message="the open transaction was rolled back"))

    def _more(self, rows: Rows, statement: Statement) -> Iterator[Rows]:
        """Further results of a batch; only as tables there can be several."""
        if self._order.form != "table":
            rows.end(statement)
        elif rows.following is not None:
            yield from rows.following

    def _written(self, rows: Rows, documents: bool) -> None:
        self._changed = rows.changed
        if not rows.columns:
            return
        each = itertools.chain.from_iterable(rows.batches)
        match self._order.form:
            case "table":
                self._give(as_table(rows, each, self._order.limit, self._order.width))
            case "csv":
                self._pieces(as_csv(rows.columns, itertools.islice(each, self._order.limit)))
            case "json":
                limited = itertools.islice(each, self._order.limit)
                texts = (str(row[0]) for row in limited) if documents else as_json(rows, limited)
                self._pieces(_array(texts))

    def _pieces(self, texts: Iterator[str]) -> None:
        """Give many small texts as fewer larger ones."""
        waiting: list[str] = []
        size = 0
        for text in texts:
            waiting.append(text)
            size += len(text)
            if size >= _PIECE:
                self._heed()
                self._give("".join(waiting))
                waiting, size = [], 0
        if waiting:
            self._give("".join(waiting))


def hidden(failure: Failure, database: Database) -> Failure:
    """A failure without the database's secrets."""
    message, snippet = database.hide(failure.message), database.hide(failure.snippet)
    return msgspec.structs.replace(failure, message=message, snippet=snippet)


def work(
    driver: Driver, order: protocol.Query, log: Callable[[str], None], give: Give
) -> Execution:
    """What carries out a query in the form that is asked for."""
    if order.form != "parquet":
        return Querying(driver, order, log, give)
    save = protocol.Save(
        id=order.id,
        script="query",
        text=order.text,
        database=order.database,
        path=order.path,
        variables={},
    )
    return ToParquet(driver, save, log)


def as_table(
    rows: Rows, each: Iterator[Sequence[Any]], limit: int | None, room: int | None = None
) -> str:
    """The first rows as a table, and how many there are, as far as they were read."""
    first = list(itertools.islice(each, limit))
    more = next(each, None) is not None
    texts = [[_text(value) for value in row] for row in first]
    numeric = rows.numeric or [_is_number(column) for column in zip(*first, strict=True)]
    numeric = numeric or [False] * len(rows.columns)
    shown = table.render(
        rows.columns, numeric, texts, max(room or table.WIDTH, _LEAST), "--csv has all"
    )
    count = f"{len(first):,} row{'' if len(first) == 1 else 's'}"
    said = f"first {count}; there are more: --limit N, or --csv for all" if more else count
    return f"{shown}\n{said}\n"


def _is_number(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) for value in known)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return plain(value)[:_SHOWN]


def plain(value: Any) -> str:
    """A value as text."""
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case bytes() | bytearray() | memoryview():
            return f"\\x{bytes(value).hex()}"
        case decimal.Decimal():
            return f"{value:f}"
        case dict() | list():
            return msgspec.json.encode(_known(value), enc_hook=str).decode()
    return str(value)


# ---------------------------------------------------------------- CSV


def as_csv(columns: Sequence[str], each: Iterator[Sequence[Any]]) -> Iterator[str]:
    """Lines of CSV as RFC 4180 has it, with a header; NULL is empty, an empty text is `""`."""
    yield ",".join(_cell(name) for name in columns) + "\n"
    for row in each:
        yield ",".join(_cell(value) for value in row) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = plain(value)
    if not text or any(sign in text for sign in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


# ---------------------------------------------------------------- JSON

_encoder = msgspec.json.Encoder(enc_hook=str, decimal_format="number")


def as_json(rows: Rows, each: Iterator[Sequence[Any]]) -> Iterator[str]:
    """Each row as a JSON object."""
    names = results.distinct(rows.columns)
    for row in each:
        yield _encoder.encode(dict(zip(names, map(_known, row), strict=True))).decode()


def _known(value: Any) -> Any:
    """A value of which JSON is made; numbers that JSON does not have as text, as in Postgres."""
    match value:
        case Document():
            return msgspec.Raw(value.encode())
        case bytes() | bytearray() | memoryview():
            return plain(value)
        case float() | decimal.Decimal() if not math.isfinite(value):
            return _NAMES.get(str(value).lower(), str(value))
        case list():
            return [_known(one) for one in value]
    return value


_NAMES = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _array(texts: Iterator[str]) -> Iterator[str]:
    before = "[\n "
    for text in texts:
        yield f"{before}{text}"
        before = ",\n "
    yield "[]\n" if before == "[\n " else "\n]\n"
