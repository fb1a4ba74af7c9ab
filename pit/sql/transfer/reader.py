"""The files of a load as a relation of DuckDB's: their columns, their rows, and what is wrong.

Nothing is read into memory: a relation is the text of a query, and rows stream through it.
"""

from __future__ import annotations

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
_GUESSED = ("BIGINT", "DOUBLE", "HUGEINT", "INTEGER")
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
        """The types that all of a CSV file's rows bear; a number with leading zeros is a text."""
        guessed = self._described(self._csv(self.files, typed=True))
        names = [name for name in found if guessed.get(name) in _GUESSED]
        if names:
            tests = ", ".join(
                f"bool_or(regexp_matches({_quote(name)}, '^\\s*[+-]?0[0-9]'))" for name in names
            )
            query = f"SELECT {tests} FROM {self._csv(self.files)}"
            row = self._connection.execute(query).fetchone() or ()
            guessed |= {name: "VARCHAR" for name, zeros in zip(names, row, strict=True) if zeros}
        return {name: guessed.get(name, "VARCHAR") for name in found}

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

    def _csv(self, files: Sequence[str], typed: bool = False) -> str:
        form: CsvFormat = self._work.csv
        parts = [
            listed(files),
            f"header={str(form.header).lower()}",
            f"nullstr={_text(form.null)}",
            f"encoding={_text(form.encoding)}",
            "allow_quoted_nulls=false",
            "strict_mode=true",
            "hive_partitioning=false",
            "sample_size=-1" if typed else "all_varchar=true",
        ]
        delimiter = form.delimiter or ("\t" if files[0].lower().endswith(".tsv") else "")
        if delimiter:
            parts.append(f"delim={_text(delimiter)}")
        if len(files) > 1:
            parts.append("union_by_name=true")
        if self._work.max_rejects and not typed:
            parts.append("store_rejects=true")
        return f"read_csv({', '.join(parts)})"

    def shown(self, path: str) -> str:
        """A file as people know it: relative to where it was looked for."""
        for root in self._roots:
            if root and path.startswith(f"{root.rstrip('/')}/"):
                return path[len(root.rstrip("/")) + 1 :]
        return path


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
    connection.execute("SET TimeZone = 'UTC'")
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
