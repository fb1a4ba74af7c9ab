"""What every `ftp_*` method does, the same over FTP, FTPS and SFTP."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pit.errors import ConnectorFailed
from tests.work.connectors.ftp.place import BIG, Place

# ---------------------------------------------------------------- the contract


def test_list_names_the_files_of_a_folder_that_match(place: Place) -> None:
    for name in ("in/b.csv", "in/a.csv", "in/c.txt", "in/deep/d.csv", "in/.hidden.csv"):
        place.there(name)
    assert place.ask("ftp_list", directory="in", pattern="*.csv") == ["a.csv", "b.csv"]
    assert place.ask("ftp_list", directory="in/") == ["a.csv", "b.csv", "c.txt"]
    assert place.ask("ftp_list", directory="in", pattern=".*") == [".hidden.csv"]
    assert place.ask("ftp_list", directory="/in", pattern="[ab].c?v") == ["a.csv", "b.csv"]
    place.there("top")
    assert place.ask("ftp_list") == ["top"]


def test_list_shows_size_and_time(place: Place) -> None:
    os.utime(place.there("in/a.csv", b"12345"), (1_700_000_000, 1_700_000_000))
    (told,) = place.ask("ftp_list", directory="in", details="true")
    assert told == {
        "name": "a.csv",
        "path": "in/a.csv",
        "size": 5,
        "modified": "2023-11-14T22:13:20Z",
    }


def test_an_empty_folder_is_empty_and_an_absent_one_is_an_error(place: Place) -> None:
    (place.root / "empty").mkdir()
    assert place.ask("ftp_list", directory="empty") == []
    place.fails("gone", "ftp_list", directory="gone")


@pytest.mark.parametrize(
    "name", ["with space.csv", "grüße-日本.csv", "-rf.csv", "a;b=c.csv", "'q\".csv"]
)
def test_odd_names_go_there_and_back(place: Place, name: str) -> None:
    (place.data / "out").write_bytes(b"content")
    place.ask("ftp_put", file="out", path=f"in/{name}", parents=True)
    assert (place.root / "in" / name).read_bytes() == b"content"
    assert place.ask("ftp_list", directory="in") == [name]
    assert place.ask("ftp_get", directory="in", pattern="*") == [str(place.data / name)]
    assert (place.data / name).read_bytes() == b"content"
    place.ask("ftp_move", src=f"in/{name}", dst="in/plain")
    place.ask("ftp_delete", path="in/plain")
    assert place.ask("ftp_list", directory="in") == []


def test_links_count_as_what_they_lead_to(place: Place) -> None:
    place.there("real/a.csv", b"12345")
    (place.root / "in").mkdir()
    (place.root / "in/link.csv").symlink_to("../real/a.csv")
    (place.root / "in/folder").symlink_to("../real")
    (told,) = place.ask("ftp_list", directory="in", details=True)
    assert (told["name"], told["size"]) == ("link.csv", 5)
    (got,) = place.ask("ftp_get", directory="in", pattern="*")
    assert Path(got).read_bytes() == b"12345"


def test_get_fetches_one_file_or_those_that_match(place: Place) -> None:
    place.there("in/a.csv", b"A")
    place.there("in/b.csv", BIG)
    place.there("in/empty.csv", b"")
    got = place.ask("ftp_get", path="in/b.csv", to="raw/today")
    assert got == [str(place.data / "raw/today/b.csv")]
    assert Path(got[0]).read_bytes() == BIG
    got = place.ask("ftp_get", directory="in", pattern="*.csv")
    assert [Path(path).name for path in got] == ["a.csv", "b.csv", "empty.csv"]
    assert [Path(path).read_bytes() for path in got] == [b"A", BIG, b""]
    assert place.call.saved[1:] == [Path(path) for path in got]
    assert place.ask("ftp_get", directory="in", pattern="*.xml") == []
    place.fails("in/none", "ftp_get", path="in/none")
    assert place.left_over() == []


def test_put_replaces_whole_and_makes_folders_when_asked(place: Place) -> None:
    (place.data / "big").write_bytes(BIG)
    place.there("out/big", b"old")
    told = place.ask("ftp_put", file="big", path="out/")
    assert told == {"path": "out/big", "size": len(BIG)}
    assert (place.root / "out/big").read_bytes() == BIG
    place.fails("", "ftp_put", file="big", path="deep/er/big")
    place.ask("ftp_put", file="big", path="deep/er/big", parents="true")
    assert (place.root / "deep/er/big").read_bytes() == BIG
    place.ask("ftp_put", file="big", path="deep/direct", direct=True)
    assert (place.root / "deep/direct").read_bytes() == BIG
    assert place.left_over() == []


def test_move_and_delete(place: Place) -> None:
    place.there("in/a", b"new")
    place.there("done/a", b"old")
    assert place.ask("ftp_move", src="in/a", dst="done/") == ""
    assert (place.root / "done/a").read_bytes() == b"new"
    assert not (place.root / "in/a").exists()
    place.fails("in/a", "ftp_move", src="in/a", dst="done/b")
    assert place.ask("ftp_delete", path="done/a") == ""
    place.fails("done/a", "ftp_delete", path="done/a")


def test_older_names_and_params(place: Place) -> None:
    place.there("in/a.csv", b"A")
    assert place.ask("ftp_list", directory="in", pattern="*.csv") == ["a.csv"]
    assert place.ask("ftp_download", remote_path="in/a.csv") == [str(place.data / "a.csv")]
    assert place.ask("ftp_download", directory="in", pattern="*") == [str(place.data / "a.csv")]
    assert place.ask("ftp_download", remote_path="in", pattern="*") == [str(place.data / "a.csv")]
    assert place.ask("ftp_upload", local_name="a.csv", remote_path="in/b.csv") == ""
    assert (place.root / "in/b.csv").read_bytes() == b"A"
    place.fails("remote_path", "ftp_download")


# ---------------------------------------------------------------- waiting


def test_wait_returns_what_has_stopped_changing(place: Place) -> None:
    place.there("in/a.csv")
    found = place.ask("ftp_wait", directory="in", pattern="*.csv", stable="200ms", timeout="20s")
    assert found == ["a.csv"]
    details = place.ask("ftp_wait", directory="in", stable=0, details=True)
    assert [each["path"] for each in details] == ["in/a.csv"]


def test_wait_does_not_take_a_file_that_grows(plain: Place) -> None:
    growing = plain.there("in/a.csv")
    looks = 0

    def grow(line: str) -> None:
        nonlocal looks
        if line.startswith("MLSD"):
            looks += 1
            if looks <= 6:
                with growing.open("ab") as file:
                    file.write(b"more")

    plain.server.faults.before = grow
    (told,) = plain.ask("ftp_wait", directory="in", stable="300ms", timeout="30s", details=True)
    assert looks > 6
    assert told["size"] == 5 + 6 * 4


def test_wait_ends_in_time_and_says_what_it_saw(place: Place) -> None:
    place.there("in/a.csv")
    error = place.fails(
        "1 there", "ftp_wait", directory="in", stable="0s", timeout="300ms", at_least=2
    )
    assert isinstance(error, ConnectorFailed)
    assert error.retryable


def test_wait_ends_with_the_attempt(place: Place) -> None:
    (place.root / "in").mkdir()
    threading.Timer(0.3, place.call.leave).start()
    place.fails("attempt is over", "ftp_wait", directory="in", timeout="1h")


def test_wait_bears_a_server_that_is_away_for_a_while(plain: Place) -> None:
    plain.there("in/a.csv")
    plain.server.faults.cut_after = 0
    assert plain.ask("ftp_wait", directory="in", stable="0s", timeout="30s") == ["a.csv"]
