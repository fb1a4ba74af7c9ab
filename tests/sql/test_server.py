"""The SQL process, spoken to over its pipes; its database is real."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import duckdb
import msgspec
import pytest
from msgspec.structs import replace

from pit.sql import protocol
from pit.sql.connection.urls import parse
from tests.sql.conftest import Conversation, eventually

Hold = Callable[[Path], "subprocess.Popen[bytes]"]

LONG = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range % 7 = b.range % 13"


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path)) as connection:
        return connection.execute(query).fetchall()


def test_a_script_is_logged_statement_by_statement(talk: Conversation) -> None:
    done = talk.run(
        "-- makes t\nCREATE TABLE t AS SELECT range AS a FROM range(30);\n\n"
        "/* and\n   shows it */\nSELECT a, a % 2 = 0 AS even FROM t ORDER BY a;\n"
        "INSERT INTO t VALUES (30);\nDROP TABLE t"
    )
    assert done.failure is None
    assert (done.statements, done.rows) == (4, 31)
    assert done.cpu_seconds is not None
    assert done.peak_memory is None or done.peak_memory > 10_000_000
    lines = talk.log().splitlines()
    assert lines[0] == "line 2: CREATE TABLE t AS SELECT range AS a FROM range(30)"
    assert lines[1].startswith("  30 rows, ")
    assert lines[2] == "line 6: SELECT a, a % 2 = 0 AS even FROM t ORDER BY a"
    assert lines[3:6] == ["   a  even", "  ──  ─────", "   0  true"]
    assert lines[24] == "  19  false"
    assert lines[25].startswith("  first 20 of 30 rows, ")
    assert lines[26] == "line 7: INSERT INTO t VALUES (30)"
    assert lines[27].startswith("  1 row, ")
    assert lines[29].startswith("  done, ")


@pytest.mark.parametrize("text", ["", "\n\n", "-- only\n/* comments */", ";;\n;"])
def test_a_script_without_a_statement_does_nothing(talk: Conversation, text: str) -> None:
    done = talk.run(text)
    assert done.failure is None
    assert done.statements == 0
    assert talk.log() == "nothing to do: the script holds no statement"
    assert not (talk.cwd / "w.duckdb").exists()


def test_a_syntax_error_names_its_line_and_nothing_is_executed(talk: Conversation) -> None:
    done = talk.run("CREATE TABLE t (a INT);\n" + "SELECT 'é';\n" * 55 + "SELEC 2;\nSELECT 3")
    assert done.failure is not None
    assert done.failure.line == 57
    assert done.failure.kind == "Parser Error"
    assert not done.failure.retryable
    assert done.failure.message == 'Parser Error: syntax error at or near "SELEC"'
    assert talk.log() == (
        'tasks/x.sql:57: Parser Error: syntax error at or near "SELEC"\n'
        "LINE 57: SELEC 2;\n         ^"
    )
    assert not (talk.cwd / "w.duckdb").exists()


def test_a_failing_statement_names_the_line_that_is_wrong(talk: Conversation) -> None:
    done = talk.run("SELECT 1;\n\n-- here\nSELECT a,\n  nope\nFROM (SELECT 1 AS a);\nSELECT 2")
    assert done.failure is not None
    assert done.failure.line == 5
    assert done.statements == 1
    assert not done.failure.retryable
    assert talk.log().endswith('Candidate bindings: "a"\nLINE 5:   nope\n          ^')
    assert "SELECT 2" not in talk.log()


@pytest.mark.parametrize(
    ("text", "line", "retryable"),
    [
        ("SELECT 1;\nSELECT *\nFROM nope", 3, False),
        ("\n\nINSERT INTO nope VALUES (1)", 3, False),
        ("SELECT 1;\nSELECT 'x'::INT", 2, False),
        ("SELECT 1;\nSELECT 'é',\n'x'::INT", 3, False),
        ("SELECT 1,\ncast(s AS INT) FROM (SELECT 'x' || range AS s FROM range(3))", 2, False),
        ("SELECT a::VARCHAR::DATE FROM (SELECT 1 AS a)", 1, False),
        (
            "CREATE TABLE t (a INT);\nINSERT INTO t VALUES (1);\nINSERT INTO t VALUES ('x')",
            3,
            False,
        ),
        ("SELECT 1;\nSELECT error('not yet')", 2, False),
        ("FROM read_csv('missing.csv')", 1, False),
        ("COPY (SELECT 1) TO 'no/such/folder.csv'", 1, False),
        ("ATTACH 'no/such/folder.duckdb'", 1, False),
        ("SELECT CASE WHEN i = 90000 THEN error('last') END FROM range(100000) t(i)", 1, False),
        ("CREATE TABLE t (a INT UNIQUE);\nINSERT INTO t VALUES (1), (1)", 2, False),
        ("PIVOT nope ON a USING count(*)", 1, False),
        ("SELECT $given", 1, False),
    ],
)
def test_failures(talk: Conversation, text: str, line: int, retryable: bool) -> None:
    done = talk.run(text)
    assert done.failure is not None
    assert (done.failure.line, done.failure.retryable) == (line, retryable)
    assert f"tasks/x.sql:{line}: {done.failure.message}" in talk.log()


def test_without_begin_each_statement_stands_for_itself(talk: Conversation) -> None:
    done = talk.run("CREATE TABLE t AS SELECT 1 AS a; INSERT INTO t VALUES (2); SELECT error('x')")
    assert done.failure is not None
    assert rows(talk.cwd / "w.duckdb", "SELECT a FROM t ORDER BY a") == [(1,), (2,)]


def test_a_failure_inside_begin_undoes_the_transaction(talk: Conversation) -> None:
    done = talk.run(
        "CREATE TABLE t AS SELECT 1 AS a;\nBEGIN;\nINSERT INTO t VALUES (2);\n"
        "SELECT * FROM nope;\nCOMMIT"
    )
    assert done.failure is not None
    assert done.failure.line == 4
    assert "the open transaction was rolled back" in talk.log()
    assert rows(talk.cwd / "w.duckdb", "SELECT a FROM t") == [(1,)]


def test_a_forgotten_commit_is_a_failure(talk: Conversation) -> None:
    done = talk.run("CREATE TABLE t (a INT);\nBEGIN TRANSACTION;\nINSERT INTO t VALUES (2)")
    assert done.failure is not None
    assert done.failure.line == 2
    assert not done.failure.retryable
    assert "did not commit" in done.failure.message
    assert rows(talk.cwd / "w.duckdb", "SELECT a FROM t") == []


def test_a_transaction_that_commits(talk: Conversation) -> None:
    assert talk.run("BEGIN; CREATE TABLE t AS SELECT 7 AS a; COMMIT").failure is None
    assert rows(talk.cwd / "w.duckdb", "SELECT a FROM t") == [(7,)]


def test_paths_in_sql_are_relative_to_the_working_directory(talk: Conversation) -> None:
    (talk.cwd / "in.csv").write_text("a,b\n1,x\n2,ü\n")
    done = talk.run("COPY (FROM 'in.csv') TO 'out.parquet'; SELECT * FROM 'out.parquet'")
    assert done.failure is None
    assert (talk.cwd / "out.parquet").exists()
    assert "  2  ü" in talk.log()


def test_variables(talk: Conversation) -> None:
    done = talk.run(
        "SELECT getvariable('pit_param_date') AS d, getvariable('pit_run_id') AS r",
        pit_param_date="2026-01-31",
        pit_run_id='it\'s "r"',
    )
    assert done.failure is None
    assert '  2026-01-31  it\'s "r"' in talk.log()


def test_variables_do_not_reach_other_scripts(talk: Conversation) -> None:
    talk.run("SELECT 1", pit_param_date="2026-01-31")
    talk.run("SELECT coalesce(getvariable('pit_param_date'), 'none') AS d")
    assert "none" in talk.log()


VALUES = [
    ("TIMESTAMPTZ '2026-01-01 10:00:00+00'", "2026-01-01"),
    ("DATE '10000-01-01'", "10000-01-01"),
    ("TIMESTAMP '290000-01-01 (BC) 00:00:00'", "290000-01-01 (BC)"),
    ("TIMESTAMP 'infinity'", "infinity"),
    ("[1, 2, NULL]", "[1, 2, NULL]"),
    ("{'a': 1, 'b': [now()]}", "{'a': 1"),
    ("MAP {'k': 1}", "{k=1}"),
    ("'\\xAA\\x00'::BLOB", r"\xAA\x00"),
    ("170141183460469231731687303715884105727::HUGEINT", "170141183460469231731687303715884105727"),
    ("12.50::DECIMAL(9, 2)", "12.50"),
    ("INTERVAL 3 MONTH", "3 months"),
    ("union_value(n := 1)", "1"),
    ("'a' || chr(10) || chr(27) || '[31m'", r"a\n\x1b[31m"),
    ("chr(0)", r"\x00"),
    ("'日本語'", "日本語"),
    ("repeat('x', 1000000)", "x…"),
    ("NULL", "NULL"),
]


@pytest.mark.parametrize(("expression", "shown"), VALUES)
def test_values_are_shown_as_duckdb_writes_them(
    talk: Conversation, expression: str, shown: str
) -> None:
    done = talk.run(f"SELECT {expression} AS v", ":memory:")
    assert done.failure is None
    assert shown in talk.log()
    assert all(len(line) < 200 for line in talk.log().splitlines())


def test_what_changes_and_returns_rows_shows_them(talk: Conversation) -> None:
    done = talk.run("CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (2) RETURNING a, 'x' AS x")
    assert done.failure is None
    assert "  1  x\n  2  x\n  2 rows" in talk.log()


def test_rows_that_python_cannot_show_fail_nothing(talk: Conversation) -> None:
    done = talk.run("CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (2) RETURNING a, now() AS n")
    assert done.failure is None
    assert "pytz" in talk.log() or "  2 rows" in talk.log()
    assert rows(talk.cwd / "w.duckdb", "SELECT count(*) FROM t") == [(2,)]


def test_statements_that_duckdb_rewrites(talk: Conversation) -> None:
    done = talk.run(
        "CREATE TABLE t AS SELECT range AS a, range % 2 AS b FROM range(4);\n"
        "PRAGMA table_info('t');\n"
        "PIVOT t ON b USING sum(a);\n\n"
        "SELECT 'after' AS x;\nCALL pragma_version(); EXPLAIN SELECT 1;\nSHOW TABLES;\n"
        "EXPORT DATABASE 'exported'"
    )
    assert done.failure is None, done.failure
    titles = [line for line in talk.log().splitlines() if line.startswith("line ")]
    # Before 2.0 DuckDB makes two statements of a PIVOT.
    assert list(dict.fromkeys(title.split(":")[0] for title in titles)) == [
        "line 1", "line 2", "line 3", "line 5", "line 6", "line 7", "line 8",
    ]  # fmt: skip
    assert titles[2] == "line 3: PIVOT t ON b USING sum(a)"


def test_a_query_is_carried_out_once(talk: Conversation) -> None:
    done = talk.run(
        "CREATE SEQUENCE q;\nSELECT nextval('q') AS n;\nSELECT nextval('q') AS n FROM range(3);\n"
        "CREATE TABLE t AS SELECT nextval('q') AS n"
    )
    assert done.failure is None, done.failure
    assert rows(talk.cwd / "w.duckdb", "FROM t") == [(5,)]


@pytest.mark.parametrize("begin", ["", "BEGIN; "])
def test_an_error_says_the_same_in_a_transaction(talk: Conversation, begin: str) -> None:
    """From 2.0 on every error ends a transaction, and whatever comes next says only that."""
    for number, (query, said) in enumerate(
        (
            ("SELECT nope", '"nope"'),
            ("FROM nope", "nope does not exist"),
            ("SHOW nope", "nope does not exist"),
            ("SELECT 'x'::INTEGER", "Conversion Error"),
        )
    ):
        made = f"CREATE TABLE t{number} (i INTEGER)"
        failed = talk.run(f"{made}; {begin}INSERT INTO t{number} VALUES (1);\n{query}")
        assert failed.failure is not None
        assert said in failed.failure.message
        assert failed.failure.line == 2
        kept = rows(talk.cwd / "w.duckdb", f"SELECT count(*) FROM t{number}")
        assert kept == [(0 if begin else 1,)]


def test_a_hundred_columns(talk: Conversation) -> None:
    columns = ", ".join(f"{i} AS column_{i}" for i in range(100))
    assert talk.run(f"SELECT {columns}").failure is None
    assert re.search(r"… \d\d of 100 columns are not shown: column_", talk.log())
    table = [line for line in talk.log().splitlines() if not line.startswith("line 1: ")]
    assert [line for line in table if len(line) > 80] == []


def test_a_million_rows_are_counted_and_not_printed(talk: Conversation) -> None:
    done = talk.run("SELECT i, i::VARCHAR AS s FROM range(1000000) t(i)", ":memory:")
    assert done.failure is None
    assert "first 20 of 1,000,000 rows" in talk.log()
    assert talk.log().count("\n") == 23
    assert (done.peak_memory or 0) < 300_000_000


def test_python_variables_of_the_process_are_no_tables(talk: Conversation) -> None:
    done = talk.run("SELECT * FROM text")
    assert done.failure is not None
    assert done.failure.kind == "Catalog Error"


def test_what_is_printed_does_not_disturb_the_conversation(talk: Conversation) -> None:
    done = talk.run("COPY (SELECT 'to stdout' AS x) TO '/dev/stdout' (FORMAT csv); SELECT 1")
    assert done.failure is None
    assert "to stdout" in talk.errors()


def test_the_file_is_closed_when_no_script_uses_it(talk: Conversation) -> None:
    talk.run("CREATE TABLE t AS SELECT 1 AS a; SELECT * FROM t; SELECT * FROM nope")
    talk.run("SELECT error('x') FROM t")
    assert rows(talk.cwd / "w.duckdb", "SELECT a FROM t") == [(1,)]
    assert talk.run("SELECT * FROM t").failure is None


def test_scripts_share_a_file_at_the_same_time(talk: Conversation) -> None:
    first = talk.start("CREATE TABLE a AS SELECT 1 AS x; " + LONG)
    talk.until(first, "line 1: SELECT count")
    assert talk.run("CREATE TABLE b AS SELECT x + 1 AS y FROM a; SELECT y FROM b").failure is None
    assert talk.done[2].cpu_seconds is None
    talk.send(protocol.Interrupt(id=first))
    assert talk.wait(first).failure is not None
    assert rows(talk.cwd / "w.duckdb", "SELECT y FROM b") == [(2,)]


@pytest.mark.parametrize("opened", [True, False])
def test_a_share_that_is_told_counts_for_a_file_that_is_yet_to_be_opened(
    talk: Conversation, hold: Hold, opened: bool
) -> None:
    database = parse("duckdb://w.duckdb", talk.cwd)
    share = protocol.Share(database=replace(database, options={"memory_limit": "300MiB"}))
    limit = "SELECT current_setting('memory_limit')"
    if opened:
        long = talk.start(LONG)
        talk.until(long, "SELECT count")
        talk.send(share)
        eventually(lambda: talk.run(limit).failure is None and "300.0 MiB" in talk.log())
        talk.send(protocol.Interrupt(id=long))
        talk.wait(long)
    else:
        holder = hold(talk.cwd / "w.duckdb")
        number = talk.start(limit)
        talk.until(number, "waiting for")
        talk.send(share)
        assert talk.run("SELECT 1", ":memory:").failure is None, "it has heard of the share"
        assert holder.stdin is not None
        holder.stdin.close()
        assert talk.wait(number).failure is None
        assert "300.0 MiB" in talk.log(number)


def test_a_script_that_attaches_has_the_file_alone(talk: Conversation) -> None:
    attach = (
        "ATTACH 'other.duckdb' AS o; CREATE TABLE IF NOT EXISTS o.t (n INT); "
        "INSERT INTO o.t VALUES (1)"
    )
    numbers = [talk.start(attach) for _ in range(3)]
    assert [talk.wait(number).failure for number in numbers] == [None] * 3
    assert rows(talk.cwd / "other.duckdb", "SELECT count(*) FROM t") == [(3,)]


def test_memory_is_each_scripts_own(talk: Conversation) -> None:
    assert talk.run("CREATE TABLE t (a INT)", ":memory:").failure is None
    assert talk.run("CREATE TABLE t (a INT)", ":memory:").failure is None


def test_a_file_in_use_is_waited_for_and_its_holder_named(talk: Conversation, hold: Hold) -> None:
    holder = hold(talk.cwd / "w.duckdb")
    number = talk.start("SELECT 1")
    talk.until(number, "waiting for")
    assert talk.log() == (f"waiting for {talk.cwd / 'w.duckdb'}: in use by {_program(holder.pid)}")
    assert holder.stdin is not None
    holder.stdin.close()
    assert talk.wait(number).failure is None
    assert talk.log().count("waiting for") == 1


def test_a_file_to_attach_is_waited_for_too(talk: Conversation, hold: Hold) -> None:
    holder = hold(talk.cwd / "other.duckdb")
    number = talk.start("CREATE TABLE t (a INT);\nATTACH 'other.duckdb' AS o;\nSELECT 1")
    talk.until(number, "waiting for")
    with pytest.raises(duckdb.IOException, match="lock"):
        duckdb.connect(str(talk.cwd / "w.duckdb"))
    assert holder.stdin is not None
    holder.stdin.close()
    assert talk.wait(number).failure is None


def test_who_waits_with_nothing_done_holds_nothing(talk: Conversation, hold: Hold) -> None:
    holder = hold(talk.cwd / "other.duckdb")
    text = "SET threads = 1;\nATTACH 'other.duckdb' AS o;\nCREATE TABLE o.t AS SELECT 1 AS a"
    program = _program(holder.pid)
    number = talk.start(text)
    talk.until(number, "waiting for")
    eventually(lambda: _opens(talk.cwd / "w.duckdb"))
    assert holder.stdin is not None
    holder.stdin.close()
    done = talk.wait(number)
    assert done.failure is None
    assert done.statements == 3
    lines = [line.split(",")[0] for line in talk.log().splitlines()]
    # It may have met this test itself, while that looked whether the file was free.
    met = f"waiting for {talk.cwd / 'w.duckdb'}:"
    assert [line for line in lines if not line.startswith(met)] == [
        "line 1: SET threads = 1",
        "  done",
        "line 2: ATTACH 'other.duckdb' AS o",
        f"waiting for {talk.cwd / 'other.duckdb'}: in use by {program}",
        "  done",
        "line 3: CREATE TABLE o.t AS SELECT 1 AS a",
        "  1 row",
    ]


def _program(pid: int) -> str:
    return f"{Path(os.readlink(f'/proc/{pid}/exe')).name} (pid {pid})"


def _opens(path: Path) -> bool:
    try:
        duckdb.connect(str(path)).close()
    except duckdb.IOException:
        return False
    return True


def test_waiting_can_be_interrupted(talk: Conversation, hold: Hold) -> None:
    hold(talk.cwd / "w.duckdb")
    number = talk.start("SELECT 1")
    talk.until(number, "waiting for")
    talk.send(protocol.Interrupt(id=number))
    failure = talk.wait(number).failure
    assert failure is not None
    assert failure.kind == "cancelled"


def test_a_long_query_can_be_interrupted_and_is_rolled_back(talk: Conversation) -> None:
    number = talk.start(f"CREATE TABLE t (a INT); BEGIN; INSERT INTO t VALUES (1);\n{LONG}; COMMIT")
    talk.until(number, "line 2")
    talk.send(protocol.Interrupt(id=number))
    done = talk.wait(number)
    assert done.failure is not None
    assert done.failure.kind == "cancelled"
    assert done.statements == 3
    assert rows(talk.cwd / "w.duckdb", "SELECT * FROM t") == []


def test_an_interrupt_ends_a_script_of_many_short_statements(talk: Conversation) -> None:
    number = talk.start("SELECT 1;\n" * 100_000)
    talk.until(number, "line 50")
    talk.send(protocol.Interrupt(id=number))
    done = talk.wait(number)
    assert done.failure is not None
    assert done.failure.kind == "cancelled"
    assert done.statements < 100_000


def test_interrupting_what_is_over_does_nothing(talk: Conversation) -> None:
    talk.run("SELECT 1")
    talk.send(protocol.Interrupt(id=1))
    talk.send(protocol.Interrupt(id=99))
    assert talk.run("SELECT 2").failure is None


def test_killed_in_mid_query_what_was_committed_stays(talk: Conversation) -> None:
    number = talk.start(
        f"CREATE TABLE t AS SELECT 1 AS a; BEGIN; INSERT INTO t VALUES (2);\n{LONG}"
    )
    talk.until(number, "line 2")
    os.kill(talk.process.pid, signal.SIGKILL)
    assert talk.hear() is None
    talk.process.wait()
    assert rows(talk.cwd / "w.duckdb", "SELECT a FROM t") == [(1,)]


@pytest.mark.parametrize("end", ["say", "close"])
def test_it_exits_when_told_or_when_the_pipe_closes(talk: Conversation, end: str) -> None:
    number = talk.start(f"CREATE TABLE t (a INT);\n{LONG}")
    talk.until(number, "line 2")
    if end == "say":
        talk.send(protocol.End())
    else:
        assert talk.process.stdin is not None
        talk.process.stdin.close()
    eventually(lambda: talk.process.poll() is not None)
    assert talk.process.returncode == 0


def test_the_folder_of_the_database_is_made(talk: Conversation) -> None:
    assert talk.run("CREATE TABLE t (a INT)", "duckdb://deep/er/ü b.duckdb").failure is None
    assert (talk.cwd / "deep/er/ü b.duckdb").exists()


def test_what_is_no_database_is_refused(talk: Conversation) -> None:
    (talk.cwd / "text.duckdb").write_text("hello\n" * 1000)
    (talk.cwd / "folder.duckdb").mkdir()
    os.mkfifo(talk.cwd / "pipe.duckdb")
    for name in ("text", "folder", "pipe"):
        failure = talk.run("SELECT 1", f"{name}.duckdb").failure
        assert failure is not None
        assert not failure.retryable
        assert f"{name}.duckdb" in failure.message


def test_a_file_of_a_later_duckdb_is_told_with_what_to_do(talk: Conversation) -> None:
    path = talk.cwd / "w.duckdb"
    duckdb.connect(str(path)).close()
    header = bytearray(path.read_bytes())
    header[12:20] = (9999).to_bytes(8, "little")  # the version of the format, behind "DUCK"
    header[:8] = _checksum(header[8:4096]).to_bytes(8, "little")
    path.write_bytes(header)
    opened = talk.run("SELECT 1").failure
    attached = talk.run("SELECT 1;\nATTACH 'w.duckdb' AS w", ":memory:").failure
    for failure, line in ((opened, 0), (attached, 2)):
        assert failure is not None
        assert "version number 9999, but we can only read" in failure.message
        assert f"A later release of DuckDB than {duckdb.__version__}" in failure.message
        assert "storage_compatibility_version=v" in failure.message
        assert "\n" not in failure.message
        assert failure.line == line
        assert not failure.retryable


def _checksum(data: bytes) -> int:
    """DuckDB's, of a header."""
    found = 5381
    for start in range(0, len(data), 8):
        word = int.from_bytes(data[start : start + 8], "little")
        found ^= word * 0xBF58476D1CE4E5B9 % 2**64
    return found


