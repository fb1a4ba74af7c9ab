"""Digests: the right content whatever happened to the file, and no reading where none is due."""

from __future__ import annotations

import os
import socket
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
from pit.project import publish
from pit.project.snapshot import snapshot
from pit.project.snapshot.digest import (
    Digests,
    dangling,
    digest_bytes,
    digest_file,
    marks,
    products,
    tree,
)

LARGE = 65 << 20


def content(data: bytes) -> FileMark:
    return FileMark(digest=blake3(data).hexdigest(), size=len(data))


def grow_old() -> None:
    """Waits until what was just written is no longer young; a bounded, small time."""
    time.sleep(0.06)


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


# ---------------------------------------------------------------- folders


def test_a_tree_is_all_that_a_folder_holds(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "inner" / "empty").mkdir(parents=True)
    (top / "inner" / ".hidden").write_text("a")
    (top / "file").write_text("b")
    (top / ".pit-1").write_text("temporary")
    (top / "to_file").symlink_to("file")
    (top / "to_folder").symlink_to("inner")
    (top / "nowhere").symlink_to("nothing")
    (top / "self").symlink_to("self")
    os.mkfifo(top / "fifo")

    found = tree(top, Digests())

    assert set(found) == {
        "file", "inner/.hidden", "inner/empty/", "nowhere", "self", "to_file", "to_folder",
    }  # fmt: skip
    assert found["file"] == found["to_file"] == content(b"b")
    kinds = [found["inner/empty/"], found["to_folder"], found["nowhere"], found["self"]]
    assert len({content(b"").digest, *(mark.digest for mark in kinds)}) == 5


def test_an_empty_folder_has_a_mark_and_a_file_has_no_tree(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()

    assert set(tree(tmp_path / "empty", Digests())) == {""}
    with pytest.raises(NotADirectoryError):
        tree(tmp_path / "file", Digests())
    with pytest.raises(FileNotFoundError) as missing:
        tree(tmp_path / "missing", Digests())
    assert missing.value.filename.startswith(str(tmp_path / "missing"))


def test_where_a_link_in_a_tree_leads_counts(tmp_path: Path) -> None:
    for name in ("one", "two", "top"):
        (tmp_path / name).mkdir()
    found = []
    for aim in ("one", "two"):
        link = tmp_path / "top" / "link"
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / aim)
        found.append(tree(tmp_path / "top", Digests(), tmp_path))

    assert found[0] != found[1]


# ---------------------------------------------------------------- inputs and targets


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = tmp_path / "projects" / "sales"
    for place in ("data/a.csv", "data/b.csv", "data/deep/c.csv", "data/.hidden", "notes.txt"):
        (made / place).parent.mkdir(parents=True, exist_ok=True)
        (made / place).write_text(place)
    return made


def of(place: str) -> FileMark:
    return content(place.encode())


def test_inputs_are_paths_folders_and_patterns(project: Path) -> None:
    def found(*patterns: str) -> dict[str, FileMark]:
        return marks(project, patterns, Digests())

    assert found("notes.txt", "missing.txt") == {"notes.txt": of("notes.txt")}
    assert set(found("data/*.csv")) == {"data/a.csv", "data/b.csv"}
    assert set(found("data/**/*.csv")) == {"data/a.csv", "data/b.csv", "data/deep/c.csv"}
    assert set(found("data/")) == {"data/a.csv", "data/b.csv", "data/deep/c.csv", "data/.hidden"}
    assert set(found("data")) == set(found("data/"))
    assert found() == {}


def test_inputs_elsewhere_have_absolute_places(project: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "x.csv").write_text("x")
    expected = {f"{tmp_path}/shared/x.csv": of("x")}

    for pattern in ("{workspace}/shared/x.csv", "{workspace}/shared/*", f"{tmp_path}/*/x.csv"):
        assert marks(project, [pattern], Digests(), tmp_path) == expected


def test_what_inputs_name_but_cannot_be_read_as_files(project: Path) -> None:
    (project / "odd").mkdir()
    (project / "odd" / "nowhere").symlink_to("nothing")
    os.mkfifo(project / "odd" / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(project / "odd" / "socket"))

    before = marks(project, ["odd/*", "odd/fifo", "odd/nowhere"], Digests())
    (project / "odd" / "nothing").write_text("")
    after = marks(project, ["odd/*", "odd/fifo", "odd/nowhere"], Digests())

    assert set(before) == {"odd/nowhere"}
    assert set(after) == {"odd/nowhere", "odd/nothing"}
    assert before["odd/nowhere"] != after["odd/nowhere"]


