"""Loads and saves in tests: a database, files made by DuckDB, requests to the SQL process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from pit.model import Load
from pit.sql import protocol
from pit.sql.connection.urls import parse
from pit.sql.protocol import Done
from tests.sql.conftest import Conversation


class Mover:
    """A database, a data folder, and the SQL process that moves rows between them."""

    def __init__(self, talk: Conversation, url: str) -> None:
        self.talk, self.url = talk, url
        self.data = talk.cwd / "data"
        self.data.mkdir(exist_ok=True)

    def file(self, query: str, name: str = "rows.parquet") -> Path:
        """A file with the rows of a DuckDB query."""
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"COPY ({query}) TO '{path}'")
        return path

    def begin(self, source: str = "rows.parquet", table: str = "t", **work: Any) -> int:
        """Begin a load; its number."""
        return self.talk.begin(
            protocol.Load(
                id=0,
                script="load",
                database=parse(self.url, self.talk.cwd),
                work=Load(source=source, table=table, **work),
                roots=(str(self.data), str(self.talk.cwd)),
                aside=str(self.data / "load.rejects.parquet"),
                kept="data/load.rejects.parquet",
            )
        )

    def load(self, source: str = "rows.parquet", table: str = "t", **work: Any) -> Done:
        """Load and wait."""
        return self.talk.wait(self.begin(source, table, **work))

    def loads(self, source: str = "rows.parquet", table: str = "t", **work: Any) -> Done:
        """Load what must succeed."""
        done = self.load(source, table, **work)
        assert done.failure is None, done.failure
        return done

    def fails(self, source: str = "rows.parquet", table: str = "t", **work: Any) -> str:
        """Load what must fail; why it does."""
        done = self.load(source, table, **work)
        assert done.failure is not None
        return done.failure.message

    def save(self, query: str, name: str = "back.parquet") -> Done:
        """Save a query and wait."""
        return self.talk.wait(
            self.talk.begin(
                protocol.Save(
                    id=0,
                    script="save.sql",
                    text=query,
                    database=parse(self.url, self.talk.cwd),
                    path=str(self.data / name),
                )
            )
        )

    def saves(self, query: str, name: str = "back.parquet") -> Path:
        """Save what must succeed; the file."""
        done = self.save(query, name)
        assert done.failure is None, done.failure
        return self.data / name

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query on the database, as a save has them."""
        path = self.saves(query, "asked.parquet")
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(f"SELECT * FROM '{path}'").fetchall()

    def run(self, text: str) -> None:
        """Carry out a script that must succeed."""
        done = self.talk.run(text, self.url)
        assert done.failure is None, done.failure


def look(path: Path, query: str = "FROM file") -> list[tuple[Any, ...]]:
    """What a file holds; the query calls it `file`."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE VIEW file AS FROM '{path}'")
        return connection.execute(query).fetchall()
