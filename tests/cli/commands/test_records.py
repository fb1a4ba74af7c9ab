"""`pit accept`, `pit forget`, `pit clean`: what people do to records by hand."""

from __future__ import annotations

import os
import pty
import re
from pathlib import Path

import pytest

from pit.engine.locks.claims import claimed
from pit.state.store.store import Store
from tests.builder import Pit
from tests.cli.commands.test_plan import CHAIN


@pytest.fixture
def chain(pit: Pit) -> Pit:
    """Two tracked tasks and one that always runs, run once."""
    pit.project("sales").toml(CHAIN).file("data/x.csv", "b\na\n").file("mail.sh", "true\n")
    pit.file("clean.sh", "sort data/*.csv > out/clean.csv\n")
    pit.file("report.sh", "wc -l < out/clean.csv > out/report.txt\n").run("run", "sales").ok()
    return pit


def planned(pit: Pit, *args: str) -> dict[str, str]:
    """What a run would do with each task."""
    return pit.run("plan", *(args or ("sales",)), "--json").ok().planned


def notes(pit: Pit) -> list[tuple[str, str, str]]:
    """The history of the records, the latest first."""
    with Store.open(pit.root / "pit_metadata.db") as store:
        return [(note.task, note.what, note.note) for note in store.records.notes("sales")]


# ---------------------------------------------------------------- accept


def test_accepting_makes_current_without_running(chain: Pit) -> None:
    (chain.folder / "out/report.txt").write_text("repaired\n")
    chain.file("report.sh", "echo other > out/report.txt\n")
    assert planned(chain)["report"] == "run"
    out = chain.run("accept", "sales/report", "-m", "repaired by hand").ok().out
    assert out == "sales/report is taken as current\n"
    assert planned(chain)["report"] == "skip"
    assert chain.run("run", "sales").ok()
    assert (chain.folder / "out/report.txt").read_text() == "repaired\n"
    assert notes(chain)[0] == ("report", "accepted", "repaired by hand")
    assert '"repaired by hand"' in chain.run("why", "sales/report").ok().out
    chain.file("report.sh", "# a comment\necho other > out/report.txt\n")
    assert planned(chain)["report"] == "run", "an edit after it counts again"


def test_accepting_several_at_once_and_what_was_current(chain: Pit) -> None:
    chain.file("data/x.csv", "b\na\nc\n")
    done = chain.run("accept", "sales/report", "-m", "no", "--json").ok().json
    assert done["tasks"] == [{"task": "report", "accepted": False}]
    chain.toml(CHAIN.replace('script = "mail.sh"', 'script = "mail.sh"\ninputs = []'))
    chain.run("accept", "sales/*", "-m", "only a new column").ok()
    assert set(planned(chain).values()) == {"skip"}


def test_accepting_a_pattern_passes_over_what_always_runs(chain: Pit) -> None:
    chain.run("forget", "sales").ok()
    done = chain.run("accept", "sales/*", "-m", "all as it should be").ok()
    assert "sales/report is taken as current" in done.out
    assert "sales/mail always runs: nothing to accept" in done.err
    view = chain.run("accept", "sales/*", "-m", "again", "--json").ok().json
    assert {task["task"] for task in view["tasks"]} == {"clean", "report"}


def test_accepting_before_the_first_run(pit: Pit) -> None:
    pit.project("sales").toml(CHAIN).file("data/x.csv", "a\n").file("out/clean.csv", "a\n")
    pit.scripts(none="").file("clean.sh", "false").file("report.sh", "false").file("mail.sh", "")
    pit.run("accept", "sales/clean", "-m", "came with the repository").ok()
    assert planned(pit)["clean"] == "skip"
    told = pit.run("plan", "sales").ok().out
    assert re.search(r'accepted (just now|\ds ago): "came with the repository"', told)
    pit.run("run", "sales/clean").ok()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("sales/mail", "declares no inputs, so it always runs"),
        ("sales/report", "its target out/report.txt is not there"),
        ("sales", "is a whole DAG"),
    ],
)
def test_what_cannot_be_accepted(chain: Pit, target: str, said: str) -> None:
    (chain.folder / "out/report.txt").unlink()
    chain.run("accept", target, "-m", "x").fails(2, said)
    assert notes(chain) == []


