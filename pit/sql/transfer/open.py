"""Which sink and source a kind of database has; its libraries are imported here and nowhere else."""

from __future__ import annotations

from pit.sql.connect import Database
from pit.sql.driver import Driver, Tell
from pit.sql.transfer.sink import Sink


def open_sink(driver: Driver, database: Database, tell: Tell) -> Sink:
    """A database opened for a load; raises Busy, SqlFailure or Unavailable."""
    match database.kind:
        case "duckdb":
            from pit.sql.transfer.duck import DuckSink

            return DuckSink(driver, database, tell)
        case "sqlite":
            from pit.sql.transfer.sqlite import SqliteSink

            return SqliteSink(driver, database, tell)
        case "postgres":
            from pit.sql.transfer.postgres import PostgresSink

            return PostgresSink(driver, database, tell)
    from pit.sql.transfer.odbc import OdbcSink

    return OdbcSink(driver, database, tell)
