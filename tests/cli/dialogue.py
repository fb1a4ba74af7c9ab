"""A person at a terminal: waits for what the command says, and types."""

from __future__ import annotations

import os
import pty
import select
import time
from collections.abc import Sequence

from tests.builder import Pit

CTRL_C = "\x03"


def talk(pit: Pit, *args: str, says: Sequence[tuple[str, str]], **env: str) -> tuple[int, str]:
    """Exit code and all that was shown; `says` are what to wait for and what to type then.

    The terminal is the command's controlling one, as for a person.
    """
    environ = {k: v for k, v in pit.env.items() if k != "COLUMNS"} | {"TERM": "xterm"} | env
    child, terminal = pty.fork()
    if not child:
        os.chdir(pit.root)
        words = pit.argv(*args)
        os.execvpe(words[0], words, environ)
    shown, position, waiting = b"", 0, list(says)
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if waiting and (at := shown.find(waiting[0][0].encode(), position)) >= 0:
                position = at + len(waiting[0][0].encode())
                os.write(terminal, waiting.pop(0)[1].encode())
                continue
            if select.select([terminal], [], [], 1)[0]:
                try:
                    piece = os.read(terminal, 65536)
                except OSError:  # how Linux says that the other end has been closed
                    break
                if not piece:
                    break
                shown += piece
        _, status = os.waitpid(child, 0)
    finally:
        os.close(terminal)
    text = shown.decode(errors="replace").replace("\r\n", "\n")
    assert not waiting, f"never said {waiting[0][0]!r}:\n{text}"
    return os.waitstatus_to_exitcode(status), text
