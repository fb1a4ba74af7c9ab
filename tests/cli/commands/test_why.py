"""`pit why`: back to what somebody did."""

from __future__ import annotations

import pytest

from tests.builder import Pit
from tests.cli.commands.test_plan import CHAIN


@pytest.fixture
def chain(pit: Pit) -> Pit:
    """Two tracked tasks and one that always runs, run once."""
    pit.project("sales").toml(CHAIN).file("data/x.csv", "b\na\n").file("mail.sh", "true\n")
    pit.file("clean.sh", "sort data/*.csv > out/clean.csv\n")
    pit.file("report.sh", "wc -l < out/clean.csv > out/report.txt\n").run("run", "sales").ok()
    return pit


def why(pit: Pit, *args: str) -> list[str]:
    """The lines of an explanation, without what differs from run to run."""
    text = pit.run("why", *args).ok().out
    for at, run in enumerate(pit.runs()):
        text = text.replace(run.name, f"RUN{at}")
    return [line for line in text.splitlines() if line]


def test_current_and_why_it_ran_then(chain: Pit) -> None:
    lines = why(chain, "sales/report")
    assert lines[0].startswith("sales/report is current since run RUN0, ")
    assert lines[-2:] == ["It ran the last time because:", "  first run"]
    view = chain.run("why", "sales/report", "--json").ok().json
    assert (view["action"], view["causes"]) == ("skip", [])
    assert view["since"]["run"] == chain.runs()[0].name


def test_the_chain_leads_to_the_diff_of_a_script(chain: Pit) -> None:
    chain.file("clean.sh", "sort -u data/*.csv > out/clean.csv\n")
    assert why(chain, "sales/report") == [
        "sales/report may run:",
        "  report depends on what clean makes, and clean would run",
        "    ← clean.sh changed",
        "        @@ -1 +1 @@",
        "        -sort data/*.csv > out/clean.csv",
        "        +sort -u data/*.csv > out/clean.csv",
    ]


def test_what_ran_upstream_tells_its_own_reason(chain: Pit) -> None:
    chain.file("data/x.csv", "c\n").run("run", "sales/clean").ok()
    lines = why(chain, "sales/report")
    assert lines[1].startswith("  out/clean.csv, made by clean, changed (was ")
    assert lines[2].startswith("    ← clean ran (")
    assert lines[2].endswith("in run RUN1)")
    assert lines[3].startswith("      ← data/x.csv changed (was ")
    chain.run("run", "sales").ok()
    lines = why(chain, "sales/report")
    assert lines[-1].startswith("  out/clean.csv, made by clean, changed")


def test_a_failure_a_forgotten_record_and_other_parameters(chain: Pit) -> None:
    chain.file("clean.sh", "exit 3\n").run("run", "sales").fails(1)
    lines = why(chain, "sales/clean")
    assert lines[1].startswith("  it failed the last time: exit code 3 (")
    assert lines[2].startswith("    ← it ran because clean.sh changed")
    chain.run("forget", "sales/report", "-m", "wrong numbers").ok()
    assert "its record was dropped: wrong numbers" in " ".join(why(chain, "sales/report"))


def test_what_is_on_record_with_other_parameters(chain: Pit) -> None:
    chain.toml(CHAIN + '[dag.params]\nday = { type = "date", default = "2026-01-30" }\n')
    chain.run("run", "sales").ok()
    lines = why(chain, "sales/clean", "-p", "day=2026-01-31")
    assert lines[0] == "sales/clean (day=2026-01-31) would run:"
    assert lines[1] == "  it has never run with these parameters"
    assert lines[2].startswith("    ← on record are ")
    assert "day=2026-01-30" in lines[2]


def test_a_key_of_pit_toml_and_an_untracked_task(chain: Pit) -> None:
    chain.toml(CHAIN + '[dag.env]\nMODE = "b"\n')
    assert why(chain, "sales/clean")[1] == '  pit.toml: env MODE changed (was absent; now "b")'
    assert why(chain, "sales/mail")[1] == "  it declares no inputs, so it always runs"


def test_it_wants_one_task(chain: Pit) -> None:
    chain.run("why", "sales").fails(2, "is a whole DAG", "Write DAG/TASK")
    chain.run("why", "sales/*").fails(2, "means 3 tasks", "Name one of: clean, report, mail")


def test_a_long_chain_ends_with_its_root(pit: Pit) -> None:
    pit.project("long").file("run.sh", "touch out/$PIT_TASK_NAME\n").file("in", "")
    tasks = [
        f'[[tasks]]\nname = "t{n}"\nscript = "run.sh"\ntargets = ["out/t{n}"]\n'
        f'inputs = ["{f"out/t{n - 1}" if n else "in"}"]\n'
        for n in range(60)
    ]
    pit.toml("".join(tasks)).run("run", "long").ok()
    pit.file("in", "x")
    lines = why(pit, "long/t59")
    assert len(lines) < 60
    assert "in the end because t0: in changed" in lines[-1]


TWO = """
[[tasks]]
name = "fetch"
script = "fetch.sh"
inputs = ["a"]
[[tasks]]
name = "load"
script = "fetch.sh"
inputs = []
depends_on = ["fetch"]
"""


def test_a_task_upstream_is_told_once(pit: Pit) -> None:
    pit.project("p").toml(TWO).file("fetch.sh", "true\n").file("a", "1").run("run", "p").ok()
    pit.file("a", "2")
    assert [line.partition(" (")[0] for line in why(pit, "p/load")] == [
        "p/load would run:",
        "  fetch would run",
        "    ← a changed",
    ]
    pit.run("run", "p/fetch").ok()
    assert [line.partition(" (")[0] for line in why(pit, "p/load")] == [
        "p/load would run:",
        "  fetch ran in run RUN1",
        "    ← a changed",
    ]
