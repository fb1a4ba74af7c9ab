"""A snapshot made of an earlier one is what a copy would be, whatever tasks have done to that."""

from __future__ import annotations

import mmap
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pit.errors import DiskFull, SnapshotFailed
from pit.fs.files import remove_tree
from pit.project import manifest
from pit.project.manifest import Copied
from pit.project.snapshot import snapshot
from pit.project.snapshot.base import Base, Unfit
from pit.project.snapshot.snapshot import Snapshot
from pit.project.trees import Rules
from pit.state import bases, trash
from pit.state.bases import Ended
from tests.project.snapshot.alike import SOON, unlike

Deed = Callable[["Place"], object]


class Place:
    """A project, what lies beyond it, and its snapshots, each made of the one before."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project, self.beyond = root / "projects" / "sales", root / "beyond"
        self.runs = root / "runs"
        self.number = 0
        self.inputs: tuple[str, ...] = ()
        self.excluded: tuple[str, ...] = ()
        self.began = 0
        self.looks = 0
        self.file("pit.toml")
        self.file("tasks/load.py", "print(1)\n")
        self.file("tasks/other.py", "print(2)\n").chmod(0o755)
        self.file("tasks/deep/er/x.txt", "x\n")
        self.file("tasks/deep/er/y.txt", "y\n")
        self.file("data/a.csv", "a\n")
        self.file("data/b.csv", "b\n")
        self.file("data/empty.csv", "")
        (self.project / "void").mkdir()
        self.link("latest", "data/a.csv")
        self.link("deep", "tasks/deep")
        self.beyond.mkdir()
        (self.beyond / "file").write_text("beyond\n")
        (self.beyond / "folder/inner").mkdir(parents=True)
        (self.beyond / "folder/inner/z").write_text("z\n")
        self.link("outer", self.beyond / "file")
        self.link("outer folder", self.beyond / "folder")

    @property
    def run(self) -> Path:
        """The folder of the run whose snapshot was taken last."""
        return self.runs / str(self.number)

    @property
    def copy(self) -> Path:
        """Its snapshot."""
        return self.run / "project"

    def file(self, place: str, text: str = "x\n") -> Path:
        path = self.project / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def link(self, place: str, aim: str | Path) -> Path:
        path = self.project / place
        path.symlink_to(aim)
        return path

    def rules(self) -> Rules:
        return Rules(self.project, [self.project / each for each in self.excluded])

    def take(self, **more: Any) -> Snapshot:
        """The snapshot of a run: of the base that there is, if there is one that is fit."""
        self.number += 1
        self.run.mkdir(parents=True)
        self.copy.mkdir(mode=0o700)
        empty = os.lstat(self.copy)
        ended = bases.claim(self.runs, "sales", self.copy)
        base = None
        if ended is not None:
            left = manifest.read(self.copy / bases.MANIFEST)
            assert left is not None
            base = Base(left, ended.began, empty, lambda path: trash.set_aside(path, self.runs))
        self.looks = 0
        self.taken = self._taken(self.copy, base, **more)
        assert self.taken.manifest is not None
        manifest.write(self.taken.manifest, self.run / "manifest")
        self.began = time.time_ns()
        return self.taken

    def _taken(self, into: Path, base: Base | None = None, **more: Any) -> Snapshot:
        return snapshot.take(
            self.project, into, self.inputs, self.root, self.rules(), self._look, base, **more
        )

    def _look(self) -> None:
        self.looks += 1

    def settle(self) -> None:
        """Tasks begin so late that whatever they change bears another time."""
        time.sleep(SOON / 1e9)
        self.began = time.time_ns()

    def end(self) -> None:
        """The run has ended, and nobody needs its project any more."""
        bases.tell_end(self.run, Ended(boot="b", began=self.began))
        assert bases.offer(self.run, "sales")

    def next(self, deed: Deed = lambda _: None, change: Deed = lambda _: None) -> Snapshot:
        """A task's deed in the snapshot, a change of the project, and the next snapshot."""
        self.settle()
        deed(self)
        self.end()
        change(self)
        return self.take()

    def check(self) -> None:
        """The snapshot is what a copy would be, and shares no inode with anything."""
        plain = self.root / "plain"
        again = self._taken(plain)
        assert not unlike(self.copy, plain, self.taken, again)
        remove_tree(plain)

    def inodes(self) -> dict[str, tuple[int, int]]:
        """The files of the snapshot, with what tells them from others at the same place."""
        return {
            str(path.relative_to(self.copy)): (path.lstat().st_ino, path.lstat().st_ctime_ns)
            for path in self.copy.rglob("*")
            if path.is_file() and not path.is_symlink()
        }


