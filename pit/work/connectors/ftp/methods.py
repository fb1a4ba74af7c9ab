"""The methods `ftp_*`: files on a server that speaks FTP, FTPS or SFTP, as its secret says."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Callable
from time import monotonic
from typing import Any

from pit.errors import ConnectorFailed, Refused
from pit.model import Record
from pit.work.connectors.backoff import delay
from pit.work.connectors.fields import seconds
from pit.work.connectors.ftp.remote import Entry, Remote, checked_path
from pit.work.connectors.ftp.session import Session
from pit.work.connectors.ftp.transfer import Download, Upload
from pit.work.connectors.retry import LONGEST_PAUSE, RETRIES, over
from pit.work.socket.call import Call, Method

_OWN = ".pit-"
"""How the names of unfinished uploads begin; no pattern matches them."""
_LONGEST_POLL = 10.0
_SHORTEST_POLL = 0.1


class ListParams(Record):
    """Which files of a folder: `pattern` as in a shell, within this folder alone."""

    secret: str
    directory: str = ""
    pattern: str = "*"
    details: bool = False
    retries: int = RETRIES


class WaitParams(Record):
    """Files to wait for: `at_least` so many that did not change for as long as `stable`."""

    secret: str
    directory: str = ""
    pattern: str = "*"
    stable: str | float = "30s"
    timeout: str | float = "10m"
    at_least: int = 1
    details: bool = False


class GetParams(Record):
    """One file (`path`), or those of a folder that match (`directory`, `pattern`)."""

    secret: str
    path: str = ""
    directory: str = ""
    pattern: str = ""
    to: str = ""
    retries: int = RETRIES


class DownloadParams(Record):
    """As `GetParams`, in the words of older scripts."""

    secret: str
    remote_path: str = ""
    directory: str = ""
    pattern: str = ""


class PutParams(Record):
    """A file of the data folder, and the path it gets; one that ends with / is a folder."""

    secret: str
    file: str
    path: str
    parents: bool = False
    direct: bool = False
    retries: int = RETRIES


class UploadParams(Record):
    """As `PutParams`, in the words of older scripts."""

    secret: str
    local_name: str
    remote_path: str


class MoveParams(Record):
    """Two paths on the server; `dst` may be a folder that ends with /."""

    secret: str
    src: str
    dst: str
    retries: int = RETRIES


class DeleteParams(Record):
    """A file on the server."""

    secret: str
    path: str
    retries: int = RETRIES


# ---------------------------------------------------------------- looking


def ftp_list(call: Call, params: ListParams) -> list[Any]:
    """The names of the files in a folder, or with `details` a record of each."""
    wanted, directory = _wanted(params.pattern), _directory(params.directory)
    with _session(call, params.secret, params.retries) as session:
        found = session.run(lambda remote: remote.files(directory, wanted))
    return _shown(found, params.details)


def ftp_wait(call: Call, params: WaitParams) -> list[Any]:
    """What `ftp_list` would say of the files that are there and have stopped changing."""
    stable, timeout = seconds(params.stable, "stable"), seconds(params.timeout, "timeout")
    if params.at_least < 1:
        raise Refused("at_least must be 1 or more")
    watch = _Watch(stable)
    wanted, directory = _wanted(params.pattern), _directory(params.directory)
    every = max(_SHORTEST_POLL, min(_LONGEST_POLL, stable / 3))
    ends, failures = monotonic() + timeout, 0
    with _session(call, params.secret, 0) as session:
        while True:
            trouble: ConnectorFailed | None = None
            try:
                found = session.once(lambda remote: remote.files(directory, wanted))
                ready, failures = watch.look(found, monotonic()), 0
                if len(ready) >= params.at_least:
                    return _shown(ready, params.details)
            except ConnectorFailed as error:
                if not error.retryable:
                    raise
                trouble, failures = error, failures + 1
            left = ends - monotonic()
            if left <= 0:
                raise _in_vain(params, watch, trouble)
            nap = delay(failures, every, LONGEST_PAUSE) if trouble else every
            if not call.wait(min(max(nap, _SHORTEST_POLL), left)):
                raise over("ftp_wait")


class _Watch:
    """Since when each file is as it is, by this machine's clock."""

    def __init__(self, stable: float) -> None:
        self._stable = stable
        self._since: dict[str, tuple[Entry, float]] = {}
        self.ready = 0

    @property
    def seen(self) -> int:
        """How many files the last look found."""
        return len(self._since)

    def look(self, found: list[Entry], now: float) -> list[Entry]:
        """The files that have been as they are for long enough."""
        before, self._since = self._since, {}
        for entry in found:
            was, since = before.get(entry.path, (None, now))
            self._since[entry.path] = (entry, since if was == entry else now)
        ready = [entry for entry, since in self._since.values() if now - since >= self._stable]
        self.ready = len(ready)
        return ready


def _in_vain(params: WaitParams, watch: _Watch, trouble: ConnectorFailed | None) -> ConnectorFailed:
    told = f"{watch.seen} there, {watch.ready} of them unchanged for long enough"
    if trouble:
        told = f"the last look failed: {trouble}"
    return ConnectorFailed(
        f'ftp_wait: not {params.at_least} of "{params.pattern}" in "{params.directory or "."}" '
        f"in time: {told}",
        "Give it a longer timeout, or look with ftp_list at what is there",
        retryable=True,
    )


# ---------------------------------------------------------------- carrying


