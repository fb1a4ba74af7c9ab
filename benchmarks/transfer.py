"""Rows in bulk against what each database has for it: COPY, fast_executemany, bulk copy.

Pit's side is a SQL process that is sent the request of a load or save, as a run sends it; its peak
memory is the one that it tells. Pit and its peers take turns, and the best of the rounds counts.
The budget against Postgres is measured by COPY in CSV, as psql is used; the ratio to binary COPY,
which reads and writes nothing but Postgres's own bytes, stands beside it. `--rows` sets how many
rows (Postgres gets as many, SQL Server's test server a thousandth). Postgres and SQL Server are the
suite's own, so the last one says how the ways compare, not how fast SQL Server is.

Then each driver loads and saves a table and another one with ten times as many rows, which may take
no more memory; and a save may take twice as long as the load of its rows. Slow drivers get a part
of the rows. `--all` takes 1 and 10 million, `--part speed` and `--part memory` one half of it all,
`--driver` one driver's memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from measure import folder  # noqa: E402

from pit.model import Load, LoadMode  # noqa: E402
from pit.sql import protocol  # noqa: E402
from pit.sql.connection import odbc_string  # noqa: E402
from pit.sql.connection.urls import Database, parse  # noqa: E402
from pit.sql.server import command  # noqa: E402
from tests.servers import postgres  # noqa: E402

DUCKDB_BUDGET, POSTGRES_BUDGET = 1.2, 1.3
GROWTH, SAVE_BUDGET = 1.3, 2.0
"""What ten times the rows may take of the memory, and a save of the time of its load."""
CONSTANT = 200 * 1024**2
"""Bytes of memory that count as those of few rows: with less, constant buffers are not yet full."""
ROUNDS = 3
QUERY = """
SELECT i::INTEGER AS id, i * 7 AS big, (i / 3.0)::DOUBLE AS ratio, 'name ' || (i % 1000) AS name,
       DATE '2020-01-01' + (i % 1000)::INTEGER AS day, (i % 100000 / 100)::DECIMAL(12,2) AS amount
FROM range({rows}) r(i)
"""
COLUMNS = (
    "id INTEGER, big BIGINT, ratio DOUBLE PRECISION, name TEXT, day DATE, amount NUMERIC(12,2)"
)


class Child:
    """A SQL process, as a run has one for a database."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command(), cwd=cwd, stdin=pipe, stdout=pipe)

    def ask(self, request: protocol.Work) -> tuple[float, int]:
        """Seconds and peak memory (bytes) of one request."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        began = time.perf_counter()
        self.process.stdin.write(protocol.encode(request))
        self.process.stdin.flush()
        for line in self.process.stdout:
            reply = protocol.reply(line)
            if isinstance(reply, protocol.Done):
                if reply.failure is not None:
                    raise SystemExit(reply.failure.message)
                return time.perf_counter() - began, reply.peak_memory or 0
        raise SystemExit("the SQL process ended")

    def load(self, url: str, source: Path, table: str = "t") -> tuple[float, int]:
        """A load that makes the table anew."""
        return self.ask(
            protocol.Load(
                id=1,
                script="load",
                database=parse(url, self.cwd),
                work=Load(source=str(source), table=table, mode=LoadMode.CREATE_OR_REPLACE),
                roots=(str(self.cwd),),
                aside=str(self.cwd / "rejects.parquet"),
                kept="rejects.parquet",
            )
        )

    def save(self, url: str, path: Path, table: str = "t") -> tuple[float, int]:
        """A save of the whole table."""
        text = f"SELECT * FROM {table}"
        database = parse(url, self.cwd)
        return self.ask(
            protocol.Save(id=1, script="save", text=text, database=database, path=str(path))
        )


@contextmanager
def child(cwd: Path) -> Iterator[Child]:
    """A SQL process that ends with the block."""
    made = Child(cwd)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class Figures:
    """What several rounds took: Pit's best with its highest peak, each peer's best."""

    def __init__(self) -> None:
        self.seconds, self.memory = float("inf"), 0
        self.peers: dict[str, float] = {}

    def pit(self, took: tuple[float, int]) -> None:
        """One round of Pit's."""
        self.seconds, self.memory = min(self.seconds, took[0]), max(self.memory, took[1])

    def peer(self, name: str, seconds: float) -> None:
        """One round of a peer's."""
        self.peers[name] = min(self.peers.get(name, seconds), seconds)

    def told(self, what: str, rows: int, budget: float) -> bool:
        """Print a line; whether the budget, which is set against the first peer, is kept."""
        others = [
            f"{self.seconds / took:.2f} × {name} ({took:.2f} s)"
            for name, took in self.peers.items()
        ]
        first = next(iter(self.peers))
        against = f"; budget {budget:g} × {first}" if budget else ""
        print(
            f"{what}: {self.seconds:.2f} s, {rows / self.seconds:,.0f} rows/s, "
            f"{self.memory / 1024**2:.0f} MB; {', '.join(others)}{against}",
            flush=True,
        )
        return not budget or self.seconds <= budget * self.peers[first]


