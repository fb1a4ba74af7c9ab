"""Rows in bulk against what each database has for it: COPY, fast_executemany, bulk copy.

Pit's side is a SQL process that is sent the request of a load or save, as a run sends it; its peak
memory is the one that it tells. `--rows` sets how many rows (Postgres gets as many, SQL Server's
test server a thousandth). Postgres and SQL Server are the suite's own, so the last one says how the
ways compare, not how fast SQL Server is.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from measure import folder  # noqa: E402

from pit.model import Load, LoadMode  # noqa: E402
from pit.sql import wire  # noqa: E402
from pit.sql.child import command  # noqa: E402
from pit.sql.connect import parse  # noqa: E402
from tests.servers import postgres  # noqa: E402

DUCKDB_BUDGET, POSTGRES_BUDGET = 1.2, 1.3
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
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command(), cwd=cwd, **pipes)

    def ask(self, request: wire.Work) -> tuple[float, int]:
        """Seconds and peak memory (bytes) of one request."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        began = time.perf_counter()
        self.process.stdin.write(wire.encode(request))
        self.process.stdin.flush()
        for line in self.process.stdout:
            reply = wire.reply(line)
            if isinstance(reply, wire.Done):
                if reply.failure is not None:
                    raise SystemExit(reply.failure.message)
                return time.perf_counter() - began, reply.peak_memory or 0
        raise SystemExit("the SQL process ended")

    def load(self, url: str, source: Path, table: str = "t") -> tuple[float, int]:
        """A load that makes the table anew."""
        return self.ask(
            wire.Load(
                id=1,
                script="load",
                database=parse(url, self.cwd),
                work=Load(source=str(source), table=table, mode=LoadMode.CREATE_OR_REPLACE),
                roots=(str(self.cwd),),
                aside=str(self.cwd / "rejects.parquet"),
            )
        )

    def save(self, url: str, path: Path) -> tuple[float, int]:
        """A save of the whole table."""
        text = "SELECT * FROM t"
        database = parse(url, self.cwd)
        return self.ask(
            wire.Save(id=1, script="save", text=text, database=database, path=str(path))
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


def told(
    what: str, rows: int, pit: tuple[float, int], peers: dict[str, float], budget: float
) -> bool:
    """Print a line of figures; whether the first peer's budget is kept."""
    seconds, memory = pit
    base = next(iter(peers.values()))
    others = ", ".join(f"{name} {took:.2f} s" for name, took in peers.items())
    ratio = seconds / base
    verdict = f"{ratio:.2f} × (budget {budget:g})" if budget else f"{ratio:.2f} ×"
    print(
        f"{what}: {seconds:.2f} s, {rows / seconds:,.0f} rows/s, {memory / 1024**2:.0f} MB; "
        f"{others}; {verdict}",
        flush=True,
    )
    return not budget or ratio <= budget


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
    into = own(root / "own.duckdb", f"CREATE TABLE t ({columns})", f"COPY t FROM '{source}'")
    back = own(root / "own.duckdb", f"COPY t TO '{root / 'own.parquet'}'")
    with child(root) as one:
        url = "duckdb://pit.duckdb"
        one.load(url, root / "warm.parquet", "warm")  # a run starts its process once
        loaded, saved = one.load(url, source), one.save(url, root / "pit.parquet")
    return [
        told("Parquet → DuckDB", rows, loaded, {"COPY": into}, DUCKDB_BUDGET),
        told("DuckDB → Parquet", rows, saved, {"COPY": back}, DUCKDB_BUDGET),
    ]


def postgres_and_parquet(root: Path, rows: int) -> list[bool]:
    """The same file into Postgres and back, against psql's COPY, binary and text."""
    programs = postgres.binaries()
    if programs is None:
        print(f"Parquet → Postgres: {postgres.WANTED}")
        return []
    source = root / "rows.parquet"
    with postgres.running(programs) as server, child(root) as one:
        one.load(server.url(), root / "warm.parquet", "warm")
        loaded, saved = one.load(server.url(), source), one.save(server.url(), root / "pg.parquet")
        env = os.environ | {"PGPASSWORD": server.password}
        login = ("-h", server.host, "-p", str(server.port), "-U", server.user, "-d", "postgres")

        def psql(query: str, **pipes: object) -> float:
            argv = ("psql", "-q", *login, "-c", query)
            return timed(lambda: subprocess.run(argv, env=env, check=True, **pipes))

        into, back = {}, {}
        for form in ("binary", "csv"):
            path = root / f"rows.{form}"
            with path.open("wb") as file:
                back[f"COPY {form}"] = psql(f"COPY t TO STDOUT (FORMAT {form})", stdout=file)
            psql(f"CREATE TABLE {form}s ({COLUMNS})")
            with path.open("rb") as file:
                into[f"COPY {form}"] = psql(f"COPY {form}s FROM STDIN (FORMAT {form})", stdin=file)
    return [
        told("Parquet → Postgres", rows, loaded, into, POSTGRES_BUDGET),
        told("Postgres → Parquet", rows, saved, back, 0),
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

    from pit.sql.sqlserver import carried_driver, choose, connection_text

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
        peers = {"fast_executemany": fast}
        connection.execute(f"CREATE TABLE bulk ({types})")
        connection.commit()
        peers |= bulk(text, values)
        told("Parquet → SQL Server's protocol", rows, loaded, peers, 0)
    finally:
        server.kill()
        server.communicate()


def bulk(text: str, values: list[tuple[object, ...]]) -> dict[str, float]:
    """mssql-python's bulk copy, where it is installed."""
    try:
        import mssql_python
    except ImportError:
        return {}
    bare = ";".join(p for p in text.split(";") if not p.lower().startswith(("driver", "app")))
    with mssql_python.connect(bare) as connection:
        cursor = connection.cursor()
        try:
            return {"bulkcopy": timed(lambda: cursor.bulkcopy("dbo.bulk", values))}
        except RuntimeError as error:
            print(f"bulkcopy: {' '.join(str(error).split())[:160]}")
            return {}


def main() -> None:
    """Measure all that is there; exit code 1 if a budget is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--all", action="store_true", help="ten million rows")
    given = parser.parse_args()
    rows = 10_000_000 if given.all else given.rows
    with folder() as root:
        kept = duckdb_and_parquet(root, rows) + postgres_and_parquet(root, rows)
        sqlserver(root, max(1_000, rows // 1_000))
    if not all(kept):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