@pytest.fixture(autouse=True)
def _short_youth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pit.fs.stat.YOUNG", SOON)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    made.settle()
    made.take()
    yield made
    remove_tree(tmp_path)


def quietly(path: Path, text: str) -> None:
    """Other bytes, in place, under the same modification time."""
    times = path.stat()
    with path.open("r+") as file:
        file.write(text)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def mapped(path: Path) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0] = ord("Z")
    quietly(path, "Z")


def swap(one: Path, other: Path) -> None:
    third = one.with_name("third")
    one.rename(third)
    other.rename(one)
    third.rename(other)


def instead(path: Path, make: Callable[[Path], object]) -> None:
    remove_tree(path)
    make(path)


# ---------------------------------------------------------------- what tasks do

DEEDS: dict[str, Deed] = {
    "writes in place and puts the time back": lambda p: quietly(p.copy / "data/a.csv", "b"),
    "writes through memory and puts the time back": lambda p: mapped(p.copy / "data/a.csv"),
    "appends": lambda p: append(p.copy / "data/a.csv", "more"),
    "fills an empty file": lambda p: (p.copy / "data/empty.csv").write_text("x"),
    "changes the time of a file": lambda p: os.utime(p.copy / "data/a.csv", (1, 1)),
    "changes permissions": lambda p: (p.copy / "tasks/load.py").chmod(0o000),
    "changes permissions and back": lambda p: (
        [(p.copy / "tasks/load.py").chmod(mode) for mode in (0o777, 0o644)]
    ),
    "closes a folder": lambda p: (p.copy / "tasks").chmod(0o500),
    "closes a folder entirely": lambda p: (p.copy / "tasks/deep").chmod(0o000),
    "closes the snapshot": lambda p: p.copy.chmod(0o000),
    "changes the time of a folder": lambda p: os.utime(p.copy / "data", (1, 1)),
    "renames a file": lambda p: (p.copy / "data/a.csv").rename(p.copy / "data/c.csv"),
    "renames a file over another": lambda p: (p.copy / "data/a.csv").rename(p.copy / "data/b.csv"),
    "swaps two files": lambda p: swap(p.copy / "data/a.csv", p.copy / "data/b.csv"),
    "renames a folder": lambda p: (p.copy / "tasks").rename(p.copy / "work"),
    "swaps two folders": lambda p: swap(p.copy / "tasks", p.copy / "data"),
    "removes a file": lambda p: (p.copy / "data/a.csv").unlink(),
    "removes a folder": lambda p: shutil.rmtree(p.copy / "tasks"),
    "removes an empty folder": lambda p: (p.copy / "void").rmdir(),
    "removes everything": lambda p: [remove_tree(each) for each in p.copy.iterdir()],
    "links a file to elsewhere": lambda p: os.link(p.copy / "data/a.csv", p.root / "elsewhere"),
    "links a file within": lambda p: os.link(p.copy / "data/a.csv", p.copy / "data/again.csv"),
    "links a file of elsewhere in": lambda p: instead(
        p.copy / "data/a.csv", lambda at: os.link(p.beyond / "file", at)
    ),
    "links a live file in": lambda p: instead(
        p.copy / "data/a.csv", lambda at: os.link(p.project / "data/a.csv", at)
    ),
    "links over a link": lambda p: os.link(
        p.copy / "latest", p.root / "elsewhere", follow_symlinks=False
    ),
    "makes a link of a file": lambda p: instead(
        p.copy / "data/a.csv", lambda at: at.symlink_to(p.project / "data/a.csv")
    ),
    "makes a link of a folder": lambda p: instead(
        p.copy / "tasks", lambda at: at.symlink_to(p.project / "tasks")
    ),
    "leads a link elsewhere": lambda p: instead(
        p.copy / "latest", lambda at: at.symlink_to("data/b.csv")
    ),
    "makes a file of a link": lambda p: instead(p.copy / "latest", lambda at: at.write_text("x")),
    "makes a folder of a link": lambda p: instead(p.copy / "latest", lambda at: at.mkdir()),
    "makes a link of a copied folder": lambda p: instead(
        p.copy / "outer folder", lambda at: at.symlink_to(p.beyond / "folder")
    ),
    "writes into what a link led to": lambda p: quietly(p.copy / "outer", "B"),
    "writes into a folder that a link led to": lambda p: quietly(
        p.copy / "outer folder/inner/z", "Z"
    ),
    "makes a file of a folder": lambda p: instead(p.copy / "tasks", lambda at: at.write_text("x")),
    "makes a folder of a file": lambda p: instead(
        p.copy / "data/a.csv", lambda at: (at / "in/ner").mkdir(parents=True)
    ),
    "makes files": lambda p: (
        [(p.copy / name).write_text("strange") for name in ("new", "data/new", ".pit-new", "x.db")]
    ),
    "makes folders": lambda p: (p.copy / "tasks/__pycache__/deep/er").mkdir(parents=True),
    "makes closed folders": lambda p: (p.copy / "closed").mkdir(0o000),
    "makes a FIFO": lambda p: os.mkfifo(p.copy / "data/pipe"),
    "makes a FIFO of a file": lambda p: instead(p.copy / "data/a.csv", os.mkfifo),
    "makes a large file": lambda p: (p.copy / "large").write_bytes(b"x" * (2 << 20)),
    "copies a file over itself": lambda p: (
        (
            shutil.copy2(p.copy / "data/a.csv", p.root / "aside"),
            os.replace(p.root / "aside", p.copy / "data/a.csv"),
        )
    ),
}


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_what_a_task_has_done_to_its_snapshot_is_not_in_the_next_one(
    place: Place, deed: Deed
) -> None:
    place.next(deed)
    place.check()
    place.next()
    place.check()


