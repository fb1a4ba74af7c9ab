"""The run's SQL sessions: performs SQL orders in SQL processes, one per database.

A process is started when its database is first needed and lives until the run ends. It may die:
by a crash, or because a statement would not let itself be interrupted. The task that is to blame
fails; the others are told that they were `lost` and are tried again. Who was in a crash that has
several suspects gets a process of his own next time, so that the guilty one shows and the others
are done with it.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from pit.errors import ConnectorFailed, InvalidConnection, Refused
from pit.model import Check, Load, Reason, Record, Save, Severity
from pit.order import Order, Outcome
from pit.sql import protocol
from pit.sql.connection.urls import Database, parse
from pit.sql.driver import CANCELLED, CHECK_FAILED, DISK_FULL, MAX_CHANGE, WAITING, Failure
from pit.sql.server import command
from pit.work.process.guardian import Guardian
from pit.work.process.launch import Cancel
from pit.work.site import Site
from pit.work.sql import hardened
from pit.work.sql.client import Child, Gone, SqlProcess, Talk, remaining
from pit.work.sql.filelock import FileLocks
from pit.work.sql.orders import NoScript, name_of, request_of
from pit.work.sql.turns import Pause, Turns

Log = Callable[[str], None]

_BURIAL = 5.0
"""Seconds to wait for the end of a process that has been killed."""


class Spawn(Protocol):
    """Starts a child with pipes, as `launch.spawn_session` does."""

    def __call__(
        self,
        argv: tuple[str, ...],
        *,
        cwd: str | Path,
        env: Mapping[str, str],
        stderr: str | Path,
        guardian: Guardian | None,
    ) -> Child:
        """The started child; OSError if there is none."""


class Sessions(AbstractContextManager["Sessions"]):
    """Performs SQL orders; a context manager whose end is the end of every SQL process.

    `waits` hears of a task that waits for a file in somebody's use, and is told from any thread.
    """

    def __init__(
        self,
        *,
        spawn: Spawn,
        cwd: str | Path,
        env: Mapping[str, str],
        stderr: str | Path,
        workspace: Path,
        guardian: Guardian | None = None,
        waits: Callable[[str, str], None] = lambda task, what: None,
    ) -> None:
        self._spawn = spawn
        self.waits = waits
        self._cwd, self._env = cwd, env
        self._stderr = Path(stderr)
        self._workspace = workspace
        self._guardian = guardian
        self._lock = threading.Lock()
        self._processes: dict[tuple[str, str], SqlProcess] = {}
        self._ducks: dict[str, Database] = {}
        self._shares: dict[SqlProcess, int] = {}
        self._buried: list[SqlProcess] = []
        self._suspects: set[str] = set()
        self._turns = Turns()
        self._files = FileLocks(workspace / ".pit" / "databases")
        self._places: dict[str, tuple[str, bool]] = {}

    def perform(
        self,
        order: Order,
        site: Site,
        url: str,
        log: Log,
        cancel: Cancel,
        timeout: float | None = None,
    ) -> Outcome:
        """Execute the order's script on the database with this URL.

        `log` takes lines, without their newline.
        """
        return _Attempt(self, order, site, url, log, cancel, timeout).perform()

    def move(
        self,
        order: Order,
        site: Site,
        work: Load | Save,
        url: str,
        log: Log,
        cancel: Cancel,
        own: str = "",
    ) -> int:
        """Load or save for a task that is running; how many rows. Raises ConnectorFailed.

        `url` is the database's; a file that the task has for itself, with the URL `own`, cannot be
        used as well.
        """
        database = self.resolve(url)
        is_file = database.kind == "duckdb" and not database.in_memory
        if is_file and own and self.resolve(own).path == database.path:
            hint = "Leave out its connection, or use the file directly"
            raise Refused("the task has this database file for itself", hint)
        asked = replace(order, work=work, script="")
        attempt = _Attempt(self, asked, site, url, log, cancel, None)
        outcome = attempt.perform()
        if outcome.reason is not None:
            # Whoever asked knows what he asked for, and no script of his is meant.
            sentence = outcome.error.removeprefix(f"{name_of(asked)}: ") or str(outcome.reason)
            raise ConnectorFailed(sentence, retryable=outcome.retryable)
        return attempt.rows

    @contextmanager
    def alone(
        self, url: str, cancel: Cancel, who: str = "another run", log: Log = lambda text: None
    ) -> Iterator[bool]:
        """Keep SQL tasks, of other runs as well, away from a DuckDB file; False if cancelled first.

        The database of a Python task that names a connection is closed by the time that it starts.
        Other databases let several programs in, and need no keeping.
        """
        database = parse(url, self._workspace)
        with self._turn(database, True, who, lambda secs: not cancel.wait(secs), log) as entered:
            yield entered

    def reserve(self, order: Order, url: str) -> str:
        """Keep an order's DuckDB file for it before it begins, or say what it has to wait for.

        Never waits; "" once there is nothing to wait for. `dismiss` follows in any case.
        """
        who = who_of(order)
        path, reading = self._places.setdefault(who, self._file(url))
        holder = self._files.reserve(path, who, reading) if path else ""
        return f"{path}: in use by {holder}" if holder else ""

    def dismiss(self, order: Order) -> None:
        """An order that was to be kept a file for has ended, or need not begin any more."""
        who = who_of(order)
        path, reading = self._places.pop(who, ("", False))
        if path:
            self._files.dismiss(path, who, reading)

    def _file(self, url: str) -> tuple[str, bool]:
        """The DuckDB file that a URL names, "" for none, and whether it is only read."""
        with suppress(InvalidConnection, ValueError):  # its attempt says so
            database = parse(url, self._workspace)
            if database.kind == "duckdb" and not database.in_memory:
                return database.path, database.only_reads
        return "", False

    @contextmanager
    def sharing(self, database: Database, who: str, pause: Pause, log: Log) -> Iterator[bool]:
        """A turn among SQL tasks; False if `pause` gave the waiting up."""
        with self._turn(database, False, who, pause, log) as entered:
            yield entered

    @contextmanager
    def _turn(
        self, database: Database, alone: bool, who: str, pause: Pause, log: Log
    ) -> Iterator[bool]:
        """First among this run's tasks, then among the workspace's runs."""
        path = database.path
        if database.kind != "duckdb" or database.in_memory:
            yield True
            return
        entered = self._turns.enter(path, alone, pause)
        try:
            locked = entered and self._files.enter(path, who, pause, log, database.only_reads)
            try:
                yield locked
            finally:
                if locked:
                    self._files.leave(path, database.only_reads)
        finally:
            if entered:
                self._turns.leave(path)

    def resolve(self, url: str) -> Database:
        """The database that a connection's URL names; raises InvalidConnection."""
        return parse(url, self._workspace)

    def begin(self, task: str, request: protocol.Work) -> Talk:
        """Send a request to the process that serves its database; OSError if there can be none."""
        while True:
            process = self._process(task, request.database)
            with self._lock:  # so that nobody's share overtakes a later one
                database = self._with_share(process, request.database)
                talk = process.begin(replace(request, database=database))
            if talk is not None:
                return talk
            self._bury(process)

    def _process(self, task: str, database: Database) -> SqlProcess:
        with self._lock:
            key = (database.key, task if task in self._suspects else "")
            process = self._processes.get(key)
            if process is None:
                process = self._processes[key] = SqlProcess(self._start, self._stderr)
            return process

    def _with_share(self, process: SqlProcess, database: Database) -> Database:
        """A DuckDB gets its share of the machine among those in use, unless its URL says.

        DuckDB by itself takes 80 % of the memory and every processor, each time. Those that are
        open when another one comes in are told to get by with less.
        """
        if database.kind != "duckdb":
            return database
        self._ducks[database.key] = database
        used = {
            one: self._ducks[key]
            for (key, _), one in self._processes.items()
            if key in self._ducks and (one is process or one.busy)
        }
        count = len({each.key for each in used.values()} | {database.key})
        for one, each in used.items():
            told = self._shares.setdefault(one, count)
            if told < count or (one is process and told != count):
                self._shares[one] = count
                one.send(protocol.Share(database=shared(each, count)))
        return database if count < 2 else shared(database, count)

    def _start(self) -> Child:
        return self._spawn(
            command(program=hardened.NAME),
            cwd=self._cwd,
            env=self._env,
            stderr=self._stderr,
            guardian=self._guardian,
        )

    def _bury(self, dead: SqlProcess) -> None:
        """Make room for another process; the pipes go with the run, since others may still read."""
        with self._lock:
            living = {key: one for key, one in self._processes.items() if one is not dead}
            if len(living) < len(self._processes):
                self._processes = living
                self._buried.append(dead)

    def suspect(self, task: str) -> None:
        """Give this task processes of its own from now on."""
        with self._lock:
            self._suspects.add(task)

    def close(self) -> None:
        """End every SQL process. Only when no order is being performed any more."""
        with self._lock:
            processes = [*self._processes.values(), *self._buried]
            self._processes.clear()
            self._buried.clear()
        for process in processes:
            process.close()
        if self._stderr.is_file() and self._stderr.stat().st_size == 0:
            self._stderr.unlink()

    def __exit__(self, *_: object) -> None:
        self.close()


