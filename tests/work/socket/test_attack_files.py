"""Every file that a request can name: none leads out of the data folder, whatever is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pit.work.process import launch
from tests.work.socket.live import LiveServer

SECRETS = """
[global.store]
endpoint = "http://127.0.0.1:1"
bucket = "claims"
access_key_id = "id-of-a-key"
secret_access_key = "the-key-itself"
[global.ftp]
host = "127.0.0.1"
port = "1"
user = "u"
password = "password"
[global.mail]
host = "127.0.0.1"
port = "1"
security = "none"
from = "pit@example.org"
[global]
chat = "json://127.0.0.1:1/"
"""

# Each param that names a file or a folder on Pit's side, `{}` in its place.
_PARAMS = {
    "saved": 'file="{}"',
    "http_request file": 'url="http://127.0.0.1:1/", method="POST", retries=0, file="{}"',
    "http_request files": 'url="http://127.0.0.1:1/", method="PUT", retries=0, files={{"f": "{}"}}',
    "http_request save_to": 'url="http://127.0.0.1:1/", retries=0, save_to="{}"',
    "s3_put": 'secret="store", retries=0, file="{}"',
    "s3_get file": 'secret="store", retries=0, key="k", file="{}"',
    "send_mail": 'secret="mail", to="a@example.org", subject="s", text="t", attachments="{}"',
    "notify": 'secret="chat", body="b", attachments="{}"',
    "ftp_put": 'secret="ftp", retries=0, path="/x", file="{}"',
    "ftp_get": 'secret="ftp", retries=0, path="/x", to="{}"',
    "ftp_upload": 'secret="ftp", remote_path="/x", local_name="{}"',
}

_LEADING_OUT = ("../outside", "/etc/passwd", "sub/../../outside", "link", "folder/passwd")


@pytest.fixture(autouse=True, scope="module")
def _subreaper() -> None:
    launch.become_subreaper()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    made = LiveServer(tmp_path, SECRETS)
    (tmp_path / "outside").write_text("nobody's business")
    (made.data / "link").symlink_to("../outside")
    (made.data / "folder").symlink_to("/etc")
    yield made
    made.server.end()


@pytest.mark.parametrize("asked", list(_PARAMS))
def test_no_file_of_a_request_leads_out(live: LiveServer, asked: str) -> None:
    calls = [_PARAMS[asked].format(name) for name in _LEADING_OUT]
    method = asked.split()[0]
    before = os.stat(live.root / "outside")
    answers = live.asked(f"[{', '.join(f'ask({method!r}, {call})' for call in calls)}]")
    for answer, name in zip(answers, _LEADING_OUT, strict=True):
        assert "leads out of the data folder" in answer["error"], (name, answer)
    after = os.stat(live.root / "outside")
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert sorted(os.listdir(live.data)) == ["folder", "link"]
