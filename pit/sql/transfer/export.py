"""Rows out of Postgres: binary COPY as Arrow batches (ADBC), which DuckDB writes to a file."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import duckdb

from pit.sql import dialect, table
from pit.sql.transfer.adbc_errors import ended, told
from pit.sql.transfer.coerce import fit
from pit.sql.transfer.files import refused
from pit.sql.transfer.postgres import PostgresSink
from pit.sql.transfer.reader import private
from pit.sql.transfer.stored import copied
from pit.sql.transfer.types import Kind, NoType, kind

_quote = dialect.POSTGRES.quote
_EXTENSIONS = {"uuid": "UUID", "json": "JSON", "jsonb": "JSON"}
_WITHOUT_DIGITS = "DECIMAL(38,18)"
"""What a numeric without a declared precision must fit into."""
_MONEY = "money"
_BATCH_HINT = 2 * 1024**2
"""Bytes of one batch: DuckDB holds several while it brings rows into their order."""


@contextmanager
def from_postgres(sink: PostgresSink, variables: Mapping[str, str]) -> Iterator[PostgresSource]:
    """A connection for one query, given back at the end; the sink's session can cancel it."""
    source = PostgresSource(sink)
    try:
        sink.begin()
        if variables:
            literal = dialect.POSTGRES.literal
            sets = ", ".join(
                f"set_config({literal('pit.' + name.removeprefix('pit_'))}, {literal(value)}, true)"
                for name, value in variables.items()
            )
            sink.rows(f"SELECT {sets}")
        yield source
    finally:
        sink.roll_back()
        source.close()


class PostgresSource:
    """One query's rows."""

    def __init__(self, sink: PostgresSink) -> None:
        self._sink = sink
        self._writer = private()

    def save(self, query: str, path: str, form: str) -> int:
        """Write them all; how many."""
        fields = self._described(query)
        relation = f"(\n{query}\n) AS pit"
        selected = ", ".join(_selected(name, type_name) for name, type_name, _ in fields)
        connection = self._sink.connection
        plain: _Plain | None = None
        try:
            with connection.cursor() as cursor:
                cursor.adbc_statement.set_options(
                    **{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_HINT)}
                )
                cursor.execute(f"SELECT {selected} FROM {relation}")
                plain = _Plain(cursor.fetch_record_batch())
                with closing(plain):
                    self._writer.register("pit_rows", plain.reader())
                    columns = [self._column(*field) for field in fields]
                    row = self._writer.execute(copied(columns, "pit_rows", path, form)).fetchone()
                return int(row[0]) if row else 0
        except connection.Error as error:
            raise told(error) from None
        except duckdb.Error:
            if plain is not None and plain.failure is not None:
                raise ended(plain.failure) from None
            raise

    def _described(self, query: str) -> list[tuple[str, str, str]]:
        """Name, type and declared form of each column."""
        connection = self._sink.connection
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT * FROM (\n{query}\n) AS pit LIMIT 0")
                schema = cursor.fetch_record_batch().schema
        except connection.Error as error:
            raise told(error) from None
        names = [field.name for field in schema]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise refused(f'two columns are called "{table.visible(twice)}"; name one with AS')
        return [(field.name, *_types(field)) for field in schema]

    def _column(self, name: str, type_name: str, wanted: str) -> tuple[str, str, Kind]:
        """Name, value and type of a column for the file."""
        column = _quote(name) if len(name.encode()) <= 63 else '"' + name + '"'
        if not wanted:
            row = self._writer.execute(f"DESCRIBE SELECT {column} FROM pit_rows LIMIT 0").fetchone()
            return name, column, kind(str(row[1]) if row else "VARCHAR")
        of = kind(wanted)
        if type_name == "numeric":
            return name, _number(name, column, of), of
        try:
            return name, fit(column, kind("VARCHAR"), of).value, of
        except NoType as error:
            raise refused(f'column "{table.visible(name)}": {error}') from None

    def interrupt(self) -> None:
        """Have the server cancel the query."""
        self._sink.interrupt()
        self._writer.interrupt()

    def close(self) -> None:
        """Give everything back."""
        self._writer.close()
        self._sink.close()


