"""Tracked tasks by the real command: what is skipped, what runs, and what a run leaves behind."""

from __future__ import annotations

import os
import shutil
import sqlite3
import textwrap
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.builder import Pit
from tests.engine.run.test_run import rows, wait_for

TWO = """
[[tasks]]
name = "clean"
script = "clean.sh"
inputs = ["data/*.csv"]
targets = ["out/clean.csv"]
[[tasks]]
name = "report"
script = "report.sh"
inputs = ["out/clean.csv"]
targets = ["out/report.txt"]
"""


@pytest.fixture
def two(pit: Pit) -> Pit:
    """A project of two tracked tasks that has run once."""
    pit.project("m").toml(TWO).file("data/x.csv", "b\na\n")
    pit.file("clean.sh", "sort data/*.csv | grep -v '^#' > out/clean.csv\n")
    pit.file("report.sh", "wc -l < out/clean.csv > out/report.txt\n")
    pit.run("run", "m").ok()
    return pit


def ran(pit: Pit, *arguments: str) -> set[str]:
    """The tasks that a run executes."""
    return pit.run("run", *(arguments or ("m",)), "--json").ok().executed


def test_nothing_changed_and_nothing_runs(two: Pit) -> None:
    assert ran(two) == set()
    assert rows(two, "select state, reason from runs order by seq desc limit 1") == [
        ("success", "current")
    ]
    assert len(two.runs()) == 1, "it makes no folder"
    two.file("data/y.csv", "# no line of data\n")
    assert ran(two) == {"clean"}
    assert rows(two, "select task, state, reason from tasks where made_by <> ''") == [
        ("report", "skipped", "current")
    ]


def test_a_task_that_was_untracked_for_a_run_has_no_record_of_before(pit: Pit) -> None:
    """It may have changed what no target shows, such as a table."""
    toml = '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = ["in.txt"]\n'
    pit.project("m").toml(toml).file("in.txt", "1").file("a.sh", 'cp in.txt "$PIT_WORKSPACE/table"')
    pit.run("run", "m").ok()
    pit.toml(f"{toml}always = true\n").file("in.txt", "2")
    pit.run("run", "m").ok()
    pit.toml(toml).file("in.txt", "1")
    assert ran(pit) == {"a"}
    assert (pit.root / "table").read_text() == "1"


def test_a_secrets_file_is_no_input_under_whatever_name_and_whoever_looks(pit: Pit) -> None:
    pit.project("m").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = ["*.toml", "cfg/*"]\n')
    pit.file("a.sh", "echo *.toml cfg/*\n").file("cfg/y.toml", "y = 1\n")
    secrets = pit.folder / "secrets.toml"
    secrets.write_text('[global]\nkey = "first value"\n')
    secrets.chmod(0o600)
    os.link(secrets, pit.folder / "cfg/hard.toml")
    os.symlink("../secrets.toml", pit.folder / "cfg/soft.toml")
    (pit.root / "pit_config.toml").write_text('secrets_dir = "projects/m/secrets.toml"\n')
    pit.run("run", "m").ok()
    assert pit.log("a") == "pit.toml cfg/y.toml\n"
    with secrets.open("a") as file:
        file.write('other = "second value"\n')
    assert "nothing to do" in pit.run("plan", "m").ok().out
    assert ran(pit) == set()


def test_a_database_in_the_project_is_an_input_though_no_snapshot_takes_it(pit: Pit) -> None:
    pit.project("m").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = ["w.duckdb"]\n')
    pit.file("a.sh", "true").file("w.duckdb", "1")
    assert "which no snapshot takes" in pit.run("run", "m").ok().out
    assert ran(pit) == set()
    pit.file("w.duckdb", "22")
    assert ran(pit) == {"a"}
    (pit.folder / "w.duckdb").unlink()
    pit.run("run", "m").fails(1, "its input w.duckdb is not there")


