"""Names and paths: odd ones go through, hostile ones go nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pit.errors import Refused
from tests.work.connectors.ftp.place import Place

OUTSIDE = ["../x", "/etc/passwd", "a/../../x", "a\0b", ""]


@pytest.mark.parametrize("name", OUTSIDE)
def test_files_outside_the_data_folder_are_refused(plain: Place, name: str) -> None:
    plain.there("a")
    for method, params in (
        ("ftp_put", {"file": name, "path": "x"}),
        ("ftp_upload", {"local_name": name, "remote_path": "x"}),
        *((("ftp_get", {"path": "a", "to": name}),) if name else ()),
    ):
        with pytest.raises((Refused, ValueError)):
            plain.ask(method, **params)
    assert [path.name for path in plain.root.iterdir()] == ["a"]
    assert list(plain.data.iterdir()) == []


@pytest.mark.parametrize("name", [b"../evil", b"/etc/evil", b"sub/evil", b"nul\0evil"])
def test_names_that_a_server_makes_up_never_reach_the_disk(secure: Place, name: bytes) -> None:
    secure.server.faults.names = [name]
    secure.there("evil")
    secure.fails("evil", "ftp_get", pattern=".*evil" if name.startswith(b".") else "*evil")
    assert list(secure.data.iterdir()) == []
    assert not (secure.data.parent / "evil").exists()


@pytest.mark.parametrize("evil", ["x\r\nDELE victim", "x\nDELE victim"])
def test_a_line_break_in_a_path_commands_nothing(plain: Place, evil: str) -> None:
    plain.there("victim")
    (plain.data / "a").write_bytes(b"a")
    for method, params in (
        ("ftp_list", {"directory": evil}),
        ("ftp_get", {"path": evil}),
        ("ftp_put", {"file": "a", "path": evil}),
        ("ftp_move", {"src": evil, "dst": "y"}),
        ("ftp_move", {"src": "victim", "dst": evil}),
        ("ftp_delete", {"path": evil}),
    ):
        plain.fails("line break", method, **params)
    assert (plain.root / "victim").exists()
    assert not any("victim" in line and "DELE" in line for line in plain.server.faults.commands)


def test_a_name_with_a_line_break_is_listed(place: Place) -> None:
    place.there("in/a\nb")
    found = place.ask("ftp_list", directory="in")
    assert found == ["a\nb"] or "NLST" in "".join(getattr(place.server.faults, "commands", []))


def test_names_in_another_encoding(place: Place) -> None:
    (place.root / "in").mkdir()
    (place.root / os.fsdecode("in/gr\xfc\xdfe.csv".encode("latin-1"))).write_bytes(b"latin")
    place.there("in/other.txt")
    assert place.ask("ftp_list", directory="in", pattern="*.txt") == ["other.txt"]
    place.fails('encoding = "latin-1"', "ftp_list", directory="in")


def test_latin_1_names_by_the_secrets_encoding(secure: Place) -> None:
    (secure.root / os.fsdecode("gr\xfc\xdfe.csv".encode("latin-1"))).write_bytes(b"latin")
    secret = secure.call.secrets["files"]
    assert isinstance(secret, dict)
    secret["encoding"] = "latin-1"
    assert secure.ask("ftp_list") == ["grüße.csv"]
    (got,) = secure.ask("ftp_get", path="grüße.csv")
    assert Path(got).read_bytes() == b"latin"
    secure.fails("cannot be encoded in LATIN-1", "ftp_get", path="日本")


def test_patterns_stay_within_a_folder(plain: Place) -> None:
    plain.fails("within one folder", "ftp_list", pattern="../*")
    plain.fails("either path, or", "ftp_get", path="a", pattern="b")
    plain.fails("retries", "ftp_list", retries=-1)
    plain.fails("timeout: ", "ftp_wait", timeout="soon")


def test_unfinished_uploads_are_invisible(plain: Place) -> None:
    plain.there(".pit-abc.part")
    assert plain.ask("ftp_list", pattern=".*") == []
