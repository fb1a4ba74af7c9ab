"""CSV files: their header, what separates their values, and the types that their texts may have."""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Callable, Sequence
from typing import Any

from pit.model import CsvFormat
from pit.sql.text import dialect, table
from pit.sql.transfer.reading import records
from pit.sql.transfer.reading.files import listed, refused

_DELIMITERS = (",", ";", "\t", "|")
_BUFFER = 32_000_000
"""Bytes of a file that DuckDB reads at once by itself: sixteen of its longest lines."""
_text = dialect.DUCKDB.literal

GUESSES = {
    "BIGINT": "regexp_full_match({0}, '[+-]?(0|[1-9][0-9]{{0,18}})') "
    "AND TRY_CAST({0} AS BIGINT) IS NOT NULL",
    "DECIMAL(38,0)": "regexp_full_match({0}, '[+-]?(0|[1-9][0-9]{{0,37}})')",
    # A float keeps 15 digits for certain, and gives back 17 as they were mostly.
    "DOUBLE": "regexp_full_match({0}, '[+-]?(0|[1-9][0-9]*)?([.][0-9]*)?([eE][+-]?[0-9]+)?') "
    "AND TRY_CAST({0} AS DOUBLE) IS NOT NULL "
    "AND length(ltrim(regexp_replace({0}, '[eE].*|[^0-9]', '', 'g'), '0')) <= 17",
    "BOOLEAN": "lower({0}) IN ('true', 'false')",
    "DATE": "regexp_full_match({0}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}') "
    "AND TRY_CAST({0} AS DATE) IS NOT NULL",
    "TIMESTAMP": "regexp_full_match({0}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ][0-9:]+([.][0-9]+)?')"
    " AND TRY_CAST({0} AS TIMESTAMP) IS NOT NULL",
    "TIMESTAMP WITH TIME ZONE": "regexp_full_match({0}, '[0-9]{{4}}-.*:.*([zZ]|[+-][0-9:]+)') "
    "AND TRY_CAST({0} AS TIMESTAMPTZ) IS NOT NULL",
}
"""Types of which a column of text may be, the narrowest first, with what all values must meet."""


