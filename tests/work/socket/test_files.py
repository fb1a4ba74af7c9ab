"""`pit.work.socket.files`: a request's file names lead into the data folder or nowhere."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pit.errors import Refused
from pit.work.socket.files import reading, resolved, writing


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder beside a file that is nobody's business."""
    (tmp_path / "outside").write_text("nobody's business")
    (tmp_path / "data-too").mkdir()
    made = tmp_path / "data"
    made.mkdir()
    (made / "in.csv").write_text("a,b\n")
    return made


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "sub/../../outside",
        "..",
        "../data-too/x",
        "/etc/passwd",
        "./../outside",
        "sub/../../../../../../etc/passwd",
        "",
        "a\0b",
        "a\udc80b",
        "link",
        "folder/passwd",
        "loop",
    ],
)
def test_a_name_that_leads_out_is_refused(data: Path, name: str) -> None:
    (data / "link").symlink_to("../outside")
    (data / "folder").symlink_to("/etc")
    (data / "loop").symlink_to("loop")
    before = sorted(os.listdir(data.parent))
    with pytest.raises(Refused):
        resolved(data, name)
    assert sorted(os.listdir(data.parent)) == before


def test_a_name_inside_is_good_however_it_is_written(data: Path) -> None:
    (data / "inner").symlink_to("in.csv")
    for name in ("in.csv", "./in.csv", "sub/../in.csv", str(data / "in.csv"), "inner"):
        assert resolved(data, name, exists=True) == data / "in.csv"


def test_parents_are_made_and_absence_is_told(data: Path) -> None:
    assert resolved(data, "new/deep/out.csv") == data / "new/deep/out.csv"
    assert (data / "new/deep").is_dir()
    with pytest.raises(Refused, match=r'"gone\.csv" does not exist'):
        resolved(data, "gone.csv", exists=True)


def test_devices_and_pipes_are_no_files(data: Path) -> None:
    os.mkfifo(data / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(data / "socket"))
    for name in ("pipe", "socket"):
        with pytest.raises(Refused, match="neither a file nor a folder"):
            resolved(data, name)
    (data / "null").symlink_to("/dev/null")
    with pytest.raises(Refused, match="leads out"):
        resolved(data, "null")


def test_a_link_put_in_the_way_is_not_followed(data: Path) -> None:
    (data / "sub").mkdir()
    (data / "sub/file").write_text("mine")
    path = resolved(data, "sub/file", exists=True)
    (data / "sub/file").unlink()
    (data / "sub/file").symlink_to("../../outside")
    with pytest.raises(Refused, match="by a link"):
        reading(data, path)
    (data / "sub/file").unlink()
    (data / "sub").rmdir()
    (data / "sub").symlink_to("..")
    with pytest.raises(Refused), writing(data, path) as file:
        file.write(b"x")
    assert not (data.parent / "file").exists()


def test_a_pipe_put_in_the_way_hangs_nobody(data: Path) -> None:
    path = resolved(data, "in.csv", exists=True)
    (data / "in.csv").unlink()
    os.mkfifo(data / "in.csv")
    with pytest.raises(Refused, match="not a regular file"):
        reading(data, path)


def test_reading_reads(data: Path) -> None:
    with reading(data, resolved(data, "in.csv")) as file:
        assert file.read() == b"a,b\n"


def test_writing_replaces_whole_or_not_at_all(data: Path) -> None:
    path = resolved(data, "in.csv")
    with writing(data, path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"a,b\n"
    assert path.read_bytes() == b"new"

    with pytest.raises(ValueError), writing(data, path) as file:  # noqa: PT011, PT012
        file.write(b"half")
        raise ValueError
    assert path.read_bytes() == b"new"
    assert os.listdir(data) == ["in.csv"]
