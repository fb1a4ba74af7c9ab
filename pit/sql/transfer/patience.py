"""What a load and a save have in common: waiting for files in use, being interrupted, reporting."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

from msgspec.structs import replace

from pit.sql.connection.urls import Database
from pit.sql.driver import CANCELLED, DISK_FULL, Busy, Failure, SqlFailure, Unavailable
from pit.sql.script import Report
from pit.sql.stop import Stop

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
_COLLISIONS = 7
"""So often a piece of work that collided with others is begun again, in about five seconds."""


class Collided(Exception):
    """Somebody else was in the way, and all is undone: the same work may do now."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Patience:
    """Does a piece of work once its database is free, unless it is stopped before."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.stop = Stop()

    def report(self, work: Callable[[], int], database: Database) -> Report:
        """Do the work, which says how many rows it moved; failures are told and reported."""
        try:
            return Report(statements=1, rows=self._done(work))
        except Unavailable as error:
            failed = Failure(message=str(error), kind="missing")
        except OSError as error:
            failed = of_system(error)
        except SqlFailure as error:
            failed = error.failure
        if self.stop.wished:
            failed = Failure(message="interrupted", kind=CANCELLED)
        failed = replace(failed, message=database.hide(failed.message))
        self._tell(failed.message)
        return Report(failure=failed)

    def _done(self, work: Callable[[], int]) -> int:
        waited = collided = 0
        while True:
            self.stop.heed()
            try:
                return work()
            except Collided as collision:
                if collided == _COLLISIONS:
                    raise SqlFailure(collision.failure) from None
                self._tell(f"{collision.failure.message.splitlines()[0]}; beginning again")
                self.stop.pause(_FIRST_PAUSE * 2**collided * random.uniform(0.5, 1.5))
                collided += 1
            except Busy as busy:
                if not waited:
                    self._tell(busy.waits)
                pause = min(_FIRST_PAUSE * 1.5**waited, _LONGEST_PAUSE)
                self.stop.pause(pause * random.uniform(0.5, 1.5))
                waited = min(waited + 1, 20)


def of_system(error: OSError) -> Failure:
    """What the operating system says, such as that the disk is full."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    where = f": {error.filename}" if error.filename else ""
    return Failure(message=f"{error.strerror or error}{where}", kind=DISK_FULL if full else "load")
