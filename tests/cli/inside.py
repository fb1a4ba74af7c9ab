"""The command in this very process: starting Python for each call would take most of the time."""

from __future__ import annotations

import io
import os
import sys
from unittest.mock import patch

from pit.cli.main import main
from tests.builder import Pit, Result


class Inside(Pit):
    """A workspace whose commands run in this process; `pit run` alone has one of its own."""

    def run(self, *args: str, timeout: float = 120, **env: str) -> Result:
        """Run `pit <args>` to its end, with nothing on standard input."""
        if args[0] == "run":
            return super().run(*args, timeout=timeout, **env)
        return self.piped("", *args, **env)

    def piped(self, text: str, *args: str, **env: str) -> Result:
        """Run `pit <args>` to its end, with `text` on standard input."""
        out, err = _stream(), _stream()
        before = os.getcwd()
        os.chdir(self.root)
        try:
            with (
                patch.dict(os.environ, self.env | env, clear=True),
                patch.object(sys, "stdin", _stream(text)),
                patch.object(sys, "stdout", out),
                patch.object(sys, "stderr", err),
            ):
                code = main(self.argv(*args)[3:])
        finally:
            os.chdir(before)
        return Result(code, _text(out), _text(err))


def _stream(text: str = "") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(errors="replace")
