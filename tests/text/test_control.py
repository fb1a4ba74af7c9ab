"""Text that others wrote, on a terminal."""

from __future__ import annotations

from pit.text.control import printable


def test_control_characters_cannot_move_the_cursor() -> None:
    assert printable("\x1b[2Jred\x1b[31m\x07\r") == "red"
    assert printable("\x1b]0;title\x07text") == "text"
    assert printable("ünïcode") == "ünïcode"
