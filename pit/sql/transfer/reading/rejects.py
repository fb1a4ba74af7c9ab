"""Rows that cannot be loaded: found, told by file, row, column and value, and kept if asked for.

A load without rejects streams once. Only when a value stops it, or when rejects are allowed, are
the files looked through for the rows at fault.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import duckdb

from pit.fs import atomic
from pit.model import Record
from pit.sql.driver import SqlFailure
from pit.sql.text import dialect, table
from pit.sql.transfer.coerce import Way
from pit.sql.transfer.reading.files import refused
from pit.sql.transfer.reading.reader import NUMBER, Field, Reader, shortened
from pit.sql.transfer.types import a

_TOLD = 3
_quote, _text = dialect.DUCKDB.quote, dialect.DUCKDB.literal


class Checked(Record):
    """A column with its way into the table."""

    field: Field
    way: Way
    wanted: str


class Rejects:
    """Finds the rows of one load that have a value which cannot be used."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        reader: Reader,
        checked: Sequence[Checked],
    ) -> None:
        self._connection, self._reader = connection, reader
        self._checked = [one for one in checked if one.way.good]

    @property
    def condition(self) -> str:
        """What holds for rows that can be loaded; empty where every row can."""
        return " AND ".join(one.way.good for one in self._checked)

    def failure(self, otherwise: SqlFailure) -> SqlFailure:
        """The error that names the first values at fault, or the one there was."""
        found = list(self._first())
        if not found:
            return otherwise
        rows = "\n".join(found)
        return refused(f"{rows}\nmax_rejects = … sets such rows aside")

    def _first(self) -> Iterator[str]:
        told = 0
        for path in self._reader.files:
            for one in self._checked:
                for number, value in self._bad(path, one, _TOLD - told):
                    told += 1
                    yield (
                        f'{self._reader.shown(path)}, row {number}, column "'
                        f'{table.visible(one.field.column)}": {shortened(value)} is not '
                        f"{a(one.wanted)}"
                    )
                if told >= _TOLD:
                    return

    def _bad(self, path: str, one: Checked, limit: int) -> list[tuple[int, Any]]:
        if one.field.column not in self._names(path):
            return []
        query = (
            f"SELECT {_quote(NUMBER)}, CAST({_quote(one.field.column)} AS VARCHAR) "
            f"FROM {self._reader.relation([path], numbered=True)} "
            f"WHERE NOT {one.way.good} LIMIT {limit}"
        )
        return self._connection.execute(query).fetchall()

    def _names(self, path: str) -> set[str]:
        query = f"SELECT * FROM {self._reader.relation([path])} LIMIT 0"
        return {str(column[0]) for column in self._connection.execute(query).description or ()}

    # ------------------------------------------------------------ setting them aside

    def set_aside(self, limit: int, place: str) -> int:
        """Write the rejected rows to a file; how many. SqlFailure if there are more than `limit`.

        Each has its file, row, column, value, the reason, and the whole row as JSON.
        """
        parts = [self._broken_lines()]
        for path in self._reader.files:
            parts += self._selects(path)
        union = " UNION ALL ".join(part for part in parts if part)
        temporary = os.path.join(os.path.dirname(place), atomic.name())
        os.makedirs(os.path.dirname(place), exist_ok=True)
        try:
            row = self._connection.execute(
                f"COPY (SELECT * FROM ({union}) ORDER BY ALL) TO {_text(temporary)} "
                "(FORMAT parquet)"
            ).fetchone()
            count = self._distinct(temporary)
            if not row or not row[0]:
                os.unlink(temporary)
                with suppress(FileNotFoundError):
                    os.unlink(place)
                return 0
            if count <= limit:
                os.replace(temporary, place)
                return count
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
        first = "\n".join(self._first())
        raise refused(f"{count:,} rows cannot be loaded, more than max_rejects = {limit}\n{first}")

    def _distinct(self, path: str) -> int:
        # A broken line and a row with a wrong value may have the same number.
        query = f"SELECT count(DISTINCT (file, row, record)) FROM read_parquet({_text(path)})"
        found = self._connection.execute(query).fetchone()
        return int(found[0]) if found else 0

    def _broken_lines(self) -> str:
        """Lines of CSV files that have too few or too many values, and the like."""
        if self._reader.format != "csv":
            return (
                "SELECT '' AS file, 0::BIGINT AS row, '' AS \"column\", '' AS value, "
                "'' AS reason, '' AS record WHERE false"
            )
        relation = self._reader.relation(self._reader.files)
        # Of all columns, for a value that nobody asks for is not even looked at.
        self._connection.execute(f"SELECT count(COLUMNS(*)) FROM {relation}").fetchall()
        names = self._connection.execute("SELECT max(scan_id) FROM reject_scans").fetchone() or (0,)
        scan = int(names[0] or 0)
        return (
            "SELECT s.file_path AS file, e.line::BIGINT AS row, "
            "coalesce(e.column_name, '') AS \"column\", '' AS value, "
            "e.error_message AS reason, e.csv_line AS record "
            "FROM reject_errors e JOIN reject_scans s USING (scan_id, file_id) "
            f"WHERE e.scan_id = {scan}"
        )

    def _selects(self, path: str) -> Iterator[str]:
        """A query for each column that may have values which cannot be used."""
        names = self._names(path)
        own = _text(f'{{"{NUMBER}": null}}')  # a patch that leaves out what is none of the file's
        record = f"json_merge_patch(to_json(r), {own})"
        for one in self._checked:
            if one.field.column in names:
                column = _quote(one.field.column)
                yield (
                    f"SELECT {_text(path)} AS file, {_quote(NUMBER)} AS row, "
                    f'{_text(one.field.column)} AS "column", CAST({column} AS VARCHAR) AS value, '
                    f"{_text('is no ' + one.wanted)} AS reason, "
                    f"CAST({record} AS VARCHAR) AS record "
                    f"FROM {self._reader.relation([path], numbered=True)} AS r "
                    f"WHERE NOT {one.way.good}"
                )
