"""The files of a load as a relation of DuckDB's: their columns, their rows, and what is wrong.

Nothing is read into memory: a relation is the text of a query, and rows stream through it.
"""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb

from pit.model import ColumnRule, CsvFormat, Load, MissingColumns, Record
from pit.sql import dialect, table
from pit.sql.transfer.files import find, format_of, listed, refused
from pit.sql.transfer.types import Kind, kind

_SHOWN = 80
"""How many characters of a value an error shows."""
NUMBER = "pit row number"
"""The column that numbers the rows of a file, from 1."""


class Field(Record):
    """A column of the files: how it is called there and in the table, its type, what it becomes.

    `type` is that of the files; `wanted` is what a person asked for, None where nobody did.
    """

    column: str
    name: str
    type: Kind
    wanted: Kind | None = None


class Reader:
    """The files of one load, on a connection of DuckDB's."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, work: Load, roots: Sequence[str]
    ) -> None:
        self._connection, self._work = connection, work
        self.files = find(work.source, roots)
        formats = {format_of(path, work.format) for path in self.files}
        if len(formats) > 1:
            raise refused(f"{work.source} names files of different formats; load them apart")
        self.format = formats.pop()
        self._roots = roots
        self._headers: dict[str, tuple[str, list[str]]] = {}

    # ------------------------------------------------------------ columns

    def fields(self, known: Sequence[str] | None = None) -> tuple[Field, ...]:
        """The columns that are loaded.

        `known` are the columns of the table, None where it is yet to be made: then the types of
        a CSV file are found out by reading all of it.
        """
        found = self._described(self.relation(self.files))
        if not found:
            raise refused(f"{self._work.source} has no columns")
        self._check_each(found)
        if known is None and self.format == "csv":
            found = self._guessed(found)
        return tuple(self._named(found))

    def _described(self, relation: str) -> dict[str, str]:
        rows = self._connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
        return {str(row[0]): str(row[1]) for row in rows}

    def _check_each(self, all_of_them: dict[str, str]) -> None:
        """A file that lacks a column must not pass for one full of NULLs; JSON has no columns."""
        ignore = self._work.missing_columns is MissingColumns.NULL
        if len(self.files) < 2 or ignore or self.format == "json":
            return
        for path in self.files:
            own = self._described(self.relation([path]))
            lacks = [name for name in all_of_them if name not in own]
            if lacks:
                names = ", ".join(f'"{table.visible(name)}"' for name in lacks[:5])
                raise refused(
                    f"{self.shown(path)} lacks the column{'s' if len(lacks) > 1 else ''} {names}, "
                    'which other files have; missing_columns = "null" makes them NULL'
                )

    def _guessed(self, found: dict[str, str]) -> dict[str, str]:
        """The narrowest type that all of a CSV file's rows bear; what is no type is a text."""
        relation = self.relation(self.files)
        tests = ", ".join(
            f"bool_and({condition.format(_quote(name))})"
            for name in found
            for condition in GUESSES.values()
        )
        row = self._connection.execute(f"SELECT {tests} FROM {relation}").fetchone() or ()
        guessed = {}
        for number, name in enumerate(found):
            good = row[number * len(GUESSES) : (number + 1) * len(GUESSES)]
            kinds = [kind for kind, fits in zip(GUESSES, good, strict=True) if fits]
            guessed[name] = kinds[0] if kinds else "VARCHAR"
        return guessed

    def _named(self, found: dict[str, str]) -> Iterator[Field]:
        rules = dict(self._work.columns)
        taken: dict[str, str] = {}
        for column, text in found.items():
            rule = rules.pop(column, ColumnRule())
            if rule.skip:
                continue
            name = rule.name or column
            other = taken.setdefault(name, column)
            if other != column:
                raise refused(f'the columns "{other}" and "{column}" would both be "{name}"')
            wanted = self._type(rule.type, column) if rule.type else None
            yield Field(column=column, name=name, type=kind(text), wanted=wanted)
        if rules:
            left = ", ".join(f'"{table.visible(name)}"' for name in list(rules)[:5])
            raise refused(f"columns names what no file has: {left}")

    def _type(self, text: str, column: str) -> Kind:
        """A type as a person wrote it, by DuckDB's name for it."""
        try:
            row = self._connection.execute(f"DESCRIBE SELECT CAST(NULL AS {text})").fetchone()
        except duckdb.Error:
            row = None
        if row is None or ";" in text or "--" in text:
            raise refused(f'column "{table.visible(column)}": "{text}" is no type') from None
        return kind(str(row[1]))

    # ------------------------------------------------------------ rows

    def relation(self, files: Sequence[str], numbered: bool = False) -> str:
        """What stands behind FROM; with the type that a file gives each column, text for CSV."""
        match self.format:
            case "csv":
                found = self._csv(files)
            case "json":
                found = (
                    f"read_json({listed(files)}, format='newline_delimited', sample_size=-1, "
                    "union_by_name=true, maximum_object_size=268435456)"
                )
            case _:
                together = ", union_by_name=true" if len(files) > 1 else ""
                found = f"read_parquet({listed(files)}, hive_partitioning=false{together})"
        if not numbered:
            return found
        return f"(SELECT *, row_number() OVER () AS {_quote(NUMBER)} FROM {found})"

    def _csv(self, files: Sequence[str]) -> str:
        parts = [self._one_csv(path) for path in files]
        if len(parts) == 1:
            return parts[0]
        return f"({' UNION ALL BY NAME '.join(f'SELECT * FROM {part}' for part in parts)})"

    def _one_csv(self, path: str) -> str:
        """One file, all of it text: nothing is guessed, so that a broken line is an error."""
        form: CsvFormat = self._work.csv
        delimiter, names = self._header(path)
        columns = ", ".join(f"{_text(name)}: 'VARCHAR'" for name in names)
        parts = [
            listed([path]),
            f"columns={{{columns}}}",
            "auto_detect=false",
            f"header={str(form.header).lower()}",
            f"delim={_text(delimiter)}",
            "quote='\"'",
            "escape='\"'",
            f"nullstr={_text(form.null)}",
            f"encoding={_text(form.encoding)}",
            "allow_quoted_nulls=false",
            "strict_mode=true",
            "hive_partitioning=false",
            f"compression={_text('gzip' if path.lower().endswith('.gz') else 'none')}",
        ]
        if self._work.max_rejects:
            parts.append("store_rejects=true")
        return f"read_csv({', '.join(parts)})"

    def _header(self, path: str) -> tuple[str, list[str]]:
        """What separates values, and the names of the columns."""
        form: CsvFormat = self._work.csv
        if path not in self._headers:
            record = _first_record(path, form.encoding)
            delimiter = form.delimiter or _delimiter(path, record)
            cells = next(csv.reader([record], delimiter=delimiter), [])
            if not form.header:
                cells = [f"column{number}" for number in range(len(cells))]
            if not cells:
                raise refused(f"{self.shown(path)} is empty: it has not even the names of columns")
            twice = next((one for one in cells if cells.count(one) > 1), None)
            if twice is not None or "" in cells:
                raise refused(f'{self.shown(path)} has two columns "{table.visible(twice or "")}"')
            self._headers[path] = delimiter, cells
        return self._headers[path]

    def shown(self, path: str) -> str:
        """A file as people know it: relative to where it was looked for."""
        for root in self._roots:
            if root and path.startswith(f"{root.rstrip('/')}/"):
                return path[len(root.rstrip("/")) + 1 :]
        return path