_DUCKDB_TAKES = 0.8
_LEAST_MEMORY = 256 * 1024**2


def shared(database: Database, count: int) -> Database:
    """The database with an equal share of memory and processors for each of `count`."""
    memory = max(_LEAST_MEMORY, int(_memory() * _DUCKDB_TAKES / count))
    share = {
        "memory_limit": f"{memory // 1024**2}MiB",
        "threads": str(max(1, (os.cpu_count() or 1) // count)),
    }
    if "max_memory" in database.options:
        del share["memory_limit"]
    return replace(database, options=share | database.options)


def who_of(order: Order) -> str:
    """What others are told of whoever has a file that they wait for."""
    return f"run {order.run} (task {order.task})"


def _memory() -> int:
    """The machine's memory in bytes, or what this process's control group may have of it."""
    import psutil

    total: int = psutil.virtual_memory().total
    for place in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = Path("/sys/fs/cgroup", place).read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            total = min(total, int(text))
    return total


# ---------------------------------------------------------------- one attempt


class _End(Record, frozen=True):
    """How an attempt ended, before its times are added."""

    reason: Reason | None = None
    error: str = ""
    warning: str = ""
    retryable: bool = True
    lost: bool = False
    exit_code: int | None = None
    signal: int | None = None
    cpu_seconds: float | None = None
    peak_memory: int | None = None


class _Attempt:
    """One script on its way: its messages, its limits, its end."""

    def __init__(
        self,
        sessions: Sessions,
        order: Order,
        site: Site,
        url: str,
        log: Log,
        cancel: Cancel,
        timeout: float | None,
    ) -> None:
        self._sessions, self._order, self._cancel = sessions, order, cancel
        self._site, self._url = site, url
        self._log = log
        self._started, self._begun = time.time(), time.monotonic()
        self._timeout = timeout
        self._deadline = None if timeout is None else self._begun + timeout
        self._script = name_of(order)
        self.rows = 0
        self._full: _End | None = None
        self._ending: _End | None = None
        self._killed = False

    def perform(self) -> Outcome:
        """From reading the script to the outcome."""
        try:
            end = self._whole()
        except InvalidConnection as error:
            end = _End(reason=Reason.SQL_ERROR, error=_with_hint(error), retryable=False)
        except NoScript as error:
            end = _End(reason=error.reason, error=str(error), retryable=False)
        except OSError as error:
            end = self._not_started(error)
        return Outcome(
            started_at=self._started,
            ended_at=time.time(),
            seconds=time.monotonic() - self._begun,
            reason=end.reason,
            error=end.error,
            exit_code=end.exit_code,
            signal=end.signal,
            retryable=end.retryable,
            lost=end.lost,
            warning=end.warning,
            cpu_seconds=end.cpu_seconds,
            peak_memory=end.peak_memory,
        )

    def _whole(self) -> _End:
        database = self._sessions.resolve(self._url)
        request = request_of(self._order, self._site, database, self._started)
        who = who_of(self._order)
        with self._sessions.sharing(database, who, self._pause, self._write) as entered:
            if not entered:
                return self._due() or _End(reason=Reason.CANCELLED)
            with self._sessions.begin(self._order.task, request) as talk:
                return self._attend(talk)

    def _pause(self, seconds: float) -> bool:
        return not self._cancel.wait(seconds) and self._due() is None

    def _attend(self, talk: Talk) -> _End:
        """Stay until the script is over, one way or the other."""
        while True:
            for message in talk.hear(self._watched(), remaining(self._deadline)):
                if isinstance(message, protocol.Log):
                    self._write(message.text)
                elif isinstance(message, protocol.Done):
                    return self._over(message)
                elif isinstance(message, Gone):
                    return self._gone(message)
            if self._ending is not None and self._killed and self._is_late():
                return self._ending  # it cannot even be killed; that must not hang the run
            self._see_to(talk)

    def _watched(self) -> int | None:
        """The file descriptor that says that `cancel` has risen to what would change something."""
        if self._killed:
            return None
        return self._cancel.fileno() if self._ending is None else self._cancel.urgent_fileno()

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _see_to(self, talk: Talk) -> None:
        """Ask the script to end when that is due; end the whole process when the grace is over."""
        if self._ending is None:
            self._ending = self._due()
            if self._ending is None:
                return
            talk.interrupt()
            self._deadline = time.monotonic() + self._order.grace
        if not self._killed and (self._is_late() or self._cancel.level > 1):
            self._killed = True
            talk.end_process()
            self._deadline = time.monotonic() + _BURIAL

    def _due(self) -> _End | None:
        """Why the script has to end now, if it has to."""
        if self._full is not None:
            return self._full
        if self._cancel.level:
            reason = self._cancel.reason or Reason.CANCELLED
            return _End(reason=reason, error="ended because the run was ending", retryable=False)
        if self._is_late():
            return _End(
                reason=Reason.TIMEOUT, error=f"ended after its time-out of {self._timeout:g} s"
            )
        return None

    def _write(self, text: str) -> None:
        """Log, unless that has failed before; a full disk ends the script."""
        if text.startswith(WAITING):
            self._sessions.waits(self._order.task, text)
        if self._full is not None:
            return
        try:
            self._log(text)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._full = _disk_full()

    # ------------------------------------------------------------ endings

    def _over(self, done: protocol.Done) -> _End:
        """The script answered; what it did is done even if it was asked to stop meanwhile."""
        self.rows = done.rows
        if done.failure is None:
            end = _End(warning=done.warning)
        else:
            end = self._ending or self._failed(done.failure)
        return replace(end, cpu_seconds=done.cpu_seconds, peak_memory=done.peak_memory)

    def _failed(self, failure: Failure) -> _End:
        place = failure.place or self._script
        where = f"{place}:{failure.line}" if failure.line else place
        error = f"{where}: {_on_one_line(failure.message)}"
        if failure.kind == CHECK_FAILED:
            return self._found(failure.message)
        if failure.kind == MAX_CHANGE:
            error = f"{failure.message}; {_after(self._order)}"
            return _End(reason=Reason.MAX_CHANGE, error=error, retryable=False)
        if failure.kind == DISK_FULL:
            return _End(reason=Reason.DISK_FULL, error=error, retryable=False)
        if failure.kind == CANCELLED:
            return _End(reason=Reason.SQL_ERROR, error=f"{where}: interrupted by somebody else")
        retryable = failure.retryable or self._order.retry_any
        return _End(reason=Reason.SQL_ERROR, error=error, retryable=retryable)

    def _found(self, what: str) -> _End:
        """A check has found something; it would find it again."""
        work = self._order.work
        if isinstance(work, Check) and work.severity is Severity.WARN:
            return _End(warning=what)
        return _End(reason=Reason.CHECK_FAILED, error=what, retryable=False)

    def _gone(self, gone: Gone) -> _End:
        """The process died under the script."""
        if self._ending is not None:
            return self._ending
        if gone.ended:
            error = "lost with the SQL process, which another task's end has ended"
            return _End(reason=Reason.INTERNAL, error=error, lost=True)
        how = _death(gone.returncode)
        if gone.words:
            self._write(f"the SQL process {how}; its last words:\n{gone.words}")
        if not gone.begun and gone.returncode < 0:
            error = f"the SQL process {how} before it had heard of the script"
            return _End(reason=Reason.INTERNAL, error=error, lost=True)
        if not gone.alone:
            self._sessions.suspect(self._order.task)
            error = f"the SQL process {how} while several tasks used it"
            return _End(reason=Reason.INTERNAL, error=error, lost=True)
        return _End(
            reason=Reason.SIGNAL if gone.returncode < 0 else Reason.SQL_ERROR,
            error=f"the SQL process {how}",
            exit_code=gone.returncode if gone.returncode >= 0 else None,
            signal=-gone.returncode if gone.returncode < 0 else None,
        )

    def _not_started(self, error: OSError) -> _End:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _disk_full()
        return _End(
            reason=Reason.INTERNAL,
            error=f"the SQL process could not be started: {error.strerror or error}",
        )


def _on_one_line(message: str) -> str:
    """A message of several lines, with something between them."""
    text = ""
    for line in filter(None, (" ".join(one.split()) for one in message.splitlines())):
        gap = "" if not text else " " if text.endswith((".", "!", "?", ":", ";", ",")) else "; "
        text += gap + line
    return text


def _after(order: Order) -> str:
    """How a table is left that has changed too much."""
    if isinstance(order.work, Load):
        return "the table is as it was"
    way = f"raise max_change, or: pit forget {order.dag}/{order.task}"
    return f"what the script did stands. If that is right, {way}"


def _disk_full() -> _End:
    return _End(reason=Reason.DISK_FULL, error="no space left on the disk", retryable=False)


def _death(returncode: int) -> str:
    if returncode < 0:
        return f"ended by signal {-returncode}"
    return f"ended by itself with exit code {returncode}"


def _with_hint(error: InvalidConnection) -> str:
    return f"{error}. {error.hint}" if error.hint else str(error)