def _number(name: str, column: str, of: Kind) -> str:
    """A numeric's digits as a decimal; what is none, or would lose some, ends the query."""
    value = f"TRY_CAST({column} AS {of.text})"
    reason = (
        f'column "{table.visible(name)}": a number does not fit {of.text.lower()}; cast it '
        "in the query, such as to numeric(20,4) or double precision"
    )
    ends = f"error({dialect.DUCKDB.literal(reason)})"
    if of.text != _WITHOUT_DIGITS:
        return f"coalesce({value}, CASE WHEN {column} IS NOT NULL THEN {ends} END)"
    # Only these may have more digits behind the point; no numeric is told with an exponent.
    fraction = f"rtrim(split_part({column}, '.', 2), '0')"
    good = f"{column} IS NULL OR ({value} IS NOT NULL AND length({fraction}) <= {of.scale})"
    return f"CASE WHEN {good} THEN {value} ELSE {ends} END"


def _types(field: Any) -> tuple[str, str]:
    """Postgres's name of a field's type, and the DuckDB type that its text is cast to, if any."""
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    name = metadata.get("POSTGRESQL:type", "").strip("'")
    if name == "numeric":
        return name, _digits(metadata.get("POSTGRESQL:typmod", "").strip("'"))
    if name in _EXTENSIONS:
        return name, _EXTENSIONS[name]
    if name == _MONEY:
        return name, "DECIMAL(19,2)"
    return name, "" if name in _AS_ARROW or name.lstrip("_") in _AS_ARROW else "VARCHAR"


_AS_ARROW = frozenset(
    [
        "bool",
        "int2",
        "int4",
        "int8",
        "float4",
        "float8",
        "text",
        "varchar",
        "bpchar",
        "name",
        "bytea",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "interval",
    ]
)


def _digits(typmod: str) -> str:
    """The decimal that a numeric's type modifier says."""
    if not typmod.isdecimal() or int(typmod) < 4:
        return _WITHOUT_DIGITS
    packed = int(typmod) - 4
    precision, scale = packed >> 16 & 0xFFFF, packed & 0x7FF
    return f"DECIMAL({precision},{scale})" if scale <= precision <= 38 else _WITHOUT_DIGITS


def _selected(name: str, type_name: str) -> str:
    """A column as ADBC can read it: what it has no type for comes as text."""
    column = '"' + name.replace('"', '""') + '"'
    if type_name == _MONEY:
        return f"({column}::numeric)::text AS {column}"
    if type_name not in _KNOWN:
        return f"{column}::text AS {column}"
    return column


_KNOWN = _AS_ARROW | {f"_{name}" for name in _AS_ARROW}
"""Types that come as they are. ADBC makes text of a numeric as well, but slower than the server."""


class _Plain:
    """Batches with extension types as what they are stored as; keeps the error that ends them.

    A thread of DuckDB's reads them, maybe longer than the statement that it does so for: `close`
    returns when it reads no more, for nothing may be read once the cursor is closed.
    """

    def __init__(self, batches: Any) -> None:
        self._batches = batches
        self._reading = threading.Lock()
        self._closed = False
        self.failure: Exception | None = None

    def reader(self) -> Any:
        """The batches, to be read once."""
        import pyarrow

        fields = [
            pyarrow.field(field.name, getattr(field.type, "storage_type", field.type))
            for field in self._batches.schema
        ]
        schema = pyarrow.schema(fields)
        return pyarrow.RecordBatchReader.from_batches(schema, self._each(schema))

    def _each(self, schema: Any) -> Iterator[Any]:
        import pyarrow

        try:
            while (batch := self._next()) is not None:
                arrays = [getattr(array, "storage", array) for array in batch.columns]
                yield pyarrow.RecordBatch.from_arrays(arrays, schema=schema)
        # DuckDB would tell of it with a traceback.
        except Exception as error:
            self.failure = error
            raise

    def _next(self) -> Any:
        with self._reading:
            return None if self._closed else next(self._batches, None)

    def close(self) -> None:
        """Returns when nobody reads any more."""
        with self._reading:
            self._closed = True
