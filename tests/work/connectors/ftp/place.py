"""A file server and a caller that may use it, of any kind that `ftp_*` speaks to."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pit.errors import PitError
from pit.work.connectors.ftp import methods
from tests.servers import ftp, sftp
from tests.servers.certificate import Certified
from tests.work.connectors.direct import DirectCall

Server = ftp.Server | sftp.Server
METHODS = methods.METHODS
BIG = os.urandom(3 << 20)


class Place:
    """A server and a caller that may use it as the secret "files"."""

    def __init__(self, server: Server, folder: Path, **secret: str) -> None:
        self.server, self.root = server, server.root
        data = folder / "data"
        data.mkdir()
        self.call = DirectCall(data, {"files": server.secret(**secret)})
        self.data = data

    def ask(self, method: str, **params: Any) -> Any:
        """Call a method with the secret."""
        return self.call.ask(METHODS[method], secret="files", **params)

    def fails(self, text: str, method: str, **params: Any) -> PitError:
        """The error of a call, after asserting that it says something and no password."""
        with pytest.raises(PitError) as caught:
            self.ask(method, **params)
        said = f"{caught.value} {caught.value.hint}"
        assert text in said
        assert ftp.PASSWORD not in said
        return caught.value

    def there(self, name: str, content: bytes = b"hello") -> Path:
        """A file on the server."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def left_over(self) -> list[str]:
        """Temporary files on either side."""
        places = [*self.root.rglob(".pit-*"), *self.data.rglob(".pit-*")]
        return [path.name for path in places]


KINDS = ["ftp", "ftp-nlst", "ftps", "ftps-implicit", "sftp"]
OLD = frozenset({"MLSD", "MLST"})


def opened(stack: ExitStack, kind: str, folder: Path, certificate: Certified) -> Place:
    """A place of one kind, for as long as the stack is open."""
    root = folder / "server"
    if kind == "sftp":
        return Place(stack.enter_context(sftp.serving(root)), folder)
    if kind.startswith("ftps"):
        implicit = kind.endswith("implicit")
        server = stack.enter_context(ftp.serving(root, certificate, implicit=implicit))
        mode = "implicit" if implicit else "explicit"
        return Place(server, folder, tls=mode, ca=certificate.authority)
    without = OLD if kind == "ftp-nlst" else frozenset()
    return Place(stack.enter_context(ftp.serving(root, without=without)), folder)