class CsvFiles:
    """The CSV files of one load: each as what stands behind FROM, all of it text."""

    def __init__(self, form: CsvFormat, shown: Callable[[str], str], rejects: bool) -> None:
        self._form, self._shown, self._rejects = form, shown, rejects
        self._longest = form.max_line_size or records.LONGEST
        self._headers: dict[str, tuple[str, list[str]]] = {}
        self.alone = False
        """Whether one thread reads each file, for when several have lost their way in one."""

    def relation(self, files: Sequence[str]) -> str:
        """All of them, columns by name."""
        parts = [self._one(path) for path in files]
        if len(parts) == 1:
            return parts[0]
        return f"({' UNION ALL BY NAME '.join(f'SELECT * FROM {part}' for part in parts)})"

    def _one(self, path: str) -> str:
        """Nothing is guessed, so that a broken line is an error."""
        form = self._form
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
        if self._rejects:
            parts.append("store_rejects=true")
        if form.max_line_size:
            # Several records must have room in a buffer; sixteen, as DuckDB has it, would be much.
            buffer = max(_BUFFER, 2 * form.max_line_size)
            parts += [f"max_line_size={form.max_line_size}", f"buffer_size={buffer}"]
        if self.alone:
            parts.append("parallel=false")
        return f"read_csv({', '.join(parts)})"

    def _header(self, path: str) -> tuple[str, list[str]]:
        """What separates values, and the names of the columns; one without gets `column3`."""
        form = self._form
        if path not in self._headers:
            record = self._first_record(path)
            delimiter = form.delimiter or _delimiter(path, record)
            if len(delimiter) > 1:
                raise refused(f'the delimiter "{delimiter}" is more than one character')
            csv.field_size_limit(max(len(record), 1))
            cells = next(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter), [])
            if not cells:
                raise refused(f"{self._shown(path)} {self._nothing(record)}")
            named = [
                name if name and form.header else f"column{number}"
                for number, name in enumerate(cells)
            ]
            self._check(path, named)
            self._headers[path] = delimiter, named
        return self._headers[path]

    def _check(self, path: str, names: Sequence[str]) -> None:
        taken: dict[str, str] = {}
        for name in names:
            other = taken.setdefault(name.lower(), name)
            if names.count(name) > 1:
                raise refused(f'{self._shown(path)} has two columns "{table.visible(name)}"')
            if other != name:
                raise refused(
                    f'{self._shown(path)}: the columns "{table.visible(other)}" and '
                    f'"{table.visible(name)}" differ only in case'
                )

    def _nothing(self, record: str) -> str:
        if record:
            return "begins with an empty line, where its column names should be"
        return "is empty: it does not even have column names"

    def _first_record(self, path: str) -> str:
        """The first line, with those that belong to it because a quote is open."""
        parts: list[str] = []
        left, quoted = self._longest, 0
        with records.opened(path) as file:
            lines = self._decoded(file, self._shown(path))
            plain = not path.lower().endswith(".gz")
            pairs = self._form.encoding.lower().startswith("utf-16")
            if plain and pairs and os.path.getsize(path) % 2:
                # Some versions of DuckDB would make up the rest.
                raise refused(f"{self._shown(path)} has been cut off in the midst of a letter")
            while more := lines.readline(left + 3):
                self._refuse_bytes(path, len(parts) + 1, more)
                parts.append(more)
                left -= len(more)
                quoted ^= more.count('"') % 2
                if left < -2 or (left < 0 and not more.endswith(("\n", "\r"))):
                    found = records.too_long(1, parts[0], self._longest, len(parts) > 1)
                    raise refused(found.told(self._shown(path)))
                if not quoted or left <= 0:
                    break
        return "".join(parts)

    def _refuse_bytes(self, path: str, number: int, line: str) -> None:
        """SqlFailure if a line of names is none of text."""
        if found := records.no_text(line, number, self._form.encoding):
            raise refused(found.told(self._shown(path)))
        if "\0" in line:
            raise refused(
                f"{self._shown(path)}, line {number} has NUL bytes: it is no text, or in another "
                'encoding, such as csv = { encoding = "utf-16" }'
            )

    def _decoded(self, source: Any, shown: str) -> io.TextIOWrapper:
        """A file's text, if it is in the encoding that it is said to be in."""
        encoding = self._form.encoding
        start = source.peek(4)[:4]
        if start in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
            raise refused(f"{shown} is UTF-32, which is not read; make it UTF-8")
        if encoding.lower().startswith("utf-16"):
            # DuckDB would swap the bytes of each letter, find no line in it, and say nothing.
            if start[:2] == codecs.BOM_UTF16_BE or (start[:1] == b"\0" and start[1:2] >= b" "):
                raise refused(f"{shown} is big-endian UTF-16, which is not read; make it UTF-8")
        elif start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            hint = 'csv = { encoding = "utf-16" }'
            raise refused(f"{shown} is UTF-16; say so: {hint}")
        try:
            return records.decoded(source, encoding)
        except LookupError:
            raise refused(f'"{encoding}" is not an encoding') from None

    # ------------------------------------------------------------ what Pit reads itself

    def mistake(self, files: Sequence[str], heed: records.Heed) -> str:
        """What is wrong with the first file that has a mistake; empty if none has."""
        doubts = []
        for path in files:
            reading = records.Reading(path, self._shape(path), heed)
            if found := reading.mistake():
                return found.told(self._shown(path))
            if reading.doubt:
                doubts.append(reading.doubt.told(self._shown(path)))
        return doubts[0] if doubts else ""

    def rows(self, files: Sequence[str], heed: records.Heed) -> int:
        """How many rows there are if the files are as they should be."""
        return sum(records.rows(path, self._shape(path), heed) for path in files)

    def rows_read(self, files: Sequence[str], heed: records.Heed) -> int:
        """How many rows there are, read one by one; SqlFailure at the first mistake."""
        found = 0
        for path in files:
            reading = records.Reading(path, self._shape(path), heed)
            if mistake := reading.mistake():
                raise refused(mistake.told(self._shown(path)))
            found += reading.rows
        return found

    def _shape(self, path: str) -> records.Shape:
        delimiter, names = self._header(path)
        return records.Shape(
            delimiter=delimiter,
            columns=len(names),
            header=self._form.header,
            encoding=self._form.encoding,
            longest=self._longest,
        )


def _delimiter(path: str, record: str) -> str:
    """What a record has most of outside quotes."""
    if path.lower().endswith((".tsv", ".tsv.gz")):
        return "\t"
    bare = "".join(record.split('"')[::2])
    return max(_DELIMITERS, key=bare.count)
