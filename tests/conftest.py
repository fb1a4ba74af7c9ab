"""Fixtures for every test: a fresh workspace and the real command."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.builder import Pit
from tests.servers.postgres import Server, shared

# A shell ignores Ctrl-C for what it starts in the background, nohup ignores hang-ups, and so would
# all that is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def pit(tmp_path: Path) -> Pit:
    """An empty workspace with the real command."""
    return Pit(tmp_path)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Server:
    """A Postgres server, for as long as the suite runs."""
    folder = tmp_path_factory.getbasetemp()
    try:
        return shared(folder if worker_id == "master" else folder.parent)
    except LookupError as error:
        pytest.skip(str(error))
