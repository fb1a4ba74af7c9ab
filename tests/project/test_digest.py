"""Digests: the right content whatever happened to the file, and no reading where none is due."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from pit.model import FileMark
from pit.project.digest import Digests, digest_bytes, digest_file

LARGE = 65 << 20


def content(data: bytes) -> FileMark:
    return FileMark(digest=blake3(data).hexdigest(), size=len(data))


def grow_old() -> None:
    """Waits until what was just written is no longer young; a bounded, small time."""
    time.sleep(0.11)


def believed(digests: Digests, path: Path) -> bool:
    """Whether the cache answers without reading: it then believes what is not so."""
    known = {
        place: (*seen[:5], "believed")
        for place, seen in digests.changes().items()
        if seen is not None
    }
    return Digests(known).of(str(path)).digest == "believed"


@pytest.mark.parametrize("size", [0, 1, 1000, (1 << 20) - 1, 1 << 20, (3 << 20) + 7])
def test_the_digest_is_that_of_the_content(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(data)

    assert digest_file(path) == content(data)
    assert digest_bytes(data) == content(data).digest


def test_large_files_are_read_with_several_threads_and_kept_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with open(path, "wb") as file:
        file.write(b"begin")
        file.truncate(LARGE)
    digests = Digests()

    assert digests.of(str(path)) == content(b"begin".ljust(LARGE, b"\0"))
    assert believed(digests, path)


def test_an_old_file_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    grow_old()
    digests = Digests()
    digests.of(str(path))

    assert believed(digests, path)


def test_a_young_file_is_read_again_until_it_is_settled(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    digests = Digests()
    digests.of(str(path))
    assert digests.changes() == {}

    grow_old()
    digests.settle()

    assert believed(digests, path)


@pytest.mark.parametrize(
    "when", [0, 1_000_000_000_000_000_000, time.time_ns() + 10**15], ids=["epoch", "past", "future"]
)
def test_a_time_set_by_hand_does_not_matter(tmp_path: Path, when: int) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    os.utime(path, ns=(when, when))
    grow_old()
    digests = Digests()
    digests.of(str(path))

    assert believed(digests, path)


def touched(path: Path) -> None:
    path.touch()


def edited_under_the_old_time(path: Path) -> None:
    info = path.stat()
    path.write_text("y")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def replaced_by_rename(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("y")
    info = path.stat()
    os.utime(other, ns=(info.st_atime_ns, info.st_mtime_ns))
    other.rename(path)


def made_a_link(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")
    path.with_name("other").write_text("y")


@pytest.mark.parametrize(
    "edit", [touched, edited_under_the_old_time, replaced_by_rename, made_a_link]
)
def test_whatever_was_done_to_a_file_the_answer_is_its_content(
    tmp_path: Path, edit: Callable[[Path], None]
) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    grow_old()
    digests = Digests()
    digests.of(str(path))
    known = digests.changes()

    edit(path)
    again = Digests({place: seen for place, seen in known.items() if seen is not None})

    assert again.of(str(path)) == content(path.read_bytes())
    grow_old()
    again.settle()
    assert believed(again, path)


def test_edits_in_the_same_instant_are_all_seen(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    digests = Digests()
    descriptor = os.open(path, os.O_WRONLY)
    for number in range(2000):
        data = f"{number:04}".encode()
        os.pwrite(descriptor, data, 0)
        os.utime(descriptor, ns=(0, 0))

        assert digests.of(str(path)) == content(data)
    os.close(descriptor)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["write", "pwrite", "touch", "restore", "swap", "remove", "age"]),
            st.sampled_from("ab"),
            st.sampled_from([b"x", b"y", b"zz"]),
        ),
        max_size=25,
    )
)
def test_after_any_edits_the_answer_is_what_reading_gives(
    steps: list[tuple[str, str, bytes]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        digests = Digests()
        for what, name, data in steps:
            path, info = Path(folder, name), None
            if path.exists():
                info = path.stat()
            if what == "age":
                time.sleep(0.055)
            elif what == "write" or info is None:
                path.write_bytes(data)
            elif what == "pwrite":
                with open(path, "r+b") as file:
                    file.write(data)
            elif what == "remove":
                path.unlink()
            elif what == "swap":
                path.with_name("new").write_bytes(data)
                path.with_name("new").rename(path)
            if what in ("touch", "restore") and info is not None:
                now = info.st_mtime_ns if what == "restore" else time.time_ns()
                os.utime(path, ns=(now, now))
            for each in "ab":
                file_path = Path(folder, each)
                if file_path.exists():
                    assert digests.of(str(file_path)) == content(file_path.read_bytes())
                else:
                    with pytest.raises(FileNotFoundError, match=str(file_path)):
                        digests.of(str(file_path))
            known = digests.changes()
            assert all(path.startswith(folder) for path in known)


def test_a_file_that_is_gone_is_named_and_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    path.write_text("x")
    grow_old()
    digests = Digests()
    digests.of(str(path))
    digests.changes()
    path.unlink()

    with pytest.raises(FileNotFoundError) as missing:
        digests.of(str(path))
    assert missing.value.filename == str(path)
    assert digests.changes() == {str(path): None}

    path.parent.rmdir()
    path.parent.write_text("a file now")
    with pytest.raises(FileNotFoundError) as missing:
        digest_file(path)
    assert missing.value.filename == str(path)


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a regular file") as refused:
        digest_file(tmp_path / "fifo")
    assert refused.value.filename == str(tmp_path / "fifo")
    with pytest.raises(IsADirectoryError):
        digest_file(tmp_path)
    with pytest.raises(OSError, match="not a regular file"):
        digest_file("/dev/null")


def test_a_file_that_is_cut_off_while_it_is_read_kills_nobody(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4 << 20))
    done = threading.Event()

    def cut() -> None:
        while not done.is_set():
            os.truncate(path, 0)
            os.truncate(path, 4 << 20)

    cutter = threading.Thread(target=cut)
    cutter.start()
    digests = Digests()
    for _ in range(10):
        digests.of(str(path))
    done.set()
    cutter.join()

    assert digests.of(str(path)) == content(path.read_bytes())
