"""Reading one TOML file, whatever lies in its place."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pit.config.toml import document
from pit.config.toml.findings import Findings
from pit.model import Problem


def problem(path: Path) -> Problem:
    """The one problem of a file that cannot be read."""
    findings = Findings("pit.toml")
    assert document.read(path, findings) is None
    (found,) = findings.problems()
    return found


def said(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    found = problem(path)
    return f"{found.line}:{found.column} {found.sentence}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pit.toml"


def test_a_good_file(path: Path) -> None:
    path.write_bytes(b'[dag]\r\nname = "\xc3\xa9"\r\n')
    findings = Findings("pit.toml")
    assert document.read(path, findings) == {"dag": {"name": "é"}}
    assert findings.problems() == ()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a = \n", "1:5 not TOML: this is not a TOML value; a text needs quotes"),
        (b"a = foo\n", "1:5 not TOML: this is not a TOML value; a text needs quotes"),
        (b"a = 1\na = 2\n", '2:1 "a" is set already, in line 1'),
        (b"[dag]\n[dag.env]\n[dag]\n", '3:2 "dag" is set already, in line 1'),
        (b"[dag\n", '1:5 not TOML: the table header is not closed by "]"'),
        (b"[[tasks]\n", '1:8 not TOML: the table header is not closed by "]]"'),
        (b'a = "x\n', "1:7 not TOML: the line ends before the text is closed by a quote"),
        (b"a = 'x\n", "1:7 not TOML: the text is not closed by a quote"),
        (b'a = "x\n\n\n', "1:7 not TOML: the line ends before the text is closed by a quote"),
        (b'a = """x\n\n', "1:9 not TOML: the text is not closed by a quote"),
        (b"a = [\n1\n2]\n", '3:1 not TOML: the array is not closed, or a "," is missing in it'),
        (
            b"a = { b = 1\n",
            '1:12 not TOML: the inline table is not closed, or a "," is missing in it',
        ),
        (b"a b\n", '1:3 not TOML: a key needs "=" and a value after it'),
        (
            b'a = "C:\\data"\n',
            r"1:10 not TOML: write a backslash as \\, or the text in single quotes",
        ),
        (b"a = 1 b = 2\n", "1:7 not TOML: this does not belong after the value"),
        (b"= 2\n", '1:1 not TOML: this is neither a key nor a [table]; write key = "value"'),
        (b"a = 'x\xe9'\n", "1:7 byte 0xe9 is not UTF-8, which TOML requires"),
        (b"\xef\xbb\xbfa = 1\n", "1:1 this file begins with a byte order mark"),
        ("a = 1\n".encode("utf-16"), "1:1 this file is UTF-16; TOML is UTF-8"),
        (b"a = " + b"[" * 1000 + b"]" * 1000, "0:0 arrays or tables are nested too deeply"),
    ],
)
def test_what_is_not_toml_is_said_with_its_place(content: bytes, sentence: str, path: Path) -> None:
    assert said(path, content).startswith(sentence)


def test_the_source_line_comes_along(path: Path) -> None:
    path.write_bytes(b'x = 1\r\nname = "a\r\n')
    assert problem(path).source == 'name = "a'


def test_a_named_pipe_is_not_opened(path: Path) -> None:
    os.mkfifo(path)
    assert problem(path).sentence == "this is a named pipe, not a file"


def test_folders_sockets_and_devices(path: Path, tmp_path: Path) -> None:
    path.mkdir()
    assert problem(path).sentence == "this is a folder, not a file"
    assert problem(Path("/dev/null")).sentence == "this is a device, not a file"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert problem(tmp_path / "s").sentence == "this is a socket, not a file"


def test_a_link_that_leads_nowhere(path: Path) -> None:
    path.symlink_to("gone.toml")
    assert problem(path).sentence == "this link leads nowhere (gone.toml)"


def test_a_link_to_a_file_is_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("a = 1\n")
    path.symlink_to("other.toml")
    assert document.read(path, Findings("pit.toml")) == {"a": 1}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(path: Path) -> None:
    path.write_text("a = 1\n")
    path.chmod(0)
    assert problem(path).sentence == "cannot be read: Permission denied"
    assert "chmod" in problem(path).hint


def test_a_huge_file_is_not_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(document.LARGEST + 1)
    assert problem(path).sentence == "this file is too large to be a pit.toml"
