"""The rows of a query of DuckDB's on their way to Postgres: Arrow batches, in flat memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb


class Batches:
    """The batches of a query, which are counted; keeps the error that reading them may end with.

    They come from a relation: since DuckDB 2.0 the result of `execute` is whole in memory before
    its first batch is there.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, query: str, size: int) -> None:
        _finish(connection)
        self._batches = connection.sql(query).to_arrow_reader(size)
        self.rows = 0
        self.failure: duckdb.Error | None = None

    def reader(self) -> Any:
        """The batches, to be read once."""
        import pyarrow

        return pyarrow.RecordBatchReader.from_batches(self._batches.schema, self._each())

    def _each(self) -> Iterator[Any]:
        try:
            for batch in self._batches:
                self.rows += batch.num_rows
                yield batch
        # ADBC would tell of it in words of its own.
        except duckdb.Error as error:
            self.failure = error
            raise
        except OSError as error:
            self.failure = duckdb.Error(str(error))  # its text is DuckDB's, of every class
            raise

    def close(self) -> None:
        """Give the connection back for other queries."""
        self._batches.close()


def _finish(connection: duckdb.DuckDBPyConnection) -> None:
    """End what `execute` may have left unread, or else no relation can be read."""
    connection.execute("SELECT 1").fetchall()
