"""A file on its way into the data folder: under another name until it is whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from pit.errors import Refused
from pit.fs.files import failure
from pit.work.socket.call import Call
from pit.work.socket.files import writing


def destination(call: Call, name: str) -> Path:
    """Where the file called `name` is to land; Refused as by `call.path`, and for a folder."""
    path = call.path(name)
    if path.is_dir():
        raise Refused(f'"{name}" is a folder; name the file in it')
    return path


class _Dropped(Exception):
    """Ends the writing of a file that nobody wants any more."""


class Landing(AbstractContextManager["Landing"]):
    """Bytes that arrive for `path`, which appears when `publish` is called and not before.

    One that is not published leaves nothing. `size` counts bytes, `sha256` is the digest of what
    has come so far.
    """

    def __init__(self, data: Path, path: Path) -> None:
        """`path` is what the call's `path` gave, `data` the data folder; raises Refused."""
        self.size = 0
        self._name = path.name
        self._digest = hashlib.sha256()
        self._open = ExitStack()
        self._file = self._open.enter_context(writing(data, path))

    @property
    def sha256(self) -> str:
        """The digest so far, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes; DiskFull or SetupError where that cannot be done."""
        self._digest.update(data)
        self.size += len(data)
        with self._told():
            self._file.write(data)

    def publish(self) -> None:
        """Makes the file appear under its name, whole and on the disk."""
        with self._told():
            self._file.flush()
            os.fsync(self._file.fileno())
        self._open.close()

    def discard(self) -> None:
        """Removes what has come, if it was not published; may be called again."""
        with suppress(_Dropped, OSError), self._open:
            raise _Dropped

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            doing = f'"{self._name}" cannot be written in the data folder'
            raise failure(error, doing) from None

    def __exit__(self, *_: object) -> None:
        self.discard()
