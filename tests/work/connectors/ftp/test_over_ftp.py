"""What is particular to FTP and FTPS."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from pit.errors import ConnectorFailed
from tests.servers import ftp
from tests.servers.certificate import Certified
from tests.servers.loop import talking
from tests.work.connectors.direct import DirectCall
from tests.work.connectors.ftp.place import BIG, METHODS, OLD, Place, opened


def test_ftp_without_size_and_time_still_fetches(tmp_path: Path) -> None:
    with ftp.serving(tmp_path / "server", without=OLD | {"SIZE", "MDTM"}) as server:
        place = Place(server, tmp_path)
        place.there("in/a", BIG)
        (got,) = place.ask("ftp_get", path="in/a")
        assert Path(got).read_bytes() == BIG


@pytest.mark.parametrize("password", ["pässword-of-the-files", "two\r\nDELE a", "nul\0nul"])
def test_a_password_that_cannot_be_said_is_not_shown(plain: Place, password: str) -> None:
    secret = plain.call.secrets["files"]
    assert isinstance(secret, dict)
    plain.call.secrets["files"] = {**secret, "password": password, "encoding": "ascii"}
    error = plain.fails("the password ", "ftp_list")
    assert password not in f"{error}{error.hint}{error!r}"


def test_a_name_cannot_write_lines_or_move_the_cursor(plain: Place) -> None:
    error = plain.fails("there is no file", "ftp_get", path="a\x1b[2J\x85b", retries=0)
    assert "\x1b" not in str(error)


def test_a_server_that_sends_more_than_the_file_has_fills_no_disk(plain: Place) -> None:
    big = plain.there("a", BIG)

    def grow(line: str) -> None:
        if line.startswith("RETR"):
            with big.open("ab") as file:
                file.truncate(big.stat().st_size + (64 << 20))

    plain.server.faults.before = grow
    plain.fails("changed while it was read", "ftp_get", path="a", retries=1)
    assert list(plain.data.iterdir()) == []


def test_ftps_data_connections_go_on_with_the_session(
    tmp_path: Path, certificate: Certified
) -> None:
    with ExitStack() as stack:
        place = opened(stack, "ftps", tmp_path, certificate)
        place.there("a", BIG)
        place.ask("ftp_get", directory="", pattern="a")
        (place.data / "b").write_bytes(BIG)
        place.ask("ftp_put", file="b", path="b")
        assert place.server.faults.reused == [True, True, True]


def test_ftps_needs_a_certificate_that_is_to_be_trusted(
    tmp_path: Path, certificate: Certified
) -> None:
    with ExitStack() as stack:
        place = opened(stack, "ftps", tmp_path, certificate)
        place.there("a")
        secret = place.call.secrets["files"]
        assert isinstance(secret, dict)
        del secret["ca"]
        error = place.fails('field "ca"', "ftp_list")
        assert not getattr(error, "retryable", True)
        assert not any("PASS" in line for line in place.server.faults.commands)
        secret["ca"] = certificate.authority
        secret["host"] = "localhost"
        assert place.ask("ftp_list") == ["a"]
        secret |= {"ca": "", "verify": "false"}
        assert place.ask("ftp_list") == ["a"]
        authority = tmp_path / "authority.pem"
        authority.write_text(certificate.authority)
        secret |= {"ca": str(authority), "verify": "true", "tls": "true"}
        assert place.ask("ftp_list") == ["a"]


def test_a_password_that_travels_unencrypted_is_remarked(plain: Place) -> None:
    plain.ask("ftp_list")
    assert [line for line in plain.call.lines if "unencrypted" in line]


def test_a_data_address_from_the_server_is_not_followed(
    plain: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyftpdlib.handlers import FTPHandler

    plain.there("a", b"hello")
    # As a server behind a NAT that does not know its public address.
    monkeypatch.setattr(FTPHandler, "masquerade_address", "10.255.255.1")
    (got,) = plain.ask("ftp_get", path="a", retries=0)
    assert Path(got).read_bytes() == b"hello"


def test_an_answer_without_an_end_is_given_up(tmp_path: Path) -> None:
    with talking(b"220-welcome\r\n" * 1000) as server:
        secret = {"host": server.host, "port": str(server.port), "user": "u", "protocol": "ftp"}
        call = DirectCall(tmp_path, {"files": secret})
        with pytest.raises(ConnectorFailed, match="never ends"):
            call.ask(METHODS["ftp_list"], secret="files", retries=0)
