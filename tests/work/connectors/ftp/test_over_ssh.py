"""What is particular to SFTP: host keys and private keys."""

from __future__ import annotations

from pathlib import Path

import asyncssh
import pytest

from pit.work.connectors.ftp import over_ssh
from tests.servers import sftp
from tests.work.connectors.ftp.place import Place


def test_sftp_refuses_an_unknown_host_key_and_says_which(secure: Place) -> None:
    secret = secure.call.secrets["files"]
    assert isinstance(secret, dict)
    secret["host_key"] = ""
    secure.fails(f'host_key = "{secure.server.fingerprint}"', "ftp_list")  # type: ignore[union-attr]
    secret["host_key"] = "SHA256:" + "A" * 43
    secure.fails("the host key has changed", "ftp_list")


@pytest.mark.parametrize("form", ["fingerprint", "known_host", "several", "padded"])
def test_sftp_knows_a_host_key_in_each_form(secure: Place, form: str) -> None:
    server = secure.server
    assert isinstance(server, sftp.Server)
    forms = {
        "fingerprint": server.fingerprint,
        "known_host": server.known_host,
        "several": f"# old\nSHA256:{'A' * 43}\n{server.known_host} remark\n",
        "padded": f"ssh-ed25519 {server.fingerprint}=",
    }
    secret = secure.call.secrets["files"]
    assert isinstance(secret, dict)
    secret["host_key"] = forms[form]
    secure.there("a")
    assert secure.ask("ftp_list") == ["a"]


def test_sftp_refuses_another_key_of_the_known_kind(secure: Place) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    secret = secure.call.secrets["files"]
    assert isinstance(secret, dict)
    secret["host_key"] = f"host {other}"
    secure.fails("the host key has changed", "ftp_list")
    secret["host_key"] = "nonsense"
    secure.fails('field "host_key" is wrong', "ftp_list")


@pytest.mark.parametrize("passphrase", ["", "open sesame"])
def test_sftp_logs_in_with_a_private_key(tmp_path: Path, passphrase: str) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    text = key.export_private_key(passphrase=passphrase or None, rounds=50).decode()
    with sftp.serving(tmp_path / "server", [key]) as server:
        place = Place(server, tmp_path, password="", private_key=text, passphrase=passphrase)
        place.there("a")
        assert place.ask("ftp_list") == ["a"]
        secret = place.call.secrets["files"]
        assert isinstance(secret, dict)
        secret["private_key"] = (
            asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
        )
        place.fails("was refused", "ftp_list")
        secret["private_key"] = text[:100]
        place.fails('field "private_key" is wrong', "ftp_list")


def test_a_long_list_may_take_longer_than_a_server_may_be_silent(secure: Place) -> None:
    secret, server = secure.call.secrets["files"], secure.server
    assert isinstance(secret, dict)
    assert isinstance(server, sftp.Server)
    secret["timeout"] = "2s"
    # A server answers with a hundred names or so at once.
    server.faults.names, server.faults.pause = [b"%d.csv" % n for n in range(600)], 0.005
    assert len(secure.ask("ftp_list", retries=0)) == 600


def test_a_list_without_an_end_is_given_up(secure: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_ssh, "_MOST", 100)
    assert isinstance(secure.server, sftp.Server)
    secure.server.faults.names = [b"%d.csv" % n for n in range(200)]
    secure.fails("never ends", "ftp_list", retries=0)