# ---------------------------------------------------------------- forget


def test_forgetting_a_task_a_dag_and_nothing(chain: Pit) -> None:
    assert chain.run("forget", "sales/clean").ok().out == "sales/clean: 1 record forgotten\n"
    assert planned(chain) == {"clean": "run", "report": "defer", "mail": "run"}
    assert chain.run("forget", "sales", "--json").ok().json["forgotten"] == {"report": 1}
    assert chain.run("forget", "sales").ok().out == "nothing was on record\n"
    assert [note[0] for note in notes(chain)] == ["report", "clean"]
    assert (chain.folder / "out/clean.csv").exists()


def test_records_of_all_parameters_and_of_tasks_that_are_gone(chain: Pit) -> None:
    chain.toml(CHAIN + '[dag.params]\nday = { type = "date", default = "2026-01-30" }\n')
    for day in ("2026-01-30", "2026-01-31"):
        chain.run("run", "sales", "-p", f"day={day}", "--force").ok()
    assert chain.run("forget", "sales/clean", "--json").ok().json["forgotten"] == {"clean": 1}
    chain.toml(CHAIN.replace('"report"', '"summary"'))
    done = chain.run("forget", "sales", "--all-params", "--json").ok().json
    assert done["forgotten"] == {"clean": 2, "report": 3}


def test_a_run_that_executes_the_task_is_not_disturbed(chain: Pit) -> None:
    with claimed(chain.root / "runs" / ".locks", "sales", "clean", "") as held:
        assert held
        chain.run("forget", "sales/clean").fails(20, "is being executed by a run just now")
        chain.run("clean", "sales", "--yes").fails(20, "sales/clean is being executed")
        chain.file("data/x.csv", "z\n")
        chain.run("accept", "sales/clean", "-m", "x").fails(20, "is being executed")
    assert (chain.folder / "out/clean.csv").exists()
    assert not (chain.folder / "out/report.txt").exists(), "the rest has been cleaned"


# ---------------------------------------------------------------- clean


def test_cleaning_removes_targets_and_records(chain: Pit) -> None:
    dry = chain.run("clean", "sales", "--dry-run").ok().out
    assert dry.splitlines() == [
        "  out/clean.csv",
        "  out/report.txt",
        "would remove 2 targets, 6 B",
    ]
    chain.run("clean", "sales").fails(2, "nobody is there to answer", "--yes")
    assert (chain.folder / "out/clean.csv").exists()
    said = chain.run("clean", "sales/report", "--yes").ok().out
    assert said == "removed 1 target, 2 B; 1 record forgotten\n"
    assert planned(chain) == {"clean": "skip", "report": "run", "mail": "run"}
    assert (chain.folder / "data/x.csv").exists()
    chain.run("clean", "sales", "-y").ok()
    assert chain.run("clean", "sales").ok().out == "nothing to clean\n"


def test_it_asks_on_a_terminal(chain: Pit) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(chain.argv()[0], chain.argv("clean", "sales"), chain.env)
    text = b""
    while b"[y/N]" not in text:
        text += os.read(terminal, 1024)
    os.write(terminal, b"n\n")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert b"Remove 2 targets of sales, 6 B?" in text
    assert os.waitstatus_to_exitcode(status) == 130
    assert (chain.folder / "out/clean.csv").exists()


