"""The files of a load as a relation of DuckDB's: their columns, their rows, and what is wrong.

Nothing is read into memory: a relation is the text of a query, and rows stream through it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import duckdb

from pit.model import ColumnRule, Load, MissingColumns, Record
from pit.sql.driver import SqlFailure
from pit.sql.text import dialect, table
from pit.sql.transfer.reading import records, unreadable
from pit.sql.transfer.reading.delimited import GUESSES, CsvFiles
from pit.sql.transfer.reading.files import find, format_of, listed, refused
from pit.sql.transfer.types import Kind, kind

_SHOWN = 80
"""How many characters of a value an error shows."""
NUMBER = "pit row number"
"""The column that numbers the rows of a file, from 1."""


class Field(Record):
    """A column of the files: how it is called there and in the table, its type, what it becomes.

    `type` is that of the files; `wanted` is what a person asked for, or what the texts of a CSV
    file turned out to be, None where there is neither.
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
            raise refused(f"{work.source} names files of different formats; load them separately")
        self.format = formats.pop()
        self._roots = roots
        self._known: tuple[str, ...] = ()
        self._csv = CsvFiles(work.csv, self.shown, rejects=bool(work.max_rejects))

    # ------------------------------------------------------------ columns

    def fields(self, known: Sequence[str] | None = None) -> tuple[Field, ...]:
        """The columns that are loaded.

        `known` are the columns of the table, None where it is yet to be made: then the types of
        a CSV file are found out by reading all of it.
        """
        self._known = tuple(known or ())
        if self.format == "json" and known is None and not self._any():
            raise refused(
                f"{self._work.source} holds no row, so nothing says which columns to make"
            )
        found = self._described(self.relation(self.files))
        if not found:
            raise refused(f"{self._work.source} has no columns")
        self._check_each(found)
        guessed = self._guessed(found) if known is None and self.format == "csv" else {}
        return tuple(self._named(found, guessed))

    def _any(self) -> bool:
        return any(unreadable.first_sign(path) for path in self.files)

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
            f"bool_and({condition.format(_quote(name))}) FILTER ({_quote(name)} IS NOT NULL)"
            for name in found
            for condition in GUESSES.values()
        )
        row = self._connection.execute(f"SELECT {tests} FROM {relation}").fetchone() or ()
        guessed = {}
        for number, name in enumerate(found):
            good = row[number * len(GUESSES) : (number + 1) * len(GUESSES)]
            kinds = [kind for kind, fits in zip(GUESSES, good, strict=True) if fits]
            if kinds:
                guessed[name] = kinds[0]
        return guessed

    def _named(self, found: dict[str, str], guessed: dict[str, str]) -> Iterator[Field]:
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
            if wanted is None and column in guessed:
                wanted = kind(guessed[column])
            yield Field(column=column, name=name, type=kind(text), wanted=wanted)
        if rules:
            left = ", ".join(f'"{table.visible(name)}"' for name in list(rules)[:5])
            raise refused(f"columns names columns that no file has: {left}")

    def _type(self, text: str, column: str) -> Kind:
        """A type as a person wrote it, by DuckDB's name for it."""
        try:
            row = self._connection.execute(f"DESCRIBE SELECT CAST(NULL AS {text})").fetchone()
        except duckdb.Error:
            row = None
        if row is None or ";" in text or "--" in text:
            raise refused(f'column "{table.visible(column)}": "{text}" is not a type') from None
        return kind(str(row[1]))

    # ------------------------------------------------------------ rows

    def relation(self, files: Sequence[str], numbered: bool = False) -> str:
        """What stands behind FROM; with the type that a file gives each column, text for CSV."""
        match self.format:
            case "csv":
                found = self._csv.relation(files)
            case "json":
                found = self._json(files)
            case _:
                together = ", union_by_name=true" if len(files) > 1 else ""
                found = f"read_parquet({listed(files)}, hive_partitioning=false{together})"
        if not numbered:
            return found
        return f"(SELECT *, row_number() OVER () AS {_quote(NUMBER)} FROM {found})"

    def _json(self, files: Sequence[str]) -> str:
        """Lines or arrays of objects; an empty file has no rows, and no columns either."""
        signs = {path: unreadable.first_sign(path) for path in files}
        full = [path for path in files if signs[path]]
        if not full:
            nothing = ", ".join(f"NULL::VARCHAR AS {_quote(name)}" for name in self._known)
            return f"(SELECT {nothing} WHERE false)"
        arrays = [path for path in full if signs[path] == b"["]
        if arrays and len(arrays) < len(full):
            raise refused(f"{self.shown(arrays[0])} is an array, other files are JSON lines")
        form = "array" if arrays else "newline_delimited"
        if not arrays and any(unreadable.begins_with_mark(path) for path in full):
            form = "auto"  # before 2.0 the same lines are refused under the other name
        return (
            f"read_json({listed(full)}, format='{form}', "
            "records=true, sample_size=-1, union_by_name=true, maximum_object_size=268435456)"
        )

    def check(self, heed: Callable[[], None]) -> None:
        """SqlFailure if a file is not whole, as far as that can be told before it is read."""
        for path in self.files:
            unreadable.check_packed(path, self.shown, heed)

    def told(self, error: duckdb.Error, heed: Callable[[], None]) -> SqlFailure:
        """An error that came up while the files were read."""

        def mistake(files: Sequence[str]) -> str:
            return self._csv.mistake(files, heed)

        return unreadable.told(error, self.files, self.shown, mistake)

    def read_alone(self) -> None:
        """From now on one thread reads each file."""
        self._csv.alone = True

    def prove(self, loaded: int, rejected: int, heed: Callable[[], None]) -> None:
        """SqlFailure if more or fewer rows came out of the files than there are in them.

        Lost where another way of reading them may help.
        """
        if self.format != "csv" or loaded + rejected == self._csv.rows(self.files, heed):
            return
        if self._work.max_rejects and not self._csv.alone:
            raise unreadable.Lost(refused("DuckDB has passed over a broken line").failure)
        if rejected:
            return  # behind a quote that is not closed, DuckDB goes on in a way of its own
        if self._agreed(loaded):
            return
        found = self._csv.rows_read(self.files, heed)
        if found != loaded:
            sentence = f"{self._work.source} has {found:,} rows, of which DuckDB read {loaded:,}"
            raise unreadable.Lost(refused(sentence).failure)

    def _agreed(self, rows: int) -> bool:
        """Whether DuckDB finds as many with one thread: quotes within texts mislead who counts.

        Of a quote that is opened in the last line and not closed, one thread does not tell.
        """
        if any(map(records.quoted_near_end, self.files)):
            return False
        self._csv.alone = True
        query = f"SELECT count(*) FROM {self.relation(self.files)}"
        found = self._connection.execute(query).fetchone()
        return found == (rows,)

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
