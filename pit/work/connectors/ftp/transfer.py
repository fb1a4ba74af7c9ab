"""Files carried whole: downloads that go on where they broke off, uploads that nobody sees half."""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from pit.errors import ConnectorFailed, on_error
from pit.work.connectors.fields import clean
from pit.work.connectors.ftp.remote import CHUNK, Absent, Entry, Lost, Remote
from pit.work.connectors.ftp.session import Session
from pit.work.connectors.landing import Landing
from pit.work.socket.files import reading


class Download:
    """One file on its way from a server; what has come survives a connection that breaks."""

    def __init__(self, data: Path, path: str, target: Path) -> None:
        """`path` is the server's; `target` lies in the data folder `data`."""
        self._data, self._path, self._target = data, path, target
        self._server = ""
        self._stack = ExitStack()
        self._landing: Landing | None = None
        self._as_it_was: Entry | None = None

    def fetch(self, session: Session) -> None:
        """The file, whole, under its name in the data folder; or an error and no file."""
        self._server = str(session.account)
        with self._stack:
            session.run(self._carry)
            assert self._landing is not None
            self._landing.publish()

    def _carry(self, remote: Remote) -> None:
        entry = remote.stat(self._path)
        if entry is None:
            raise Absent(f'{self._server}: there is no file "{clean(self._path)}"')
        landing = self._opened(entry)
        for chunk in remote.read(self._path, landing.size):
            landing.write(chunk)
            if entry.size is not None and landing.size > entry.size:
                raise self._changed()
        if remote.stat(self._path) != entry:
            raise self._changed()
        if entry.size is not None and landing.size != entry.size:
            came = f"{landing.size:,} bytes instead of {entry.size:,}"
            self._begin_anew(None)
            raise Lost(f'{self._server}: "{clean(self._path)}" arrived with {came}')

    def _changed(self) -> ConnectorFailed:
        """The error for a file that is not what it was, after which nothing of it is kept."""
        self._begin_anew(None)
        return ConnectorFailed(
            f'{self._server}: "{clean(self._path)}" changed while it was read',
            "Let ftp_wait wait until it is whole",
            retryable=True,
        )

    def _opened(self, entry: Entry) -> Landing:
        """What has come of this very file, or the beginning of another."""
        known = entry.size is not None and entry.modified is not None
        if self._landing is None or entry != self._as_it_was or not known:
            self._begin_anew(Landing(self._data, self._target))
        self._as_it_was = entry
        assert self._landing is not None
        return self._landing

    def _begin_anew(self, landing: Landing | None) -> None:
        self._stack.close()
        self._landing = self._stack.enter_context(landing) if landing else None


class Upload:
    """One file on its way to a server: under a temporary name, checked, then renamed."""

    def __init__(self, data: Path, file: Path, path: str, *, direct: bool, parents: bool) -> None:
        """`file` lies in the data folder `data`; `path` is the server's."""
        self._data, self._file, self._path = data, file, path
        self._folder = posixpath.dirname(path)
        self._parents = parents
        self._aside = path if direct else _beside(path)
        self._arrived = False
        self.size = 0

    def send(self, session: Session) -> None:
        """The file, whole, under its name on the server; or an error and the file that was."""
        with on_error(lambda: self._forget(session)):
            session.run(self._carry)

    def _forget(self, session: Session) -> None:
        if self._aside != self._path:
            # Whether the server can still be asked to forget it does not matter here.
            with suppress(ConnectorFailed):
                session.once(lambda remote: remote.delete(self._aside))

    def _carry(self, remote: Remote) -> None:
        if self._arrived and self._renamed_before(remote):
            return
        if not self._arrived:
            self._store(remote)
            self._arrived = True
        if self._aside != self._path:
            remote.rename(self._aside, self._path)

    def _store(self, remote: Remote) -> None:
        if self._parents and self._folder:
            remote.make_folder(self._folder)
            self._parents = False
        remote.write(self._aside, self._chunks())
        told = remote.stat(self._aside)
        if told is not None and told.size is not None and told.size != self.size:
            raise Lost(f'"{self._path}" arrived with {told.size:,} bytes instead of {self.size:,}')

    def _renamed_before(self, remote: Remote) -> bool:
        """Whether the rename happened although its answer was lost with the connection."""
        return remote.stat(self._aside) is None and remote.stat(self._path) is not None

    def _chunks(self) -> Iterator[bytes]:
        self.size = 0
        with reading(self._data, self._file) as source:
            while chunk := source.read(CHUNK):
                self.size += len(chunk)
                yield chunk


def _beside(path: str) -> str:
    folder = posixpath.dirname(path)
    return posixpath.join(folder, f".pit-{secrets.token_hex(6)}.part")
