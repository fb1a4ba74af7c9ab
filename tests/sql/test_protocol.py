"""The lines between Pit and its SQL process."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pit.sql import protocol
from pit.sql.connection.urls import parse
from pit.sql.driver import Failure


def test_messages_come_back_as_they_were(tmp_path: Path) -> None:
    requests: list[protocol.Request] = [
        protocol.Run(
            id=1,
            script="ü.sql",
            text="SELECT '\n\u2028\x00'",
            database=parse("duckdb://w.duckdb?threads=2", tmp_path),
            variables={"a": "b"},
        ),
        protocol.Share(database=parse("duckdb://w.duckdb?threads=2", tmp_path)),
        protocol.Interrupt(id=1),
        protocol.End(),
    ]
    replies: list[protocol.Reply] = [
        protocol.Begun(id=1),
        protocol.Log(id=1, text="a\nb"),
        protocol.Done(id=1, failure=Failure(message="m", line=3, retryable=False), statements=2),
    ]
    for message in requests:
        line = protocol.encode(message)
        assert line.count(b"\n") == 1
        assert protocol.request(line) == message
    for reply in replies:
        assert protocol.reply(protocol.encode(reply)) == reply


@pytest.mark.parametrize("line", [b"", b"hello\n", b'{"op":"fly"}', b'{"op":"run","id":"x"}'])
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        protocol.request(line)