def _first_record(path: str, encoding: str) -> str:
    """The first line of a CSV file, with those that belong to it because a quote is open."""
    with open(path, "rb") as file:
        packed = path.lower().endswith(".gz")
        source: Any = gzip.GzipFile(fileobj=file) if packed else file
        line = b""
        while len(line) < _FIRST_LINE and (more := source.readline(_FIRST_LINE)):
            line += more
            if not line.count(b'"') % 2:
                break
    try:
        return line.decode(encoding.replace("latin-1", "latin1"), "replace").lstrip("\ufeff")
    except LookupError:
        raise refused(f'"{encoding}" is no encoding') from None


def _delimiter(path: str, record: str) -> str:
    """What a record has most of outside quotes."""
    if path.lower().endswith(".tsv"):
        return "\t"
    bare = "".join(record.split('"')[::2])
    return max(_DELIMITERS, key=bare.count)


_DELIMITERS = (",", ";", "\t", "|")
_FIRST_LINE = 1_000_000
GUESSES = {
    "BIGINT": "regexp_full_match({0}, '[+-]?(0|[1-9][0-9]{{0,17}})')",
    "DOUBLE": "regexp_full_match({0}, '[+-]?(0|[1-9][0-9]*)?([.][0-9]*)?([eE][+-]?[0-9]+)?') "
    "AND TRY_CAST({0} AS DOUBLE) IS NOT NULL",
    "BOOLEAN": "lower({0}) IN ('true', 'false')",
    "DATE": "regexp_full_match({0}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}') "
    "AND TRY_CAST({0} AS DATE) IS NOT NULL",
    "TIMESTAMP": "regexp_full_match({0}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ][0-9:]+([.][0-9]+)?')"
    " AND TRY_CAST({0} AS TIMESTAMP) IS NOT NULL",
    "TIMESTAMP WITH TIME ZONE": "regexp_full_match({0}, '[0-9]{{4}}-.*:.*([zZ]|[+-][0-9:]+)') "
    "AND TRY_CAST({0} AS TIMESTAMPTZ) IS NOT NULL",
}
"""Types of which a column of text may be, the narrowest first, with what all values must meet."""


def private(memory: str = "", spill: str = "") -> duckdb.DuckDBPyConnection:
    """A database of one's own to read and write files with, for drivers that cannot."""
    config: dict[str, Any] = {"python_enable_replacements": "false"}
    if memory:
        config["memory_limit"] = memory
    if spill:
        config["temp_directory"] = spill
    return prepared(duckdb.connect(config=config))


def prepared(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """The connection with times without a zone taken as UTC, so that instants are kept."""
    connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
    return connection


def shortened(value: object) -> str:
    """A value as an error shows it."""
    text = table.visible(str(value))
    return f'"{table.clip(text, _SHOWN)}"'


def folder_of(path: str) -> str:
    """The folder of a file."""
    return os.path.dirname(path)


_quote = dialect.DUCKDB.quote
_text = dialect.DUCKDB.literal
