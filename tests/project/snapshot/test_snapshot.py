"""The snapshot: what it takes, what it leaves, what it links, and how it fails."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pit.errors import DiskFull, SnapshotFailed
from pit.fs.files import remove_tree
from pit.project.snapshot import snapshot
from pit.project.snapshot.inputs import changed
from pit.project.snapshot.snapshot import Snapshot
from pit.project.trees import Rules


class Place:
    """A workspace with one project, and snapshots of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = root / "projects" / "sales"
        self.project.mkdir(parents=True)
        self.copy = root / "runs" / "1" / "project"
        self.copy.parent.mkdir(parents=True)

    def file(self, place: str, text: str = "x\n") -> Path:
        path = self.project / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def link(self, place: str, aim: str | Path) -> Path:
        path = self.project / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(aim)
        return path

    def take(self, *inputs: str, exclude: tuple[Path, ...] = ()) -> Snapshot:
        rules = Rules(self.project, exclude)
        return snapshot.take(self.project, self.copy, inputs, self.root, rules)

    def taken(self) -> set[str]:
        return {
            str(path.relative_to(self.copy)) + ("/" if path.is_dir() else "")
            for path in self.copy.rglob("*")
        }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@contextmanager
def as_nobody() -> Iterator[Path]:
    """A folder of a user without privileges, who is whom the body runs as."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() != 0:
            yield Path(folder)
            return
        os.chmod(folder, 0o777)
        os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


# ---------------------------------------------------------------- what is taken


def test_contents_permissions_and_times_are_kept(place: Place) -> None:
    script = place.file("tasks/run.sh", "echo hello\n")
    script.chmod(0o751)
    os.utime(script, ns=(1_000_000_000, 1_234_567_890_123_456_789))
    place.file("empty.txt", "")
    taken = place.take()
    copy = place.copy / "tasks/run.sh"
    assert copy.read_text() == "echo hello\n"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o751
    assert copy.stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert copy.stat().st_ino != script.stat().st_ino
    assert (taken.files, taken.bytes, taken.warnings) == (2, 11, ())


def test_permissions_do_not_depend_on_the_umask(place: Place) -> None:
    place.file("shared.txt").chmod(0o666)
    before = os.umask(0o077)
    try:
        place.take()
    finally:
        os.umask(before)
    assert stat.S_IMODE((place.copy / "shared.txt").stat().st_mode) == 0o666


def test_empty_folders_and_their_times_are_kept(place: Place) -> None:
    folder = place.project / "out/daily"
    folder.mkdir(parents=True)
    os.utime(folder, (1_000, 2_000))
    place.take()
    assert place.taken() == {"out/", "out/daily/"}
    assert (place.copy / "out/daily").stat().st_mtime == 2_000


def test_names_with_spaces_unicode_and_any_bytes(place: Place) -> None:
    place.file("ein Ordner/größe 📊.txt", "a")
    odd = os.fsdecode(b"\xff\xfe\n.txt")
    place.file(odd, "b")
    place.take()
    assert (place.copy / "ein Ordner/größe 📊.txt").read_text() == "a"
    assert (place.copy / odd).read_text() == "b"


def test_very_deep_folders(place: Place) -> None:
    path = str(place.project)
    for _ in range(1200):
        path += "/d"
        os.mkdir(path)
    Path(path, "file").write_text("deep")
    place.take()
    copy = Path(path.replace(str(place.project), str(place.copy)), "file")
    assert copy.read_text() == "deep"
    for root in (place.project, place.copy):  # pytest's own cleaning would recurse too deep
        remove_tree(root)


def test_a_project_reached_through_a_link(place: Place) -> None:
    place.file("tasks/a.py")
    place.link("again.py", place.project / "tasks/a.py")
    alias = place.root / "alias"
    alias.symlink_to(place.project)
    snapshot.take(alias, place.copy, (), place.root)
    assert place.taken() == {"tasks/", "tasks/a.py", "again.py"}
    assert os.readlink(place.copy / "again.py") == "tasks/a.py"


def test_holes_stay_holes(place: Place) -> None:
    path = place.file("sparse.bin", "")
    with path.open("r+b") as file:
        file.seek(40 << 20)
        file.write(b"middle")
        file.truncate(64 << 20)
    place.take()
    copy = place.copy / "sparse.bin"
    assert copy.stat().st_size == 64 << 20
    assert copy.stat().st_blocks * 512 < 8 << 20
    with copy.open("rb") as file:
        file.seek(40 << 20)
        assert file.read(7) == b"middle\0"


@pytest.mark.parametrize("at", [[0], [0, 8 << 20], [4096, 63 << 20], [(64 << 20) - 5], []])
def test_what_lies_between_holes_is_copied(place: Place, at: list[int]) -> None:
    path = place.file("sparse.bin", "")
    with path.open("r+b") as file:
        for start in at:
            file.seek(start)
            file.write(b"begin")
        file.truncate(64 << 20)
    place.take()
    assert (place.copy / "sparse.bin").read_bytes() == path.read_bytes()


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_across_file_systems(place: Place) -> None:
    content = os.urandom(3 << 20)
    place.file("big.bin").write_bytes(content)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        snapshot.take(place.project, Path(other, "project"), (), place.root)
        assert Path(other, "project/big.bin").read_bytes() == content


# ---------------------------------------------------------------- what is left out


@pytest.mark.parametrize(
    "left_out",
    [
        ".git/config",
        ".hg/store",
        ".venv/anything",
        "__pycache__/a.cpython-311.pyc",
        "src/pkg/__pycache__/b.pyc",
        "web/node_modules/x/index.js",
        ".mypy_cache/x",
        ".ruff_cache/x",
        ".pytest_cache/x",
        ".tox/x",
        ".nox/x",
        ".ipynb_checkpoints/x",
        "old.pyc",
        "out/.pit-8d2f",
        "out/.pit-folder/new/x",
        "warehouse.duckdb",
        "warehouse.duckdb.wal",
        "data/app.db",
        "data/app.db-journal",
        "data/app.sqlite-wal",
        "data/app.sqlite3",
        "env311/pyvenv.cfg",
        "env311/lib/site.py",
    ],
)
def test_caches_environments_and_databases_are_left_out(place: Place, left_out: str) -> None:
    place.file("kept.py")
    place.file(left_out)
    place.file(f"{Path(left_out).parts[0]}/pyvenv.cfg") if "env311" in left_out else None
    place.take()
    assert not (place.copy / left_out).exists()
    assert (place.copy / "kept.py").exists()


def test_what_only_looks_like_it_is_taken(place: Place) -> None:
    kept = {"gitignore.git", "my.db.md", "data.duckdb/readme", ".env", ".gitignore", "venv/x.py"}
    for name in kept:
        place.file(name)
    place.take()
    assert {path for path in place.taken() if not path.endswith("/")} == kept


def test_the_folder_of_runs_inside_the_project(tmp_path: Path) -> None:
    project = tmp_path / "p"
    (project / "runs/1").mkdir(parents=True)
    (project / "runs/old.log").write_text("x")
    (project / "a.py").write_text("x")
    into = project / "runs/1/project"
    snapshot.take(project, into, (), tmp_path, Rules(project, (project / "runs",)))
    assert os.listdir(into) == ["a.py"]


def test_the_snapshot_never_copies_itself(tmp_path: Path) -> None:
    project = tmp_path / "p"
    project.mkdir()
    (project / "a.py").write_text("x")
    snapshot.take(project, project / "copy", (), tmp_path)
    assert os.listdir(project / "copy") == ["a.py"]


def test_excluded_paths_and_patterns(place: Place) -> None:
    for name in ("out/a.csv", "out/b.txt", "out/deep/c.csv", "made/x", "kept/a.csv"):
        place.file(name)
    project = place.project
    place.take(exclude=(project / "out/*.csv", project / "made", Path("/elsewhere/kept")))
    assert {p for p in place.taken() if not p.endswith("/")} == {
        "out/b.txt",
        "out/deep/c.csv",
        "kept/a.csv",
    }


def test_sockets_fifos_and_devices_are_named_and_left_out(place: Place) -> None:
    place.file("a.py")
    os.mkfifo(place.project / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place.project / "sock"))
        taken = place.take()
    assert place.taken() == {"a.py"}
    assert any("pipe is a FIFO" in warning for warning in taken.warnings)
    assert any("sock is a socket" in warning for warning in taken.warnings)


# ---------------------------------------------------------------- .pitignore


def test_pitignore_at_every_level(place: Place) -> None:
    place.file(".pitignore", "*.log\n/data/\n!keep.log\n")
    place.file("sub/.pitignore", "local.txt\n!extra.log\n")
    for name in ("a.log", "keep.log", "data/x.csv", "sub/data/x.csv", "sub/local.txt", "local.txt"):
        place.file(name)
    place.file("sub/extra.log")
    place.file("sub/other.log")
    place.take()
    assert {p for p in place.taken() if not p.endswith("/")} == {
        ".pitignore",
        "keep.log",
        "sub/.pitignore",
        "sub/data/x.csv",
        "sub/extra.log",
        "local.txt",
    }


def test_a_pattern_for_folders_covers_a_link_to_one(place: Place) -> None:
    (place.root / "huge").mkdir()
    (place.root / "huge/file").write_text("x")
    place.link("data", place.root / "huge")
    place.file(".pitignore", "data/\n")
    place.take()
    assert place.taken() == {".pitignore"}


def test_a_pitignore_that_is_no_file_is_not_read(place: Place) -> None:
    os.mkfifo(place.project / ".pitignore")
    place.file("a.py")
    place.take()
    assert place.taken() == {"a.py"}


def test_a_senseless_pattern_names_its_file(place: Place) -> None:
    place.file(".pitignore", "!\n")
    with pytest.raises(SnapshotFailed, match=r"\.pitignore has an invalid pattern"):
        place.take()


# ---------------------------------------------------------------- links


def test_links_that_point_inside_stay_links(place: Place) -> None:
    place.file("data/one.csv", "1")
    place.link("data/latest.csv", "one.csv")
    place.link("here.csv", place.project / "data/one.csv")
    place.link("folder", "data")
    place.link("deep/er/up.csv", "../../data/one.csv")
    place.take()
    assert os.readlink(place.copy / "data/latest.csv") == "one.csv"
    assert os.readlink(place.copy / "here.csv") == "data/one.csv"
    assert os.readlink(place.copy / "folder") == "data"
    assert (place.copy / "deep/er/up.csv").resolve() == place.copy.resolve() / "data/one.csv"


def test_a_link_that_leaves_and_returns_is_rewritten(place: Place) -> None:
    place.file("data/one.csv", "1")
    place.link("round.csv", "../sales/data/one.csv")
    place.take()
    assert os.readlink(place.copy / "round.csv") == "data/one.csv"


def test_links_that_lead_out_are_copied(place: Place) -> None:
    outside = place.root / "shared"
    (outside / "lib").mkdir(parents=True)
    (outside / "lib/code.py").write_text("shared = 1\n")
    (outside / "lib/same.py").symlink_to("code.py")
    (outside / "one.txt").write_text("one")
    place.link("lib", outside / "lib")
    place.link("one.txt", "../../shared/one.txt")
    place.take()
    assert not (place.copy / "lib").is_symlink()
    assert not (place.copy / "one.txt").is_symlink()
    assert os.readlink(place.copy / "lib/same.py") == "code.py"
    (outside / "lib/code.py").write_text("shared = 2\n")
    (outside / "one.txt").write_text("two")
    assert (place.copy / "lib/same.py").read_text() == "shared = 1\n"
    assert (place.copy / "one.txt").read_text() == "one"


def test_no_link_of_a_snapshot_leads_to_the_live_project(place: Place) -> None:
    outside = place.root / "shared"
    outside.mkdir()
    place.file("tasks/a.py")
    (outside / "back").symlink_to(place.project / "tasks")
    place.link("out", outside)
    place.take()
    assert (place.copy / "out/back/a.py").resolve() == (place.copy / "tasks/a.py").resolve()


def test_a_chain_of_links_ends_in_the_snapshot(place: Place) -> None:
    (place.root / "far.txt").write_text("far")
    place.link("b", place.root / "far.txt")
    place.link("a", "b")
    place.take()
    assert os.readlink(place.copy / "a") == "b"
    assert (place.copy / "b").read_text() == "far"
    assert not (place.copy / "b").is_symlink()


def test_dangling_and_circular_links_stay(place: Place) -> None:
    place.link("gone", "nowhere.txt")
    place.link("gone-out", "../../elsewhere.txt")
    place.link("self", "self")
    place.take()
    assert os.readlink(place.copy / "gone") == "nowhere.txt"
    assert os.readlink(place.copy / "self") == "self"
    # A relative path would mean something else from the run's folder.
    aim = os.readlink(place.copy / "gone-out")
    assert os.path.normpath(aim) == str(place.root / "elsewhere.txt")


@pytest.mark.parametrize("aim", ["..", "../..", "/"])
def test_a_link_to_a_folder_above_is_not_followed(place: Place, aim: str) -> None:
    place.link("up", aim)
    place.file("a.py")
    taken = place.take()
    assert (place.copy / "up").is_symlink()
    assert any("leads to a folder that contains it" in warning for warning in taken.warnings)


def test_two_outer_folders_that_link_to_each_other(place: Place) -> None:
    for name, other in (("one", "two"), ("two", "one")):
        (place.root / name).mkdir()
        (place.root / name / "link").symlink_to(place.root / other)
    place.link("in", place.root / "one")
    place.take()
    assert (place.copy / "in/link").is_dir()
    assert (place.copy / "in/link/link").is_symlink()


# ---------------------------------------------------------------- inputs


def test_ignored_inputs_are_linked_and_watched(place: Place) -> None:
    place.file(".pitignore", "data/\n")
    one = place.file("data/raw/one.csv", "1")
    place.file("data/raw/two.csv", "2")
    place.file("data/raw/notes.txt")
    taken = place.take("data/raw/*.csv", "tasks/*.py")
    assert place.taken() == {
        ".pitignore",
        "data/",
        "data/raw/",
        "data/raw/one.csv",
        "data/raw/two.csv",
    }
    assert (place.copy / "data/raw/one.csv").read_text() == "1"
    assert os.readlink(place.copy / "data/raw/one.csv") == str(one)
    assert set(taken.links) == {"data/raw/*.csv"}
    assert changed(taken.links) == ()
    one.write_text("3")
    assert changed(taken.links) == (str(one),)
    assert changed(taken.links, ["tasks/*.py"]) == ()


def test_an_ignored_folder_named_as_input_stands_for_its_files(place: Place) -> None:
    place.file(".pitignore", "data\n")
    place.file("data/a/one.csv")
    place.file("data/b/two.csv")
    place.take("data/")
    assert (place.copy / "data/a/one.csv").is_symlink()
    assert not (place.copy / "data/a").is_symlink()


def test_inputs_in_the_workspace_are_read_in_place(place: Place) -> None:
    shared = place.root / "shared"
    shared.mkdir()
    (shared / "a.csv").write_text("a")
    taken = place.take("{workspace}/shared/*.csv", f"{shared}/a.csv")
    assert place.taken() == set()
    assert set(taken.links) == {"{workspace}/shared/*.csv", f"{shared}/a.csv"}
    (shared / "b.csv").write_text("b")
    assert changed(taken.links, ["{workspace}/shared/*.csv"]) == (f"{shared}/b.csv",)
    assert changed(taken.links, [f"{shared}/a.csv"]) == ()
    (shared / "a.csv").unlink()
    assert changed(taken.links) == (f"{shared}/a.csv", f"{shared}/b.csv")


def test_an_edit_that_restores_the_time_is_seen(place: Place) -> None:
    data = place.root / "data.bin"
    data.write_bytes(b"one")
    taken = place.take(str(data))
    info = data.stat()
    data.write_bytes(b"two")
    os.utime(data, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert changed(taken.links) == (str(data),)


def test_copied_inputs_need_no_watching(place: Place) -> None:
    live = place.file("data/a.csv", "1")
    taken = place.take("data/*.csv")
    live.write_text("2")
    assert taken.links == {}
    assert (place.copy / "data/a.csv").read_text() == "1"


def test_a_database_named_as_input_is_watched_and_explained(place: Place) -> None:
    place.file("ref.sqlite", "not really")
    taken = place.take("ref.sqlite")
    assert place.taken() == set()
    assert any('input "ref.sqlite" is a database' in warning for warning in taken.warnings)
    assert set(taken.links) == {"ref.sqlite"}


def test_an_excluded_target_is_not_linked_for_the_task_that_reads_it(place: Place) -> None:
    place.file("out/a.csv", "of an earlier run")
    taken = place.take("out/a.csv", "out/*.csv", exclude=(place.project / "out/a.csv",))
    assert taken.links == {}
    assert place.taken() == {"out/"}


def test_wildcards_do_not_reach_what_snapshots_leave_out(place: Place) -> None:
    place.file("node_modules/pkg/data.csv")
    place.file("env/pyvenv.cfg")
    place.file("env/data.csv")
    place.file("good/data.csv")
    taken = place.take("**/*.csv")
    assert taken.links == {}
    assert place.taken() == {"good/", "good/data.csv"}


def test_an_input_behind_a_link_to_the_outside_never_lands_there(place: Place) -> None:
    place.link("up", "..")
    place.file("../sibling.csv", "live")
    place.take("up/sibling.csv")
    assert (place.project.parent / "sibling.csv").read_text() == "live"
    assert not (place.project.parent / "sibling.csv").is_symlink()


# ---------------------------------------------------------------- failing, and moving targets


def test_an_unreadable_file_is_named_with_the_way_out() -> None:
    with as_nobody() as root:
        place = Place(root)
        place.file("secret/key.pem").chmod(0)
        with pytest.raises(SnapshotFailed, match=r"key\.pem .*permission denied") as failure:
            place.take()
    assert "/secret/key.pem in .pitignore" in failure.value.hint


def test_an_unreadable_folder_is_named_with_the_way_out() -> None:
    with as_nobody() as root:
        place = Place(root)
        place.file("closed/x").parent.chmod(0)
        with pytest.raises(SnapshotFailed, match=r"closed .*permission denied"):
            place.take()
        place.file(".pitignore", "closed/\n")
        snapshot.take(place.project, place.root / "second", (), place.root)
        (place.project / "closed").chmod(0o700)


def test_read_only_files_and_folders_are_copied() -> None:
    with as_nobody() as root:
        place = Place(root)
        place.file("frozen/deep/x", "text").chmod(0o444)
        for folder in ("frozen/deep", "frozen"):
            (place.project / folder).chmod(0o555)
        place.take()
        assert (place.copy / "frozen/deep/x").read_text() == "text"
        for copy in (place.copy / "frozen", place.copy / "frozen/deep"):
            assert stat.S_IMODE(copy.stat().st_mode) == 0o555
        for folder in (*place.copy.rglob("*/"), *place.project.rglob("*/")):
            folder.chmod(0o700)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    disk = tmp_path / "small"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(place: Place, small_disk: Path) -> None:
    place.file("big.bin").write_bytes(os.urandom(2 << 20))
    with pytest.raises(DiskFull, match=r"big\.bin"):
        snapshot.take(place.project, small_disk / "project", (), place.root)


def test_a_snapshot_can_be_given_up(place: Place) -> None:
    class GivenUp(Exception):
        pass

    def checkpoint() -> None:
        raise GivenUp

    place.file("a.py")
    with pytest.raises(GivenUp):
        snapshot.take(place.project, place.copy, (), place.root, checkpoint=checkpoint)


def _between(copied: int, act: Callable[[], object]) -> Callable[[], None]:
    """A checkpoint that acts once, after so many steps."""
    steps = iter(range(1_000_000))
    return lambda: act() if next(steps) == copied else None  # type: ignore[func-returns-value]


def test_what_moves_during_the_copy_is_taken_again(place: Place) -> None:
    for folder in ("a", "b", "c", "d"):
        place.file(f"{folder}/version.txt", "old")
        place.file(f"{folder}/goes.txt", "old")
        place.file(f"{folder}/sub/x.txt", "old")

    def pull() -> None:
        for folder in ("a", "b", "c", "d"):
            place.file(f"{folder}/version.txt", "new")
            place.file(f"{folder}/comes/y.txt", "new")
            (place.project / folder / "goes.txt").unlink()
            (place.project / folder / "sub/x.txt").unlink()
            (place.project / folder / "sub").rmdir()
            place.file(f"{folder}/sub", "a file by now")

    taken = snapshot.take(place.project, place.copy, (), place.root, checkpoint=_between(4, pull))
    assert place.taken() == {
        name
        for folder in "abcd"
        for name in (
            f"{folder}/",
            f"{folder}/version.txt",
            f"{folder}/comes/",
            f"{folder}/comes/y.txt",
            f"{folder}/sub",
        )
    }
    assert {(place.copy / folder / "version.txt").read_text() for folder in "abcd"} == {"new"}
    assert (taken.files, taken.warnings) == (12, ())


def test_a_file_that_never_stands_still_is_named(place: Place) -> None:
    path = place.file("tasks/growing.log")

    def grow() -> None:
        with path.open("a") as file:
            file.write("more\n")

    taken = snapshot.take(place.project, place.copy, (), place.root, checkpoint=grow)
    assert (place.copy / "tasks/growing.log").exists()
    assert any("tasks kept changing" in warning for warning in taken.warnings)


def test_files_come_and_go_all_the_time(place: Place) -> None:
    for number in range(200):
        place.file(f"d{number % 10}/f{number}.txt", "steady")
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            for number in range(0, 200, 7):
                path = place.project / f"d{number % 10}/f{number}.txt"
                path.unlink(missing_ok=True)
                path.write_text("new")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        place.take()
    finally:
        stop.set()
        thread.join()
    steady = [n for n in range(200) if n % 7]
    for number in steady:
        assert (place.copy / f"d{number % 10}/f{number}.txt").read_text() == "steady"


def test_a_large_snapshot_says_how_to_become_smaller(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "LARGE", 1_000_000)
    place.file("data/big.bin").write_bytes(bytes(900_000))
    place.file("data/more/big.bin").write_bytes(bytes(200_000))
    place.file("a.py")
    (warning,) = place.take().warnings
    assert "data 0.0 GB" in warning
    assert ".pitignore" in warning
