"""Publishing targets: whole or not at all, whatever happens in between."""

from __future__ import annotations

import fcntl
import filecmp
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pit.fs import kernel
from pit.project import publish


class Run:
    """A project and the snapshot of a run of it."""

    def __init__(self, root: Path) -> None:
        self.project = root / "project"
        self.snapshot = root / "snapshot"
        self.project.mkdir()
        self.snapshot.mkdir()

    def live(self, place: str, text: str = "old") -> Path:
        return _write(self.project / place, text)

    def made(self, place: str, text: str = "new") -> Path:
        return _write(self.snapshot / place, text)

    def publish(self, *targets: str) -> None:
        publish.publish(self.snapshot, self.project, targets)

    def tree(self) -> dict[str, str]:
        """Files and links of the project, with what they hold."""
        return {
            str(path.relative_to(self.project)): path.read_text()
            for path in sorted(self.project.rglob("*"))
            if not path.is_dir()
        }


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture(params=["exchange", "aside"])
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to replace a folder: at once, and on file systems that cannot do that."""
    if request.param == "aside":
        monkeypatch.setattr(kernel, "exchange", lambda one, other: False)
    return str(request.param)


# ---------------------------------------------------------------- preparing and looking


def test_a_task_sees_neither_its_previous_targets_nor_those_of_an_attempt(run: Run) -> None:
    for place in ("out/a.csv", "out/b.csv", "out/c.txt", "folder/deep/x", "kept.csv"):
        run.made(place)
    publish.prepare(run.snapshot, ("out/*.csv", "folder/", "new/deep/target.csv"))
    left = {str(path.relative_to(run.snapshot)) for path in run.snapshot.rglob("*")}
    assert left == {"out", "out/c.txt", "kept.csv", "new", "new/deep"}


def test_preparing_removes_a_link_and_not_what_it_leads_to(run: Run) -> None:
    live = run.live("out.csv")
    (run.snapshot / "out.csv").symlink_to(live)
    (run.snapshot / "folder").symlink_to(run.project)
    publish.prepare(run.snapshot, ("out.csv", "folder/"))
    assert os.listdir(run.snapshot) == []
    assert live.read_text() == "old"


def test_preparing_never_goes_through_a_link_that_leads_out(run: Run) -> None:
    live = run.live("sub/out.csv")
    (run.snapshot / "up").symlink_to(run.project)
    for target in ("up/sub/out.csv", "up/sub/*.csv", "up/new/x.csv"):
        with pytest.raises(OSError, match="leads out"):
            publish.prepare(run.snapshot, (target,))
    assert live.read_text() == "old"
    assert not (run.project / "new").exists()


def test_absolute_targets_are_left_alone(run: Run, tmp_path: Path) -> None:
    outside = _write(tmp_path / "outside.csv", "mine")
    targets = (str(outside), f"{tmp_path}/no/such.csv")
    publish.prepare(run.snapshot, targets)
    assert publish.missing(run.snapshot, targets) == (targets[1],)
    run.publish(*targets)
    assert outside.read_text() == "mine"


def test_targets_in_the_workspace_become_absolute() -> None:
    anchored = publish.anchored(("out/a.csv", "{workspace}/b.csv"), Path("/ws"))
    assert anchored == ("out/a.csv", "/ws/b.csv")


def test_missing_targets_are_named_as_declared(run: Run) -> None:
    run.made("out/a.csv")
    run.made("folder/x")
    (run.snapshot / "dangling").symlink_to("nowhere")
    os.mkfifo(run.snapshot / "pipe")
    targets = ("out/a.csv", "out/*.csv", "out/*.txt", "folder", "folder/", "out/a.csv/", "nothing")
    assert publish.missing(run.snapshot, (*targets, "dangling", "pipe")) == (
        "out/*.txt",
        "out/a.csv/",
        "nothing",
        "dangling",
        "pipe",
    )


def test_a_name_with_wildcards_is_taken_literally_if_it_is_there(run: Run) -> None:
    run.made("out[1].csv")
    assert publish.missing(run.snapshot, ("out[1].csv",)) == ()
    run.publish("out[1].csv")
    assert run.tree() == {"out[1].csv": "new"}


# ---------------------------------------------------------------- publishing


def test_files_appear_with_permissions_and_time(run: Run) -> None:
    made = run.made("out/a.sh")
    made.chmod(0o754)
    os.utime(made, ns=(5, 1_234_567_890_123_456_789))
    run.publish("out/a.sh")
    published = run.project / "out/a.sh"
    assert published.read_text() == "new"
    assert stat.S_IMODE(published.stat().st_mode) == 0o754
    assert published.stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert os.listdir(run.project / "out") == ["a.sh"]


def test_what_is_published_does_not_change_with_the_file_of_the_run(run: Run) -> None:
    made = run.made("out.csv")
    run.publish("out.csv")
    with made.open("a") as file:
        file.write(" and half of more")
    assert run.tree() == {"out.csv": "new"}
    (run.project / "out.csv").write_text("by hand")
    assert made.read_text() == "new and half of more"


def test_every_match_of_a_pattern_is_published(run: Run) -> None:
    run.live("out/c.csv", "of an earlier run")
    for place in ("out/a.csv", "out/b.csv", "out/b.txt", "out/deep/d.csv"):
        run.made(place)
    run.publish("out/*.csv")
    assert run.tree() == {
        "out/a.csv": "new",
        "out/b.csv": "new",
        "out/c.csv": "of an earlier run",
    }


def test_a_folder_replaces_a_folder_whole(run: Run, means: str) -> None:
    run.live("out/gone.csv")
    run.live("out/same.csv")
    run.made("out/same.csv")
    run.made("out/deep/new.csv")
    (run.snapshot / "out/empty").mkdir()
    (run.snapshot / "out/deep").chmod(0o750)
    run.publish("out/")
    assert run.tree() == {"out/same.csv": "new", "out/deep/new.csv": "new"}
    assert (run.project / "out/empty").is_dir()
    assert stat.S_IMODE((run.project / "out/deep").stat().st_mode) == 0o750
    assert os.listdir(run.project) == ["out"]


@pytest.mark.parametrize("folder", [True, False])
def test_a_folder_and_a_file_replace_each_other(run: Run, means: str, folder: bool) -> None:
    run.live("out" if folder else "out/old.csv")
    run.made("out/new.csv" if folder else "out")
    run.publish("out")
    assert run.tree() == {"out/new.csv" if folder else "out": "new"}
    assert os.listdir(run.project) == ["out"]


def test_a_folder_appears_where_none_was(run: Run, means: str) -> None:
    run.made("a/b/out/x.csv")
    run.publish("a/b/out/")
    assert run.tree() == {"a/b/out/x.csv": "new"}
    assert os.listdir(run.project / "a/b") == ["out"]


def test_links_in_a_folder_never_lead_into_the_run(run: Run, tmp_path: Path) -> None:
    run.made("elsewhere.csv", "else")
    run.made("other/x.csv")
    run.made("out/2024.csv")
    outside = _write(tmp_path / "outside.csv", "outside")
    links = {
        "relative": "2024.csv",
        "absolute": run.snapshot / "out/2024.csv",
        "to-file": "../elsewhere.csv",
        "to-folder": run.snapshot / "other",
        "to-outside": outside,
    }
    for name, aim in links.items():
        (run.snapshot / "out" / name).symlink_to(aim)
    run.publish("out/")
    published = {name: run.project / "out" / name for name in links}
    assert os.readlink(published["relative"]) == "2024.csv"
    assert os.readlink(published["absolute"]) == "2024.csv"
    assert published["to-file"].read_text() == "else"
    assert not published["to-file"].is_symlink()
    assert os.readlink(published["to-folder"]) == "../other"
    assert os.readlink(published["to-outside"]) == str(outside)


def test_a_target_that_is_a_link(run: Run, tmp_path: Path) -> None:
    run.made("data/2024.csv", "inside")
    run.made("data/folder/x.csv", "inside")
    outside = _write(tmp_path / "outside.csv", "outside")
    (run.snapshot / "latest.csv").symlink_to("data/2024.csv")
    (run.snapshot / "folder").symlink_to("data/folder")
    (run.snapshot / "out.csv").symlink_to(outside)
    run.publish("latest.csv", "folder", "out.csv")
    assert run.tree() == {"latest.csv": "inside", "folder/x.csv": "inside", "out.csv": "outside"}
    assert not (run.project / "latest.csv").is_symlink()
    assert not (run.project / "folder").is_symlink()
    assert os.readlink(run.project / "out.csv") == str(outside)


def test_a_link_in_the_project_is_written_through(run: Run, means: str) -> None:
    big = run.project / "big"
    _write(big / "out/old.csv", "old")
    _write(big / "a.csv", "old")
    (run.project / "out").symlink_to(big / "out")
    (run.project / "a.csv").symlink_to(big / "a.csv")
    run.made("out/new.csv")
    run.made("a.csv")
    run.publish("out/", "a.csv")
    assert (run.project / "out").is_symlink()
    assert (run.project / "a.csv").is_symlink()
    assert (big / "a.csv").read_text() == "new"
    assert os.listdir(big / "out") == ["new.csv"]
    assert sorted(os.listdir(big)) == ["a.csv", "out"]


@pytest.mark.parametrize("target", ["file.csv", "folder", "on/the/way.csv", "nowhere", "chain"])
def test_no_link_leads_out_of_the_project(run: Run, tmp_path: Path, target: str) -> None:
    far = tmp_path / "far"
    _write(far / "file.csv", "theirs")
    _write(far / "folder/old.csv", "theirs")
    _write(far / "the/way.csv", "theirs")
    for name, aim in (("on", "."), ("folder", "folder"), ("nowhere", "x"), ("file.csv",) * 2):
        (run.project / name).symlink_to(far / aim)
    (run.project / "chain").symlink_to("folder")
    run.made("first.csv")
    run.made(f"{target}/new.csv" if target in ("folder", "chain") else target)
    with pytest.raises(publish.Refused, match="leads out of the project"):
        run.publish("first.csv", target)
    assert not (run.project / "first.csv").exists()
    assert sorted(path.name for path in far.rglob("*.csv")) == ["file.csv", "old.csv", "way.csv"]
    publish.withdraw(run.project, ("on/*/*.csv",), ("on/the/way.csv",))
    assert (far / "the/way.csv").read_text() == "theirs"


@pytest.mark.parametrize("target", ["a.csv", "deep/er/a.csv", "folder/"])
def test_a_project_that_is_gone_is_not_made_again(run: Run, target: str) -> None:
    run.made(f"{target}x" if target.endswith("/") else target)
    run.project.rmdir()
    with pytest.raises(OSError, match="the project's folder is gone"):
        run.publish(target)
    assert not run.project.exists()


# ---------------------------------------------------------------- handing on


def test_what_is_handed_on_is_the_same_and_shares_no_inode(run: Run) -> None:
    large = run.live("out/large.bin")
    os.truncate(large, 100 << 20)
    live = [large, run.live("out/small.csv"), run.live("out/run.sh")]
    live[2].chmod(0o754)
    for path in live:
        os.utime(path, ns=(5, 1_234_567_890_123_456_789))
    publish.hand_on(run.project, run.snapshot, [str(p.relative_to(run.project)) for p in live])
    for path in live:
        here, there = path.stat(), (run.snapshot / path.relative_to(run.project)).stat()
        assert here.st_ino != there.st_ino
        assert here.st_nlink == there.st_nlink == 1
        assert (here.st_size, here.st_mode, here.st_mtime_ns) == (
            there.st_size,
            there.st_mode,
            there.st_mtime_ns,
        )
    assert (run.snapshot / "out/small.csv").read_text() == "old"
    assert (run.snapshot / "out/large.bin").stat().st_blocks <= large.stat().st_blocks + 8


def test_a_large_file_is_handed_on_without_being_held_in_memory(run: Run) -> None:
    with (run.live("large.bin")).open("wb") as file:
        for _ in range(200):
            file.write(os.urandom(1 << 10) * (1 << 10))
    code = (
        "import sys; from pathlib import Path; from pit.project import publish;"
        "publish.hand_on(Path(sys.argv[1]), Path(sys.argv[2]), ['large.bin']);"
        # Of this process alone: what getrusage tells begins at the peak of its parent.
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    argv = [sys.executable, "-c", code, str(run.project), str(run.snapshot)]
    done = subprocess.run(argv, capture_output=True, check=True)
    assert int(done.stdout) < 150 << 10  # KiB
    assert filecmp.cmp(run.project / "large.bin", run.snapshot / "large.bin", shallow=False)


def test_handing_on_never_goes_through_a_link_that_leads_out(run: Run, tmp_path: Path) -> None:
    run.live("data/x.csv")
    (tmp_path / "far").mkdir()
    (run.snapshot / "data").symlink_to(tmp_path / "far")
    with pytest.raises(OSError, match="leads out of the run's snapshot"):
        publish.hand_on(run.project, run.snapshot, ["data/x.csv"])
    assert os.listdir(tmp_path / "far") == []


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_across_file_systems(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        project, snapshot = tmp_path / "project", Path(other)
        _write(project / "folder/old.csv", "old")
        _write(snapshot / "out/a.csv", "new")
        _write(snapshot / "folder/b.csv", "new")
        publish.publish(snapshot, project, ("out/a.csv", "folder/"))
        assert (project / "out/a.csv").read_text() == "new"
        assert os.listdir(project / "folder") == ["b.csv"]


def test_a_failure_leaves_all_targets_as_they_were(run: Run) -> None:
    run.live("a.csv")
    run.live("in-the-way", "a file, no folder")
    run.made("a.csv")
    run.made("in-the-way/b.csv")
    with pytest.raises(OSError, match="in-the-way"):
        run.publish("a.csv", "in-the-way/b.csv")
    assert run.tree() == {"a.csv": "old", "in-the-way": "a file, no folder"}


# ---------------------------------------------------------------- crashing


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder where to wait for the disk takes no time, if the system has one."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="pit-test-") as folder:
        yield Path(folder)


def _killed_before(call: int, act: Callable[[], None]) -> bool:
    """Whether `act` was finished, in a process that is killed before its n-th system call."""
    child = os.fork()
    if child == 0:
        left = call

        def profile(frame: FrameType, event: str, function: Any) -> None:
            nonlocal left
            if event == "c_call" and function.__module__ in ("posix", "fcntl"):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.setprofile(profile)
            act()
            sys.setprofile(None)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status)


def _old_or_new(run: Run, old: dict[str, str], new: dict[str, str]) -> None:
    tree = {place: text for place, text in run.tree().items() if ".pit-" not in place}
    assert tree in (old, new)


@pytest.mark.parametrize("target", ["file", "folder/"])
def test_killed_between_any_two_calls(in_memory: Path, means: str, target: str) -> None:
    kernel.exchange(str(in_memory), str(in_memory))  # load the library, or each child would
    place = "file" if target == "file" else "folder/deep/x"
    old = {place: "old"} if target == "file" else {place: "old", "folder/only-old": "old"}
    new = {place: "new"}
    for call in range(1, 10_000):
        root = in_memory / str(call)
        root.mkdir()
        run = Run(root)
        for each in old:
            run.live(each)
        run.made(place)
        finished = _killed_before(call, lambda run=run: run.publish(target))  # type: ignore[misc]
        if means == "exchange" or target == "file":
            _old_or_new(run, old, new)
        publish.sweep(run.project, (target,))
        assert run.tree() in (old, new)
        assert not [path for path in run.project.rglob("*") if path.name.startswith(".pit-")]
        if finished:
            break
    assert call > 25
    assert run.tree() == new


def test_the_sweep_leaves_what_is_being_published(run: Run) -> None:
    run.live("out/a.csv")
    busy = run.live("out/.pit-busy")
    run.live("out/.pit-dead")
    folder = run.live("out/.pit-folder/new/x").parent.parent
    with busy.open() as file:
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        publish.sweep(run.project, ("out/a.csv", "out/*.txt", "nowhere/x", "no/*/y"))
        os.close(descriptor)
    assert sorted(os.listdir(run.project / "out")) == [".pit-busy", ".pit-folder", "a.csv"]
    publish.sweep(run.project, ("out/a.csv",))
    assert os.listdir(run.project / "out") == ["a.csv"]


def test_the_sweep_reaches_folders_by_pattern_and_link(run: Run, tmp_path: Path) -> None:
    outside, inside = tmp_path / "far", run.project / "far"
    for far in (outside, inside):
        _write(far / ".pit-dead", "x")
        _write(far / "a.csv", "x")
    (run.project / "a.csv").symlink_to(inside / "a.csv")
    (run.project / "b.csv").symlink_to(outside / "a.csv")
    run.live("out/2024/.pit-dead")
    publish.sweep(run.project, ("out/*/x.csv", "a.csv", "b.csv"))
    assert os.listdir(run.project / "out/2024") == []
    assert os.listdir(inside) == ["a.csv"]
    assert sorted(os.listdir(outside)) == [".pit-dead", "a.csv"]


def test_many_publish_one_folder_while_others_sweep(tmp_path: Path, means: str) -> None:
    run = Run(tmp_path)
    run.live("out/version", "0")
    run.live("out/again", "0")
    stop = threading.Event()
    broken: list[object] = []

    def publisher(number: int) -> None:
        snapshot = tmp_path / f"snapshot-{number}"
        for turn in range(20):
            for name in ("version", "again"):
                _write(snapshot / "out" / name, f"{number}-{turn}")
            try:
                publish.publish(snapshot, run.project, ("out/",))
            except OSError as error:
                broken.append(error)

    def sweeper() -> None:
        while not stop.is_set():
            publish.sweep(run.project, ("out/",))

    threads = [threading.Thread(target=publisher, args=(number,)) for number in range(3)]
    sweeping = threading.Thread(target=sweeper)
    for thread in (*threads, sweeping):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    sweeping.join()
    assert broken == []
    tree = run.tree()
    assert set(tree) == {"out/version", "out/again"}
    assert tree["out/version"] == tree["out/again"]
    assert os.listdir(run.project) == ["out"]
