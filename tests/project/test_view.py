"""What a project looks like to those who decide what is current: inputs, targets, both ends."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from pit.model import FileMark
from pit.project import publish
from pit.project.digest import Digests
from pit.project.marks import dangling
from pit.project.places import spelled, unspelled
from pit.project.products import products_below, tree_below
from pit.project.snapshot import snapshot
from pit.project.snapshot.snapshot import Snapshot
from pit.project.trees import Rules
from pit.project.view import ProjectView, frozen_view, live_view


def content(data: bytes) -> FileMark:
    return FileMark(digest=blake3(data).hexdigest(), size=len(data))


def live(project: Path, digests: Digests | None = None) -> ProjectView:
    """The view of a project in `<workspace>/projects/`."""
    return live_view(project, project.parent.parent, Rules(project), digests or Digests())


def taken_view(copy: Path, taken: Snapshot, project: Path) -> ProjectView:
    """The view of its snapshot."""
    rules, workspace = Rules(project), project.parent.parent
    return frozen_view(copy, taken.manifest, project, workspace, rules, Digests())


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

    found = tree_below(top, Digests())

    assert set(found) == {
        "file", "inner/.hidden", "inner/empty/", "nowhere", "self", "to_file", "to_folder",
    }  # fmt: skip
    assert found["file"] == found["to_file"] == content(b"b")
    kinds = [found["inner/empty/"], found["to_folder"], found["nowhere"], found["self"]]
    assert len({content(b"").digest, *(mark.digest for mark in kinds)}) == 5


def test_an_empty_folder_has_a_mark_and_a_file_has_no_tree(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()

    assert set(tree_below(tmp_path / "empty", Digests())) == {""}
    with pytest.raises(NotADirectoryError):
        tree_below(tmp_path / "file", Digests())
    with pytest.raises(FileNotFoundError) as missing:
        tree_below(tmp_path / "missing", Digests())
    assert missing.value.filename.startswith(str(tmp_path / "missing"))


def test_where_a_link_in_a_tree_leads_counts(tmp_path: Path) -> None:
    for name in ("one", "two", "top"):
        (tmp_path / name).mkdir()
    found = []
    for aim in ("one", "two"):
        link = tmp_path / "top" / "link"
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / aim)
        found.append(tree_below(tmp_path / "top", Digests(), tmp_path))

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
        return live(project).inputs(patterns)

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
        assert live(project).inputs([pattern]) == expected


def test_what_inputs_name_but_cannot_be_read_as_files(project: Path) -> None:
    (project / "odd").mkdir()
    (project / "odd" / "nowhere").symlink_to("nothing")
    os.mkfifo(project / "odd" / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(project / "odd" / "socket"))

    before = live(project).inputs(["odd/*", "odd/fifo", "odd/nowhere"])
    (project / "odd" / "nothing").write_text("")
    after = live(project).inputs(["odd/*", "odd/fifo", "odd/nowhere"])

    assert set(before) == {"odd/nowhere"}
    assert set(after) == {"odd/nowhere", "odd/nothing"}
    assert before["odd/nowhere"] != after["odd/nowhere"]


def test_a_link_that_leads_in_a_circle_is_one_to_nothing(project: Path) -> None:
    (project / "data" / "round").symlink_to("round")
    found = live(project).inputs(["data/*"])
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
        lambda: live(project, Meanwhile()).inputs(["data/*.csv", "data/b.csv"]),
        lambda: live(project, Meanwhile()).inputs(["data/b.csv", "data/*.csv"]),
        lambda: products_below(project, ["data/*.csv"], Meanwhile()),
    ):
        path.write_text("again")
        assert set(found()) == {"data/a.csv"}
    path.write_text("again")
    assert set(products_below(project, ["data/"], Meanwhile())) == {
        "data/a.csv", "data/deep/c.csv", "data/.hidden",
    }  # fmt: skip


def test_names_that_are_not_utf8_can_be_kept(project: Path) -> None:
    with open(os.fsencode(project) + b"/data/caf\xe9.csv", "wb") as file:
        file.write(b"x")

    found = live(project).inputs(["data/*.csv"])
    made = products_below(project, ["data/"], Digests())

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

    here = live(project).inputs(patterns)
    copied = taken_view(tmp_path / "copy", taken, project).inputs(patterns)

    assert "data/out/deep/x.csv" in here
    assert "data/in" in here
    assert "data/aside/y.csv" in here
    assert here["data/store.duckdb"] == of("database")
    assert copied == here


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

    made = products_below(run, targets, Digests())
    publish.publish(run, project, targets)

    assert made == products_below(project, targets, Digests())
    assert set(made) == {
        "one.txt", "read.md", f"{tmp_path}/away.txt", "out/empty/", "out/two.txt", "out/within",
        "out/absolute", "out/to_empty", "out/file_elsewhere", "out/folder_elsewhere", "out/far",
        "out/nowhere",
    }  # fmt: skip


def test_a_missing_product_has_no_mark_and_a_file_is_no_folder(project: Path) -> None:
    assert products_below(project, ["missing", "notes.txt/", "*.none"], Digests()) == {}
    (project / "data" / "new").mkdir()
    assert set(products_below(project, ["data/new"], Digests())) == {"data/new/"}


# ---------------------------------------------------------------- places as text


@given(st.binary(min_size=1, max_size=12).filter(lambda name: not {0, 47} & set(name)))
def test_every_name_is_spelled_and_read_back(name: bytes) -> None:
    place = os.fsdecode(name)
    text = spelled(place)
    text.encode("utf-8")
    assert unspelled(text) == place


def test_a_name_that_spells_another_is_not_that_one(project: Path) -> None:
    for name, text in ((b"\xff.csv", "one"), (b"\\xff.csv", "other")):
        with open(os.fsencode(project) + b"/data/" + name, "w") as file:
            file.write(text)
    found = live(project).inputs(["data/*ff.csv", "data/*.csv"])
    assert {mark for place, mark in found.items() if "xff" in place} == {
        of("one"), of("other"),
    }  # fmt: skip
