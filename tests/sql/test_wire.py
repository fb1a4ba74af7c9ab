"""The lines between Pit and its SQL process."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pit.sql import wire
from pit.sql.connect import parse
from pit.sql.driver import Failure


def test_messages_come_back_as_they_were(tmp_path: Path) -> None:
    requests: list[wire.Request] = [
        wire.Run(
            id=1,
            script="ü.sql",
            text="SELECT '\n\u2028\x00'",
            database=parse("duckdb://w.duckdb?threads=2", tmp_path),
            variables={"a": "b"},
        ),
        wire.Share(database=parse("duckdb://w.duckdb?threads=2", tmp_path)),
        wire.Interrupt(id=1),
        wire.End(),
    ]
    replies: list[wire.Reply] = [
        wire.Begun(id=1),
        wire.Log(id=1, text="a\nb"),
        wire.Done(id=1, failure=Failure(message="m", line=3, retryable=False), statements=2),
    ]
    for message in requests:
        line = wire.encode(message)
        assert line.count(b"\n") == 1
        assert wire.request(line) == message
    for reply in replies:
        assert wire.reply(wire.encode(reply)) == reply


@pytest.mark.parametrize("line", [b"", b"hello\n", b'{"op":"fly"}', b'{"op":"run","id":"x"}'])
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        wire.request(line)
