"""What a connector says of a secret: never its value, in whatever form a server sends it back."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from pit.work.connectors.fields import Fields, trusting

PASSWORD = "hunter2-hunter2"


@pytest.mark.parametrize(
    "said",
    [
        f"535 {PASSWORD} is wrong",
        "535 bad: " + base64.b64encode(f"\0etl\0{PASSWORD}".encode()).decode(),
        "535 bad: " + base64.b64encode(PASSWORD.encode()).decode(),
        "bad PIN 9Zq",
    ],
)
def test_what_a_server_sends_back_is_blotted_out(said: str) -> None:
    fields = Fields("mail", {"password": PASSWORD, "passphrase": "9Zq"}, "")
    hidden = fields.hide(said)
    assert "***" in hidden
    assert PASSWORD not in hidden
    assert "aHVudGVyMi1od" not in hidden
    assert "h1bnRlcjItaHVudGVyM" not in hidden


def test_the_keys_of_a_connection_are_written_to_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert trusting("", verify=True).keylog_filename is None
