"""Rows out of Postgres: binary COPY as Arrow batches (ADBC), which DuckDB writes to a file."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import duckdb

from pit.sql.text import dialect
from pit.sql.transfer.reading.reader import private
from pit.sql.transfer.tables.adbc_errors import ended, told
from pit.sql.transfer.tables.postgres import PostgresSink
from pit.sql.transfer.writing.postgres_columns import ROW, QueryColumn, Selection
from pit.sql.transfer.writing.stored import copied

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

    def save(self, query: str, columns: Sequence[QueryColumn], path: str, form: str) -> int:
        """Write them all; how many."""
        selection = Selection(columns)
        sent = copied(selection.columns(), "pit_rows", path, form, ROW)
        connection = self._sink.connection
        numbered: _Numbered | None = None
        try:
            with connection.cursor() as cursor:
                cursor.adbc_statement.set_options(
                    **{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_HINT)}
                )
                cursor.execute(selection.query(query))
                numbered = _Numbered(cursor.fetch_record_batch())
                with closing(numbered):
                    self._writer.register("pit_rows", numbered.reader())
                    row = self._writer.execute(sent).fetchone()
                return int(row[0]) if row else 0
        except connection.Error as error:
            raise told(error) from None
        except duckdb.Error:
            if numbered is not None and numbered.failure is not None:
                raise ended(numbered.failure) from None
            raise

    def interrupt(self) -> None:
        """Have the server cancel the query."""
        self._sink.interrupt()
        self._writer.interrupt()

    def close(self) -> None:
        """Give everything back."""
        self._writer.close()
        self._sink.close()


class _Numbered:
    """Batches with a column of the rows' numbers; keeps the error that ends them.

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

        schema = pyarrow.schema([*self._batches.schema, pyarrow.field(ROW, pyarrow.int64())])
        return pyarrow.RecordBatchReader.from_batches(schema, self._each(schema))

    def _each(self, schema: Any) -> Iterator[Any]:
        import pyarrow
        from pyarrow import compute

        before, numbers = 0, pyarrow.array([], pyarrow.int64())
        try:
            while (batch := self._next()) is not None:
                if len(numbers) < batch.num_rows:
                    numbers = pyarrow.array(range(1, 2 * batch.num_rows + 1), pyarrow.int64())
                own = compute.add(numbers.slice(0, batch.num_rows), before)
                before += batch.num_rows
                yield pyarrow.RecordBatch.from_arrays([*batch.columns, own], schema=schema)
        # What a result's stream raises; DuckDB would tell of it with a traceback.
        except (pyarrow.ArrowException, OSError) as error:
            self.failure = error
            raise

    def _next(self) -> Any:
        with self._reading:
            return None if self._closed else next(self._batches, None)

    def close(self) -> None:
        """Returns when nobody reads any more."""
        with self._reading:
            self._closed = True