# ---------------------------------------------------------------- the databases


def duckdb_and_parquet(root: Path, rows: int) -> list[bool]:
    """A file into DuckDB and back, against DuckDB's own COPY in a process of its own."""
    import duckdb

    source = root / "rows.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({QUERY.format(rows=rows)}) TO '{source}'")
        connection.execute(f"COPY ({QUERY.format(rows=10)}) TO '{root / 'warm.parquet'}'")

    def own(path: Path, *statements: str) -> float:
        code = "import duckdb, sys, time\nc = duckdb.connect(sys.argv[1])\n"
        code += "c.execute('SET enable_progress_bar = false')\nb = time.perf_counter()\n"
        code += "for s in sys.argv[2:]: c.execute(s)\nc.close()\nprint(time.perf_counter() - b)"
        argv = (sys.executable, "-c", code, str(path), *statements)
        said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        return float(said.split()[-1])

    columns = COLUMNS.replace("DOUBLE PRECISION", "DOUBLE")
    into, back = Figures(), Figures()
    with child(root) as one:
        for number in range(rounds(rows)):
            table, url = f"t{number}", "duckdb://pit.duckdb"
            made = f"CREATE TABLE {table} ({columns})"
            if not number:
                one.load(url, root / "warm.parquet", "warm")  # a run starts its process once
            into.peer("COPY", own(root / "own.duckdb", made, f"COPY {table} FROM '{source}'"))
            into.pit(one.load(url, source, table))
            back.peer("COPY", own(root / "own.duckdb", f"COPY {table} TO '{root / 'own.parquet'}'"))
            back.pit(one.save(url, root / "pit.parquet", table))
    return [
        into.told("Parquet → DuckDB", rows, DUCKDB_BUDGET),
        back.told("DuckDB → Parquet", rows, DUCKDB_BUDGET),
    ]


def rounds(rows: int) -> int:
    """How often everything is measured; once is enough where it takes long."""
    return ROUNDS if rows <= 2_000_000 else 1


def postgres_and_parquet(root: Path, rows: int) -> list[bool]:
    """The same file into Postgres and back, against psql's COPY, text and binary."""
    programs = postgres.binaries()
    if programs is None:
        print(f"Parquet → Postgres: {postgres.WANTED}")
        return []
    source = root / "rows.parquet"
    into, back = Figures(), Figures()
    with postgres.running(programs) as server, child(root) as one:
        env = os.environ | {"PGPASSWORD": server.password}
        login = ("-h", server.host, "-p", str(server.port), "-U", server.user, "-d", "postgres")

        def psql(query: str, source: IO[bytes] | None = None, to: IO[bytes] | None = None) -> float:
            argv = ("psql", "-q", *login, "-c", query)
            work = partial(subprocess.run, argv, env=env, check=True, stdin=source, stdout=to)
            return timed(work)

        one.load(server.url(), root / "warm.parquet", "warm")
        for number in range(rounds(rows)):
            table = f"t{number}"
            into.pit(one.load(server.url(), source, table))
            psql(f"VACUUM {table}")  # who reads new rows first would pay for marking them
            back.pit(one.save(server.url(), root / "pg.parquet", table))
            for form in ("csv", "binary"):
                path = root / f"rows.{form}"
                with path.open("wb") as made:
                    out = psql(f"COPY {table} TO STDOUT (FORMAT {form})", to=made)
                back.peer(f"COPY {form}", out)
                psql(f"CREATE TABLE {form}{number} ({COLUMNS})")
                with path.open("rb") as file:
                    copy = f"COPY {form}{number} FROM STDIN (FORMAT {form})"
                    into.peer(f"COPY {form}", psql(copy, file))
                path.unlink()
    return [
        into.told("Parquet → Postgres", rows, POSTGRES_BUDGET),
        back.told("Postgres → Parquet", rows, POSTGRES_BUDGET),
    ]


