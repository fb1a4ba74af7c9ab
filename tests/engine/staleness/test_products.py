"""What tasks have made, where that is unusual: odd names, odd places, several runs at once."""

from __future__ import annotations

import os
import sqlite3
import sys
import time

import pytest

from tests.builder import Pit
from tests.engine.run.test_run import wait_for
from tests.engine.staleness.test_incremental import ran

MAKE_AND_USE = """
[[tasks]]
name = "make"
script = "make.sh"
inputs = ["in.txt"]
targets = ["{target}"]
[[tasks]]
name = "use"
script = "use.sh"
inputs = ["{target}", "more.txt"]
targets = ["result.txt"]
"""


@pytest.fixture
def two(pit: Pit) -> Pit:
    """A project whose pit.toml and scripts the test writes."""
    return pit.project("m").file("in.txt", "1\n").file("more.txt", "1\n")


def test_a_folder_with_empty_folders_links_and_odd_names_is_current(two: Pit) -> None:
    two.toml(MAKE_AND_USE.format(target="out/"))
    two.file("make.sh", "mkdir -p out/empty; cp in.txt $'out/a\\xe9'; ln -s empty out/link\n")
    two.file("use.sh", "find out | sort > result.txt; cat out/a* >> result.txt\n")
    assert ran(two) == {"make", "use"}
    made = (two.folder / "result.txt").read_bytes()
    assert ran(two) == set()
    two.file("more.txt", "2\n")
    assert ran(two) == {"use"}
    assert (two.folder / "result.txt").read_bytes() == made


def test_an_extra_file_in_a_folder_target_makes_it_stale_and_is_kept(two: Pit) -> None:
    two.toml(MAKE_AND_USE.format(target="out/"))
    two.file("make.sh", "mkdir -p out; cp in.txt out/a\n").file("use.sh", "ls out > result.txt\n")
    two.run("run", "m").ok()
    two.file("out/extra", "")
    two.run("run", "m").fails(1, "target_occupied: out/extra stands", "pit clean m/make")
    assert sorted(os.listdir(two.folder / "out")) == ["a", "extra"]
    (two.folder / "out/extra").unlink()
    assert ran(two) == {"make"}


def test_what_a_pattern_target_no_longer_matches_goes(two: Pit) -> None:
    two.toml(MAKE_AND_USE.format(target="out/*.csv"))
    two.file("make.sh", "for n in $(cat in.txt); do echo > out/$n.csv; done\n")
    two.file("use.sh", "ls out > result.txt\n").file("in.txt", "1 2 3\n")
    two.run("run", "m").ok()
    two.file("out/mine.csv", "").file("out/3.csv", "edited by hand")
    two.file("in.txt", "1\n")
    assert ran(two) == {"make", "use"}
    assert sorted(os.listdir(two.folder / "out")) == ["1.csv", "3.csv", "mine.csv"]
    assert (two.folder / "result.txt").read_text() == "1.csv\n"


@pytest.mark.parametrize("target", ["x", "x/", "*"])
def test_a_target_in_the_workspace_that_was_there_before_is_not_made(two: Pit, target: str) -> None:
    two.toml(MAKE_AND_USE.format(target=f"{{workspace}}/shared/{target}"))
    old = two.root / "shared" / ("x/deep" if target == "x/" else "x")
    old.parent.mkdir(parents=True)
    old.write_text("from last year")
    shared = '"$PIT_WORKSPACE/shared"'
    two.file("make.sh", "true\n").file("use.sh", f"ls {shared} > result.txt\n")
    two.run("run", "m").fails(1, "missing_target: ended well but did not write", "from before")
    for writes in ("touch x/deep x/deep/deep 2>/dev/null; touch -c x", 'cp -p "$OLDPWD/in.txt" y'):
        if target == "x" and writes.endswith("y"):
            continue
        two.file("make.sh", f"cd {shared}; {writes}; [ -d x ] && touch x/new; true\n")
        two.run("run", "m").ok()
    two.file("make.sh", "true # again\n")
    two.run("run", "m").fails(1, "missing_target")


def test_a_target_in_the_workspace_is_no_changed_input(two: Pit) -> None:
    two.toml(MAKE_AND_USE.format(target="{workspace}/shared/x"))
    two.file("make.sh", 'mkdir -p "$PIT_WORKSPACE/shared"; cp in.txt "$PIT_WORKSPACE/shared/x"\n')
    two.file("use.sh", 'cp "$PIT_WORKSPACE/shared/x" result.txt\n')
    assert ran(two) == {"make", "use"}
    assert ran(two) == set()


def test_a_task_alone_gets_what_no_snapshot_takes(two: Pit) -> None:
    two.toml(MAKE_AND_USE.format(target="out/"))
    two.file("make.sh", "mkdir -p out; cp in.txt out/x.duckdb; cp in.txt out/y.pyc\n")
    two.file("use.sh", "ls out > result.txt\n")
    two.run("run", "m").ok()
    two.file("more.txt", "2\n")
    assert ran(two, "m/use") == {"use"}
    assert (two.folder / "result.txt").read_text() == "x.duckdb\ny.pyc\n"


