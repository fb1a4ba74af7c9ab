"""`pit retry` of runs that were themselves retries, or never came to their tasks."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from pit.events import RunStarted
from pit.state.rundir import RunDir
from pit.state.store.store import Store
from tests.builder import Pit
from tests.engine.run.test_run import rows, wait_for

CHAIN = """
[dag]
name = "m"
{dag}
[[tasks]]
name = "a"
script = "a.sh"
[[tasks]]
name = "b"
script = "b.sh"
depends_on = ["a"]
"""


@pytest.fixture
def failed(pit: Pit) -> Pit:
    """A project whose first task has succeeded and whose second waits for a file to appear."""
    pit.project("m").toml(CHAIN.format(dag=""))
    pit.file("a.sh", "echo x >> $PIT_WORKSPACE/a; echo 1 > $PIT_DATA_DIR/d; echo here > here.txt\n")
    pit.file("b.sh", "set -e; cat $PIT_DATA_DIR/d here.txt; test -e $PIT_WORKSPACE/fixed\n")
    pit.run("run", "m").fails(1)
    return pit


def finished(pit: Pit) -> None:
    """The next retry succeeds, and the first task was executed once in all."""
    (pit.root / "fixed").touch()
    pit.run("retry", "m").ok()
    assert (pit.root / "a").read_text() == "x\n"
    assert pit.log("b") == "1\nhere\n"


def test_a_retry_that_could_not_be_set_up_forgets_nothing(failed: Pit) -> None:
    failed.run("retry", "m", "--secrets", "none.toml").fails(30, "does not exist")
    finished(failed)


def test_a_retry_whose_requirement_failed_forgets_nothing(pit: Pit) -> None:
    pit.project("other").toml('[[tasks]]\nname = "o"\nscript = "o.sh"\n').file("o.sh", "true")
    pit.run("run", "other").ok()
    pit.project("m").toml(CHAIN.format(dag='requires = { other = "1h" }'))
    pit.file("a.sh", "echo x >> $PIT_WORKSPACE/a; echo 1 > $PIT_DATA_DIR/d; echo here > here.txt\n")
    pit.file("b.sh", "set -e; cat $PIT_DATA_DIR/d here.txt; test -e $PIT_WORKSPACE/fixed\n")
    pit.run("run", "m").fails(1)
    with closing(sqlite3.connect(pit.root / "pit_metadata.db")) as store, store:
        store.execute("UPDATE runs SET complete_at = complete_at - 7200 WHERE dag = 'other'")
    pit.run("retry", "m").fails(21, "requires a success")
    pit.run("prune").ok()
    pit.run("run", "other").ok()
    finished(pit)


@pytest.mark.parametrize("change", ["edited", "a link that leads out", "gone"])
def test_a_retry_fails_where_no_whole_copy_of_a_product_is_left(pit: Pit, change: str) -> None:
    pit.project("m").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = []\ntargets = ["o/"]\n'
        '[[tasks]]\nname = "b"\nscript = "b.sh"\ninputs = ["o/"]\n'
    )
    pit.file("a.sh", "mkdir -p o; echo made > o/x\n")
    pit.file("b.sh", "cat o/x; echo over >> o/x; test -e $PIT_WORKSPACE/fixed\n")
    pit.run("run", "m").fails(1)
    made = pit.folder / "o"
    shutil.rmtree(made)
    if change == "edited":
        made.mkdir()
        (made / "x").write_text("other\n")
    elif change == "a link that leads out":
        (pit.root / "elsewhere").mkdir()
        made.symlink_to(pit.root / "elsewhere")
    (pit.root / "fixed").touch()
    pit.run("retry", "m").fails(1, "a: its products were changed since run", "pit run m")
    if change != "gone":
        shutil.move(made, pit.root / "away")
    pit.run("run", "m").ok()
    assert pit.log("b") == "made\n"


def test_a_run_that_died_in_its_snapshot_is_not_gone_on_with(pit: Pit) -> None:
    pit.project("m").toml(CHAIN.format(dag="")).file("a.sh", "true").file("b.sh", "true")
    with Store.open(pit.root / "pit_metadata.db") as store:
        run = RunDir.allocate(pit.root / "runs", "m", time.time())
        started = RunStarted(
            run=run.id,
            at=time.time(),
            dag="m",
            run_dir=str(run.root),
            project=str(pit.folder),
            tasks=("a", "b"),
            params={},
        )
        store.emit(started)
        (run.project / "pit.toml").write_text(CHAIN.format(dag=""))
        (run.project / "a.sh").write_text("true")
        (run.project / "b.sh").touch()
        run.lock.release()
    pit.run("retry", "m").fails(23, "before its snapshot was complete", "--code new")
    pit.run("retry", "m", "--code", "new").ok()


def test_old_code_does_not_publish_over_newer_however_often_it_is_retried(pit: Pit) -> None:
    pit.project("m").toml(
        '[[tasks]]\nname = "hold"\nscript = "hold.sh"\n'
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ndepends_on = ["hold"]\n'
        'inputs = ["in.txt"]\ntargets = ["o.txt"]\n'
    )
    held = "while [ ! -e $PIT_WORKSPACE/on ]; do sleep 0.05; done"
    pit.file("in.txt", "old\n").file("a.sh", "cp in.txt o.txt; test -e $PIT_WORKSPACE/go")
    pit.file("hold.sh", f"touch $PIT_WORKSPACE/in; {held}\n")
    older = pit.start("run", "m")
    wait_for(lambda: (pit.root / "in").exists())
    pit.file("in.txt", "new\n").file("a.sh", "cp in.txt o.txt").file("hold.sh", "true")
    pit.run("run", "m").ok()
    older.kill()
    older.communicate(timeout=60)
    (pit.root / "on").touch()
    first = pit.runs()[0].name
    pit.run("retry", first).fails(1)
    second = pit.runs()[-1].name
    (pit.root / "go").touch()
    pit.run("retry", second).ok()
    assert (pit.folder / "o.txt").read_text() == "new\n"
    assert ("success", "superseded") in rows(pit, "select state, reason from tasks")


def test_a_retry_waits_for_the_end_of_a_run_that_was_killed(pit: Pit) -> None:
    pit.project("m").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n')
    stubborn = "while [ ! -e $PIT_WORKSPACE/go ]; do sleep 0.05; done"
    pit.file("a.sh", f"trap '' TERM; touch $PIT_WORKSPACE/in; {stubborn}\n")
    killed = pit.start("run", "m", "--grace", "60s")
    wait_for(lambda: (pit.root / "in").exists())
    wait_for(lambda: rows(pit, "select 1 from environments") != [])
    killed.kill()
    killed.communicate(timeout=60)
    retry = pit.start("retry", "m")
    assert retry.stdout is not None
    assert b"waiting for the end of what run " in retry.stdout.readline()
    assert len(pit.runs()) == 1
    (pit.root / "go").touch()
    told = retry.communicate(timeout=60)[0].decode()
    assert retry.returncode == 0, told


def test_what_failed_left_out_stays_out_of_its_retry(failed: Pit) -> None:
    failed.run("run", "m", "--failed").fails(1)
    (failed.root / "fixed").touch()
    failed.file("b.sh", "true")
    failed.run("retry", "m", "--code", "new").ok()
    assert (failed.root / "a").read_text() == "x\n"


def test_a_retry_ends_what_a_crash_has_left_behind(pit: Pit) -> None:
    pit.project("m").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n')
    pit.file("a.sh", "touch $PIT_WORKSPACE/in; test -e $PIT_WORKSPACE/go || exec sleep 98.7651\n")
    process = pit.start("run", "m")
    wait_for(lambda: (pit.root / "in").exists() and bool([*pit.marked("98.7651")]))
    wait_for(lambda: rows(pit, "select 1 from environments") != [])
    guardians = [pid for pid in pit.marked(str(pit.root)) if pid != process.pid]
    for pid in guardians:
        os.kill(pid, signal.SIGKILL)
    process.kill()
    process.communicate()
    (pit.root / "go").touch()
    pit.run("retry", "m").ok()
    assert not [*pit.marked("98.7651")]


@pytest.mark.parametrize("code", ["old", "new"])
def test_what_another_retry_has_taken_over_is_not_gone_on_with(failed: Pit, code: str) -> None:
    first = failed.runs()[0].name
    failed.run("retry", first).fails(1)
    second = failed.runs()[-1].name
    told = failed.run("retry", first, "--code", code)
    told.fails(2, f"went to run {second}, which continues it", f"pit retry {second}")
    (failed.root / "fixed").touch()
    failed.run("retry", second).ok()
    third = failed.runs()[-1].name
    told = failed.run("retry", first, "--code", code)
    told.fails(2, f"went to run {third}", "Run it anew with: pit run m")
    assert (failed.root / "a").read_text() == "x\n"


def restarted(pit: Pit, earlier: float = 0.0) -> None:
    """As after a restart of the machine; all that is known happened `earlier` seconds before."""
    with closing(sqlite3.connect(pit.root / "pit_metadata.db")) as store, store:
        store.execute("UPDATE runs SET boot_id = 'before', started_at = started_at - ?", (earlier,))
        for table in ("tasks", "attempts"):
            store.execute(f"UPDATE {table} SET started_at = started_at - ?", (earlier,))
            store.execute(f"UPDATE {table} SET ended_at = ended_at - ?", (earlier,))


def test_after_a_restart_of_the_machine_what_is_young_is_not_trusted(failed: Pit) -> None:
    restarted(failed)
    failed.run("retry", "m").fails(23, "the machine was restarted since run", "--code new")
    (failed.root / "fixed").touch()
    (failed.runs()[0] / "data/d").write_text("")  # the bytes that the power cut took
    failed.run("retry", "m", "--code", "new").ok()
    assert (failed.root / "a").read_text() == "x\nx\n"
    assert failed.log("b").splitlines()[0] == "1"


def test_after_a_restart_of_the_machine_what_was_written_long_before_is(failed: Pit) -> None:
    restarted(failed, earlier=600.0)
    finished(failed)


def test_an_orderly_past_is_told_by_what_ran_later_before_the_restart(failed: Pit) -> None:
    failed.project("other").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n').file("a.sh", "")
    restarted(failed, earlier=600.0)
    with closing(sqlite3.connect(failed.root / "pit_metadata.db")) as store, store:
        store.execute("UPDATE runs SET ended_at = ended_at - 600")
    failed.run("retry", "m").fails(23, "the machine was restarted since run")
    failed.run("run", "other").ok()
    with closing(sqlite3.connect(failed.root / "pit_metadata.db")) as store, store:
        store.execute("UPDATE runs SET boot_id = 'before'")
    finished(failed)


def test_a_power_cut_found_out_late_does_not_make_what_was_young_older(pit: Pit) -> None:
    """The store learns of the end of a run that was cut off when the machine is up again."""
    pit.project("m").toml(CHAIN.format(dag="")).file("a.sh", "touch a\n")
    pit.file("b.sh", "touch $PIT_WORKSPACE/in; test -e $PIT_WORKSPACE/go || exec sleep 98.7652\n")
    process = pit.start("run", "m")
    wait_for(lambda: (pit.root / "in").exists() and bool([*pit.marked("98.7652")]))
    for pid in [*pit.marked(str(pit.root)), *pit.marked("98.7652")]:
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    restarted(pit, earlier=600.0)
    (pit.root / "go").touch()
    pit.run("retry", "m").fails(23, "the machine was restarted since run", "--code new")
    pit.run("retry", "m", "--code", "new").ok()


WRITTEN_INTO = """
[dag]
name = "m"
[[tasks]]
name = "a"
script = "a.sh"
targets = ["made.txt"]
{a}
[[tasks]]
name = "b"
script = "b.sh"
depends_on = ["a"]
"""


@pytest.mark.parametrize("a", ["", "inputs = []"], ids=["untracked", "tracked"])
def test_a_task_done_before_is_handed_on_as_it_was_made(pit: Pit, a: str) -> None:
    pit.project("m").toml(WRITTEN_INTO.format(a=a)).file("a.sh", "echo 1 > made.txt")
    pit.file("b.sh", "echo 2 >> made.txt; cat made.txt; test -e $PIT_WORKSPACE/fixed")
    pit.run("run", "m").fails(1)
    (pit.root / "fixed").touch()
    pit.run("retry", "m").ok()
    assert pit.log("b") == "1\n2\n"
    assert (pit.folder / "made.txt").read_text() == "1\n"


def test_what_a_person_made_of_an_untracked_target_meanwhile_is_taken(pit: Pit) -> None:
    pit.project("m").toml(WRITTEN_INTO.format(a="")).file("a.sh", "echo 1 > made.txt")
    pit.file("b.sh", "cat made.txt; test -e $PIT_WORKSPACE/fixed").run("run", "m").fails(1)
    (pit.root / "fixed").touch()
    pit.file("made.txt", "mine\n").run("retry", "m", "--code", "new").ok()
    assert pit.log("b") == "mine\n"


LISTED = """
[dag]
name = "m"
[[tasks]]
name = "t"
script = "t.sh"
matrix = {{ k = {{ file = "{file}" }} }}
env = {{ K = "{{k}}" }}
"""


@pytest.mark.parametrize("file", ["list.txt", "{{workspace}}/list.txt"], ids=["inside", "outside"])
def test_a_retry_has_the_same_tasks_again(pit: Pit, file: str) -> None:
    listed = file.replace("{{workspace}}", "../..")
    pit.project("m").toml(LISTED.format(file=file.replace("{{", "{").replace("}}", "}")))
    pit.file(listed, "a\nb\n").file("t.sh", "echo $K; test -e $PIT_WORKSPACE/fixed -o $K = a")
    pit.run("run", "m").fails(1)
    (pit.root / "fixed").touch()
    pit.file(listed, "a\n")
    if file != "list.txt":
        told = pit.run("retry", "m")
        assert told.code != 0
        assert "t:b is none any more" in told.err
        assert "--code new" in told.err
        pit.file(listed, "a\nb\n")
    pit.run("retry", "m").ok()
    assert pit.log("t:b") == "b\n"


@pytest.mark.parametrize(
    "more",
    [
        "",
        '[tasks.matrix]\nk = { file = "list.txt" }\n',
        '[dag.params]\np = { type = "string", default = "x" }\n',
    ],
    ids=["plain", "matrix", "parameter"],
)
def test_a_link_out_of_todays_project_fails_the_task_of_a_retry_alone(pit: Pit, more: str) -> None:
    name = {"": "out/a", "[t": "out/{k}", "[d": "out/{p}"}[more[:2]]
    tasks = f'[[tasks]]\nname = "a"\nscript = "a.sh"\ntargets = ["{name}"]\n'
    other = '[[tasks]]\nname = "b"\nscript = "b.sh"\n'
    toml = more + tasks + other if more.startswith("[dag") else tasks + more + other
    made = {"": "a", "[t": "x", "[d": "x"}[more[:2]]
    pit.project("m").toml(toml).file("list.txt", "x\n").file("a.sh", f"echo 1 > out/{made}\n")
    pit.file("b.sh", "test -e $PIT_WORKSPACE/go\n")
    pit.run("run", "m").fails(1)
    (pit.root / "go").touch()
    shutil.rmtree(pit.folder / "out")
    (pit.root / "elsewhere").mkdir()
    (pit.folder / "out").symlink_to(pit.root / "elsewhere")
    pit.run("run", "m").fails(11, "is a link that leads out of the project")
    pit.run("retry", "m", "--json")
    of_b = "select state from tasks where task = 'b' order by run desc limit 1"
    assert rows(pit, of_b) == [("success",)]


WITHOUT_COMMANDS = """
import sys
from datetime import date
from pathlib import Path
from pit.config.settings import load_workspace_config
from pit.config.workspace import discover_one
from pit.engine.run import retry
from pit.engine.run.empty_run import Inquiry, run_empty
from pit.engine.run.lifecycle import clean_up
from pit.engine.run.recovery import recover_runs
from pit.engine.run.request import Services
from pit.engine.run.run import execute
from pit.engine.target.typed import Typed
from pit.state.store.store import Store

