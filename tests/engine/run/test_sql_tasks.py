"""SQL tasks end to end: templates, checks, changes, tables as targets, fingerprint queries."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from tests.builder import Pit, Result
from tests.doit import TEMPLATES, doit

_HEAD = '[dag]\nname = "d"\n[dag.sql]\nconnection = "db"\n'
_PARAMS = (
    '[dag.params]\nday = { type = "date", default = "2026-01-31" }\n'
    'n = { type = "int", default = 10 }\n'
)


@pytest.fixture
def pit(tmp_path: Path) -> Pit:
    """A workspace with a DuckDB connection, at work in the project of a DAG `d`."""
    made = Pit(tmp_path).file("pit_config.toml", 'secrets_dir = "secrets.toml"\n')
    made.file("secrets.toml", '[global]\ndb = "duckdb://w.duckdb"\n', 0o600)
    return made.project("d")


def query(pit: Pit, text: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(pit.root / "w.duckdb")) as connection:
        return connection.execute(text).fetchall()


def ended(done: Result) -> dict[str, tuple[str, str | None, str]]:
    """State, reason and error of each task of `pit run --json`."""
    return {
        event["task"]: (event["state"], event["reason"], event["error"])
        for event in done.events
        if event["event"] == "task_ended"
    }


def executed(pit: Pit, *arguments: str) -> set[str]:
    return pit.run("run", "d", *arguments, "--json").ok().executed


# ---------------------------------------------------------------- templates


def test_a_template_is_rendered_and_kept(pit: Pit) -> None:
    pit.toml(
        f'{_HEAD}{_PARAMS}[dag.env]\nSTAGE = "test"\n'
        '[[tasks]]\nname = "make"\nscript = "sql/make.sql.j2"\n'
        'env = { OWN = "x" }\n'
    )
    pit.file(
        "sql/make.sql.j2",
        "{% import 'sql/m.j2' as m %}\nCREATE TABLE t AS SELECT {{ params.n + 1 }} AS n,\n"
        "{{ params.day.year }} AS y, {{ m.q(run.task) }} AS task, {{ env.STAGE | sqlstr }} AS stage"
        ", {{ (env.OWN ~ env.PIT_TASK_NAME) | sqlstr }} AS own, {{ run.attempt }} AS attempt",
    )
    pit.file("sql/m.j2", "{% macro q(x) %}{{ x | sqlstr }}{% endmacro %}")
    pit.run("run", "d", "-p", "n=1", SECRET_OF_MINE="hush").ok()
    assert query(pit, "FROM t") == [(2, 2026, "make", "test", "xmake", 1)]
    rendered = pit.runs()[-1] / "logs" / "make.sql"
    assert "SELECT 2 AS n" in rendered.read_text()
    assert rendered.stat().st_mode & 0o77 == 0
    shown = pit.run("logs", "d").ok().out
    assert "rendered sql/make.sql.j2 to logs/make.sql" in shown
    assert "make.sql:" not in pit.run("logs", "d", "--list").ok().out
    pit.file("sql/make.sql.j2", "SELECT {{ env.SECRET_OF_MINE }}")
    pit.run("run", "d", SECRET_OF_MINE="hush").fails(1, "env has no SECRET_OF_MINE")


def test_errors_are_told_of_the_template_or_of_what_it_became(pit: Pit) -> None:
    pit.toml(f'{_HEAD}[[tasks]]\nname = "t"\nscript = "t.sql.j2"\nretries = 3\n')
    pit.file("t.sql.j2", "SELECT 1;\n{% if true %}\n{{ nope }}{% endif %}")
    done = pit.run("run", "d").fails(1, "t.sql.j2:3: 'nope' is undefined")
    assert "attempt 2" not in done.out, "trying again helps nobody"
    pit.file("t.sql.j2", "{% for i in [1, 2] %}SELECT {{ i }};\n{% endfor %}SELECT nope")
    pit.run("run", "d").fails(1, "logs/t.sql:3: Binder Error")


def test_a_plain_script_is_never_touched(pit: Pit) -> None:
    pit.toml(f'{_HEAD}[[tasks]]\nname = "t"\nscript = "t.sql"\n')
    pit.file("t.sql", "CREATE TABLE t AS SELECT '{{ nope }} {% x %}' AS x")
    pit.run("run", "d").ok()
    assert query(pit, "FROM t") == [("{{ nope }} {% x %}",)]


def test_a_template_that_never_ends_runs_out_of_time(pit: Pit) -> None:
    pit.toml(f'{_HEAD}[[tasks]]\nname = "t"\nscript = "t.sql.j2"\ntimeout = "1s"\n')
    nested = "{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3
    pit.file("t.sql.j2", nested)
    pit.run("run", "d").fails(1, "timeout")


def test_what_a_template_includes_is_part_of_it(pit: Pit) -> None:
    pit.toml(f'{_HEAD}[[tasks]]\nname = "t"\nscript = "t.sql.j2"\ninputs = []\n')
    pit.file("t.sql.j2", "{% include './part.sql' %}").file("part.sql", "SELECT 1")
    assert executed(pit) == {"t"}
    assert executed(pit) == set()
    pit.file("part.sql", "SELECT 1 -- bytes count here")
    assert "part.sql changed" in pit.run("why", "d/t").ok().out
    assert executed(pit) == {"t"}
    pit.file("t.sql.j2", "{% include ['no.sql', 'other' ~ '.sql'] ignore missing %}SELECT 1")
    assert executed(pit) == {"t"}
    pit.file("new.sql", "SELECT 2")
    assert executed(pit) == {"t"}, "whose name is computed may be any"


# ---------------------------------------------------------------- checks

_CHECK = '[[tasks]]\nname = "c"\ntype = "check"\n'


def test_a_check_that_finds_something_stops_what_follows(pit: Pit) -> None:
    pit.toml(
        f'{_HEAD}{_CHECK}query = "FROM range(3)"\nretries = 2\nretry_on = "any"\n'
        '[[tasks]]\nname = "after"\nscript = "a.sql"\ndepends_on = ["c"]\n'
    ).file("a.sql", "SELECT 1")
    done = pit.run("run", "d", "--json").fails(1)
    state, reason, error = ended(done)["c"]
    assert (state, reason) == ("failed", "check_failed")
    kept = pit.runs()[-1] / "data" / "checks" / "c.parquet"
    assert error == f"3 rows, expected none; see {kept.relative_to(pit.root)}"
    assert ended(done)["after"][0] == "upstream_failed"
    assert sum(event["event"] == "attempt_started" for event in done.events) == 1
    assert duckdb.sql(f"FROM '{kept}'").fetchall() == [(0,), (1,), (2,)]
    assert "check_failed: 3 rows" in pit.run("status", "d").ok().out
    assert "  2\n  3 rows\nquery: 3 rows" in pit.log("c")


def test_the_end_of_the_log_of_a_check_has_the_names_of_its_columns(pit: Pit) -> None:
    pit.toml(f'{_HEAD}{_CHECK}query = "SELECT range AS number FROM range(30)"\n')
    end = pit.run("run", "d").fails(1).out.partition("the end of its log\n")[2]
    assert "|   number\n" in end
    assert "|   first 5 of 30 rows\n" in end


def test_a_warning_is_a_success_that_is_seen_again(pit: Pit) -> None:
    pit.toml(
        f'{_HEAD}{_CHECK}script = "c.sql"\nseverity = "warn"\ninputs = []\n'
        '[[tasks]]\nname = "after"\nscript = "a.sql"\ndepends_on = ["c"]\n'
    ).file("c.sql", "SELECT 1 AS n").file("a.sql", "SELECT 1")
    for _ in range(2):
        done = pit.run("run", "d", "--json").ok()
        assert ended(done)["c"][:2] == ("success", "warned")
        assert ended(done)["after"][0] == "success"
        (warning,) = [event for event in done.events if event["event"] == "warning"]
        assert warning["message"].startswith("c: 1 row, expected none")
    said = pit.run("run", "d").ok().out
    assert "warned: 1 row, expected none" in said
    assert "warned: 1 row, expected none" in pit.run("status", "d").ok().out
    pit.file("c.sql", "SELECT 1 AS n WHERE false")
    assert ended(pit.run("run", "d", "--json").ok())["c"][:2] == ("success", None)
    assert ended(pit.run("run", "d", "--json").ok())["c"][:2] == ("skipped", "current")


def test_rows_that_a_load_sets_aside_are_told_and_its_success_is_recorded(pit: Pit) -> None:
    load = '[[tasks]]\nname = "l"\ntype = "load"\nsource = "x.csv"\ntable = "t"\ninputs = []\n'
    pit.toml(f"{_HEAD}{load}max_rejects = 5\ncolumns = {{ id = {{ type = 'int' }} }}\n")
    pit.file("x.csv", "id,name\n1,a\nx,b\ny,c\n")
    done = pit.run("run", "d", "--json").ok()
    kept = (pit.runs()[-1] / "data" / "l.rejects.parquet").relative_to(pit.root)
    said = f"2 rows rejected, kept in {kept}"
    assert ended(done)["l"] == ("success", "warned", said)
    (warning,) = [event for event in done.events if event["event"] == "warning"]
    assert warning["message"] == f"l: {said}"
    assert f"warned: {said}" in " ".join(pit.run("status", "d").ok().out.split())
    asked = pit.run("sql", ":memory:", f"SELECT count(*) AS n FROM '{kept}'", "--csv").ok()
    assert asked.out == "n\n2\n"
    assert "nothing to do: 1 task is current" in pit.run("run", "d").ok().out


def test_expectations_are_read_as_they_are_written(pit: Pit) -> None:
    pit.toml(
        f'{_HEAD}{_CHECK}query = "SELECT 0.97 AS share, NULL AS x"\n'
        'expect = { rows = 1, max_null = { share = "0%", x = "100%" } }\n'
        '[[tasks]]\nname = "v"\ntype = "check"\nquery = "SELECT 0.97 AS share"\n'
        'expect = { value = ">= 0.95" }\n'
    )
    pit.run("run", "d").ok()
    text = (pit.root / "projects" / "d" / "pit.toml").read_text()
    pit.toml(text.replace("0.95", "0.98"))
    pit.run("run", "d").fails(1, "share is 0.97, expected >= 0.98")


def test_without_secrets_a_check_is_shown_and_not_made(pit: Pit) -> None:
    pit.toml(f'{_HEAD}{_CHECK}query = "SELECT 42"\n')
    (pit.root / "pit_config.toml").write_text("")
    (pit.root / "secrets.toml").unlink()
    done = pit.run("run", "d", "--json").ok()
    assert ended(done)["c"][:2] == ("skipped", "no_secrets")
    assert "SELECT 42" in pit.log("c")


# ---------------------------------------------------------------- changes


def test_too_large_a_change_stops_what_follows(pit: Pit) -> None:
    pit.toml(
        f'{_HEAD}{_PARAMS}[[tasks]]\nname = "make"\nscript = "m.sql.j2"\nmax_change = "20%"\n'
        '[[tasks]]\nname = "after"\nscript = "a.sql"\ndepends_on = ["make"]\n'
    )
    pit.file("m.sql.j2", "CREATE OR REPLACE TABLE t AS FROM range({{ params.n }})")
    pit.file("a.sql", "SELECT 1")
    pit.run("run", "d").ok()
    assert "\nt: new, 10 rows\n" in pit.log("make")
    pit.run("run", "d", "-p", "n=12").ok()
    assert "\nt: 10 → 12 rows (+2, 20.0 %)\n" in pit.log("make")
    done = pit.run("run", "d", "-p", "n=5", "--json").fails(1)
    assert ended(done)["make"][:2] == ("failed", "max_change")
    assert ended(done)["after"][0] == "upstream_failed"
    assert "t went from 12 to 5 rows" in ended(done)["make"][2]
    done = pit.run("run", "d", "-p", "n=5", "--json").fails(1)
    told = "t went from 12 (before an attempt that failed) to 5 rows"
    assert told in ended(done)["make"][2], "to try again is no way around it"
    assert "pit forget d/make" in ended(done)["make"][2]
    assert "d/make: max_change compares" in pit.run("forget", "d/make").ok().out
    pit.run("run", "d", "-p", "n=5").ok()
    pit.run("run", "d", "-p", "n=6").ok()


def test_a_load_that_changes_too_much_leaves_the_table_as_it_was(pit: Pit) -> None:
    pit.toml(
        f'{_HEAD}[[tasks]]\nname = "l"\ntype = "load"\nsource = "rows.csv"\ntable = "t"\n'
        'mode = "truncate_and_load"\nmax_change = "50%"\n'
    )
    query(pit, "CREATE TABLE t AS SELECT range AS i FROM range(10)")
    pit.file("rows.csv", "i\n" + "".join(f"{i}\n" for i in range(8)))
    pit.run("run", "d").ok()
    assert "t: 10 → 8 rows (−2, 20.0 %)\n" in pit.log("l")
    pit.file("rows.csv", "i\n1\n")
    done = pit.run("run", "d", "--json").fails(1)
    assert ended(done)["l"][:2] == ("failed", "max_change")
    assert "the table is as it was" in str(ended(done)["l"][2])
    assert query(pit, "SELECT count(*) FROM t") == [(8,)]


# ---------------------------------------------------------------- tracked SQL

_TRACKED = (
    f'{_HEAD}[[tasks]]\nname = "mart"\nscript = "m.sql"\ninputs = []\n'
    'targets = ["table:mart.delays", "out/x.csv"]\n'
    'fingerprint = "SELECT max(i), count(*) FROM source"\n'
)
_MART = (
    "CREATE SCHEMA IF NOT EXISTS mart; CREATE OR REPLACE TABLE mart.delays AS FROM source;"
    "COPY source TO 'out/x.csv'"
)


@pytest.fixture
def tracked(pit: Pit) -> Pit:
    """A task with a table and a file as targets, which watches another table; it has run."""
    pit.toml(_TRACKED).file("m.sql", _MART)
    query(pit, "CREATE TABLE source AS SELECT 1 AS i")
    assert executed(pit) == {"mart"}
    return pit


def test_nothing_to_do_is_said_only_after_asking(tracked: Pit) -> None:
    for _ in range(2):
        assert "nothing to do: 1 task is current" in tracked.run("run", "d").ok().out
    assert list((tracked.root / ".pit" / "stamps").glob("*")) == []
    assert "is current since" in tracked.run("why", "d/mart").ok().out


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("DROP TABLE mart.delays", "its table mart.delays is gone"),
        ("INSERT INTO source VALUES (7)", "what its fingerprint query returns changed (was "),
    ],
)
def test_what_the_database_says_makes_it_stale(tracked: Pit, change: str, why: str) -> None:
    query(tracked, change)
    assert why in tracked.run("why", "d/mart").ok().out
    assert why in tracked.run("plan", "d").ok().out
    done = tracked.run("run", "d").ok()
    assert why in done.out
    assert executed(tracked) == set()


def test_every_screen_asks_the_database(tracked: Pit) -> None:
    shutil.copy(TEMPLATES / "workspace" / "dodo.py", tracked.root)
    assert "✓ 1 current" in tracked.run("graph", "d").ok().out
    assert "U d:mart" in doit(tracked.root, "list", "--all", "--status").ok().out
    query(tracked, "DROP TABLE mart.delays")
    assert "● 1 stale" in tracked.run("graph", "d").ok().out
    assert "R d:mart" in doit(tracked.root, "list", "--all", "--status").ok().out


def test_what_is_accepted_stays_current_as_long_as_the_database_vouches_for_it(
    tracked: Pit,
) -> None:
    query(tracked, "INSERT INTO source VALUES (7)")
    tracked.run("accept", "d/mart", "-m", "no matter").ok()
    assert executed(tracked) == set()
    query(tracked, "DROP TABLE mart.delays")
    said = "d/mart cannot be accepted: its target table:mart.delays is not there"
    tracked.run("accept", "d/mart", "-m", "no matter").fails(2, said, "pit run d/mart")
    with duckdb.connect(str(tracked.root / "w.duckdb")):  # held by this process
        said = "d/mart cannot be accepted: its database could not be asked"
        tracked.run("accept", "d/mart", "-m", "no matter").fails(2, said, "pit sql --check")


def test_a_change_that_the_query_does_not_see_is_none(tracked: Pit) -> None:
    query(tracked, "CREATE TABLE other (i INT); UPDATE source SET i = 1")
    assert executed(tracked) == set()


def test_a_look_that_cannot_ask_says_so(tracked: Pit) -> None:
    with duckdb.connect(str(tracked.root / "w.duckdb")):  # held by this process
        shown = tracked.run("plan", "d").ok().out
        why = tracked.run("why", "d/mart").ok().out
    assert "defer" in shown
    assert "its database could not be asked" in shown
    assert "may run" in why
    assert "is in use by" in why


def test_a_success_without_its_table_is_none(tracked: Pit) -> None:
    tracked.file("m.sql", "DROP TABLE mart.delays; COPY source TO 'out/x.csv'")
    done = tracked.run("run", "d", "--json").fails(1)
    assert ended(done)["mart"] == (
        "failed",
        "missing_target",
        "ended well but did not make table:mart.delays",
    )


def test_a_fingerprint_that_fails_means_that_the_task_runs(tracked: Pit) -> None:
    text = _TRACKED.replace("max(i)", "max(nope)")
    tracked.toml(text)
    assert executed(tracked) == {"mart"}
    assert executed(tracked) == {"mart"}
    assert "could not be asked" in tracked.run("why", "d/mart").ok().out


def test_a_python_task_may_promise_a_table(pit: Pit) -> None:
    pit.toml(
        f'{_HEAD}[[tasks]]\nname = "load"\nscript = "l.sh"\nconnection = "db"\ninputs = []\n'
        'targets = ["table:t"]\n'
    ).file("l.sh", "exit 0")
    pit.run("run", "d").fails(1, "did not make table:t")
    query(pit, "CREATE TABLE t (i INT)")
    assert executed(pit) == {"load"}
    assert executed(pit) == set()
    query(pit, "DROP TABLE t")
    pit.run("run", "d").fails(1, "did not make table:t")


def test_names_in_braces_may_stand_in_tables(pit: Pit) -> None:
    pit.toml(
        f'{_HEAD}[[tasks]]\nname = "m"\nscript = "m.sql.j2"\ninputs = []\n'
        'targets = ["table:t_{x}"]\n[tasks.matrix]\nx = ["a", "b"]\n'
    ).file("m.sql.j2", "CREATE OR REPLACE TABLE {{ ('t_' ~ env.PIT_MATRIX_X) | ident }} (i INT)")
    assert executed(pit) == {"m:a", "m:b"}
    query(pit, "DROP TABLE t_b")
    assert executed(pit) == {"m:b"}


def test_a_tracked_script_without_anything_to_look_for_is_remarked_on(pit: Pit) -> None:
    pit.toml(f'{_HEAD}[[tasks]]\nname = "t"\nscript = "t.sql"\ninputs = []\n')
    pit.file("t.sql", "SELECT 1")
    assert "names nothing that it makes" in pit.run("validate").ok().out
    pit.toml(_TRACKED).file("m.sql", _MART)
    assert "names nothing" not in pit.run("validate").ok().out


def test_doit_shows_a_check(tracked: Pit) -> None:
    text = (tracked.root / "projects" / "d" / "pit.toml").read_text()
    tracked.toml(f'{text}{_CHECK}query = "SELECT 1 WHERE false"\ninputs = []\n')
    tracked.run("run", "d").ok()
    shown = tracked.run("doit", "info", "d:c").ok().out
    assert "SELECT 1 WHERE false" in shown
    listed = tracked.run("doit", "list", "--all", "--status").ok().out
    assert "U d:mart" in listed


@pytest.mark.parametrize("look", [("plan", "d"), ("why", "d/mart")])
def test_a_look_that_asks_a_database_is_in_the_audit(tracked: Pit, look: tuple[str, ...]) -> None:
    tracked.run(*look).ok()
    audit = tracked.run("secrets", "audit", "--json").ok().json
    asked = [each for each in audit["changes"] if each["note"] == f"pit {look[0]} d"]
    assert [(each["what"], each["scope"], each["name"]) for each in asked] == [
        ("read", "global", "db")
    ]
