"""`pit.work.sql.client`: what a script hears of its SQL process."""

from __future__ import annotations

import os
import queue
import threading
from pathlib import Path
from typing import cast

import pytest

from pit.sql import protocol
from pit.sql.connection.urls import parse
from pit.work.sql.client import Gone, SqlProcess, Talk


class _Forgetful:
    """A SQL process with nobody to forget."""

    def forget(self, number: int) -> None: ...


class _Late(queue.Queue[protocol.Told | Gone]):
    """Ends the conversation while a message is being delivered, and opens other files."""

    def __init__(self, talk: Talk, other: Path) -> None:
        super().__init__()
        self.talk, self.other = talk, other
        self.handles: list[int] = []

    def put(
        self, item: protocol.Told | Gone, block: bool = True, timeout: float | None = None
    ) -> None:
        super().put(item, block, timeout)
        self.talk.__exit__(None, None, None)
        self.handles = [os.open(self.other, os.O_RDWR | os.O_CREAT) for _ in range(3)]


def test_a_message_that_comes_too_late_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = Talk(cast(SqlProcess, _Forgetful()), 1)
    late = _Late(talk, tmp_path / "other")
    monkeypatch.setattr(talk, "_messages", late)
    talk.put(Gone(returncode=0, ended=True, alone=True, begun=True, words=""))
    for handle in late.handles:
        os.close(handle)
    assert (tmp_path / "other").read_bytes() == b""


class _Dead:
    """A child that has died, which its pipe for answers does not tell yet."""

    def __init__(self) -> None:
        self.told = threading.Event()

    def send(self, data: bytes) -> None:
        self.told.set()

    def receive(self) -> bytes:
        assert self.told.wait(60)
        return b""

    def end(self, grace: float) -> int | None:
        return -9

    def close(self) -> None: ...


def test_a_script_that_a_dead_process_never_heard_of_is_not_its_death(tmp_path: Path) -> None:
    sql = SqlProcess(_Dead, tmp_path / "stderr")
    request = protocol.Probe(id=0, database=parse(":memory:", tmp_path))
    with sql.begin(request) or pytest.fail("it is known to be dead") as talk:
        (gone,) = talk.hear(None, 60)
    assert isinstance(gone, Gone)
    assert (gone.returncode, gone.begun) == (-9, False)
    sql.close()
