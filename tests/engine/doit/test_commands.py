"""The real `doit` command in a workspace: what it lists, runs and refuses, and that Pit agrees."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builder import Pit, Result
from tests.doit import DOIT, TEMPLATES, doit

SALES = """
[dag]
description = "Sales of the day"
[dag.params]
region = { type = "string", default = "north" }
[[tasks]]
name = "extract"
script = "tasks/extract.sh"
description = "Fetch the orders"
inputs = ["data/*.csv"]
targets = ["out/orders.csv"]
[[tasks]]
name = "load"
script = "tasks/load.sh"
inputs = ["out/orders.csv"]
targets = ["out/load.txt"]
params = ["region"]
retries = 2
[[tasks]]
name = "mail"
script = "tasks/mail.sh"
depends_on = ["load"]
"""


def states(listed: Result) -> dict[str, str]:
    """The letter of each task of `doit list --status`."""
    rows = [line.split() for line in listed.ok().out.splitlines()]
    return {row[1]: row[0] for row in rows}


def last(sales: Pit) -> dict[str, str]:
    """How each task of the last run ended."""
    tasks = sales.run("status", "sales", "--json").ok().json["tasks"]
    return {task["task"]: task["state"] for task in tasks}


@pytest.fixture
def sales(pit: Pit) -> Pit:
    """A workspace with `dodo.py` and the project `sales`."""
    shutil.copy(TEMPLATES / "workspace" / "dodo.py", pit.root)
    pit.project("sales").toml(SALES).file("data/b.csv", "2\n").file("data/a.csv", "1\n")
    return pit.scripts(
        extract="cat data/*.csv > out/orders.csv\n",
        load='echo "$PIT_PARAM_REGION" > out/load.txt\n',
        mail="echo sent\n",
    )


# ---------------------------------------------------------------- list, info


def test_a_link_that_leads_in_a_circle_stops_nobody(sales: Pit) -> None:
    (sales.root / "projects/sales/data/round.csv").symlink_to("round.csv")
    (sales.root / "projects/sales/tasks/extract.sh").write_text("echo 1 > out/orders.csv\n")
    assert states(doit(sales.root, "list", "-s")) == {"sales": "R"}
    doit(sales.root, "run").ok()
    assert "sales:extract" in doit(sales.root, "list", "--all").ok().out
    assert "nothing to do" in sales.run("plan", "sales/+load").ok().out


def test_tasks_are_listed_by_dag_with_their_descriptions(sales: Pit) -> None:
    assert doit(sales.root, "list").ok().out == "sales   Sales of the day\n"
    lines = doit(sales.root, "list", "--all", "--sort", "definition").ok().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        ["sales", "Sales of the day"],
        ["sales:extract", "Fetch the orders"],
        ["sales:load", "tasks/load.sh"],
        ["sales:mail", "tasks/mail.sh"],
    ]
    made = {path.name for path in sales.root.iterdir()} - {"__pycache__"}
    assert made == {"dodo.py", "projects"}


def test_files_and_targets_are_those_of_pit_toml(sales: Pit) -> None:
    out = doit(sales.root, "list", "--deps", "sales:extract").ok().out
    assert [line for line in out.splitlines() if line.startswith(" -")] == [
        " -  projects/sales/data/a.csv",
        " -  projects/sales/data/b.csv",
        " -  projects/sales/tasks/extract.sh",
    ]
    told = doit(sales.root, "info", "sales:load").fails(1).out
    assert "task_dep   : \n - sales:extract\n" in told
    assert "targets    : \n - projects/sales/out/load.txt\n" in told
    assert "'retries': 2" in told
    assert "'runner': 'bash'" in told


def test_doit_and_pit_agree_on_what_is_current(sales: Pit) -> None:
    before = {"sales": "R", "sales:extract": "R", "sales:load": "R", "sales:mail": "R"}
    assert states(doit(sales.root, "list", "--all", "--status")) == before
    sales.run("run", "sales").ok()
    after = {"sales": "R", "sales:extract": "U", "sales:load": "U", "sales:mail": "R"}
    assert states(doit(sales.root, "list", "--all", "--status")) == after
    assert "status     : up-to-date" in doit(sales.root, "info", "sales:load").ok().out
    sales.file("data/c.csv", "3\n")
    changed = states(doit(sales.root, "list", "--all", "--status"))
    assert changed == after | {"sales:extract": "R", "sales:load": "D"}
    told = doit(sales.root, "info", "sales:extract").fails(1).out
    assert "data/c.csv" in told
    assert "it depends on what extract will produce" in doit(sales.root, "info", "sales:load").out


def test_status_is_that_of_the_parameters_on_the_command_line(sales: Pit) -> None:
    doit(sales.root, "run", "sales", "region=south").ok()
    assert (sales.folder / "out/load.txt").read_text() == "south\n"
    assert states(doit(sales.root, "list", "-s", "sales:load")) == {"sales:load": "R"}
    listed = doit(sales.root, "list", "-s", "sales:load", "region=south")
    assert states(listed) == {"sales:load": "U"}
    doit(sales.root, "run", "regoin=south").fails(2, 'no DAG here has a parameter "regoin"')


def test_an_input_that_nobody_makes_is_an_error_of_its_task(sales: Pit) -> None:
    shutil.rmtree(sales.folder / "data")
    sales.toml(SALES.replace("data/*.csv", "data/a.csv"))
    listed = states(doit(sales.root, "list", "--all", "--status"))
    assert listed["sales:extract"] == listed["sales"] == "E"
    doit(sales.root, "info", "sales:extract").fails(1, "data/a.csv does not exist, and no task")


def test_a_matrix_is_a_group_of_its_instances(pit: Pit) -> None:
    shutil.copy(TEMPLATES / "workspace" / "dodo.py", pit.root)
    pit.project("reports").toml(
        """
        [[tasks]]
        name = "report"
        script = "report.sh"
        inputs = []
        targets = ["out/{airport}.txt"]
        matrix = { airport = ["JFK", "LGA"] }
        [[tasks]]
        name = "other"
        script = "other.sh"
        """
    ).file("report.sh", "echo $PIT_MATRIX_AIRPORT > out/$PIT_MATRIX_AIRPORT.txt\n")
    pit.file("other.sh", "")
    listed = doit(pit.root, "list", "--all").ok().out
    assert "reports:report       2 instances" in listed
    doit(pit.root, "run", "reports:report:JFK").ok()
    assert [path.name for path in (pit.folder / "out").iterdir()] == ["JFK.txt"]
    doit(pit.root, "run", "reports:report").ok()
    assert {path.name for path in (pit.folder / "out").iterdir()} == {"JFK.txt", "LGA.txt"}
    assert len(pit.runs()) == 2
    assert states(doit(pit.root, "list", "-s", "reports:report")) == {"reports:report": "U"}


# ---------------------------------------------------------------- run


def test_a_run_is_a_run_of_pit(sales: Pit) -> None:
    out = doit(sales.root, "run").ok().out
    assert "sales  success" in out
    (run,) = sales.run("runs", "--json").ok().json
    assert (run["dag"], run["state"], run["selection"]) == ("sales", "success", None)
    assert sales.log("mail") == "sent\n"


def test_a_task_is_run_with_what_it_needs_or_alone(sales: Pit) -> None:
    doit(sales.root, "run", "sales:load").ok()
    assert last(sales) == {"extract": "success", "load": "success", "mail": "skipped"}
    doit(sales.root, "run", "-a", "-s", "sales:load").ok()
    assert last(sales) == {"extract": "success", "load": "success", "mail": "skipped"}
    runs = {
        task["task"]: task["run"] for task in sales.run("status", "sales", "--json").json["tasks"]
    }
    assert runs["extract"] < runs["load"], "alone it leaves the others as they last were"
    doit(sales.root, "run", "-n", "1", "projects/sales/out/orders.csv", "sales:m*").ok()
    (run, *_) = sales.run("runs", "--json").json
    assert run["selection"] == "+extract,+mail"


def test_exit_codes_are_those_of_pit(sales: Pit) -> None:
    sales.scripts(load="echo no; exit 3\n")
    doit(sales.root, "run").fails(1, "load: the end of its log")
    doit(sales.root, "run", "slaes").fails(2, '"slaes" is not a task', 'Did you mean "sales"?')
    doit(sales.root, "run", "sales/load").fails(2, 'Did you mean "sales:load"?')
    doit(sales.root, "run", "sales", "-q").fails(3)


def test_a_dag_runs_after_those_that_it_requires(sales: Pit) -> None:
    needy = '[dag]\nrequires = ["sales"]\n[[tasks]]\nname = "a"\nscript = "a.sh"\n'
    sales.project("early").toml(needy).file("a.sh", "")
    doit(sales.root, "run").ok()
    assert [path.name.rpartition("_")[2] for path in sales.runs()] == ["sales", "early"]


def test_what_means_nothing_to_pit_is_told(sales: Pit) -> None:
    result = doit(sales.root, "run", "-r", "json", "-v", "2", "sales:extract").ok()
    assert "warning: --reporter means nothing to Pit" in result.err
    assert not list(sales.root.glob(".doit*"))


# ---------------------------------------------------------------- forget, clean, the rest


def test_forget_and_clean_are_those_of_pit(sales: Pit) -> None:
    doit(sales.root, "run").ok()
    doit(sales.root, "forget", "sales:load").ok()
    assert states(doit(sales.root, "list", "-s", "sales:load")) == {"sales:load": "R"}
    assert states(doit(sales.root, "list", "-s", "sales:extract")) == {"sales:extract": "U"}
    doit(sales.root, "clean", "-n", "sales:extract").ok()
    assert (sales.folder / "out/orders.csv").exists()
    doit(sales.root, "clean", "sales:extract").ok()
    assert [path.name for path in (sales.folder / "out").iterdir()] == ["load.txt"]
    doit(sales.root, "run", "sales:load").ok()
    doit(sales.root, "clean", "-c", "sales:load").ok()
    assert not (sales.folder / "out/orders.csv").exists()
    assert not (sales.folder / "out/load.txt").exists()
    doit(sales.root, "run").ok()
    doit(sales.root, "forget").ok()
    assert states(doit(sales.root, "list", "-s", "sales:extract")) == {"sales:extract": "R"}
    doit(sales.root, "forget", "sales:nope").fails(2, '"sales:nope" is not a task')
    doit(sales.root, "forget", "--disable-default").fails(2, "no task is named")


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        ("ignore", "pit accept sales/load"),
        ("reset-dep", "pit accept sales/load"),
        ("strace", "pit run --learn sales/load"),
        ("dumpdb", "pit why DAG/TASK --json"),
    ],
)
def test_what_pit_does_otherwise_names_its_command(sales: Pit, command: str, instead: str) -> None:
    words = [command] if command == "dumpdb" else [command, "sales:load"]
    result = doit(sales.root, *words).fails(2, instead)
    assert "Traceback" not in result.err


def test_a_database_of_doits_own_is_still_dumped(tmp_path: Path) -> None:
    (tmp_path / "dodo.py").write_text("def task_a():\n    return {'actions': ['true']}\n")
    doit(tmp_path, "run").ok()
    assert "'checker:': 'MD5Checker'" in doit(tmp_path, "dumpdb").ok().out


# ---------------------------------------------------------------- where, and what is broken


def test_it_works_from_a_folder_below(sales: Pit) -> None:
    below = sales.folder / "tasks"
    assert doit(below, "list", "-k").ok().out == "sales   Sales of the day\n"
    sales.scripts(load="echo no; exit 1\n")
    result = doit(below, "run", "-k", "sales:load").fails(1)
    assert result.out.endswith(
        "Next: fix it, then pit retry sales --code new\n"
    )  # which works there as well


def test_a_project_has_a_face_of_its_own(sales: Pit) -> None:
    shutil.copy(TEMPLATES / "project" / "dodo.py", sales.folder)
    sales_folder = sales.folder
    sales.project("other").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n').file("a.sh", "")
    sales.project("broken").toml("[dag")
    listed = doit(sales_folder, "list", "--all", "--deps").ok()
    assert " -  data/a.csv" in listed.out
    assert "other" not in listed.out
    assert listed.err == ""
    doit(sales_folder, "run").ok()
    assert (sales_folder / "out/load.txt").read_text() == "north\n"
    elsewhere = sales.root / "elsewhere"
    shutil.copytree(sales_folder, elsewhere)
    doit(elsewhere, "list").fails(2, "is not a project of the workspace", "projects")


def test_a_broken_project_is_told_and_stops_no_other(sales: Pit) -> None:
    sales.project("broken").file("a.sh", "").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\nretrys = 1\n'
    )
    listed = doit(sales.root, "list").ok()
    assert listed.out == "sales   Sales of the day\n"
    assert 'warning: projects/broken/pit.toml:4:1: unknown key "retrys"' in listed.err
    assert "See it with: pit validate" in listed.err
    doit(sales.root, "run").ok()
    doit(sales.root, "run", "broken").fails(11, 'unknown key "retrys"')
    shutil.copy(TEMPLATES / "project" / "dodo.py", sales.folder)
    doit(sales.folder, "list").fails(11, 'unknown key "retrys"')
    shutil.rmtree(sales.root / "projects/sales")
    doit(sales.root, "list").fails(11, 'unknown key "retrys"')
    shutil.rmtree(sales.root / "projects/broken")
    doit(sales.root, "list").fails(10, "no projects found")


def test_missing_parameters_are_told(sales: Pit) -> None:
    sales.toml(SALES.replace(', default = "north"', ""))
    assert states(doit(sales.root, "list", "-s")) == {"sales": "R"}
    told = doit(sales.root, "info", "sales:load").fails(1).out
    assert 'parameter "region" is required' in told
    doit(sales.root, "run").fails(2, 'parameter "region" is required')


def test_a_task_of_the_dodo_file_itself_is_not_carried_out(sales: Pit) -> None:
    with open(sales.root / "dodo.py", "a") as file:
        file.write("\ndef task_mine():\n    return {'actions': ['touch made']}\n")
    assert "mine" in doit(sales.root, "list").ok().out
    doit(sales.root, "run", "mine").fails(2, 'task "mine" is not in a pit.toml', "doit -f mine.py")
    assert not (sales.root / "made").exists()


def test_another_doit_is_refused_in_a_sentence(sales: Pit) -> None:
    code = (
        "import sys, doit.version; doit.version.VERSION = (0, 99, 1)\n"
        "from doit.doit_cmd import DoitMain; sys.exit(DoitMain().run(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "list"],
        cwd=sales.root,
        env=sales.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 22
    assert "doit 0.99.1 is installed, and Pit knows the commands of doit 0.37" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_pit_the_dodo_file_says_what_to_install(sales: Pit) -> None:
    code = "import sys; sys.modules['pit'] = None; from doit.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "list"],
        cwd=sales.root,
        env=sales.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "uv tool install pit-orchestrator --with-executables-from doit" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_workspace_that_cannot_be_written_can_be_listed(sales: Pit) -> None:
    sales.run("run", "sales").ok()
    sales.root.chmod(0o555)
    try:
        listed = doit(sales.root, "list", "--all", "-s", PYTHONDONTWRITEBYTECODE="1")
    finally:
        sales.root.chmod(0o755)
    assert states(listed)["sales:load"] == "U"
    assert os.access(sales.root, os.W_OK)


def test_a_signal_ends_the_run_and_what_it_started(sales: Pit) -> None:
    sales.scripts(extract="echo started; exec sleep 4321.7\n")
    running = subprocess.Popen(
        [DOIT, "run", "-v", "2"], cwd=sales.root, env=sales.env, stdout=subprocess.PIPE
    )
    assert running.stdout is not None
    with running.stdout:
        assert any(b"[extract] started" in line for line in running.stdout)
        running.terminate()
        assert b"cancelled" in running.stdout.read()
    assert running.wait(60) == 143
    assert not list(sales.marked("sleep\x004321.7"))
    (run,) = sales.run("runs", "--json").json
    assert run["state"] == "cancelled"


def test_runs_of_doit_and_pit_at_once_do_each_task_once(sales: Pit) -> None:
    sales.scripts(
        extract="echo >> $PIT_WORKSPACE/count; sleep 1; cat data/*.csv > out/orders.csv\n"
    )
    command = [DOIT, "run", "sales:load"]
    both = [
        subprocess.Popen(command, cwd=sales.root, env=sales.env, stdout=subprocess.DEVNULL),
        sales.start("run", "sales/+load"),
    ]
    for each in both:
        with each:
            each.communicate(timeout=60)
        assert each.returncode == 0
    assert (sales.root / "count").read_text() == "\n"
    assert len(sales.runs()) == 2
