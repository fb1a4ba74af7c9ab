"""Connectors as a task meets them: the real command, the real socket, real servers."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builder import Pit
from tests.servers import http as web
from tests.servers import s3 as storage
from tests.servers.http import Origin

TOKEN = "tok-3f9c-in-a-run"
PROJECT = """
[dag]
name = "shop"
[[tasks]]
name = "fetch"
script = "tasks/fetch.sh"
secrets = ["SECRET"]
"""


@pytest.fixture
def origin() -> Iterator[Origin]:
    with web.serving() as running:
        yield running


def everything(root: Path) -> Iterator[bytes]:
    """Whatever the workspace holds, but for the secrets file."""
    for path in root.rglob("*"):
        if path.is_file() and path.name != "secrets.toml":
            yield path.read_bytes()


def shop(pit: Pit, script: str, secrets: str) -> Pit:
    pit.file("secrets.toml", f"[shop]\n{secrets}\n", mode=0o600)
    toml = PROJECT.replace("SECRET", secrets.partition(" ")[0])
    pit.project("shop").toml(toml).file("tasks/fetch.sh", script)
    return pit


def test_a_shell_task_fetches_and_never_sees_the_secret(pit: Pit, origin: Origin) -> None:
    script = f"""
pit() {{ {" ".join(pit.argv()[:3])} "$@"; }}
set -e
pit sdk http_request url=/echo secret=api headers:='{{"X-Note": "mine"}}'
pit sdk http_request url=/bytes/100000 secret=api save_to=out.bin
pit sdk http_request url=/status/403 secret=api || echo "exit $?"
pit sdk http_request url=/redirect/302?to=http://localhost:1/ secret=api retries=0 || true
"""
    secrets = f'api = {{ endpoint = "{origin.url}", token = "{TOKEN}" }}'
    shop(pit, script, secrets).run("run", "shop", "--secrets", "secrets.toml").ok()
    log = pit.log("fetch")
    assert [seen.headers.get("Authorization") for seen in origin.requests] == [
        f"Bearer {TOKEN}"
    ] * 4
    told = json.loads(next(line for line in log.splitlines() if line.startswith("{")))
    assert told["json"]["headers"]["X-Note"] == "mine"
    assert told["json"]["headers"]["Authorization"] == "Bearer ***"
    assert (pit.runs()[-1] / "data/out.bin").stat().st_size == 100_000
    assert "was answered with 403 Forbidden" in log
    assert "exit 1" in log
    assert not any(TOKEN.encode() in content for content in everything(pit.root))


def test_a_request_ends_with_its_task(pit: Pit, origin: Origin) -> None:
    script = f"""
{" ".join(pit.argv()[:3])} sdk http_request url={origin.url}/endless save_to=out.bin
"""
    running = shop(pit, script, 'api = "unused"').start("run", "shop", "--secrets", "secrets.toml")
    assert origin.arrived.wait(60)
    running.send_signal(signal.SIGINT)
    told, _ = running.communicate(timeout=60)
    assert running.returncode == 130, told
    assert origin.left.wait(30), "the connection is closed"
    assert list((pit.runs()[-1] / "data").iterdir()) == []


def test_objects_there_and_back(pit: Pit) -> None:
    script = f"""
pit() {{ {" ".join(pit.argv()[:3])} "$@"; }}
set -e
echo 1,2 > $PIT_DATA_DIR/a.csv
pit sdk s3_put secret=lake file=a.csv key=in/
pit sdk s3_list secret=lake prefix=in/
pit sdk s3_get secret=lake prefix=in/ folder=back
cat $PIT_DATA_DIR/back/a.csv
test -z "$(pit sdk s3_head secret=lake key=none missing_ok=true)"
pit sdk s3_presign secret=lake key=in/a.csv
"""
    with storage.signed() as server:
        fields = ", ".join(f'{name} = "{value}"' for name, value in server.secret().items())
        shop(pit, script, f"lake = {{ {fields} }}")
        pit.run("run", "shop", "--secrets", "secrets.toml").ok()
    lines = pit.log("fetch").splitlines()
    assert json.loads(lines[0])["key"] == "in/a.csv"
    assert [each["key"] for each in json.loads(lines[1])] == ["in/a.csv"]
    assert json.loads(lines[2])[0]["file"] == "back/a.csv"
    assert lines[3] == "1,2"
    assert lines[4].startswith(f"{server.endpoint}/store/in/a.csv?")
    hidden = storage.SECRET_KEY.encode()
    assert not any(hidden in content for content in everything(pit.root))