@pytest.mark.parametrize("target", ["{workspace}/ext/*.csv", "{workspace}/ext/"])
def test_folders_and_patterns_outside_the_project_are_verified_as_targets(
    pit: Pit, target: str
) -> None:
    pit.project("m").toml(
        f'[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = []\ntargets = ["{target}"]\n'
        '[[tasks]]\nname = "b"\nscript = "b.sh"\ndepends_on = ["a"]\n'
        'inputs = ["{workspace}/ext/*.csv"]\n'
    )
    pit.file("a.sh", "mkdir -p $PIT_WORKSPACE/ext; echo 1 > $PIT_WORKSPACE/ext/1.csv")
    pit.file("b.sh", "true")
    assert "input_changed" not in pit.run("run", "m").ok().out
    assert ran(pit) == set()
    (pit.root / "ext/1.csv").write_text("by hand\n")
    assert ran(pit) == {"a"}
    (pit.root / "ext/1.csv").unlink()
    assert ran(pit) == {"a"}
    assert (pit.root / "ext/1.csv").read_text() == "1\n"


def test_the_name_of_a_workspace_is_no_pattern(pit: Pit) -> None:
    odd = Pit(pit.root / "of [1] kind*")
    odd.project("m").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = ["{workspace}/ext/*.csv"]\n'
    )
    odd.file("a.sh", "true")
    (odd.root / "ext").mkdir()
    (odd.root / "ext/1.csv").write_text("1\n")
    odd.run("run", "m").ok()
    (odd.root / "ext/1.csv").write_text("2\n")
    assert ran(odd) == {"a"}
    assert ran(odd) == set()


def test_what_lies_outside_the_project_is_seen_by_looks_as_by_runs(pit: Pit) -> None:
    pit.project("m").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = []\ntargets = ["{workspace}/ext/*.csv"]\n'
        '[[tasks]]\nname = "b"\nscript = "b.sh"\ndepends_on = ["a"]\n'
        'inputs = ["{workspace}/ext/*.csv"]\n'
    )
    pit.file("a.sh", "mkdir -p $PIT_WORKSPACE/ext; echo 1 > $PIT_WORKSPACE/ext/1.csv")
    pit.file("b.sh", "true")
    pit.run("run", "m").ok()
    (pit.root / "ext/2.csv").write_text("by hand\n")
    assert "ext/2.csv is new" in pit.run("plan", "m").ok().out
    assert ran(pit) == {"b"}
    assert "nothing to do" in pit.run("plan", "m").ok().out


def test_a_touch_changes_nothing_an_edit_does(two: Pit) -> None:
    os.utime(two.folder / "data/x.csv")
    assert ran(two) == set()
    two.file("data/x.csv", "b\nc\na\n")
    assert ran(two) == {"clean", "report"}
    assert (two.folder / "out/report.txt").read_text().strip() == "3"


