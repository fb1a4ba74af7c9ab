"""What no record explains is not Pit's to delete: folders and patterns as targets, and what else
stands there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builder import Pit
from tests.engine.run.test_run import wait_for
from tests.engine.staleness.test_incremental import ran
from tests.histories import as_before

TOML = """
[[tasks]]
name = "make"
script = "make.sh"
inputs = ["in.txt"]
targets = ["also.txt", "{target}"]
"""
MAKE = (
    "mkdir -p out; for n in $(cat in.txt); do echo $n > out/$n.csv; done; cat in.txt > also.txt\n"
)


def maker(pit: Pit, target: str = "out/", script: str = MAKE) -> Pit:
    """A task that makes `also.txt` and a file in `out/` for each word of `in.txt`."""
    return (
        pit.project("m")
        .toml(TOML.format(target=target))
        .file("make.sh", script)
        .file("in.txt", "a b\n")
    )


def tree(folder: Path) -> dict[str, str]:
    """What a folder holds, by name: the text of files, where links lead, a word for the rest."""
    return {
        str(path.relative_to(folder)): (
            f"-> {os.readlink(path)}"
            if path.is_symlink()
            else path.read_text()
            if path.is_file()
            else "special"
        )
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    }


def refused(pit: Pit, *names: str) -> None:
    """A run fails for these strangers, and changes nothing in the project."""
    before = tree(pit.folder)
    done = pit.run("run", "m").fails(1, "target_occupied", "nothing was published", *names)
    assert "pit clean m/make --unrecorded" in done.out
    assert tree(pit.folder) == before


# ---------------------------------------------------------------- what is refused

STRANGERS: dict[str, Callable[[Pit], object]] = {
    "out/README": lambda pit: pit.file("out/README", "mine"),
    "out/deep/er/notes.txt": lambda pit: pit.file("out/deep/er/notes.txt", "mine"),
    "out/.hidden": lambda pit: pit.file("out/.hidden", "mine"),
    "out/.git/HEAD": lambda pit: pit.file("out/.git/HEAD", "ref: refs/heads/main"),
    "out/db.sqlite": lambda pit: pit.file("out/db.sqlite", "mine"),
    "out/a.csv": lambda pit: pit.file("out/a.csv", "made by hand, and not the same"),
    "out/link": lambda pit: (pit.file("out/x", "").folder / "out/link").symlink_to("../in.txt"),
    "out/pipe": lambda pit: os.mkfifo(pit.file("out/a.csv", "a\n").folder / "out/pipe"),
    "out ": lambda pit: pit.file("out", "a file where the folder goes"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_strangers_file_ends_the_first_run_and_nothing_is_touched(pit: Pit, name: str) -> None:
    STRANGERS[name](maker(pit))
    refused(pit, name)
    assert not (pit.folder / "also.txt").exists()


def test_a_strangers_file_in_what_it_has_made_ends_the_next_attempt(pit: Pit) -> None:
    maker(pit).run("run", "m").ok()
    for number in range(5):
        pit.file(f"out/note{number}", "mine")
    pit.file("in.txt", "c\n")
    refused(pit, "out/note0, out/note1, out/note2 and 2 more stand")
    refused(pit, "out/note0")  # its record is dead by now, and what it made is still its own
    for number in range(5):
        (pit.folder / f"out/note{number}").unlink()
    assert ran(pit) == {"make"}
    assert tree(pit.folder / "out") == {"c.csv": "c\n"}
    assert ran(pit) == set()


def test_what_was_edited_is_kept_if_it_would_be_deleted(pit: Pit) -> None:
    maker(pit).run("run", "m").ok()
    pit.file("out/b.csv", "edited by hand").file("in.txt", "a\n")
    refused(pit, "out/b.csv")


def test_a_pattern_takes_no_strangers_file(pit: Pit) -> None:
    maker(pit, "out/*.csv").file("out/b.csv", "mine").file("out/c.csv", "mine too")
    refused(pit, "out/b.csv")
    (pit.folder / "out/b.csv").unlink()
    assert ran(pit) == {"make"}
    assert tree(pit.folder / "out") == {"a.csv": "a\n", "b.csv": "b\n", "c.csv": "mine too"}


def test_a_folder_that_a_pattern_matches_is_looked_into(pit: Pit) -> None:
    maker(pit, "out/*", "mkdir -p out/x; echo 1 > out/x/1; echo > also.txt\n")
    pit.file("out/x/mine", "mine")
    refused(pit, "out/x/mine")


# ---------------------------------------------------------------- what is explained


def test_what_is_no_loss_stands_in_nobodys_way(pit: Pit) -> None:
    maker(pit).file("out/a.csv", "a\n").file("out/__pycache__/x.cpython-311.pyc", b"\x00")
    (pit.folder / "out/empty/folders").mkdir(parents=True)
    assert ran(pit) == {"make"}
    assert tree(pit.folder / "out") == {"a.csv": "a\n", "b.csv": "b\n"}


def test_placeholders_stay_in_their_folder_and_make_nothing_stale(pit: Pit) -> None:
    maker(pit, script=f"{MAKE}mkdir out/none\n")
    pit.toml(
        f'{TOML.format(target="out/")}\n[[tasks]]\nname = "use"\nscript = "use.sh"\n'
        'inputs = ["out"]\ntargets = ["used.txt"]\n'
    ).file("use.sh", "ls -A out > used.txt\n")
    for place in ("out/.gitkeep", "out/deep/.gitignore", "out/none/.gitkeep"):
        pit.file(place, "kept")
    assert ran(pit) == {"make", "use"}
    assert ran(pit) == set()
    pit.file("in.txt", "c\n")
    assert ran(pit) == {"make", "use"}
    assert ran(pit) == set()
    assert tree(pit.folder / "out") == {
        ".gitkeep": "kept",
        "c.csv": "c\n",
        "deep/.gitignore": "kept",
        "none/.gitkeep": "kept",
    }
    assert (pit.folder / "used.txt").read_text() == "c.csv\nnone\n"


def test_what_an_edit_by_hand_did_to_a_product_is_made_again(pit: Pit) -> None:
    maker(pit).run("run", "m").ok()
    pit.file("out/a.csv", "edited by hand")
    assert ran(pit) == {"make"}
    assert (pit.folder / "out/a.csv").read_text() == "a\n"


@pytest.mark.parametrize("target", ["out/", "out/*.csv"])
@pytest.mark.parametrize("lost", ["failed", "forgotten", "untracked"])
def test_a_record_that_is_gone_makes_no_stranger_of_what_was_made(
    pit: Pit, lost: str, target: str
) -> None:
    maker(pit, target)
    if lost == "untracked":
        pit.toml(TOML.format(target=target).replace('inputs = ["in.txt"]\n', ""))
    pit.run("run", "m").ok()
    if lost == "failed":
        pit.file("make.sh", "exit 1\n").run("run", "m").fails(1)
        pit.run("run", "m").fails(1)
    elif lost == "forgotten":
        pit.run("forget", "m").ok()
    pit.file("make.sh", MAKE).file("in.txt", "b c\n").run("run", "m").ok()
    assert tree(pit.folder / "out") == {"b.csv": "b\n", "c.csv": "c\n"}


def test_what_another_value_of_a_parameter_made_is_the_tasks_own(pit: Pit) -> None:
    pit.project("m").toml(
        '[dag.params]\nday = { type = "string", default = "mon" }\n'
        '[[tasks]]\nname = "make"\nscript = "make.sh"\ninputs = []\ntargets = ["out"]\n'
    ).file("make.sh", "mkdir -p out; echo $PIT_PARAM_DAY > out/$PIT_PARAM_DAY\n")
    for day in ("mon", "tue", "mon"):
        pit.run("run", "m", "-p", f"day={day}").ok()
        assert tree(pit.folder / "out") == {day: f"{day}\n"}


def test_what_a_task_under_another_name_made_is_taken_over(pit: Pit) -> None:
    maker(pit).run("run", "m").ok()
    pit.toml(TOML.format(target="out/").replace('"make"', '"build"')).file("in.txt", "c\n")
    pit.run("run", "m").ok()
    assert tree(pit.folder / "out") == {"c.csv": "c\n"}


def test_instances_that_become_one_task_and_share_a_folder(pit: Pit) -> None:
    each = (
        '[[tasks]]\nname = "make"\nscript = "each.sh"\ninputs = []\ntargets = ["out/{k}"]\n'
        '[tasks.matrix]\nk = ["x", "y"]\n'
    )
    pit.project("m").toml(each)
    pit.file("each.sh", "mkdir -p out/$PIT_MATRIX_K; echo 1 > out/$PIT_MATRIX_K/f\n")
    assert ran(pit) == {"make:x", "make:y"}
    pit.toml(each.replace('"x", "y"', '"y", "z"'))
    assert ran(pit) == {"make:z"}
    pit.file("out/x/mine", "")
    pit.toml('[[tasks]]\nname = "make"\nscript = "all.sh"\ninputs = []\ntargets = ["out"]\n')
    pit.file("all.sh", "mkdir -p out; echo 2 > out/all\n")
    refused(pit, "out/x/mine")
    (pit.folder / "out/x/mine").unlink()
    assert ran(pit) == {"make"}
    assert tree(pit.folder / "out") == {"all": "2\n"}


def test_what_was_accepted_is_the_tasks_own(pit: Pit) -> None:
    maker(pit).file("out/by-hand", "mine").file("also.txt", "")
    pit.run("accept", "m/make", "-m", "made by hand").ok()
    pit.file("in.txt", "c\n")
    assert ran(pit) == {"make"}
    assert tree(pit.folder / "out") == {"c.csv": "c\n"}


@pytest.mark.parametrize("inputs", ["", 'inputs = ["in.txt"]\n'])
def test_what_an_older_release_made_is_known_by_its_record_or_its_run(
    pit: Pit, inputs: str
) -> None:
    maker(pit).toml(TOML.format(target="out/").replace('inputs = ["in.txt"]\n', inputs))
    pit.run("run", "m").ok()
    as_before(pit.root / "pit_metadata.db")
    pit.file("in.txt", "c\n").file("make.sh", f"{MAKE}exit $(cat fails)\n").file("fails", "1")
    pit.run("run", "m").fails(1)
    pit.file("fails", "0").run("run", "m").ok()
    assert tree(pit.folder / "out") == {"c.csv": "c\n"}


# ---------------------------------------------------------------- links, and what is gone


@pytest.mark.parametrize("target", ["far/", "far/x/", "far/*.csv", "near/link/", "link.csv"])
def test_no_link_leads_a_target_out_of_the_project(pit: Pit, target: str) -> None:
    pit.file("far/other.txt", "precious").file("far/link.csv", "precious")
    pit.project("m").file("t.sh", "exit 1\n").file("near/x", "")
    pit.toml(f'[[tasks]]\nname = "t"\nscript = "t.sh"\ninputs = []\ntargets = ["{target}"]\n')
    (pit.folder / "far").symlink_to(pit.root / "far")
    (pit.folder / "near/link").symlink_to("../far")
    (pit.folder / "link.csv").symlink_to("../../far/link.csv")
    for call in (("validate",), ("run", "m")):
        done = pit.run(*call)
        assert done.code != 0
        assert "pit.toml:5:12" in done.err
        assert "is a link that leads out of the project" in done.err
    assert tree(pit.root / "far") == {"link.csv": "precious", "other.txt": "precious"}


def test_a_link_that_comes_during_the_run_leads_nothing_out(pit: Pit) -> None:
    pit.file("far/other.txt", "precious")
    maker(pit, script=f'ln -s "$PIT_WORKSPACE/far" "$PIT_WORKSPACE/projects/m/out"\n{MAKE}')
    pit.run("run", "m").fails(1, "target_occupied", "out is a link that leads out of the project")
    assert tree(pit.root / "far") == {"other.txt": "precious"}
    assert not (pit.folder / "also.txt").exists()


def test_a_link_inside_the_project_is_followed_and_what_stands_there_is_kept(pit: Pit) -> None:
    maker(pit).file("real/mine", "mine")
    (pit.folder / "out").symlink_to("real")
    refused(pit, "out/mine")
    (pit.folder / "real/mine").unlink()
    assert ran(pit) == {"make"}
    assert tree(pit.folder / "real") == {"a.csv": "a\n", "b.csv": "b\n"}
    assert ran(pit) == set()


@pytest.mark.parametrize(("link", "aim"), [("out", "."), ("out", "tasks"), ("also.txt", "make.sh")])
def test_no_link_makes_a_target_of_what_the_dag_is_made_of(pit: Pit, link: str, aim: str) -> None:
    maker(pit).file("tasks/other.sh", "true\n")
    (pit.folder / link).symlink_to(aim)
    before = tree(pit.folder)
    pit.run("run", "m").fails(1)
    assert tree(pit.folder) == before


def test_a_project_that_is_deleted_during_its_run_is_not_made_again(pit: Pit) -> None:
    maker(
        pit,
        script=f"touch $PIT_WORKSPACE/began; while [ -e $PIT_WORKSPACE/began ]; do :; done\n{MAKE}",
    )
    run = pit.start("run", "m")
    wait_for((pit.root / "began").exists)
    shutil.rmtree(pit.folder)
    (pit.root / "began").unlink()
    out, _ = run.communicate()
    assert run.returncode == 1
    assert b"the project's folder is gone" in out
    assert not pit.folder.exists()


# ---------------------------------------------------------------- one inode, one place


def test_a_task_cannot_change_what_another_has_published(pit: Pit) -> None:
    pit.project("m").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = []\ntargets = ["big.bin", "small.bin"]\n'
        '[[tasks]]\nname = "b"\nscript = "b.sh"\ninputs = ["big.bin", "small.bin"]\n'
    )
    pit.file("a.sh", "echo 1 > small.bin; truncate -s 70M big.bin; echo 1 >> big.bin\n")
    pit.file("b.sh", "for f in *.bin; do echo hacked >> $f; done; exit 1\n")
    for _ in range(3):
        pit.run("run", "m").fails(1, "b")
        assert (pit.folder / "big.bin").stat().st_size == 70 * 2**20 + 2
        assert (pit.folder / "small.bin").read_text() == "1\n"