config = load_workspace_config(Path(sys.argv[1]))
with Store.open(config.metadata_db) as store:
    (dead,) = recover_runs(store, config.runs_dir)
    run = retry.run_of(store, "m")
    assert (dead.run, dead.dag) == (run.id, "m")
    request = retry.request_of(store, config, run, "pit {}".format, date.today(), old_code=True)
    result = execute(request, Services(store=store))
    assert clean_up(request, store, result.run) == ()
    print(result.state)
    asked = Inquiry(config, Typed(dag="t"), date.today(), lambda: discover_one(config, "t"), "api")
    done = run_empty(asked, store, "pit {}".format)
    print(done.tasks, store.runs.find(done.events[0].run).trigger)
print(*(name for name in sys.modules if name.partition(".")[0] == "click" or name == "pit.cli"))
"""


def test_whoever_starts_runs_needs_no_command_line_to_recover_and_retry_them(pit: Pit) -> None:
    pit.project("t").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = []\n')
    pit.file("a.sh", "true\n")
    pit.run("run", "t").ok()
    pit.project("m").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n')
    pit.file("a.sh", "touch $PIT_WORKSPACE/in; test -e $PIT_WORKSPACE/go || exec sleep 98.7653\n")
    process = pit.start("run", "m")
    wait_for(lambda: (pit.root / "in").exists() and bool([*pit.marked("98.7653")]))
    of_m = "select 1 from environments where dag = 'm'"
    wait_for(lambda: rows(pit, of_m) != [])
    for pid in [pid for pid in pit.marked(str(pit.root)) if pid != process.pid]:
        os.kill(pid, signal.SIGKILL)
    process.kill()
    process.communicate()
    (pit.root / "go").touch()
    argv = [sys.executable, "-c", WITHOUT_COMMANDS, str(pit.root)]
    done = subprocess.run(argv, env=pit.env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == "success\n1 api\n\n"
