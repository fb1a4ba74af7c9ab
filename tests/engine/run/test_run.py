"""Whole runs by the real command: what is executed, in what order, with what, and how it ends."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import textwrap
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.builder import Pit


def rows(pit: Pit, query: str) -> list[tuple[object, ...]]:
    """What the store says."""
    with closing(sqlite3.connect(pit.root / "pit_metadata.db")) as store:
        return store.execute(query).fetchall()


CHAIN = """
[[tasks]]
name = "first"
script = "tasks/first.sh"
[[tasks]]
name = "second"
script = "tasks/second.sh"
depends_on = ["first"]
"""


def test_tasks_run_in_order_from_the_snapshot_with_their_variables(pit: Pit) -> None:
    pit.project("sales").toml(
        CHAIN + '[dag.env]\nREGION = "north"\n[dag.params]\nday = { type = "date" }\n'
    )
    pit.scripts(
        first="pwd\nenv | sort\necho made > note.txt\n",
        second='cat note.txt\necho "$REGION $PIT_PARAM_DAY $PIT_ATTEMPT"\n',
    )
    pit.run("run", "sales", "-p", "day=2026-01-31", PIT_AGE_KEY="AGE-SECRET-KEY-1").ok()
    folder = pit.runs()[0]
    first = pit.log("first")
    assert first.startswith(f"{folder / 'project'}\n")
    for line in (
        f"PIT_RUN_ID={folder.name}",
        "PIT_DAG_NAME=sales",
        "PIT_TASK_NAME=first",
        f"PIT_DATA_DIR={folder / 'data'}",
        f"PIT_PROJECT_DIR={folder / 'project'}",
        f"PIT_WORKSPACE={pit.root}",
        "PIT_PARAM_DAY=2026-01-31",
    ):
        assert line in first.splitlines()
    assert "AGE-SECRET" not in first
    assert pit.log("second") == "made\nnorth 2026-01-31 1\n"
    assert not (pit.folder / "note.txt").exists(), "what a task writes stays in the run"
    assert rows(pit, "select state, dag from runs") == [("success", "sales")]


def test_a_failure_says_what_when_and_what_next(pit: Pit) -> None:
    pit.project("sales").toml(CHAIN).scripts(
        first="echo no such table >&2\nexit 3\n", second="true"
    )
    result = pit.run("run", "sales").fails(1, "exit code 3", "no such table", "upstream_failed")
    assert "pit" in result.out.splitlines()[-1]
    assert "retry sales --code new" in result.out.splitlines()[-1]
    assert rows(pit, "select task, state, reason from tasks order by task") == [
        ("first", "failed", "exit"),
        ("second", "upstream_failed", "upstream_failed"),
    ]


def test_retries_append_to_one_log_and_every_attempt_has_a_row(pit: Pit) -> None:
    pit.project("flaky").toml(
        '[[tasks]]\nname = "try"\nscript = "tasks/try.sh"\nretries = 3\nretry_delay = "50ms"\n'
    )
    pit.scripts(**{"try": 'echo "number $PIT_ATTEMPT"\n[ "$PIT_ATTEMPT" = 3 ]\n'})
    pit.run("run", "flaky").ok()
    assert pit.log("try") == (
        "number 1\n--- attempt 2 of 4 ---\nnumber 2\n--- attempt 3 of 4 ---\nnumber 3\n"
    )
    found = rows(pit, "select attempt, exit_code, cpu_seconds > 0, peak_memory > 0 from attempts")
    assert found == [(1, 1, 1, 1), (2, 1, 1, 1), (3, 0, 1, 1)]


def test_a_time_out_ends_the_attempt_and_says_so(pit: Pit) -> None:
    pit.project("slow").toml(
        '[[tasks]]\nname = "wait"\nscript = "tasks/wait.sh"\ntimeout = "300ms"\n'
    ).scripts(wait="echo begun\nsleep 60.125\n")
    pit.run("run", "slow").fails(1, "timeout")
    assert pit.log("wait").startswith("begun\n")
    assert "time-out" in pit.log("wait")
    assert list(pit.marked("sleep\x0060.125")) == []


def test_the_time_out_of_the_run_has_its_own_exit_code(pit: Pit) -> None:
    pit.project("slow").toml('[dag]\ntimeout = "500ms"\n' + CHAIN)
    pit.scripts(first="sleep 60", second="true")
    pit.run("run", "slow").fails(124, "the run exceeded dag.timeout of 500ms")
    assert rows(pit, "select state, reason from tasks order by task") == [
        ("failed", "timeout"),
        ("skipped", "timeout"),
    ]


def test_one_task_alone(pit: Pit) -> None:
    pit.project("sales").toml(CHAIN).scripts(first="echo one", second="echo two")
    pit.run("run", "sales/second").ok()
    assert pit.log("second") == "two\n"
    assert rows(pit, "select task, state, reason from tasks order by task") == [
        ("first", "skipped", "single_task"),
        ("second", "success", None),
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("sale",), 2, 'Did you mean "sales"?'),
        (("sales/frist",), 2, 'Did you mean "first"?'),
        (("sales/",), 2, "does not name a task"),
        (("sales", "-p", "x=1"), 2, "x"),
        (("sales", "-p", "x"), 2, "NAME=VALUE"),
        (("sales", "--concurrency", "0"), 2, "concurrency"),
        (("../sales",), 2, "names no"),
    ],
)
def test_a_wrong_command_line_runs_nothing(
    pit: Pit, arguments: tuple[str, ...], code: int, text: str
) -> None:
    pit.project("sales").toml(CHAIN).scripts(first="true", second="true")
    result = pit.run("run", *arguments)
    assert result.code == code
    assert pit.runs() == []
    if arguments[0] != "../sales":
        assert text in result.err


def test_one_broken_project_does_not_stop_another(pit: Pit) -> None:
    pit.project("broken").toml("[dag\n")
    pit.project("sales").toml(CHAIN).scripts(first="true", second="true")
    pit.run("run", "sales").ok()
    pit.run("run", "broken").fails(11, "projects/broken/pit.toml:1")


def test_the_code_of_a_run_is_frozen(pit: Pit) -> None:
    pit.project("sales").toml(CHAIN).file("lib/words.txt", "old\n")
    until = "until [ -e $PIT_WORKSPACE/edited ]; do sleep 0.01; done"
    pit.scripts(first=f"touch $PIT_DATA_DIR/go; {until}", second="cat lib/words.txt; echo old code")
    process = pit.start("run", "sales")
    wait_for(lambda: any((run / "data" / "go").exists() for run in pit.runs()))
    pit.file("lib/words.txt", "new\n").scripts(second="echo new code")
    (pit.root / "edited").touch()
    process.communicate(timeout=60)
    assert pit.log("second") == "old\nold code\n"


def test_runners_and_scripts_with_faults(pit: Pit) -> None:
    pit.project("mixed").toml(
        textwrap.dedent("""
        [[tasks]]
        name = "words"
        script = "tasks/with space.txt"
        runner = "$ cat -n"
        [[tasks]]
        name = "windows"
        script = "tasks/windows.sh"
        [[tasks]]
        name = "missing"
        script = "tasks/windows.sh"
        runner = "$ no-such-program"
        retries = 5
        retry_delay = "1h"
        """)
    ).file("tasks/with space.txt", "hello\n")
    pit.file("tasks/windows.sh", b"echo hi\r\nexit 0\r\n", mode=0o600)
    pit.run("run", "mixed").fails(1, 'command "no-such-program" not found')
    assert pit.log("words").split() == ["1", "hello"]
    assert rows(pit, "select attempts, reason from tasks where task = 'missing'") == [
        (1, "not_found")
    ]


def test_a_script_with_windows_line_endings_is_told(pit: Pit) -> None:
    pit.project("crlf").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n')
    pit.file("a.sh", b"if true; then\r\n  echo hi\r\nfi\r\n")
    remedy = "line endings (CRLF), take them out: sed -i 's/\\r$//' a.sh"
    pit.run("run", "crlf").fails(1, remedy)
    assert "CRLF" in pit.run("validate").ok().out
    pit.file("a.sh", b"echo hi\r\n")
    done = pit.run("run", "crlf").ok().out
    assert "warning: a: its script has Windows line endings (CRLF); see: pit logs crlf/a" in done
    assert "warned: its script has Windows" in done.rpartition("\n\n")[2]


def test_a_target_written_past_the_run_is_missing_in_it(pit: Pit) -> None:
    pit.project("d").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\ntargets = ["x.csv"]\n')
    pit.file("a.sh", f"echo 1 > {pit.folder}/x.csv\n")
    told = "did not make x.csv; tasks work in a copy of the project, so write to relative paths"
    pit.run("run", "d").fails(1, told)
    assert told in pit.log("a")


def test_a_target_that_a_script_with_windows_line_endings_did_not_make(pit: Pit) -> None:
    pit.project("d").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\ntargets = ["out/x.csv"]\n')
    pit.file("a.sh", b"echo 1 > out/x.csv\r\n")
    pit.run("run", "d").fails(
        1, "did not make out/x.csv; its script has Windows line endings (CRLF)"
    )
    assert "new or changed since it began: out/x.csv" in pit.log("a")
    pit.file("a.sh", "echo 1 > out/x.csv\n").run("run", "d").ok()


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 1 > out/y.csv", "out/y.csv"),
        ("echo 1 > data/old.csv", "data/old.csv"),
        ("cp -p data/old.csv out/kept.csv", "out/kept.csv"),
        ("mkdir new; for n in 1 2 3 4 5; do echo > new/$n; done", "new/1, new/2, new/3 and 2 more"),
        ("mkdir __pycache__; touch __pycache__/x a.pyc; echo 2 > z", "z"),
    ],
)
def test_what_was_written_in_the_place_of_a_target_is_told(
    pit: Pit, script: str, told: str
) -> None:
    pit.project("d").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\ntargets = ["out/x.csv"]\n')
    pit.file("data/old.csv", "1\n").file("a.sh", f"{script}\n")
    error = pit.run("run", "d", "--json").fails(1).events
    ended = next(each for each in error if each["event"] == "task_ended")
    assert ended["error"] == (
        f"ended well but did not make out/x.csv; new or changed since it began: {told}"
    )


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("out/a.tx", "out/a.txt"),
        ("a.txt", "out/a.txt"),
        ("data/in.cvs", "data/in.csv"),
        ("dta/in.csv", "data/in.csv"),
        ("{workspace}/shared/ref.cvs", "{workspace}/shared/ref.csv"),
        ("qqqq/zzzzzz", ""),
    ],
)
def test_an_input_that_is_not_there_is_told_with_the_one_that_was_meant(
    pit: Pit, path: str, meant: str
) -> None:
    pit.file("shared/ref.csv", "")
    pit.project("d").file("data/in.csv", "").file("a.sh", "echo > out/a.txt\n").file("b.sh", "true")
    pit.toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ntargets = ["out/a.txt"]\n'
        f'[[tasks]]\nname = "b"\nscript = "b.sh"\ninputs = ["{path}"]\n'
    )
    hint = f'; did you mean "{meant}"?' if meant else ""
    pit.run("run", "d").fails(1, f"its input {path} is not there{hint}")
    pit.run("plan", "d").fails(
        1, f"d/b needs {path}, which is not there, and no task makes it{hint}"
    )
    checked = pit.run("validate").ok()
    if meant:
        assert (
            f'projects/d/pit.toml:8:11: warning: input "{path}" is not there{hint}' in checked.err
        )
    else:
        assert f"note: d/b reads {path}, which is not there, and no task makes it" in checked.out


def test_closed_standard_streams_do_no_harm(pit: Pit) -> None:
    pit.project("m").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n').file("a.sh", "echo hi")
    line = " ".join(pit.argv("run", "m"))
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        assert subprocess.run(["bash", "-c", f"{line} {closed}"], env=pit.env).returncode == 0
    assert rows(pit, "select count(*) from runs where state = 'success'") == [(4,)]
    with closing(sqlite3.connect(pit.root / "pit_metadata.db")) as store:
        assert store.execute("pragma integrity_check").fetchall() == [("ok",)]


def test_targets_appear_whole_and_only_on_success(pit: Pit) -> None:
    pit.project("build").toml(
        textwrap.dedent("""
        [[tasks]]
        name = "make"
        script = "tasks/make.sh"
        targets = ["out/table.csv", "site/"]
        [[tasks]]
        name = "use"
        script = "tasks/use.sh"
        inputs = ["out/table.csv"]
        """)
    )
    make = 'ls out; echo "$1 a" > out/table.csv; mkdir -p site; echo page > site/index.html\n'
    pit.scripts(make=make, use="cat out/table.csv")
    pit.run("run", "build").ok()
    assert (pit.folder / "out/table.csv").read_text() == " a\n"
    assert (pit.folder / "site/index.html").read_text() == "page\n"
    assert pit.log("use") == " a\n", "an input that is a target implies the dependency"
    pit.scripts(make="echo half > out/table.csv; exit 1")
    pit.run("run", "build").fails(1)
    assert (pit.folder / "out/table.csv").read_text() == " a\n"
    pit.scripts(make="ls out; mkdir -p site; touch site/x")
    pit.run("run", "build").fails(1, "missing_target", "out/table.csv")
    assert pit.log("make").startswith("[pit]"), "a task does not see its own previous target"
    assert (pit.folder / "out/table.csv").read_text() == " a\n"


def test_sql_needs_secrets_and_says_so_without(pit: Pit) -> None:
    pit.project("mart").toml(
        textwrap.dedent("""
        [dag.sql]
        connection = "warehouse"
        [[tasks]]
        name = "load"
        script = "load.sql"
        [[tasks]]
        name = "after"
        script = "after.sh"
        depends_on = ["load"]
        """)
    ).file("load.sql", "create table t as select 42 as answer; select * from t;\n")
    pit.file("after.sh", "echo done\n")
    secrets = pit.root / "conf.toml"
    secrets.write_text('[global]\nwarehouse = "duckdb://db/w.duckdb"\n')
    secrets.chmod(0o600)
    pit.run("run", "mart").ok()
    assert rows(pit, "select task, state, reason from tasks order by task") == [
        ("after", "skipped", "upstream_skipped"),
        ("load", "skipped", "no_secrets"),
    ]
    assert rows(pit, "select state, stub from runs") == [("success", 1)]
    assert "create table t" in pit.log("load")
    pit.run("run", "mart", "--secrets", str(secrets)).ok()
    assert "42" in pit.log("load")
    assert (pit.root / "db" / "w.duckdb").exists()
    secrets.write_text('[global]\nother = "duckdb://db/w.duckdb"\n')
    result = pit.run("run", "mart", "--secrets", str(secrets))
    result.fails(1, "missing_connection", "warehouse")
    pit.run("run", "mart", "--secrets", str(pit.root / "none.toml")).fails(30, "none.toml")
    assert rows(pit, "select state, reason from runs order by seq desc limit 1") == [
        ("failed", "setup")
    ]


def test_requirements_are_checked_when_the_run_starts(pit: Pit) -> None:
    pit.project("raw").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n').file("a.sh", "true")
    pit.project("mart").toml(
        '[dag.requires]\nraw = { max_age = "1h" }\n[[tasks]]\nname = "a"\nscript = "a.sh"\n'
    ).file("a.sh", "true")
    pit.run("run", "mart").fails(21, "pit run raw")
    assert rows(pit, "select state, reason from runs") == [("failed", "requirement")]
    pit.run("run", "raw").ok()
    pit.run("run", "mart").ok()


SLOW = '[[tasks]]\nname = "a"\nscript = "a.sh"\n'
AT_GATE = (
    "touch $PIT_WORKSPACE/in-$PIT_RUN_ID\nwhile [ ! -e $PIT_WORKSPACE/go ]; do sleep 0.05; done"
)


@pytest.mark.parametrize("overlap", ["skip", "queue", "allow"])
def test_overlap(pit: Pit, overlap: str) -> None:
    pit.project("one").toml(f'[dag]\noverlap = "{overlap}"\n' + SLOW).file("a.sh", AT_GATE)
    first = pit.start("run", "one")
    wait_for(lambda: len(list(pit.root.glob("in-*"))) == 1)
    second = pit.start("run", "one")
    if overlap == "skip":
        assert b"already running" in second.communicate(timeout=60)[0]
        assert second.returncode == 20
        pit.run("run", "one", "--skip-ok").ok()
    elif overlap == "allow":
        wait_for(lambda: len(list(pit.root.glob("in-*"))) == 2)
    else:
        time.sleep(0.7)
        assert len(list(pit.root.glob("in-*"))) == 1
        assert second.poll() is None
    (pit.root / "go").touch()
    assert first.wait(60) == 0
    first.communicate()
    if overlap != "skip":
        assert second.wait(60) == 0
        second.communicate()
    assert len(pit.runs()) == (1 if overlap == "skip" else 2)


def test_a_run_that_waits_for_itself_is_refused(pit: Pit) -> None:
    pit.project("one").toml('[dag]\noverlap = "queue"\n' + SLOW)
    pit.file("a.sh", f"exec {' '.join(pit.argv('run', 'one'))}\n")
    pit.run("run", "one", timeout=60).fails(1)
    assert "wait for itself" in pit.log("a", 0)


def test_a_target_in_a_folder_that_cannot_be_made(pit: Pit) -> None:
    pit.project("d").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ntargets = ["out/new/x.csv"]\nretries = 2\n'
    ).file("a.sh", "touch out/new/x.csv").file("out", "a file")
    said = "missing_target: the folders of its targets cannot be made: not a directory: out/new"
    pit.run("run", "d").fails(1, said)
    assert "internal" not in pit.run("status", "d").ok().out


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_target_in_a_new_folder_of_a_project_without_write_permission(pit: Pit) -> None:
    pit.project("d").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\ntargets = ["out/x.csv"]\n').file(
        "a.sh", "touch out/x.csv"
    )
    pit.folder.chmod(0o555)
    said = (
        "missing_target: the folders of its targets cannot be made: permission denied: out; a run's"
    )
    pit.run("run", "d").fails(1, said)
    pit.folder.chmod(0o755)


@pytest.mark.parametrize("many", [15, pytest.param(50, marks=pytest.mark.slow)])
def test_many_runs_at_once_in_one_workspace(pit: Pit, many: int) -> None:
    for number in range(5):
        pit.project(f"dag{number}").toml(SLOW).file("a.sh", "echo $PIT_RUN_ID")
    started = [pit.start("run", f"dag{number % 5}") for number in range(many)]
    told = [process.communicate(timeout=170)[0].decode() for process in started]
    assert [told[number] for number in range(many) if started[number].returncode] == []
    assert rows(pit, "select count(*), count(distinct id) from runs where state = 'success'") == [
        (many, many)
    ]
    assert len(pit.runs()) == many
    for run in pit.runs():
        assert (run / "logs/a.log").read_text() == f"{run.name}\n"


def test_json_events_tell_the_whole_run(pit: Pit) -> None:
    pit.project("sales").toml(CHAIN).scripts(first="true", second="exit 2")
    events = pit.run("run", "sales", "--json").fails(1).events
    kinds = [event["event"] for event in events]
    assert kinds[0] == "run_started"
    assert kinds[-1] == "run_ended"
    assert events[-1]["state"] == "failed"
    ended = {event["task"]: event["state"] for event in events if event["event"] == "task_ended"}
    assert ended == {"first": "success", "second": "failed"}


def test_verbose_shows_output_with_the_names_of_tasks(pit: Pit) -> None:
    pit.project("sales").toml(CHAIN).scripts(first="printf 'no newline'", second="echo two")
    out = pit.run("run", "sales", "--verbose").ok().out
    assert "[first] no newline\n" in out
    assert "[second] two\n" in out


def test_output_of_every_kind_reaches_the_log_unchanged(pit: Pit) -> None:
    pit.project("noise").toml(
        '[[tasks]]\nname = "a"\nscript = "a.py"\nrunner = "$ python3"\n'
    ).file(
        "a.py",
        "import os\nos.write(1, bytes(range(256)) * 4000)\nos.write(2, b'x' * 10_000_000)\n"
        "os.write(1, b'no newline at the end')\n",
    )
    pit.run("run", "noise").ok()
    log = (pit.runs()[0] / "logs/a.log").read_bytes()
    assert log == bytes(range(256)) * 4000 + b"x" * 10_000_000 + b"no newline at the end"


def test_strange_things_in_the_project_neither_hang_nor_vanish(pit: Pit) -> None:
    pit.project("odd").toml(SLOW).file("a.sh", "ls -a; test -L inside && cat inside")
    os.mkfifo(pit.folder / "fifo")
    (pit.folder / "dangling").symlink_to("nowhere")
    (pit.folder / "inside").symlink_to(pit.folder / "ü ber.txt")
    pit.file("ü ber.txt", "text\n")
    pit.run("run", "odd").ok()
    listed = pit.log("a").splitlines()
    assert {"dangling", "inside", "ü ber.txt", "text"} <= set(listed)
    assert "fifo" not in listed


def test_a_workspace_on_a_read_only_disk(pit: Pit) -> None:
    pit.project("sales").toml(CHAIN).scripts(first="echo hello", second="true")
    pit.run("run", "sales").ok()
    if os.system(f"mount --bind {pit.root} {pit.root} && mount -o remount,ro,bind {pit.root}") != 0:
        pytest.skip("mounting needs root")
    try:
        result = pit.run("run", "sales")
        assert result.code in (24, 22, 25), result
        assert "read-only" in result.err.lower()
        assert "sales" in pit.run("status").ok().out
        assert "hello" in pit.run("logs", "sales/first").ok().out
        pit.run("validate").ok()
    finally:
        os.system(f"umount {pit.root}")


def wait_for(condition: object, seconds: float = 60.0) -> None:
    """Return once `condition()` holds; fail after `seconds`."""
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def test_python_projects_run_in_their_own_environment(pit: Pit) -> None:
    pit.project("snake").toml('[[tasks]]\nname = "a"\nscript = "tasks/a.py"\n')
    pit.file(
        "pyproject.toml",
        '[project]\nname = "snake"\nversion = "0"\nrequires-python = ">=3.11"\n'
        'dependencies = ["iniconfig"]\n'
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[tool.hatch.build.targets.wheel]\npackages = ["src/snake"]\n',
    ).file("src/snake/__init__.py", "WORD = 'scales'\n")
    pit.file(
        "tasks/a.py",
        "import iniconfig, snake, os\n"
        "print(snake.WORD, snake.__file__, os.environ['VIRTUAL_ENV'])\n",
    )
    pit.run("run", "snake", timeout=300).ok()
    word, source, environment = pit.log("a").split()
    assert word == "scales"
    assert source.startswith(str(pit.runs()[0])), "shared code comes from the snapshot"
    assert Path(environment).parent == pit.root / ".pit" / "envs"
    assert (pit.folder / "uv.lock").exists()
    kinds = rows(pit, "select distinct kind from environments order by kind")
    assert ("pit_toml",) in kinds
    assert ("uv_lock",) in kinds