def test_an_edit_of_same_size_and_time_is_seen(two: Pit) -> None:
    path = two.folder / "data/x.csv"
    before = path.stat()
    path.write_text("z\na\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "clean" in ran(two)
    assert (two.folder / "out/clean.csv").read_text() == "a\nz\n"


def test_an_identical_target_stops_the_wave(two: Pit) -> None:
    two.file("data/y.csv", "# only a comment\n")
    assert ran(two) == {"clean"}


def test_an_implied_dependency_counts_by_the_file_that_is_read(two: Pit) -> None:
    toml = TWO.replace('["out/clean.csv"]\n[[', '["out/clean.csv", "out/lines.txt"]\n[[')
    two.toml(toml)
    two.file("clean.sh", "sort data/x.csv > out/clean.csv; cat data/*.csv > out/lines.txt\n")
    assert ran(two) == {"clean"}
    two.file("data/y.csv", "only for the other target\n")
    assert ran(two) == {"clean"}


@pytest.mark.parametrize("how", ["delete", "edit"])
def test_a_target_that_is_not_what_was_made_is_made_again(two: Pit, how: str) -> None:
    target = two.folder / "out/report.txt"
    target.unlink() if how == "delete" else target.write_text("mine\n")
    assert ran(two) == {"report"}
    assert target.read_text().strip() == "2"


def test_what_a_skipped_task_made_stands_in_the_run(two: Pit) -> None:
    two.toml(TWO.replace('inputs = ["out/clean.csv"]', "inputs = []\ndepends_on = ['clean']"))
    two.file("report.sh", "cat out/clean.csv > out/report.txt\n")
    assert ran(two) == {"report"}
    assert (two.folder / "out/report.txt").read_text() == "a\nb\n"


def test_force_failed_and_selections(two: Pit) -> None:
    assert ran(two, "m", "--force") == {"clean", "report"}
    assert ran(two, "m/clean+", "--force") == {"clean", "report"}
    assert ran(two, "m/+report", "--force") == {"clean", "report"}
    assert ran(two, "m/report", "--force") == {"report"}
    assert ran(two, "m/r*", "--force") == {"report"}
    two.file("report.sh", "exit 1")
    two.run("run", "m").fails(1)
    two.file("report.sh", "echo ok > out/report.txt")
    assert ran(two, "m", "--failed") == {"report"}
    two.run("run", "m", "--failed").fails(2, "nothing undone")


def test_the_form_of_code_does_not_matter_its_meaning_does(pit: Pit) -> None:
    pit.project("p").toml(
        '[[tasks]]\nname = "a"\nscript = "a.py"\ninputs = ["in.txt"]\ntargets = ["out.txt"]\n'
        '[[tasks]]\nname = "b"\nscript = "b.py"\ninputs = []\n'
    )
    pit.file("in.txt", "1").file("src/lib.py", "X = 1\n").file("src/other.py", "Y = 1\n")
    pit.file("a.py", "import lib\nopen('out.txt', 'w').write(str(lib.X))\n").file("b.py", "1\n")
    pit.run("run", "p").ok()
    pit.file("a.py", "# a comment\nimport   lib\nopen('out.txt','w').write(str( lib.X ))\n")
    pit.file("src/lib.py", "X  =  1  # one\n").file("src/other.py", "Y = 2\n")
    assert ran(pit, "p") == set()
    pit.file("src/lib.py", "X = 2\n")
    assert ran(pit, "p") == {"a"}
    assert (pit.folder / "out.txt").read_text() == "2"


def test_definitions_count_but_not_retries_or_order(two: Pit) -> None:
    two.toml(TWO.replace('script = "clean.sh"', 'retries = 2\ntimeout = "1h"\nscript = "clean.sh"'))
    assert ran(two) == set()
    two.toml(TWO + 'env = { X = "1" }\n')
    assert ran(two) == {"report"}


def test_parameters_have_records_of_their_own(pit: Pit) -> None:
    pit.project("p").toml(
        '[dag.params]\nday = { type = "string" }\n'
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = ["in.txt"]\ntargets = ["out/{day}.txt"]\n'
    )
    pit.file("in.txt", "x").file("a.sh", 'echo "$PIT_PARAM_DAY" > out/$PIT_PARAM_DAY.txt\n')
    for day in ("mon", "tue"):
        assert ran(pit, "p", "-p", f"day={day}") == {"a"}
    for day in ("mon", "tue"):
        assert ran(pit, "p", "-p", f"day={day}") == set()


def test_an_edit_during_the_run_is_not_lost(pit: Pit) -> None:
    pit.project("m").toml(TWO).file("data/x.csv", "a\n").file("report.sh", "echo > out/report.txt")
    until = "until [ -e $PIT_WORKSPACE/edited ]; do sleep 0.01; done"
    pit.file("clean.sh", f"touch $PIT_WORKSPACE/in; {until}; cat data/x.csv > out/clean.csv\n")
    process = pit.start("run", "m")
    wait_for(lambda: (pit.root / "in").exists())
    pit.file("data/x.csv", "b\n")
    (pit.root / "edited").touch()
    process.communicate(timeout=60)
    assert (pit.folder / "out/clean.csv").read_text() == "a\n"
    assert "clean" in ran(pit)
    assert (pit.folder / "out/clean.csv").read_text() == "b\n"


def test_an_input_read_in_place_is_watched(pit: Pit, tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text("1\n")
    pit.project("m").toml(
        f'[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = ["{outside}"]\ntargets = ["o.txt"]\n'
    )
    pit.file("a.sh", f"cat {outside} > o.txt; echo 2 > {outside}\n")
    pit.run("run", "m").ok()
    assert rows(pit, "select state, reason from tasks") == [("success", "input_changed")]
    pit.file("a.sh", f"cat {outside} > o.txt\n")
    assert ran(pit) == {"a"}
    assert ran(pit) == set()


def test_two_runs_never_execute_a_tracked_task_at_once(pit: Pit) -> None:
    pit.project("m").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = []\ntargets = ["o.txt"]\n'
    ).file("a.sh", "echo $PIT_RUN_ID >> $PIT_WORKSPACE/did; sleep 0.5; echo > o.txt\n")
    started = [pit.start("run", "m") for _ in range(6)]
    assert [process.wait(60) for process in started] == [0] * 6
    for process in started:
        process.communicate()
    assert len((pit.root / "did").read_text().split()) == 1
    skipped = rows(pit, "select run from tasks where reason = 'current'")
    idle = rows(pit, "select id from runs where reason = 'current'")
    assert len(skipped) + len(idle) == 5, "a late one may find nothing to do at all"


def test_a_failed_attempt_kills_the_record(two: Pit) -> None:
    good = "wc -l < out/clean.csv > out/report.txt\n"
    two.file("report.sh", "exit 1\n")
    two.run("run", "m").fails(1)
    two.file("report.sh", good)
    assert ran(two) == {"report"}, "the edit was undone, but the task did run meanwhile"


def test_an_older_snapshot_does_not_overwrite_a_newer_result(pit: Pit) -> None:
    pit.project("m").toml(
        '[[tasks]]\nname = "slow"\nscript = "slow.sh"\n'
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = ["in.txt"]\ntargets = ["o.txt"]\n'
        'depends_on = ["slow"]\n'
    )
    pit.file("in.txt", "old\n").file("a.sh", "cat in.txt > o.txt\n")
    gate = "while [ ! -e $PIT_WORKSPACE/go ]; do sleep 0.05; done"
    pit.file("slow.sh", f"touch $PIT_WORKSPACE/in; {gate}\n")
    older = pit.start("run", "m")
    wait_for(lambda: (pit.root / "in").exists())
    pit.file("in.txt", "new\n").file("slow.sh", "true")
    pit.run("run", "m").ok()
    (pit.root / "go").touch()
    older.communicate(timeout=60)
    assert (pit.folder / "o.txt").read_text() == "new\n"
    assert ("success", "superseded") in rows(pit, "select state, reason from tasks")


def test_retry_goes_on_where_the_run_stopped(pit: Pit) -> None:
    pit.project("m").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\n'
        '[[tasks]]\nname = "b"\nscript = "b.sh"\ndepends_on = ["a"]\n'
        '[[tasks]]\nname = "c"\nscript = "c.sh"\ndepends_on = ["b"]\n'
    )
    pit.file("a.sh", "echo x >> $PIT_WORKSPACE/a; echo made > here.txt; echo 1 > $PIT_DATA_DIR/d\n")
    pit.file("b.sh", "set -e; cat here.txt $PIT_DATA_DIR/d; test -e $PIT_WORKSPACE/fixed\n")
    pit.file("c.sh", "echo old\n")
    pit.run("run", "m").fails(1)
    pit.file("c.sh", "echo new\n")
    (pit.root / "fixed").touch()
    pit.run("retry", "m").ok()
    assert (pit.root / "a").read_text() == "x\n"
    assert pit.log("b") == "made\n1\n"
    assert pit.log("c") == "old\n"
    assert rows(pit, "select reason from tasks where task = 'a' order by run") == [
        (None,),
        ("succeeded_before",),
    ]
    pit.run("retry", "m").fails(2, "succeeded")
    (pit.root / "fixed").unlink()
    pit.run("run", "m").fails(1)
    (pit.root / "fixed").touch()
    pit.run("retry", "m", "--code", "new").fails(1)  # here.txt was in the old snapshot