def ftp_get(call: Call, params: GetParams) -> list[str]:
    """Absolute paths of what was fetched into the data folder, or into the folder `to` in it."""
    if bool(params.path) == bool(params.pattern):
        raise Refused("ftp_get needs either path, or directory and pattern")
    with _session(call, params.secret, params.retries) as session:
        if params.path:
            if params.directory:
                raise Refused("ftp_get: directory goes with pattern, not with path")
            paths = [checked_path(params.path, "path")]
        else:
            wanted, directory = _wanted(params.pattern), _directory(params.directory)
            paths = [e.path for e in session.run(lambda remote: remote.files(directory, wanted))]
        return [_fetched(session, path, params.to) for path in paths]


def _fetched(session: Session, path: str, to: str) -> str:
    name = posixpath.basename(path)
    if name in ("", ".", ".."):
        raise Refused(f'"{path}" names no file')
    target = session.call.path(posixpath.join(to, name))
    if target.is_dir():
        raise Refused(f'"{name}" is a folder in the data folder')
    Download(session.call.caller.data, path, target).fetch(session)
    session.call.facts.saved(session.call.caller, target)
    return str(target)


def ftp_download(call: Call, params: DownloadParams) -> list[str]:
    """As `ftp_get`."""
    path = "" if params.pattern else params.remote_path
    directory = params.directory or (params.remote_path if params.pattern else "")
    if not path and not params.pattern:
        raise Refused("ftp_download needs either remote_path, or directory and pattern")
    asked = GetParams(secret=params.secret, path=path, directory=directory, pattern=params.pattern)
    return ftp_get(call, asked)


def ftp_put(call: Call, params: PutParams) -> dict[str, Any]:
    """The path that the file got on the server, and its size."""
    file = call.path(params.file, exists=True)
    path = checked_path(params.path, "path")
    if path.endswith("/"):
        path += file.name
    if file.is_dir():
        raise Refused(f'"{params.file}" is a folder; one file at a time')
    upload = Upload(call.caller.data, file, path, direct=params.direct, parents=params.parents)
    with _session(call, params.secret, params.retries) as session:
        upload.send(session)
    return {"path": path, "size": upload.size}


def ftp_upload(call: Call, params: UploadParams) -> str:
    """Nothing; the file is there."""
    asked = PutParams(secret=params.secret, file=params.local_name, path=params.remote_path)
    ftp_put(call, asked)
    return ""


# ---------------------------------------------------------------- changing


def ftp_move(call: Call, params: MoveParams) -> str:
    """Nothing; the file has another name."""
    source, target = checked_path(params.src, "src"), checked_path(params.dst, "dst")
    if target.endswith("/"):
        target += posixpath.basename(source)
    with _session(call, params.secret, params.retries) as session:
        session.run(_once_sure(source, lambda remote: remote.rename(source, target), target))
    return ""


def ftp_delete(call: Call, params: DeleteParams) -> str:
    """Nothing; the file is gone."""
    path = checked_path(params.path, "path")
    with _session(call, params.secret, params.retries) as session:
        session.run(_once_sure(path, lambda remote: remote.delete(path)))
    return ""


def _once_sure(
    source: str, change: Callable[[Remote], None], target: str | None = None
) -> Callable[[Remote], None]:
    """A change that takes `source` away, and that may have happened when its answer was lost."""
    tried = False

    def work(remote: Remote) -> None:
        nonlocal tried
        happened = tried and remote.stat(source) is None
        if happened and (target is None or remote.stat(target) is not None):
            return
        tried = True
        change(remote)

    return work


# ---------------------------------------------------------------- what params mean


def _session(call: Call, secret: str, retries: int) -> Session:
    if not 0 <= retries <= 100:
        raise Refused("retries must be from 0 to 100")
    return Session(call, secret, retries)


def _directory(text: str) -> str:
    return checked_path(text, "directory").rstrip("/") or "/" if text else ""


def _wanted(pattern: str) -> Callable[[str], bool]:
    """Whether a name matches; as in a shell, a leading dot must be written."""
    if "/" in pattern or "\0" in pattern:
        raise Refused(f'"{pattern}" is not a pattern of names within one folder')
    hidden = pattern.startswith(".")

    def wanted(name: str) -> bool:
        if name.startswith(_OWN) or (name.startswith(".") and not hidden):
            return False
        return fnmatch.fnmatchcase(name, pattern)

    return wanted


def _shown(found: list[Entry], details: bool) -> list[Any]:
    return [entry.details() if details else entry.name for entry in found]


METHODS = {
    "ftp_list": Method(params=ListParams, serve=ftp_list, doc="The files of a folder."),
    "ftp_wait": Method(params=WaitParams, serve=ftp_wait, doc="Wait for files to be whole."),
    "ftp_get": Method(params=GetParams, serve=ftp_get, doc="Fetch files into the data folder."),
    "ftp_put": Method(params=PutParams, serve=ftp_put, doc="Send a file of the data folder."),
    "ftp_move": Method(params=MoveParams, serve=ftp_move, doc="Rename a file on the server."),
    "ftp_delete": Method(params=DeleteParams, serve=ftp_delete, doc="Delete a file on the server."),
    "ftp_download": Method(
        params=DownloadParams, serve=ftp_download, doc="The older name of ftp_get."
    ),
    "ftp_upload": Method(params=UploadParams, serve=ftp_upload, doc="The older name of ftp_put."),
}