def test_what_nothing_was_done_to_stays_as_it_is(place: Place) -> None:
    before = place.inodes()
    place.next(DEEDS["appends"])
    after = place.inodes()
    assert {name for name in before if before[name] != after[name]} == {"data/a.csv"}


def test_a_task_that_has_linked_a_file_out_of_its_snapshot_reaches_no_later_one(
    place: Place,
) -> None:
    place.next(DEEDS["links a file to elsewhere"])
    (place.root / "elsewhere").write_text("changed")
    assert (place.copy / "data/a.csv").read_text() == "a\n"


def test_a_task_that_keeps_a_file_open_reaches_no_later_snapshot(place: Place) -> None:
    with (place.copy / "data/a.csv").open("a") as file:
        place.next(lambda _: (file.write("b"), file.flush()))
        file.write("c")
        file.flush()
        place.check()


def test_what_links_lead_to_from_a_snapshot_is_never_touched(place: Place) -> None:
    def deed(place: Place) -> None:
        precious = place.root / "precious"
        precious.mkdir()
        (precious / "file").write_text("1")
        instead(place.copy / "tasks/deep", lambda at: at.symlink_to(precious))
        (place.copy / "new").symlink_to(precious)
        (place.copy / "data/more").symlink_to(precious / "file")

    place.next(deed)
    place.check()
    assert [each.name for each in (place.root / "precious").iterdir()] == ["file"]