def test_matrix_instances_are_tasks_of_their_own(pit: Pit) -> None:
    pit.project("m").toml(
        textwrap.dedent("""
        [[tasks]]
        name = "report"
        script = "report.sh"
        inputs = ["data/{airport}.csv"]
        targets = ["out/{airport}.txt"]
        [tasks.matrix]
        airport = { glob = "data/*.csv" }
        [[tasks]]
        name = "all"
        script = "all.sh"
        inputs = ["out/*.txt"]
        depends_on = ["report"]
        targets = ["all.txt"]
        """)
    )
    pit.file("report.sh", "cat data/$PIT_MATRIX_AIRPORT.csv > out/$PIT_MATRIX_AIRPORT.txt\n")
    pit.file("all.sh", "cat out/*.txt > all.txt\n")
    for airport in ("JFK", "LGA", "EWR"):
        pit.file(f"data/{airport}.csv", f"{airport}\n")
    assert ran(pit) == {"report:EWR", "report:JFK", "report:LGA", "all"}
    assert ran(pit) == set()
    pit.file("data/JFK.csv", "JFK 2\n")
    assert ran(pit) == {"report:JFK", "all"}
    assert (pit.folder / "all.txt").read_text() == "EWR\nJFK 2\nLGA\n"
    assert ran(pit, "m/report", "--force") == {"report:EWR", "report:JFK", "report:LGA"}


