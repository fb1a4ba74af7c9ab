"""`examples/connectors` in a copy, by the real command, against servers that the test starts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.builder import Pit, Result

EXAMPLE = Path(__file__).parents[2] / "examples" / "connectors"
MADE_HERE = ("runs", ".pit", "pit_metadata.db*", "secrets.toml", "__pycache__")
CLAIMS = "insurer,claim,euros\nnorth,N-1,100.00\nnorth,N-2,100.00\nsouth,S-1,50.00\n"
TASKS = ["rates", "fetch", "convert", "store", "deliver", "report", "tell", "tidy"]


@pytest.fixture(scope="module")
def servers() -> ModuleType:
    """The example's servers.py."""
    spec = importlib.util.spec_from_file_location("example_servers", EXAMPLE / "servers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def them(servers: ModuleType) -> Iterator[Any]:
    """The running servers."""
    with servers.neighbours() as found:
        yield found


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, them: Any) -> Pit:
    """A copy of the example, with secrets for the servers."""
    root = tmp_path_factory.mktemp("examples") / "connectors"
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns(*MADE_HERE))
    them.write_secrets(root / "secrets.toml")
    # The shell tasks call `pit`.
    return Pit(root, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


@pytest.fixture(scope="module")
def ran(workspace: Pit, them: Any) -> Result:
    """One run."""
    them.new_claims()
    return workspace.run("run", "claims", "--json", timeout=300)


def unix(text: str) -> str:
    """A text with lines that end as here."""
    return text.replace("\r\n", "\n")


def test_the_workspace_is_valid(workspace: Pit) -> None:
    workspace.run("validate").ok()


def test_every_task_succeeds(ran: Result) -> None:
    ended = [event for event in ran.ok().events if event["event"] == "task_ended"]
    assert {event["task"]: event["state"] for event in ended} == dict.fromkeys(TASKS, "success")


def test_the_bank_has_the_file_whole(ran: Result, them: Any) -> None:
    ran.ok()
    (path,) = them.inbox.iterdir()
    assert path.name == "claims.csv"
    assert unix(path.read_text()) == CLAIMS


def test_the_desk_has_a_mail_with_file_and_link(ran: Result, them: Any) -> None:
    ran.ok()
    (letter,) = them.post.letters
    assert letter.recipients == ["desk@example.com"]
    assert letter.message["Subject"] == "3 claims"
    (attached,) = letter.message.iter_attachments()
    assert unix(attached.get_content()) == CLAIMS
    text = letter.message.get_body(("plain",)).get_content()
    assert "250.00 euros" in text
    (link,) = [word for word in text.split() if word.startswith("http://")]
    with urllib.request.urlopen(link) as stored:
        assert unix(stored.read().decode()) == CLAIMS


def test_the_team_is_told(ran: Result, them: Any) -> None:
    ran.ok()
    assert them.messages == ["Claims: The bank has 3 claims."]


def test_the_outbox_is_tidied(ran: Result, them: Any) -> None:
    ran.ok()
    assert [path.name for path in them.outbox.iterdir()] == ["done"]
    done = sorted(path.name for path in (them.outbox / "done").iterdir())
    assert done == ["claims-north.csv", "claims-south.csv"]


def test_no_secret_is_in_anything_that_is_left(
    workspace: Pit, ran: Result, servers: ModuleType
) -> None:
    ran.ok()
    passwords = [servers.ftp.PASSWORD, servers.sftp.PASSWORD, servers.smtp.PASSWORD]
    hidden = [word.encode() for word in (*passwords, servers.TOKEN, servers.s3.SECRET_KEY)]
    made = ("runs", ".pit", "projects")
    left = [path for name in made for path in (workspace.root / name).rglob("*")]
    for path in [*left, *workspace.root.glob("pit_metadata.db*")]:
        if path.is_file():
            assert not [word for word in hidden if word in path.read_bytes()], path
    assert not [word for word in hidden if word in (ran.out + ran.err).encode()]


def test_the_audit_tells_who_asked_for_what(workspace: Pit, ran: Result) -> None:
    ran.ok()
    told = workspace.run("secrets", "audit").ok().out
    for key in ("rates_api", "insurers", "lake", "mail", "bank", "team"):
        assert key in told
