"""Each type into each database and back: the same, another type with the same values, or refused.

What is seen is the table in docs/sql_types.md: PIT_WRITE_DOCS=1 writes it, else it must be equal.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest

from tests.servers.postgres import Server
from tests.sql.conftest import Conversation
from tests.sql.drivers.test_contract import Kind, kind  # noqa: F401 - a fixture
from tests.sql.transfer.moving import Mover, look

PAGE = Path(__file__).parents[3] / "docs" / "sql_types.md"
TITLES = {
    "duckdb": "DuckDB",
    "sqlite": "SQLite",
    "postgres": "Postgres",
    "sqlserver-microsoft": "SQL Server",
    "odbc-postgres": "Postgres by ODBC",
    "odbc-sqlite": "SQLite by ODBC",
}

TYPES: dict[str, tuple[str, str]] = {
    "boolean": ("BOOLEAN", "true, false"),
    "8-bit integer": ("TINYINT", "-128, 127"),
    "16-bit integer": ("SMALLINT", "-32768, 32767"),
    "32-bit integer": ("INTEGER", "-2147483648, 2147483647"),
    "64-bit integer": ("BIGINT", "-9223372036854775808, 9223372036854775807"),
    "unsigned 8-bit": ("UTINYINT", "0, 255"),
    "unsigned 16-bit": ("USMALLINT", "0, 65535"),
    "unsigned 32-bit": ("UINTEGER", "0, 4294967295"),
    "unsigned 64-bit": ("UBIGINT", "0, 18446744073709551615"),
    "32-bit float": ("FLOAT", "1.5, -3.4e38"),
    "64-bit float": ("DOUBLE", "0.1, 1.7976931348623157e308, 5e-324"),
    "NaN, infinity": ("DOUBLE", "'nan', 'inf', '-inf'"),
    "decimal(12,2)": ("DECIMAL(12,2)", "0.01, -9999999999.99"),
    "decimal(38,10)": ("DECIMAL(38,10)", "1234567890123456789012345678.0123456789, -0.0000000001"),
    "money (19,4)": ("DECIMAL(19,4)", "922337203685477.5807, -0.0001"),
    "text": ("VARCHAR", "'', 'Straße 北京 🚲', 'x''\"\\;--', ' spaces '"),
    "long text": ("VARCHAR", "repeat('ä', 3900), 'x'"),
    "text with NUL": ("VARCHAR", "'a' || chr(0) || 'b'"),
    "binary": ("BLOB", "'\\x00\\xFF'::BLOB, ''::BLOB"),
    "date": ("DATE", "'2026-01-31', '1970-01-01', '1969-12-31'"),
    "dates 0001–9999": ("DATE", "'0001-01-01', '1677-09-20', '2262-04-12', '9999-12-31'"),
    "dates outside 0001–9999": ("DATE", "'10000-01-01', '0044-03-15 (BC)'"),
    "time of day": ("TIME", "'00:00:00', '23:59:59.999999'"),
    "timestamp, s": ("TIMESTAMP_S", "'1969-12-31 23:59:59', '2026-01-31 12:00:00'"),
    "timestamp, ms": ("TIMESTAMP_MS", "'1969-12-31 23:59:59.999', '2026-01-31 12:00:00.001'"),
    "timestamp, µs": ("TIMESTAMP", "'1969-12-31 23:59:59.999999', '2026-01-31 12:00:00.000001'"),
    "timestamp, ns": ("TIMESTAMP_NS", "'1969-12-31 23:59:59.123456700', '2026-01-31 12:00:00'"),
    "timestamps 0001–9999": ("TIMESTAMP", "'0001-01-01 00:00:00', '9999-12-31 23:59:59.999999'"),
    "instant": (
        "TIMESTAMPTZ",
        "'2026-07-01 00:00:00+02', '1677-01-01 00:00:00+00', '9999-12-31 23:59:59+00'",
    ),
    "interval": ("INTERVAL", "'1 month 2 days', '01:02:03.004'"),
    "UUID": (
        "UUID",
        "'5b0a1a3e-92c1-4a0b-8f57-111111111111', 'ffffffff-ffff-4fff-bfff-ffffffffffff'",
    ),
    "JSON": ("JSON", "'{\"a\":[1,null]}', '\"x\"', '5'"),
    "enum": ("ENUM('low', 'high')", "'low', 'high'"),
    "list": ("INTEGER[]", "[1, NULL, 3], []"),
    "struct": ("STRUCT(a INTEGER, b VARCHAR)", "{'a': 1, 'b': NULL}, {'a': 2, 'b': 'x'}"),
    "map": ("MAP(VARCHAR, INTEGER)", "MAP {'k': 1}, MAP {}"),
    "only NULLs": ("INTEGER", "NULL"),
}

SEEN: dict[str, dict[str, str]] = {}


def test_every_type_survives_or_its_column_is_named(talk: Conversation, kind: Kind) -> None:  # noqa: F811
    mover = Mover(talk, kind.url)
    if "FreeTDS" in kind.url:
        pytest.skip("FreeTDS says less of its columns; what it says is not in the table")
    title = "sqlserver-microsoft" if kind.name == "sqlserver" else kind.name
    if os.environ.get("PIT_WRITE_DOCS"):
        SEEN[title] = {name: _cells(mover, [name])[name] for name in TYPES}
        if len(SEEN) == len(TITLES):
            _write()
        return
    written = {name: row[title] for name, row in _written().items()}
    assert list(written) == list(TYPES)
    alone = [name for name, cell in written.items() if cell.startswith(("refused", "not shown"))]
    if title == "sqlserver-microsoft" and duckdb.__version__ < "2":
        # The suite's own server stands on DuckDB, which had no zones for Python then.
        alone.append("instant")
        written["instant"] = "not shown"
    seen = _cells(mover, [name for name in TYPES if name not in alone])
    for name in alone:
        seen |= _cells(mover, [name])
    assert seen == written


def _cells(mover: Mover, names: Sequence[str]) -> dict[str, str]:
    """The cells of some types, each in a column of one table."""
    lists = {f"v{n}": (TYPES[name][0], _split(TYPES[name][1])) for n, name in enumerate(names)}
    length = 1 + max(len(values) for _, values in lists.values())
    rows = []
    for number in range(length):
        cells = [
            f"CAST({values[number] if number < len(values) else 'NULL'} AS {wanted}) AS {column}"
            for column, (wanted, values) in lists.items()
        ]
        rows.append(f"SELECT {number} AS id, {', '.join(cells)}")
    file = mover.file(" UNION ALL ".join(rows))
    done = mover.load(mode="create_or_replace")
    if done.failure is None:
        done = mover.save("SELECT * FROM t ORDER BY id")
        if done.failure is None:
            back = mover.data / "back.parquet"
            return {
                name: _compared(mover, file, back, column)
                for name, column in zip(names, lists, strict=True)
            }
    assert len(names) == 1, done.failure.message
    if "pytz" in done.failure.message:
        return {names[0]: "not shown"}  # what the suite's own server lacks
    assert '"v0"' in done.failure.message, done.failure.message
    return {names[0]: "refused"}


def _split(values: str) -> list[str]:
    """The values of a list, parted at commas that stand in nothing."""
    found, depth, quoted = [""], 0, False
    for char in values:
        quoted ^= char == "'"
        depth += 0 if quoted else (char in "[{(") - (char in "]})")
        if char == "," and not quoted and not depth:
            found.append("")
        else:
            found[-1] += char
    return [one.strip() for one in found]


def _compared(mover: Mover, file: Path, back: Path, column: str) -> str:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        old, new = (
            str(connection.execute(f"DESCRIBE SELECT {column} FROM '{path}'").fetchall()[0][1])
            for path in (file, back)
        )
        had, has = f"a.{column}", f"b.{column}"
        lost = connection.execute(
            f"SELECT a.id, left(CAST({had} AS VARCHAR), 60), left(CAST({has} AS VARCHAR), 60) "
            f"FROM '{file}' a LEFT JOIN '{back}' b ON a.id = b.id "
            f"WHERE {_plain(had, old)} IS DISTINCT FROM {_plain(_read_back(has, old, new), old)}"
        ).fetchall()
        count = connection.execute(f"SELECT count(*) FROM '{back}'").fetchone()
    if lost and "odbc" in mover.url and "SQLite" in mover.url and old in ("FLOAT", "DOUBLE"):
        return "15 digits"
    if lost and mover.url.startswith("sqlserver") and old == "TIMESTAMP_NS":
        return "not shown"
    assert lost == [], (old, new)
    assert count is not None
    return "same" if old == new else f"`{new}`"


def _plain(value: str, of: str) -> str:
    """JSON without the spaces that a database likes to put in."""
    return f"replace(CAST({value} AS VARCHAR), ' ', '')" if of == "JSON" else value


def _read_back(value: str, old: str, new: str) -> str:
    if new == old:
        return value
    nested = old.endswith("]") or old.startswith(("STRUCT", "MAP"))
    return f"CAST(CAST({value} AS JSON) AS {old})" if nested else f"TRY_CAST({value} AS {old})"


# ---------------------------------------------------------------- the page


def _written() -> dict[str, dict[str, str]]:
    table = PAGE.read_text().partition("<!-- table -->")[2]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    keys = {title: key for key, title in TITLES.items()}
    header = [cell.strip() for cell in lines[0].strip("|").split("|")][1:]
    found = {}
    for line in lines[2:]:
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        found[name] = {keys[title]: cell for title, cell in zip(header, cells, strict=True)}
    return found


def _write() -> None:
    head = PAGE.read_text().partition("<!-- table -->")[0] if PAGE.exists() else ""
    rows = [["Type", *TITLES.values()], ["---"] * (1 + len(TITLES))]
    rows += [[name, *(SEEN[key][name] for key in TITLES)] for name in TYPES]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    PAGE.write_text(f"{head}<!-- table -->\n\n{table}\n")


LONG = "99999999999999999999.123456789012345678"


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("'-12.34'::numeric(12,2)", ("DECIMAL(12,2)", "-12.34")),
        ("NULL::numeric(12,2)", ("DECIMAL(12,2)", None)),
        (f"{LONG}::numeric", ("DECIMAL(38,18)", LONG)),
        ("1.5e-10::numeric", ("DECIMAL(38,18)", "0.000000000150000000")),
        ("'NaN'::numeric(12,2)", None),
        ("'Infinity'::numeric", None),
        ("0.1234567890123456789::numeric", None),
        ("123456789012345678901::numeric", None),
    ],
)
def test_a_numeric_of_postgres_keeps_every_digit_or_ends_the_save(
    talk: Conversation, postgres: Server, value: str, stored: tuple[str, str | None] | None
) -> None:
    mover = Mover(talk, postgres.url(postgres.fresh()))
    done = mover.save(f"SELECT {value} AS n")
    if stored is None:
        assert done.failure is not None
        assert 'row 1, column "n": "' in done.failure.message
        return
    assert done.failure is None, done.failure
    ((type_name, text),) = look(
        mover.data / "back.parquet", "SELECT typeof(n), n::VARCHAR FROM file"
    )
    assert (type_name, text) == stored