def test_a_kill_while_publishing_is_mended(two: Pit) -> None:
    two.file("data/x.csv", "".join(f"{n}\n" for n in range(50)))
    for delay in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3):
        two.file("data/y.csv", f"{delay}\n")
        process = two.start("run", "m", "--grace", "0s")
        time.sleep(delay)
        process.kill()
        process.communicate()
    two.run("run", "m").ok()
    lines = (two.folder / "out/clean.csv").read_text().splitlines()
    assert sorted(lines) == sorted([*map(str, range(50)), "0.3"])
    assert (two.folder / "out/report.txt").read_text().strip() == "51"


def test_what_a_vanished_instance_made_is_nobodys(pit: Pit) -> None:
    pit.project("m").toml(
        textwrap.dedent("""
        [[tasks]]
        name = "object"
        script = "object.sh"
        inputs = ["src/{u}.c"]
        targets = ["out/{u}.o"]
        [tasks.matrix]
        u = { glob = "src/*.c" }
        [[tasks]]
        name = "link"
        script = "link.sh"
        inputs = ["out/*.o"]
        targets = ["all"]
        """)
    )
    pit.file("object.sh", "cp src/$PIT_MATRIX_U.c out/$PIT_MATRIX_U.o").file("src/a.c", "a")
    pit.file("link.sh", "cat out/*.o > all").file("src/b.c", "b").run("run", "m").ok()
    assert (pit.folder / "all").read_text() == "ab"
    (pit.folder / "src/b.c").unlink()
    assert ran(pit) == {"link"}
    assert (pit.folder / "all").read_text() == "a"
    assert ran(pit) == set()
    pit.file("out/b.o", "mine")
    assert ran(pit) == {"link"}, "what a person wrote there is an input again"
    assert (pit.folder / "all").read_text() == "amine"


def test_records_of_a_clock_that_was_ahead_keep_nothing_from_being_published(two: Pit) -> None:
    with closing(sqlite3.connect(two.root / "pit_metadata.db")) as store, store:
        store.execute("UPDATE records SET at = at + 86400 * 30")
    two.file("data/x.csv", "c\n")
    two.run("run", "m").ok()
    assert (two.folder / "out/clean.csv").read_text() == "c\n"
    assert ("success", "superseded") not in rows(two, "select state, reason from tasks")


def test_a_seal_notices_another_database_and_another_python(pit: Pit) -> None:
    pit.project("m").toml(
        '[dag.sql]\nconnection = "w"\n[[tasks]]\nname = "a"\nscript = "a.sql"\ninputs = []\n'
    )
    pit.file("a.sql", "CREATE OR REPLACE TABLE t AS SELECT 1 AS a;\n")
    (pit.root / "s.toml").write_text('[global]\nw = "duckdb://w.duckdb"\n')
    (pit.root / "s.toml").chmod(0o600)
    (pit.root / "pit_config.toml").write_text('secrets_dir = "s.toml"\n')
    assert ran(pit) == {"a"}
    time.sleep(0.3)
    assert [ran(pit), ran(pit)] == [set(), set()]
    (pit.root / "w.duckdb").rename(pit.root / "old.duckdb")
    assert ran(pit) == {"a"}
    (pit.root / "projects/.python-version").write_text("3.99\n")
    assert ran(pit) == set()
    assert (pit.root / ".pit/stamps").is_dir()


def test_a_seal_is_for_one_workspace_and_not_for_its_copy(two: Pit) -> None:
    time.sleep(0.3)
    assert [ran(two), ran(two)] == [set(), set()]
    copy = Pit(two.root.with_name("copy"))
    shutil.copytree(two.root, copy.root, symlinks=True, dirs_exist_ok=True)
    copy.project("m").file("data/x.csv", "b\nc\na\n")
    assert "clean" in ran(copy)