# ---------------------------------------------------------------- what people do

CHANGES: dict[str, Deed] = {
    "edits a file": lambda p: p.file("data/a.csv", "edited\n"),
    "edits a file and puts the time back": lambda p: quietly(p.project / "data/a.csv", "b"),
    "removes a file": lambda p: (p.project / "data/a.csv").unlink(),
    "removes a folder": lambda p: shutil.rmtree(p.project / "tasks"),
    "removes an empty folder": lambda p: (p.project / "void").rmdir(),
    "makes a file": lambda p: p.file("data/new.csv"),
    "makes an empty folder": lambda p: (p.project / "more/void").mkdir(parents=True),
    "makes a file executable": lambda p: (p.project / "tasks/load.py").chmod(0o755),
    "changes the time of a file": lambda p: os.utime(p.project / "data/a.csv", (1, 1)),
    "closes a folder to writing": lambda p: (p.project / "data").chmod(0o555),
    "renames a folder": lambda p: (p.project / "tasks").rename(p.project / "work"),
    "swaps two files": lambda p: swap(p.project / "data/a.csv", p.project / "data/b.csv"),
    "swaps two folders": lambda p: swap(p.project / "tasks", p.project / "data"),
    "exchanges a folder for one that looks alike": lambda p: (
        (
            shutil.copytree(p.project / "data", p.root / "data"),
            quietly(p.root / "data/a.csv", "b"),
            shutil.rmtree(p.project / "data"),
            (p.root / "data").rename(p.project / "data"),
        )
    ),
    "makes a folder of a file": lambda p: instead(
        p.project / "data/a.csv", lambda at: (at / "in/ner").mkdir(parents=True)
    ),
    "makes a file of a folder": lambda p: instead(
        p.project / "tasks", lambda at: at.write_text("x")
    ),
    "leads a link elsewhere": lambda p: instead(
        p.project / "latest", lambda at: at.symlink_to("data/b.csv")
    ),
    "leads a link to nothing": lambda p: instead(
        p.project / "latest", lambda at: at.symlink_to("nowhere")
    ),
    "leads a link out": lambda p: instead(
        p.project / "latest", lambda at: at.symlink_to(p.beyond / "file")
    ),
    "leads a link out to a folder": lambda p: instead(
        p.project / "latest", lambda at: at.symlink_to(p.beyond / "folder")
    ),
    "leads a link in": lambda p: instead(
        p.project / "outer", lambda at: at.symlink_to("data/a.csv")
    ),
    "leads a link to a folder in": lambda p: instead(
        p.project / "outer folder", lambda at: at.symlink_to("tasks")
    ),
    "edits what a link leads to": lambda p: (p.beyond / "file").write_text("edited"),
    "edits in a folder that a link leads to": lambda p: quietly(p.beyond / "folder/inner/z", "Z"),
    "removes what a link leads to": lambda p: (p.beyond / "file").unlink(),
    "makes a link of a file": lambda p: instead(
        p.project / "data/a.csv", lambda at: at.symlink_to("b.csv")
    ),
    "makes a file of a link": lambda p: instead(
        p.project / "latest", lambda at: at.write_text("x")
    ),
    "makes an environment of a folder": lambda p: p.file("tasks/pyvenv.cfg"),
    "has a folder ignored": lambda p: p.file(".pitignore", "tasks/\n"),
    "has a folder ignored that an input names": lambda p: (
        (
            p.file(".pitignore", "data/\n"),
            setattr(p, "inputs", ("data/*.csv",)),
        )
    ),
    "has another task make a file": lambda p: setattr(p, "excluded", ("data/a.csv", "tasks")),
    "has the disk of the project exchanged": lambda p: (
        (
            p.project.rename(p.root / "old"),
            shutil.copytree(p.root / "old", p.project, symlinks=True),
        )
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_done_to_the_project_is_in_the_next_snapshot(place: Place, change: Deed) -> None:
    place.next(change=change)
    place.check()
    place.next()
    place.check()


@pytest.mark.parametrize("deed", ["removes everything", "makes files", "swaps two folders"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_both_may_be_done_at_once(place: Place, change: Deed, deed: str) -> None:
    place.next(DEEDS[deed], change)
    place.check()


def test_the_base_of_another_project_is_a_bad_one_and_not_a_wrong_one(place: Place) -> None:
    other = place.root / "projects/other"
    shutil.copytree(place.project, other, symlinks=True)
    quietly(other / "data/a.csv", "b")
    place.next(change=lambda p: setattr(p, "project", other))
    place.check()
    assert (place.copy / "data/a.csv").read_text() == "b\n"


def test_links_to_inputs_are_made_anew(place: Place) -> None:
    place.file(".pitignore", "big/\n")
    place.file("big/one")
    place.inputs = ("big/*",)
    place.next()
    assert os.readlink(place.copy / "big/one") == str(place.project / "big/one")
    place.next(
        lambda p: instead(p.copy / "big/one", lambda at: at.write_text("own")),
        lambda p: p.file("big/two"),
    )
    place.check()
    assert os.readlink(place.copy / "big/one") == str(place.project / "big/one")
    place.inputs = ()
    place.next()
    place.check()
    assert not (place.copy / "big").exists()


# ---------------------------------------------------------------- times


IN_AN_INSTANT: dict[str, Callable[[Path], object]] = {
    "other bytes": lambda path: quietly(path, "b"),
    "permissions": lambda path: path.chmod(0o600),
    "attributes": lambda path: os.setxattr(path, "user.strange", b"1"),
    "a name elsewhere": lambda path: os.link(path, path.parents[3] / "elsewhere"),
}


@pytest.mark.parametrize("earlier", [0, 3_600_000_000_000], ids=["at once", "clock set back"])
@pytest.mark.parametrize("deed", IN_AN_INSTANT.values(), ids=IN_AN_INSTANT)
def test_a_copy_changed_in_the_instant_in_which_it_was_made_is_copied_anew(
    place: Place, deed: Callable[[Path], object], earlier: int
) -> None:
    before = place.inodes()
    path = place.copy / "data/a.csv"
    deed(path)
    taken = manifest.read(place.run / "manifest")
    assert taken is not None
    old = taken.files["data/a.csv"]
    # As if it had been done so soon that all five numbers are the same.
    taken.files["data/a.csv"] = Copied(
        live=old.live, copy=manifest.signature(path.stat()), settled=old.settled
    )
    manifest.write(taken, place.run / "manifest")
    place.began = time.time_ns() - earlier
    place.end()
    place.take()
    after = place.inodes()
    assert {name for name in before if before[name] != after[name]} == {"data/a.csv"}
    place.check()


def test_a_copy_that_was_compared_once_is_compared_no_more(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = place.inodes()
    place.end()  # no time has passed before tasks began
    place.take()
    assert place.inodes() == before
    place.check()
    place.settle()
    place.end()
    monkeypatch.setattr(Base, "_are_alike", None)
    place.take()
    assert place.inodes() == before


def test_a_file_edited_as_it_was_copied_is_copied_again(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.settle()
    place.take()
    for version in range(100):  # until a copy is made as soon after the edit as is meant
        place.next(change=lambda of: of.file("data/a.csv", f"version {version}"))  # noqa: B023
        taken = manifest.read(place.run / "manifest")
        assert taken is not None
        if not taken.files["data/a.csv"].settled:
            break
    else:
        pytest.fail("no copy was made soon after an edit")
    before = place.inodes()
    place.next()
    after = place.inodes()
    assert {name for name in before if before[name] != after[name]} == {"data/a.csv"}
    place.check()


# ---------------------------------------------------------------- looking twice


def test_a_project_that_has_not_changed_is_looked_at_once(place: Place) -> None:
    place.settle()
    place.next(DEEDS["makes files"])
    once = place.looks
    place.next(DEEDS["appends"])  # is copied again, of a file that has not changed
    assert place.looks == once
    place.next(change=CHANGES["edits a file"])
    assert place.looks >= 2 * once
    place.check()


@pytest.mark.parametrize("change", [*CHANGES.values()], ids=CHANGES)
def test_every_change_has_it_looked_at_twice(place: Place, change: Deed) -> None:
    taken = place.next(change=change).manifest
    assert taken is not None
    is_twice = place.looks > len(taken.folders)
    assert is_twice or change is CHANGES["closes a folder to writing"]
    place.check()


def test_a_change_while_the_base_is_brought_up_to_date_is_seen(place: Place) -> None:
    place.settle()
    place.end()
    place.file("data/b.csv", "first edit\n")
    threads: list[threading.Thread] = []

    def edit() -> None:
        place.file("pit.toml", "second edit\n")
        place.file("data/b.csv", "second edit\n")

    def look() -> None:
        place.looks += 1
        if place.looks == 3:
            threads.append(threading.Thread(target=edit))
            threads[0].start()
            threads[0].join()

    place._look = look  # type: ignore[method-assign]
    place.take()
    place.check()
    assert (place.copy / "pit.toml").read_text() == "second edit\n"


# ---------------------------------------------------------------- what is unfit


def test_a_folder_with_attributes_makes_a_base_unfit(place: Place) -> None:
    try:
        os.setxattr(place.copy / "tasks", "user.strange", b"1")
    except OSError:
        pytest.skip("this file system has no attributes")
    with pytest.raises(Unfit):
        place.next()


def test_a_folder_of_another_owner_makes_a_base_unfit(place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give folders away")
    os.chown(place.copy / "tasks", 65534, 65534)
    with pytest.raises(Unfit):
        place.next()


def test_what_cannot_be_written_makes_a_base_unfit_and_a_copy_fail(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.settle()
    (place.copy / "data/a.csv").unlink()
    place.end()

    def denied(*_: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pit.fs.copying.contents", denied)
    with pytest.raises(Unfit):
        place.take()
    with pytest.raises(SnapshotFailed):
        place.take()


def test_a_full_disk_is_one_with_a_base_as_well(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pit.fs.copying.contents", full)
    with pytest.raises(DiskFull):
        place.next(DEEDS["removes a file"])


# ---------------------------------------------------------------- at random


@settings(
    max_examples=int(os.environ.get("PIT_TEST_CASES", "0")) or 40,
    derandomize="PIT_TEST_CASES" not in os.environ,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(sorted(DEEDS)), max_size=4),
            st.lists(st.sampled_from(sorted(CHANGES)), max_size=3),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_base_becomes_what_a_copy_would_be(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[tuple[list[str], list[str]]]
) -> None:
    root = tmp_path_factory.mktemp("base")
    place = Place(root)
    place.settle()
    place.take()

    def all_of(table: dict[str, Deed], names: list[str]) -> Deed:
        def do(place: Place) -> None:
            for name in names:
                try:
                    table[name](place)
                except OSError:
                    continue  # something else was there by now

        return do

    try:
        for deeds, changes in rounds:
            place.next(all_of(DEEDS, deeds), all_of(CHANGES, changes))
            place.check()
    finally:
        remove_tree(root)


def test_the_rest_of_a_large_project_stays_whatever_is_done_to_some_of_it(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for number in range(300):
        place.file(f"many/{number % 7}/{number}", str(number))
    place.settle()
    place.take()
    before = place.inodes()
    chosen = random.Random(7).sample(range(300), 20)

    def deed(place: Place) -> None:
        for number in chosen:
            quietly(place.copy / f"many/{number % 7}/{number}", "X")

    place.next(deed)
    after = place.inodes()
    assert {name for name in before if before[name] != after[name]} == {
        f"many/{number % 7}/{number}" for number in chosen
    }
    place.check()
