"""A conversation with a file server that outlives its connections, and ends with its call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from time import monotonic
from typing import TypeVar

from pit.errors import on_error
from pit.work.connectors.attended import attended
from pit.work.connectors.fields import Fields
from pit.work.connectors.ftp.remote import FORM, Account, Remote, account
from pit.work.connectors.retry import NEVER, again, over
from pit.work.socket.call import Call

T = TypeVar("T")


class Session(AbstractContextManager["Session"]):
    """One connection at a time, made when it is needed and given up after any failure.

    Work is done in a thread of its own, which is stopped when the attempt is over.
    """

    def __init__(self, call: Call, secret: str, retries: int) -> None:
        self.call = call
        self.account: Account = account(Fields(secret, call.secret(secret), FORM))
        self._retries = retries
        self._remote: Remote | None = None
        self._over = False
        self._warned = False

    def __exit__(self, *_: object) -> None:
        self._give_up()

    def run(self, work: Callable[[Remote], T]) -> T:
        """What `work` returns; done again on a new connection where that may help."""
        return again(self.call, self._retries, str(self.account), lambda: self.once(work))

    def once(self, work: Callable[[Remote], T]) -> T:
        """What `work` returns, or its failure."""
        self._warn()
        return attended(
            self.call,
            lambda: self._work(work),
            stop=self._stop,
            drop=lambda _: None,
            until=monotonic() + NEVER,
            doing=str(self.account),
        )

    def _work(self, work: Callable[[Remote], T]) -> T:
        with on_error(self._give_up):
            remote = self._remote = self._remote or _connect(self.account)
            # Stopped while it connected: nothing may happen on the server any more.
            if self._over:
                raise over(str(self.account))
            return work(remote)

    def _stop(self) -> None:
        self._over = True
        if self._remote is not None:
            self._remote.stop()

    def _give_up(self) -> None:
        remote, self._remote = self._remote, None
        if remote is not None:
            remote.close()

    def _warn(self) -> None:
        at = self.account
        if at.protocol == "ftp" and at.tls == "none" and at.password and not self._warned:
            self._warned = True
            self.call.log(
                f"{at}: password and files travel unencrypted; if the server knows TLS, "
                f'set tls = "explicit" in secret "{at.fields.key}"'
            )


def _connect(account: Account) -> Remote:
    """A new connection to the server, logged in."""
    if account.protocol == "sftp":
        from pit.work.connectors.ftp.over_ssh import SftpRemote

        return SftpRemote(account)
    from pit.work.connectors.ftp.over_ftp import FtpRemote

    return FtpRemote(account)