SERVER = (
    "import sys; sys.path.insert(0, sys.argv[1])\nfrom tests.servers import tds\n"
    "with tds.running() as server:\n"
    "    print(server.url('?TrustServerCertificate=yes'), flush=True)\n"
    "    sys.stdin.read()"
)


def sqlserver(root: Path, rows: int) -> None:
    """A file into the suite's server for SQL Server's protocol, against the drivers' own ways."""
    import duckdb

    from pit.sql.drivers.sqlserver import carried_driver, choose, connection_text

    source = root / "few.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({QUERY.format(rows=rows)}) TO '{source}'")
        values = connection.execute(f"FROM '{source}'").fetchall()
    argv = (sys.executable, "-c", SERVER, str(ROOT))
    server = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        with child(root) as one:
            loaded = one.load(url, source)
        import pyodbc

        database = parse(url, root)
        driver = choose(database, (), carried_driver())
        text = connection_text(database, driver)
        connection = pyodbc.connect(text, autocommit=False)
        types = COLUMNS.replace("DOUBLE PRECISION", "FLOAT").replace("TEXT", "NVARCHAR(100)")
        connection.execute(f"CREATE TABLE own ({types})")
        cursor = connection.cursor()
        cursor.fast_executemany = True
        insert = "INSERT INTO own VALUES (?, ?, ?, ?, ?, ?)"
        fast = timed(lambda: (cursor.executemany(insert, values), connection.commit()))
        figures = Figures()
        figures.pit(loaded)
        figures.peer("fast_executemany", fast)
        connection.execute(f"CREATE TABLE dbo.bulk ({types})")
        connection.commit()
        bulk(database, values, figures)
        figures.told("Parquet → SQL Server's protocol", rows, 0)
    finally:
        server.kill()
        server.communicate()


def bulk(database: Database, values: list[tuple[object, ...]], figures: Figures) -> None:
    """mssql-python's bulk copy, where it is installed and the server knows what it asks."""
    try:
        import mssql_python
    except ImportError:
        return
    text = (
        f"Server={database.host},{database.port};Database={database.database};"
        f"UID={database.user};PWD={{{database.password.replace('}', '}}')}}};"
        "TrustServerCertificate=yes;Encrypt=yes"
    )
    with mssql_python.connect(text) as connection:
        cursor = connection.cursor()
        try:
            figures.peer("bulkcopy", timed(lambda: cursor.bulkcopy("dbo.bulk", values)))
        except RuntimeError as error:
            print(f"bulkcopy: {' '.join(str(error).split())[:160]}")


# ---------------------------------------------------------------- memory


class Part(NamedTuple):
    """One driver: what makes its URL, and its part of the rows."""

    server: Callable[[Path], AbstractContextManager[str | None]]
    share: float = 1.0


@contextmanager
def _file(url: str, root: Path) -> Iterator[str]:
    yield url