def test_a_run_goes_on_with_what_a_newer_run_has_replaced(two: Pit) -> None:
    slow = '[[tasks]]\nname = "slow"\nscript = "slow.sh"\ninputs = ["slow.txt"]\n'
    toml = MAKE_AND_USE.format(target="out/a")
    two.toml(slow + toml.replace('name = "use"', 'name = "use"\ndepends_on = ["slow"]'))
    two.file("make.sh", "cp in.txt out/a\n").file("use.sh", "cat out/a more.txt > result.txt\n")
    two.file("slow.sh", 'touch "$PIT_WORKSPACE/begun"; cat slow.txt; . ./slow.txt\n')
    two.file("slow.txt", ":\n")
    two.run("run", "m").ok()
    (two.root / "begun").unlink()
    two.file("slow.txt", 'until [ -e "$PIT_WORKSPACE/go" ]; do sleep 0.05; done\n')
    older = two.start("run", "m")
    wait_for(lambda: (two.root / "begun").exists())
    two.file("in.txt", "2\n")
    assert ran(two, "m/make") == {"make"}
    (two.root / "go").touch()
    assert older.wait(60) == 0
    older.communicate()
    assert (two.folder / "result.txt").read_text() == "1\n1\n"
    assert ran(two) == {"use"}
    assert (two.folder / "result.txt").read_text() == "2\n1\n"


def test_nothing_to_do_is_not_said_when_a_linked_folder_has_a_new_file(two: Pit) -> None:
    outside = two.root / "outside"
    outside.mkdir()
    (outside / "1.csv").touch()
    (two.folder / "data").symlink_to(outside)
    task = '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = ["data/*.csv"]\ntargets = ["out"]\n'
    two.toml(task).file("a.sh", "ls data > out\n")
    two.run("run", "m").ok()
    time.sleep(0.2)  # until files are old enough for a stamp
    assert ran(two) == set()
    (outside / "2.csv").touch()
    assert ran(two) == {"a"}


@pytest.mark.parametrize("named", ["node_modules/lib", "node_modules/lib/*.js", ".git/hooks"])
def test_nothing_to_do_is_not_said_when_a_folder_that_is_left_out_has_a_new_file(
    two: Pit, named: str
) -> None:
    folder = two.folder / named.removesuffix("/*.js")
    folder.mkdir(parents=True)
    (folder / "1.js").touch()
    two.toml(f'[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = ["{named}"]\n')
    two.file("a.sh", "true\n").run("run", "m").ok()
    time.sleep(0.2)  # until files are old enough for a stamp
    assert [ran(two), ran(two)] == [set(), set()]
    assert list((two.root / ".pit/stamps").iterdir())
    (folder / "2.js").touch()
    assert ran(two) == {"a"}


def test_two_edits_of_a_comment_in_a_row_make_nothing_stale(two: Pit) -> None:
    toml = '[[tasks]]\nname = "a"\nscript = "a.py"\ninputs = []\n[[tasks]]\nname = "b"\n'
    two.toml(f'{toml}script = "b.sh"\n').file("b.sh", ":\n").file("a.py", "print(1)\n")
    assert ran(two) == {"a", "b"}
    for number in range(3):
        two.file("a.py", f"# {number}\nprint(1)\n")
        assert ran(two) == {"b"}
    two.file("a.py", "print(2)\n")
    assert ran(two) == {"a", "b"}


DATABASE = """
import os, sqlite3, sys
c = sqlite3.connect("out/x.db")
c.execute("pragma journal_mode = wal")
c.execute("create table t (a)")
c.execute("insert into t values (1)")
c.commit()
if sys.argv[1] == "close":
    c.close()
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.parametrize("target", ["out/x.db", "out/*.db", "out/*"])
def test_a_database_whose_last_rows_are_in_its_journal_is_not_published(
    two: Pit, target: str
) -> None:
    two.toml(f'[[tasks]]\nname = "make"\nscript = "make.sh"\ninputs = []\ntargets = ["{target}"]')
    two.file("db.py", DATABASE).file("make.sh", f"exec {sys.executable} db.py leave")
    failed = two.run("run", "m").fails(1)
    assert (
        "ended well but left out/x.db unfinished: its last rows are in out/x.db-wal; "
        "close the database before the task ends" in failed.out
    )
    assert not (two.folder / "out").exists()
    two.file("make.sh", f"exec {sys.executable} db.py close")
    assert ran(two) == {"make"}
    rows = sqlite3.connect(two.folder / "out/x.db").execute("select * from t").fetchall()
    assert rows == [(1,)]


def test_a_database_in_a_folder_is_published_with_its_journal(two: Pit) -> None:
    two.toml('[[tasks]]\nname = "make"\nscript = "make.sh"\ninputs = []\ntargets = ["out/"]')
    two.file("db.py", DATABASE).file("make.sh", f"mkdir out; exec {sys.executable} db.py leave")
    assert ran(two) == {"make"}
    assert ran(two) == set()
    assert (two.folder / "out/x.db-wal").stat().st_size > 0
