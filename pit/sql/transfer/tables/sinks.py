"""Which sink a kind of database has; its libraries are imported here and nowhere else."""

from __future__ import annotations

from pit.sql.connection.urls import Database
from pit.sql.driver import Session
from pit.sql.transfer.tables.sink import Sink


def sink_of(session: Session, database: Database) -> Sink:
    """A session as a load needs it; raises SqlFailure or Unavailable."""
    match database.kind:
        case "duckdb":
            from pit.sql.transfer.tables.duck import DuckSink

            return DuckSink(session, database)
        case "sqlite":
            from pit.sql.transfer.tables.sqlite import SqliteSink

            return SqliteSink(session, database)
        case "postgres":
            from pit.sql.transfer.tables.postgres import PostgresSink

            return PostgresSink(session, database)
    from pit.sql.transfer.tables.odbc import OdbcSink

    return OdbcSink(session, database)