@contextmanager
def _postgres(odbc: bool, root: Path) -> Iterator[str | None]:
    programs = postgres.binaries()
    if programs is None:
        yield None
        return
    with postgres.running(programs) as server:
        keywords = {
            "Driver": "PostgreSQL Unicode",
            "Server": server.host,
            "Port": str(server.port),
            "Database": "postgres",
            "UID": server.user,
            "PWD": server.password,
        }
        yield f"odbc://{quote(odbc_string.join(keywords))}" if odbc else server.url()


@contextmanager
def _sqlserver(options: str, root: Path) -> Iterator[str]:
    argv = (sys.executable, "-c", SERVER, str(ROOT))
    server = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield f"{server.stdout.readline().strip()}{options}"
    finally:
        server.kill()
        server.communicate()


# DuckDB keeps pages of its file in memory up to its limit, so it has one here.
DRIVERS = {
    "duckdb": Part(partial(_file, "duckdb://m.duckdb?memory_limit=200MB")),
    "sqlite": Part(partial(_file, "sqlite://m.sqlite")),
    "postgres": Part(partial(_postgres, False)),
    "odbc-postgres": Part(partial(_postgres, True), 0.1),
    "odbc-sqlite": Part(partial(_file, "odbc://Driver=SQLite3;Database=m.odbc.sqlite"), 0.1),
    "sqlserver": Part(partial(_sqlserver, ""), 0.001),
    "sqlserver-freetds": Part(partial(_sqlserver, "&odbc_driver=FreeTDS"), 0.0005),
}


def memory(root: Path, name: str, rows: int) -> bool:
    """What one driver takes for some rows and for ten times as many; whether that is in bounds."""
    import duckdb

    few = max(100, int(rows * DRIVERS[name].share))
    took: dict[tuple[str, int], tuple[float, int]] = {}
    with DRIVERS[name].server(root) as url:
        if url is None:
            print(f"{name}: {postgres.WANTED}")
            return True
        for count in (few, 10 * few):
            source = root / "memory.parquet"
            with duckdb.connect() as connection:
                connection.execute(f"COPY ({QUERY.format(rows=count)}) TO '{source}'")
            with child(root) as one:
                took["load", count] = one.load(url, source, "m")
            with child(root) as one:
                took["save", count] = one.save(url, root / "memory.back.parquet", "m")
    kept = [_flat(name, what, took, few) for what in ("load", "save")]
    ratio = took["save", 10 * few][0] / took["load", 10 * few][0]
    good = ratio <= SAVE_BUDGET
    print(
        f"{name:<18} save/load  {ratio:4.2f} × the time; budget {SAVE_BUDGET:g}"
        f"{'' if good else '  OVER'}",
        flush=True,
    )
    return all(kept) and good


def _flat(
    name: str, what: str, took: Mapping[tuple[str, int], tuple[float, int]], few: int
) -> bool:
    """Print the figures of loads or saves; whether memory is flat."""
    growth = took[what, 10 * few][1] / max(CONSTANT, took[what, few][1])
    good = growth <= GROWTH
    parts = [
        f"{count:>10,} rows {took[what, count][1] / 1024**2:5.0f} MB {took[what, count][0]:7.2f} s"
        for count in (few, 10 * few)
    ]
    print(
        f"{name:<18} {what}  {', '.join(parts)}; {growth:4.2f} × the memory; budget {GROWTH:g}"
        f"{'' if good else '  OVER'}",
        flush=True,
    )
    return good


def main() -> None:
    """Measure all that is there; exit code 1 if a budget is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--all", action="store_true", help="ten million rows")
    parser.add_argument("--part", choices=("speed", "memory"))
    parser.add_argument("--driver", choices=DRIVERS, action="append")
    given = parser.parse_args()
    rows = 10_000_000 if given.all else given.rows
    kept: list[bool] = []
    with folder() as root:
        if given.part != "memory":
            kept += duckdb_and_parquet(root, rows) + postgres_and_parquet(root, rows)
            sqlserver(root, max(1_000, rows // 1_000))
        if given.part != "speed":
            # By default a fifth: 200,000 rows and 2 million.
            some = rows // (10 if given.all else 5)
            kept += [memory(root, name, some) for name in given.driver or DRIVERS]
    if not all(kept):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
