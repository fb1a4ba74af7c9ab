"""`pit plan`: what would run, without running it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from tests.builder import Pit

CHAIN = """
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
[[tasks]]
name = "mail"
script = "mail.sh"
depends_on = ["report"]
"""


@pytest.fixture
def chain(pit: Pit) -> Pit:
    """Two tracked tasks and one that always runs."""
    pit.project("sales").toml(CHAIN).file("data/x.csv", "b\na\n").file("mail.sh", "true\n")
    pit.file("clean.sh", "sleep 0.1; sort data/*.csv > out/clean.csv\n")
    return pit.file("report.sh", "sleep 0.1; wc -l < out/clean.csv > out/report.txt\n")


def test_before_the_first_run_everything_would_run_and_nothing_does(chain: Pit) -> None:
    planned = chain.run("plan", "sales").ok()
    assert planned.out.splitlines() == [
        "sales  3 tasks: 3 to run",
        "",
        "  run  clean     first run",
        "  run  report    first run",
        "  run  mail      it declares no inputs, so it always runs",
    ]
    assert not (chain.root / "runs").exists()
    assert not (chain.root / "pit_metadata.db").exists()


def test_after_a_run_and_after_an_edit(chain: Pit) -> None:
    chain.run("run", "sales").ok()
    assert chain.run("plan", "sales", "--json").ok().planned == {
        "clean": "skip",
        "report": "skip",
        "mail": "run",
    }
    chain.file("data/x.csv", "c\n")
    planned = chain.run("plan", "sales").ok().out
    assert re.search(r"run +clean +\d+ms  data/x.csv changed \(was \w{8}, 4 B; now", planned)
    assert re.search(r"defer +report +\d+ms  depends on what clean makes", planned)
    assert "Critical path: clean → report → mail" in planned
    assert re.search(r"Takes about \d+ms, or \d+ms if all that is deferred has to run", planned)
    assert chain.run("run", "sales", "--dry-run").ok().out == planned
    assert chain.run("plan", "sales/report", "--json").ok().planned == {"report": "skip"}
    assert chain.run("plan", "sales/report", "--force", "--json").ok().planned == {"report": "run"}
    assert len(chain.runs()) == 1


def test_a_target_that_will_be_made_anew_defers_what_reads_it(chain: Pit) -> None:
    chain.run("run", "sales").ok()
    (chain.folder / "out/clean.csv").unlink()
    planned = chain.run("plan", "sales", "--json").ok()
    assert planned.planned == {"clean": "run", "report": "defer", "mail": "run"}
    assert planned.json["tasks"][0]["changes"][0]["kind"] == "product"


def test_a_missing_input_fails_the_plan(chain: Pit) -> None:
    toml = CHAIN.replace('inputs = ["data/*.csv"]', 'inputs = ["{workspace}/projects/raw/a.csv"]')
    chain.toml(toml)
    failed = chain.run("plan", "sales")
    failed.fails(1, "sales/clean needs {workspace}/projects/raw/a.csv, which is not there")
    assert "no task makes it" in failed.err
    chain.project("raw").file("get.sh", "").toml(
        '[[tasks]]\nname = "get"\nscript = "get.sh"\ntargets = ["a.csv"]\n'
    )
    failed = chain.run("plan", "sales", "--json")
    failed.fails(1, "raw/get makes it", "Run first: pit run raw/get")
    assert failed.json["gaps"][0]["maker"] == "raw/get"
    chain.project("sales")
    chain.run("plan", "sales/report").fails(1, "clean makes it", "Run first: pit run sales/clean")


def test_a_task_may_be_named_by_what_it_makes_and_by_its_values(chain: Pit) -> None:
    planned = chain.run("plan", "sales/out/report.txt", "--json")
    planned.fails(1, "Run first: pit run sales/clean")
    assert planned.planned == {"report": "run"}
    found = chain.run("plan", "sales/+out/report.txt", "--json").ok().planned
    assert list(found) == ["clean", "report"]
    chain.run("plan", "sales/out/nothing.txt").fails(2, 'task "out/nothing.txt" not found')
    chain.project("odd").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = []\ntargets = ["out/{city} {n}.txt"]\n'
        '[tasks.matrix]\ncity = ["Zürich", "Bern"]\nn = ["1:2"]\n'
    ).file("a.sh", "")
    found = chain.run("plan", "odd/a:Zürich:1:2", "--json").ok().planned
    assert list(found) == ["a:Z%C3%BCrich:1%3A2"]


def test_without_a_dag_there_is_a_line_for_each(chain: Pit) -> None:
    chain.run("run", "sales").ok()
    one = '[[tasks]]\nname = "a"\nscript = "a.sh"\n'
    chain.project("day").toml(f'{one}[dag.params]\nday = {{ type = "date" }}\n').file("a.sh", "")
    chain.project("lost").toml(f'{one}inputs = ["none.csv"]\n').file("a.sh", "")
    chain.project("still").toml(f"{one}inputs = []\n").file("a.sh", "")
    chain.project("broken").toml("x = [")
    chain.run("run", "still").ok()
    lines = chain.run("plan").ok().out.splitlines()
    assert lines[1].startswith('day    parameter "day" is required')
    assert lines[2] == "lost   cannot run: none.csv is not there"
    assert lines[3].startswith("sales  3 tasks: 1 to run, 2 current  ")
    assert lines[4] == "still  nothing to do"
    assert lines[6] == "Left out: projects/broken/pit.toml; see: pit validate"
    view = chain.run("plan", "--json").ok().json
    assert [plan["dag"] for plan in view["dags"]] == ["lost", "sales", "still"]
    assert [each["dag"] for each in view["untold"]] == ["day"]
    assert len(view["problems"]) == 1
    chain.run("plan", "-p", "day=today").fails(2, "parameters belong to one DAG")


def test_what_other_tools_call_things_leads_on(chain: Pit) -> None:
    chain.run("plan", "sales:clean").fails(2, 'Did you mean "sales/clean"?')
    chain.run("plan", "projects/sales").fails(2, 'Did you mean "sales"?')
    chain.run("plan", "projects/sales/").fails(2, 'Did you mean "sales"?')
    short = chain.run("run", "sales", "-n", "-f", "-j", "2").ok().out
    assert short == chain.run("plan", "sales", "--force", "--concurrency", "2").ok().out


def test_parameters_and_unknown_tasks(chain: Pit) -> None:
    chain.toml(CHAIN + '[dag.params]\nday = { type = "date" }\n')
    chain.run("plan", "sales").fails(2, 'parameter "day" is required')
    out = chain.run("plan", "sales", "-p", "day=2026-01-31").ok().out
    assert "first run with day=2026-01-31" in out
    chain.run("plan", "sales/cleen", "-p", "day=2026-01-31").fails(2, 'Did you mean "clean"?')


def test_doit_is_not_loaded(chain: Pit) -> None:
    code = (
        "import sys; from pit.cli.main import main; main(sys.argv[1:])\n"
        "print('doit' in sys.modules)"
    )
    for command in ("plan sales", "why sales/clean"):
        done = subprocess.run(
            [*chain.argv()[:1], "-c", code, "--project-dir", str(chain.root), *command.split()],
            capture_output=True,
            text=True,
            check=True,
            env=chain.env,
        )
        assert done.stdout.splitlines()[-1] == "False", done.stderr


NO_MOUNT = 77
"""The exit code of a script whose file system could not be mounted."""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a file system read-only")
def test_on_a_read_only_disk(chain: Pit) -> None:
    chain.run("run", "sales").ok()
    root = str(chain.root)
    mount = f"{shutil.which('mount') or 'mount'} --bind -o ro {root} {root}"
    commands = [chain.argv("plan", "sales"), chain.argv("why", "sales/report")]
    asked = " && ".join(" ".join(command) for command in commands)
    script = f"{mount} || exit {NO_MOUNT}; {asked}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], env=chain.env, capture_output=True, text=True
    )
    if done.returncode == NO_MOUNT or done.stderr.startswith("unshare:"):
        pytest.skip("mounting is not allowed here")
    assert done.returncode == 0, done.stderr
    assert "2 current" in done.stdout
    assert "sales/report is current since run" in done.stdout


def test_it_says_what_a_run_would_meet(chain: Pit) -> None:
    chain.toml(CHAIN + '[dag]\noverlap = "skip"\n[dag.requires]\nother = { max_age = "1h" }\n')
    chain.project("other").toml('[[tasks]]\nname = "a"\nscript = "a.sh"\n').file("a.sh", "true\n")
    planned = chain.run("plan", "sales").ok()
    told = 'DAG "sales" requires "other", which never succeeded as a whole'
    assert f"A run would stop here: {told}" in planned.out
    assert chain.run("plan", "sales", "--json").ok().json["meets"] == [told]
    chain.run("run", "other").ok()
    assert chain.run("plan", "sales", "--json").ok().json["meets"] == []


def test_it_says_that_another_run_is_in_the_way(chain: Pit) -> None:
    chain.file("mail.sh", "until [ -e ../../../go ]; do sleep 0.05; done\n")
    for overlap, verdict in (("skip", "refused"), ("queue", "made to wait")):
        chain.toml(CHAIN + f'[dag]\noverlap = "{overlap}"\n')
        running = chain.start("run", "sales", "--json")
        assert running.stdout is not None
        for line in running.stdout:
            if b'"attempt_started"' in line and b'"mail"' in line:
                break
        told = chain.run("plan", "sales").out
        (chain.root / "go").touch()
        running.communicate(timeout=60)
        assert verdict in told
        (chain.root / "go").unlink()
        assert verdict not in chain.run("plan", "sales").ok().out


def test_concurrency_and_what_failed_can_be_planned(chain: Pit) -> None:
    chain.file("report.sh", "exit 3\n").run("run", "sales").fails(1)
    planned = chain.run(
        "run", "sales", "--dry-run", "--failed", "--concurrency", "7", "--json"
    ).ok()
    assert list(planned.planned) == ["report", "mail"]
    assert planned.json["concurrency"] == 7
    assert (
        chain.run("plan", "sales", "--failed", "--json").ok().json["tasks"] == planned.json["tasks"]
    )
    assert (
        planned.json["concurrency"] != chain.run("plan", "sales", "--json").ok().json["concurrency"]
    )


def test_times_that_nobody_knows_are_not_told_as_none(pit: Pit) -> None:
    pit.project("p").file("a.sh", "true\n").file("in", "1")
    pit.toml(
        '[[tasks]]\nname = "known"\nscript = "a.sh"\ninputs = ["in"]\n'
        '[[tasks]]\nname = "new"\nscript = "a.sh"\n'
    )
    assert "Takes about" not in pit.run("plan", "p").ok().out
    pit.run("run", "p/known").ok()
    out = pit.run("plan", "p").ok().out
    assert "0ms" not in out
    pit.file("in", "2")
    out = pit.run("plan", "p").ok().out
    assert re.search(r"Takes about \d+ms, 4 at a time", out)
    assert "Not counted, because they never succeeded before: new" in out


def test_what_several_tasks_make_is_said_in_the_plural_and_instances_are_counted(pit: Pit) -> None:
    pit.project("p").file("m.sh", "cat in > o_$PIT_MATRIX_K\n").file("in", "1")
    pit.file("one.sh", "cat in > one\n").file("two.sh", "cat in > two\n").file("all.sh", "true\n")
    make = '[[tasks]]\nname = "{0}"\nscript = "{0}.sh"\ninputs = ["in"]\ntargets = ["{1}"]\n'
    pit.toml(
        make.format("one", "one")
        + make.format("two", "two")
        + make.format("m", "o_{k}")
        + 'matrix = { k = ["a", "b", "c"] }\n'
        + '[[tasks]]\nname = "pair"\nscript = "all.sh"\ninputs = ["one", "two"]\n'
        + '[[tasks]]\nname = "all"\nscript = "all.sh"\ninputs = ["o_*"]\n'
        + '[[tasks]]\nname = "single"\nscript = "all.sh"\ninputs = ["one"]\n'
    )
    pit.run("run", "p").ok()
    pit.file("in", "2")
    out = pit.run("plan", "p").ok().out
    assert "depends on what one, two make" in out
    assert "depends on what m ×3 make" in out
    assert "depends on what one makes" in out
    pit.file("m.sh", "exit 3\n")
    failed = pit.run("run", "p").fails(1).out
    assert "upstream_failed" in failed
    assert "after m ×3" in failed
    assert "The same in 2 more" not in failed  # they wrote nothing
