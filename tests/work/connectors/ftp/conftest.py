"""A place of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pit.work.connectors import retry
from tests.servers.certificate import Certified, certified
from tests.work.connectors.ftp.place import KINDS, Place, opened


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """A certificate for 127.0.0.1."""
    return certified(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.0)


@pytest.fixture(params=KINDS)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, certificate: Certified
) -> Iterator[Place]:
    """Each kind of server."""
    with ExitStack() as stack:
        yield opened(stack, request.param, tmp_path, certificate)


@pytest.fixture(params=["ftp", "ftps", "sftp"])
def faulty(
    request: pytest.FixtureRequest, tmp_path: Path, certificate: Certified
) -> Iterator[Place]:
    """The kinds whose server can be told to do wrong."""
    with ExitStack() as stack:
        yield opened(stack, request.param, tmp_path, certificate)


@pytest.fixture
def plain(tmp_path: Path, certificate: Certified) -> Iterator[Place]:
    """An FTP server."""
    with ExitStack() as stack:
        yield opened(stack, "ftp", tmp_path, certificate)


@pytest.fixture
def secure(tmp_path: Path, certificate: Certified) -> Iterator[Place]:
    """An SFTP server."""
    with ExitStack() as stack:
        yield opened(stack, "sftp", tmp_path, certificate)
