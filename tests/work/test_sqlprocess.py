"""`pit.work.sqlprocess`: what a script hears of its SQL process."""

from __future__ import annotations

import os
import queue
from pathlib import Path
from typing import cast

import pytest

from pit.sql import wire
from pit.work.sqlprocess import Gone, SqlProcess, Talk


class _Forgetful:
    """A SQL process with nobody to forget."""

    def forget(self, number: int) -> None: ...


class _Late(queue.Queue[wire.Reply | Gone]):
    """Ends the conversation while a message is being delivered, and opens other files."""

    def __init__(self, talk: Talk, other: Path) -> None:
        super().__init__()
        self.talk, self.other = talk, other
        self.handles: list[int] = []

    def put(
        self, item: wire.Reply | Gone, block: bool = True, timeout: float | None = None
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
    talk.put(Gone(returncode=0, ended=True, alone=True, words=""))
    for handle in late.handles:
        os.close(handle)
    assert (tmp_path / "other").read_bytes() == b""