def test_a_seal_is_for_one_secrets_file(pit: Pit) -> None:
    """Another file, given on the command line, may lead to another database."""
    pit.project("m").toml(
        '[dag.sql]\nconnection = "w"\n[[tasks]]\nname = "a"\nscript = "a.sql"\ninputs = []\n'
    )
    pit.file("a.sql", "CREATE OR REPLACE TABLE t AS SELECT 1 AS a;\n")
    for name in ("one", "other"):
        (pit.root / f"{name}.toml").write_text(f'[global]\nw = "duckdb://{name}.duckdb"\n')
        (pit.root / f"{name}.toml").chmod(0o600)
    assert ran(pit, "m", "--secrets", "one.toml") == {"a"}
    assert ran(pit, "m", "--secrets", "one.toml") == set()
    assert ran(pit, "m", "--secrets", "other.toml") == {"a"}
    assert (pit.root / "other.duckdb").exists()


def test_a_run_says_what_became_of_a_task_without_a_record(pit: Pit) -> None:
    pit.project("p").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = ["in"]\ntargets = ["out"]\n'
        '[dag.params]\nday = { type = "date", default = "2026-01-31" }\n'
    )
    pit.file("in", "1").file("a.sh", "test -e $PIT_WORKSPACE/ok && cp in out")

    def told(*args: str, code: int = 0) -> str:
        done = pit.run(*args, "--json")
        assert done.code == code
        return next(e["why"] for e in done.events if e["event"] == "task_ended")

    assert told("run", "p", code=1) == "first run with day=2026-01-31"
    assert told("run", "p", code=1) == "it failed the last time"
    (pit.root / "ok").touch()
    assert told("run", "p") == "it failed the last time"
    pit.run("forget", "p", "-m", "doubt").ok()
    assert told("run", "p") == "its record was dropped"
    assert told("run", "p", "-p", "day=2026-02-01") == "first run with day=2026-02-01"


def test_a_task_does_not_begin_without_one_of_its_inputs(pit: Pit) -> None:
    pit.project("p").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\n'
        'inputs = ["there", "gone.csv", "none/*.csv", "{workspace}/far"]\n'
    )
    pit.file("there", "").file("a.sh", "touch $PIT_WORKSPACE/begun\n")
    done = pit.run("run", "p", "--json").fails(1)
    (end,) = [event for event in done.events if event["event"] == "task_ended"]
    assert (end["state"], end["reason"], end["attempts"]) == ("failed", "missing_input", 0)
    assert end["error"] == "its inputs gone.csv, {workspace}/far are not there"
    assert not (pit.root / "begun").exists()
    pit.run("plan", "p").fails(1)  # which says the same
    pit.file("gone.csv", "")
    (pit.root / "far").write_text("")
    pit.run("run", "p").ok()


@pytest.mark.parametrize(
    "name", ["*.csv", "a.csv", "new\nline.csv", " tab\t.csv", "\x1b[31mred.csv", "日本.csv"]
)
def test_a_pattern_sees_files_of_any_name_beside_one_that_is_called_like_it(
    pit: Pit, name: str
) -> None:
    pit.project("p").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = ["data/*.csv"]\ntargets = ["out"]\n'
    )
    pit.file("a.sh", "cat data/*.csv > out\n").file("data/*.csv", "1").file("data/b.csv", "2")
    pit.file(f"data/{name}", "3").run("run", "p").ok()
    pit.file(f"data/{name}", "4")
    done = pit.run("run", "p", "--json").ok()
    (ended,) = [event for event in done.events if event["event"] == "task_ended"]
    assert (ended["state"], "changed (was" in ended["why"]) == ("success", True)
    assert "4" in (pit.folder / "out").read_text()


def test_what_failed_is_not_forgotten_for_a_run_of_another_part(pit: Pit) -> None:
    task = '[[tasks]]\nname = "{0}"\nscript = "{0}.sh"\ninputs = []\n'
    pit.project("p").toml("".join(task.format(name) for name in "abc"))
    pit.file("a.sh", "").file("b.sh", "exit 1").file("c.sh", "exit 1")

    def left() -> set[str]:
        planned = pit.run("plan", "p", "--failed", "--json")
        return {each["task"] for each in planned.json["tasks"]} if planned.code == 0 else set()

    pit.run("run", "p").fails(1)
    assert left() == {"b", "c"}
    pit.run("run", "p/a").ok()
    pit.run("run", "p/a").ok()
    assert left() == {"b", "c"}
    pit.file("b.sh", "").run("run", "p/b").ok()
    assert left() == {"c"}
    pit.file("c.sh", "").run("run", "p").ok()
    assert left() == set()
    pit.run("run", "p", "--failed").fails(2, "left nothing undone", "pit run p")
