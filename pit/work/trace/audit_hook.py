"""What `pit run --learn` has a task's Python do first: write down which files it opens.

A copy of this file, named sitecustomize.py, lies in a folder of its own that comes first on the
task's PYTHONPATH and is named by the marker of the attempt. The task's Python imports it at its
start, 3.8 or later, so it needs nothing but `os` and `sys`. It watches this process and those
that it forks; Pythons that the task starts import it as well.

Records are appended to the file `opened` beside the copy: R, W or A (written at its end), the
path, a zero byte.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # that of `typing` would cost each task a millisecond
if TYPE_CHECKING:
    from collections.abc import Callable

RECORDS = "opened"
_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_KINDS = os.O_RDONLY | os.O_WRONLY | os.O_RDWR


def watch(folder: str) -> None:
    """Watch this process, if it is one of the attempt that the folder is named by."""
    of_the_attempt = os.environ.get("PIT_MARKER") == os.path.basename(folder)
    words = getattr(sys, "orig_argv", sys.argv)
    if of_the_attempt and hasattr(sys, "addaudithook") and not _is_pit(words):
        sys.addaudithook(_hook(os.path.join(folder, RECORDS)))


def _is_pit(words: list[str]) -> bool:
    """Whether this is Pit itself, started by a task: what it opens is no concern of the task."""
    return any(os.path.basename(word) == "pit" for word in words[:2]) or words[1:3] == ["-m", "pit"]


def _hook(records: str) -> Callable[[str, tuple[object, ...]], None]:
    """The audit hook; it cannot be taken out again, and must never raise."""
    seen: set[bytes] = set()

    def note(kind: bytes, path: object) -> None:
        if not isinstance(path, (str, bytes)):  # a handle: it was opened before
            return
        record = kind + os.fsencode(os.path.abspath(path)) + b"\0"
        if record in seen:
            return
        seen.add(record)
        # Opened each time: a task may close every handle, and get its number for its own file.
        handle = os.open(records, _APPENDING, 0o600)
        try:
            os.write(handle, record)
        finally:
            os.close(handle)

    def opened(path: object, flags: int) -> None:
        kind = flags & _KINDS
        if kind == os.O_RDONLY or (kind == os.O_RDWR and not flags & os.O_TRUNC):
            note(b"R", path)
        if kind != os.O_RDONLY:
            note(b"A" if flags & os.O_APPEND else b"W", path)

    def hook(event: str, args: tuple[object, ...]) -> None:
        try:
            if event == "open" and args[0] != records and isinstance(args[2], int):
                opened(args[0], args[2])
            elif event == "os.rename":
                note(b"W", args[1])
        except Exception:  # whatever it is: a task must not fail because it is watched
            return

    return hook


def give_way(folder: str) -> None:
    """Leave the import path, and import the sitecustomize that Python would have found.

    If there is none, the error is the one that Python expects and says nothing about.
    """
    sys.path[:] = [path for path in sys.path if path != folder]
    del sys.modules["sitecustomize"]
    __import__("sitecustomize")


if __name__ == "sitecustomize":
    _here = os.path.dirname(os.path.abspath(__file__))
    watch(_here)
    give_way(_here)
