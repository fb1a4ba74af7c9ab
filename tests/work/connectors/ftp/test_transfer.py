"""What goes wrong on the way: connections that break, servers that stall, files that change."""

from __future__ import annotations

import threading
import tracemalloc
from pathlib import Path

import pytest

from pit.errors import ConnectorFailed
from tests.servers import ftp
from tests.servers.loop import silence
from tests.work.connectors.direct import DirectCall
from tests.work.connectors.ftp.place import BIG, METHODS, Place


def test_a_download_goes_on_where_it_broke_off(faulty: Place) -> None:
    faulty.there("big", BIG)
    faulty.server.faults.cut_after = 1 << 20
    (got,) = faulty.ask("ftp_get", path="big")
    assert Path(got).read_bytes() == BIG
    assert faulty.server.faults.cut_after is None, "it was not cut"
    assert any("trying again" in line for line in faulty.call.lines)
    assert faulty.left_over() == []


def test_a_download_that_broke_off_asks_only_for_the_rest(plain: Place) -> None:
    plain.there("big", BIG)
    plain.server.faults.cut_after = 1 << 20
    plain.ask("ftp_get", path="big")
    (offset,) = plain.server.faults.offsets
    assert offset > 0


def test_an_upload_that_broke_off_is_sent_again(faulty: Place) -> None:
    (faulty.data / "big").write_bytes(BIG)
    faulty.server.faults.cut_after = 1 << 20
    faulty.ask("ftp_put", file="big", path="big")
    assert faulty.server.faults.cut_after is None, "it was not cut"
    assert (faulty.root / "big").read_bytes() == BIG
    assert faulty.left_over() == []


def test_without_retries_a_lost_connection_is_an_error_and_nothing_is_left(faulty: Place) -> None:
    faulty.there("big", BIG)
    faulty.server.faults.cut_after = 1 << 20
    error = faulty.fails("big", "ftp_get", path="big", retries=0)
    assert isinstance(error, ConnectorFailed)
    assert error.retryable
    assert list(faulty.data.iterdir()) == []
    (faulty.data / "big").write_bytes(BIG)
    faulty.there("old", b"old")
    faulty.server.faults.cut_after = 1 << 20
    faulty.fails("", "ftp_put", file="big", path="old", retries=0)
    assert (faulty.root / "old").read_bytes() == b"old"


def test_a_server_that_stalls_is_given_up(faulty: Place) -> None:
    faulty.there("big", BIG)
    secret = faulty.call.secrets["files"]
    assert isinstance(secret, dict)
    secret["timeout"] = "400ms"
    faulty.server.faults.stall_after = 1 << 20
    faulty.fails("silent for 0.4 seconds", "ftp_get", path="big", retries=0)
    assert list(faulty.data.iterdir()) == []


def test_a_transfer_ends_with_the_attempt(faulty: Place) -> None:
    faulty.there("big", BIG)
    faulty.server.faults.stall_after = 1 << 20

    def leave() -> None:
        faulty.server.faults.stalled.wait(30)
        faulty.call.leave()

    leaver = threading.Thread(target=leave)
    leaver.start()
    faulty.fails("attempt is over", "ftp_get", path="big")
    leaver.join()
    assert list(faulty.data.iterdir()) == []


@pytest.mark.parametrize("protocol", ["ftp", "sftp"])
def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, protocol: str) -> None:
    with silence() as server:
        secret = {
            "host": server.host,
            "port": str(server.port),
            "protocol": protocol,
            "user": "u",
            "timeout": "300ms",
        }
        call = DirectCall(tmp_path, {"files": secret})
        with pytest.raises(ConnectorFailed, match=r"silent|timeout|timed out") as caught:
            call.ask(METHODS["ftp_list"], secret="files", retries=1)
        assert caught.value.retryable


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    for protocol in ("ftp", "ftps", "sftp"):
        secret = {"host": "127.0.0.1", "port": "1", "user": "u", "protocol": protocol}
        call = DirectCall(tmp_path, {"files": secret})
        with pytest.raises(ConnectorFailed, match=r"127\.0\.0\.1:1: .*refused") as caught:
            call.ask(METHODS["ftp_list"], secret="files", retries=0)
        assert caught.value.retryable


def test_a_lost_answer_to_a_rename_is_found_out(faulty: Place) -> None:
    (faulty.data / "new").write_bytes(b"new")
    lose = "RNTO" if isinstance(faulty.server.faults, ftp.Faults) else True
    faulty.server.faults.lose_answer = lose  # type: ignore[assignment]
    faulty.ask("ftp_put", file="new", path="there")
    assert (faulty.root / "there").read_bytes() == b"new"
    faulty.server.faults.lose_answer = lose  # type: ignore[assignment]
    faulty.ask("ftp_move", src="there", dst="elsewhere")
    assert (faulty.root / "elsewhere").read_bytes() == b"new"
    assert not faulty.server.faults.lose_answer
    assert faulty.left_over() == []


def test_a_file_that_changes_while_it_is_read_is_read_again(plain: Place) -> None:
    path = plain.there("a", b"one")
    changes = iter([b"three", b"fourth"])

    def change(line: str) -> None:
        if line.startswith("RETR"):
            path.write_bytes(next(changes, b"fourth"))

    plain.server.faults.before = change
    (got,) = plain.ask("ftp_get", path="a")
    assert Path(got).read_bytes() == b"fourth"


def test_a_wrong_password_is_told_once_and_not_tried_again(faulty: Place) -> None:
    secret = faulty.call.secrets["files"]
    assert isinstance(secret, dict)
    secret["password"] = "this is not it"
    with pytest.raises(ConnectorFailed, match="logging in as") as caught:
        faulty.ask("ftp_list")
    assert not caught.value.retryable
    assert "this is not it" not in f"{caught.value}{caught.value.hint}{faulty.call.lines}"
    assert not any("trying again" in line for line in faulty.call.lines)


def test_memory_stays_flat_whatever_the_size(faulty: Place) -> None:
    size = 40 << 20
    with (faulty.root / "huge").open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        (got,) = faulty.ask("ftp_get", path="huge")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert Path(got).stat().st_size == size
    assert peak < size / 2