def test_a_new_file_can_be_made_for_an_older_duckdb(talk: Conversation) -> None:
    """Whichever release makes it."""
    url = "duckdb://w.duckdb?storage_compatibility_version=v1.4.0"
    assert talk.run("CREATE TABLE t AS SELECT 1 AS i", url).failure is None
    version = int.from_bytes((talk.cwd / "w.duckdb").read_bytes()[12:20], "little")
    assert version in range(64, 68), "what DuckDB 1.4 reads"


def test_options_of_the_url_are_duckdbs_and_secret_ones_stay_secret(talk: Conversation) -> None:
    talk.run("CREATE TABLE t (a INT)")
    read_only = talk.run("DROP TABLE t", "duckdb://w.duckdb?access_mode=read_only").failure
    assert read_only is not None
    assert "read-only" in read_only.message
    assert not read_only.retryable
    unknown = talk.run("SELECT 1", "duckdb://w.duckdb?nonsense_token=hunter2").failure
    assert unknown is not None
    assert not unknown.retryable
    shown = talk.run("SELECT 'hunter2' AS s", "duckdb://w.duckdb?nonsense_token=hunter2")
    assert "hunter2" not in f"{talk.log()}{shown}{unknown}"


def test_a_kind_of_database_without_a_driver(talk: Conversation) -> None:
    database = msgspec.structs.replace(parse("w.duckdb", talk.cwd), kind="oracle")
    talk.send(protocol.Run(id=7, script="x.sql", text="SELECT 1", database=database))
    failure = talk.wait(7).failure
    assert failure is not None
    assert failure.message == "ValueError: no driver for oracle"
    assert talk.run("SELECT 1").failure is None


def test_a_full_disk_is_told_as_such(talk: Conversation) -> None:
    done = talk.run("COPY (SELECT i FROM range(100000) t(i)) TO '/dev/full' (FORMAT csv)")
    assert done.failure is not None
    assert done.failure.kind == "disk full"