def test_nothing_outside_the_project_and_no_script_is_removed(
    pit: Pit, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside: Path = tmp_path_factory.mktemp("outside")
    for name in ("linked.csv", "absolute.csv"):
        (outside / name).write_text("precious")
    pit.project("p").toml(
        '[[tasks]]\nname = "a"\nscript = "tasks/a.sh"\n'
        f'targets = ["in/*.csv", "{outside}/absolute.csv", "out/"]\n'
    )
    pit.file("tasks/a.sh", "true\n").file("out/deep/x", "1").file("out/.hidden", "2")
    pit.file("in/x", "")
    (pit.folder / "in/linked.csv").symlink_to(outside / "linked.csv")
    done = pit.run("clean", "p", "--yes", "--unrecorded").ok()
    assert {path.name for path in outside.iterdir()} == {"linked.csv", "absolute.csv"}
    assert not (pit.folder / "out").exists()
    assert (pit.folder / "tasks/a.sh").exists()
    assert os.listdir(pit.folder / "in") == ["x"]
    assert f"{outside}/absolute.csv of p/a stays: it lies outside the project" in done.err


def test_what_nobody_is_known_to_have_made_stays(pit: Pit) -> None:
    pit.project("p").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\n'
        'targets = ["pat/*.csv", "folder", "own/", "file.txt"]\n'
        '[[tasks]]\nname = "never"\nscript = "a.sh"\ntargets = ["notes.md"]\n'
    ).file("notes.md", "written by hand")
    made = ("pat/a.csv", "pat/b.csv", "folder/deep/a", "own/deep/a", "file.txt")
    pit.file("a.sh", "mkdir -p pat folder/deep own/deep; for f in $FILES; do echo 1 > $f; done\n")
    pit.run("run", "p/a", FILES=" ".join(made)).ok()
    for place in ("pat/mine.csv", "pat/b.csv", "folder/mine", "file.txt"):
        pit.file(place, "mine")
    stays = {
        "pat/mine.csv": "a did not make it",
        "pat/b.csv": "it was changed after it was made",
        "folder/mine": "a did not make it",
        "file.txt": "it was changed after it was made",
    }
    dry = pit.run("clean", "p", "--dry-run", "--json").ok().json
    assert {task["task"]: task["kept"] for task in dry["tasks"]} == {
        "a": stays,
        "never": {"notes.md": "never did not make it"},
    }
    done = pit.run("clean", "p", "--yes").ok()
    assert done.out.startswith("removed 3 targets, 6 B")
    for place in (*stays, "notes.md"):
        assert f"{place} of p/" in done.err
        assert (pit.folder / place).exists()
    for gone in ("pat/a.csv", "folder/deep", "own"):
        assert not (pit.folder / gone).exists()
    pit.run("clean", "p", "--yes", "--unrecorded").ok()
    for place in (*stays, "notes.md", "folder"):
        assert not (pit.folder / place).exists()


def test_cleaning_drops_every_record_that_promises_what_went(pit: Pit) -> None:
    pit.project("p").toml(
        '[dag.params]\nday = { type = "string", default = "a" }\n'
        '[[tasks]]\nname = "one"\nscript = "t.sh"\ninputs = []\ntargets = ["one.txt"]\n'
        '[[tasks]]\nname = "each"\nscript = "t.sh"\ninputs = []\ntargets = ["{day}.txt"]\n'
    )
    pit.file("t.sh", 'echo $PIT_PARAM_DAY > "${PIT_TASK_NAME/each/$PIT_PARAM_DAY}.txt"\n')
    for day in ("a", "b", "c"):
        pit.run("run", "p", "-p", f"day={day}").ok()
    done = pit.run("clean", "p", "--yes", "-p", "day=b", "--json").ok().json
    assert done["forgotten"] == 4  # three of `one`, and that of `each` for b
    assert sorted(path.name for path in pit.folder.glob("*.txt")) == ["a.txt", "c.txt"]
    assert "forgotten" in pit.run("forget", "p/each", "-p", "day=a").ok().out
    assert pit.run("forget", "p/one", "--all-params").ok().out == "nothing was on record\n"
