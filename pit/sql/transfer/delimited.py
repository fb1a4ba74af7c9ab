"""CSV files: their header, what separates their values, and the types that their texts may have."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
from collections.abc import Callable, Sequence
from typing import Any

from pit.model import CsvFormat
from pit.sql import dialect, table
from pit.sql.transfer.files import listed, refused

_DELIMITERS = (",", ";", "\t", "|")
_FIRST_LINE = 2 * 1024**2
"""Characters of the first line that are looked at: as long as DuckDB lets a line be."""
csv.field_size_limit(_FIRST_LINE)
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
        self._headers: dict[str, tuple[str, list[str]]] = {}

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
        return f"read_csv({', '.join(parts)})"

    def _header(self, path: str) -> tuple[str, list[str]]:
        """What separates values, and the names of the columns; one without gets `column3`."""
        form = self._form
        if path not in self._headers:
            record = self._first_record(path)
            delimiter = form.delimiter or _delimiter(path, record)
            if len(delimiter) > 1:
                raise refused(f'the delimiter "{delimiter}" is more than one character')
            cells = next(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter), [])
            if not cells:
                sentence = "is empty: it does not even have column names"
                raise refused(f"{self._shown(path)} {sentence}")
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

    def _first_record(self, path: str) -> str:
        """The first line, with those that belong to it because a quote is open."""
        parts: list[str] = []
        left, quoted = _FIRST_LINE, 0
        with open(path, "rb") as file:
            source: Any = gzip.GzipFile(fileobj=file) if path.lower().endswith(".gz") else file
            lines = self._decoded(source, self._shown(path))
            while left > 0 and (more := lines.readline(left)):
                parts.append(more)
                left -= len(more)
                quoted ^= more.count('"') % 2
                if not quoted:
                    break
        return "".join(parts).removeprefix("\ufeff")

    def _decoded(self, source: Any, shown: str) -> io.TextIOWrapper:
        """A file's text, if it is in the encoding that it is said to be in."""
        encoding = self._form.encoding
        start = source.peek(2)[:2]
        if encoding.lower().startswith("utf-16"):
            # DuckDB would swap the bytes of each letter, find no line in it, and say nothing.
            if start == codecs.BOM_UTF16_BE or (start[:1] == b"\0" and start[1:] >= b" "):
                raise refused(f"{shown} is big-endian UTF-16, which is not read; make it UTF-8")
        elif start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            hint = 'csv = { encoding = "utf-16" }'
            raise refused(f"{shown} is UTF-16; say so: {hint}")
        try:
            return io.TextIOWrapper(source, encoding, errors="replace", newline="")
        except LookupError:
            raise refused(f'"{encoding}" is not an encoding') from None


def _delimiter(path: str, record: str) -> str:
    """What a record has most of outside quotes."""
    if path.lower().endswith((".tsv", ".tsv.gz")):
        return "\t"
    bare = "".join(record.split('"')[::2])
    return max(_DELIMITERS, key=bare.count)