def test_a_link_that_leads_in_a_circle_is_one_to_nothing(project: Path) -> None:
    (project / "data" / "round").symlink_to("round")
    found = marks(project, ["data/*"], Digests())
    assert set(found) == {"data/a.csv", "data/b.csv", "data/round"}
    assert found["data/round"] == dangling()


def test_what_vanishes_in_the_middle_of_a_look_is_not_there(project: Path) -> None:
    class Meanwhile(Digests):
        """Somebody removes a file between its being listed and its being read."""

        def of(self, path: str, info: os.stat_result | None = None) -> FileMark:
            if path.endswith("/b.csv"):
                Path(path).unlink()
            return super().of(path, info)

    path = project / "data" / "b.csv"
    for found in (
        lambda: marks(project, ["data/*.csv", "data/b.csv"], Meanwhile()),
        lambda: marks(project, ["data/b.csv", "data/*.csv"], Meanwhile()),
        lambda: products(project, ["data/*.csv"], Meanwhile()),
    ):
        path.write_text("again")
        assert set(found()) == {"data/a.csv"}
    path.write_text("again")
    assert set(products(project, ["data/"], Meanwhile())) == {
        "data/a.csv", "data/deep/c.csv", "data/.hidden",
    }  # fmt: skip


def test_names_that_are_not_utf8_can_be_kept(project: Path) -> None:
    with open(os.fsencode(project) + b"/data/caf\xe9.csv", "wb") as file:
        file.write(b"x")

    found = marks(project, ["data/*.csv"], Digests())
    made = products(project, ["data/"], Digests())

    assert found["data/caf\\xe9.csv"] == made["data/caf\\xe9.csv"] == of("x")


def test_inputs_are_the_same_in_a_snapshot(project: Path, tmp_path: Path) -> None:
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    (tmp_path / "outside" / "deep" / "x.csv").write_text("x")
    (tmp_path / "outside" / "store.sqlite").write_text("database")
    (project / "data" / "out").symlink_to(tmp_path / "outside")
    (project / "data" / "in").symlink_to(project / "data" / "deep")
    (project / "data" / "circle").symlink_to(".")
    (project / "other").mkdir()
    (project / "other" / "y.csv").write_text("y")
    (project / "other" / "back").symlink_to("../data")
    (project / "data" / "aside").symlink_to("../other")
    (project / "data" / "nowhere").symlink_to("/nothing")
    (project / "data" / "store.duckdb").write_text("database")
    patterns = ("data/", "notes.txt", "data/*.duckdb")
    taken = snapshot.take(project, tmp_path / "copy", patterns, tmp_path)
    assert taken.files

    live = marks(project, patterns, Digests())
    copied = marks(tmp_path / "copy", patterns, Digests(), live=project)

    assert "data/out/deep/x.csv" in live
    assert "data/in" in live
    assert "data/aside/y.csv" in live
    assert live["data/store.duckdb"] == of("database")
    assert copied == live


def test_products_are_the_same_once_published(tmp_path: Path) -> None:
    run, project = tmp_path / "run", tmp_path / "project"
    for root in (run, project):
        (root / "out").mkdir(parents=True)
    (run / "elsewhere").write_text("elsewhere")
    (run / "folder").mkdir()
    (project / "folder").mkdir()
    (run / "one.txt").write_text("one")
    (run / "out" / "empty").mkdir()
    (run / "out" / "two.txt").write_text("two")
    (run / "out" / "within").symlink_to("two.txt")
    (run / "out" / "absolute").symlink_to(run / "out" / "two.txt")
    (run / "out" / "to_empty").symlink_to(run / "out" / "empty")
    (run / "out" / "file_elsewhere").symlink_to("../elsewhere")
    (run / "out" / "folder_elsewhere").symlink_to("../folder")
    (run / "out" / "far").symlink_to("/usr")
    (run / "out" / "nowhere").symlink_to("nothing")
    targets = ("one.txt", "out/", "*.md", f"{tmp_path}/away.txt")
    (run / "read.md").write_text("md")
    (tmp_path / "away.txt").write_text("away")

    made = products(run, targets, Digests())
    publish.publish(run, project, targets)

    assert made == products(project, targets, Digests())
    assert set(made) == {
        "one.txt", "read.md", f"{tmp_path}/away.txt", "out/empty/", "out/two.txt", "out/within",
        "out/absolute", "out/to_empty", "out/file_elsewhere", "out/folder_elsewhere", "out/far",
        "out/nowhere",
    }  # fmt: skip


def test_a_missing_product_has_no_mark_and_a_file_is_no_folder(project: Path) -> None:
    assert products(project, ["missing", "notes.txt/", "*.none"], Digests()) == {}
    (project / "data" / "new").mkdir()
    assert set(products(project, ["data/new"], Digests())) == {"data/new/"}
