"""The SQL process: takes scripts over its pipes, runs each in a thread, tells how they went.

Pit starts one per database, with the run's snapshot as working directory, so that a crash of a
database library costs a process and not the run. `protocol` describes what is said. Whatever a
library prints goes to stderr; standard input and output belong to the conversation alone.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from pit.sql import protocol
from pit.sql.connection.urls import Database
from pit.sql.driver import Driver, Failure, Unavailable
from pit.sql.script import Execution, Report

_AGAIN = 0.05
"""Seconds between interrupts of one run; the first may come too early to be heard."""
_LAST_WAIT = 5.0
"""Seconds that interrupted runs get to roll back when Pit is gone."""


def command(python: str = sys.executable, program: str = "pit.sql.server") -> tuple[str, ...]:
    """The command line of this process: isolated from PYTHON* variables and the working folder.

    `program` is the module whose `main` is called.
    """
    root = str(Path(__file__).resolve().parents[2])
    # `-I` leaves out the folder of a checkout that was never installed.
    start = (
        f"import sys; root = {root!r}; root in sys.path or sys.path.insert(0, root); "
        f"from {program} import main; main()"
    )
    return (python, "-I", "-X", "faulthandler", "-c", start)


def main(withdraw: Callable[[], None] = lambda: None) -> None:
    """Serve until Pit says end or closes the pipe; never returns.

    `withdraw` shuts others out of this process's memory, which will hold passwords.
    """
    requests, replies = _conversation()
    peak = Peak()  # which a process without access rights to itself could not open any more
    withdraw()
    Server(replies, peak).serve(requests)


def _conversation() -> tuple[BinaryIO, int]:
    """The two pipes under private numbers, with standard input and output out of harm's way."""
    requests, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return os.fdopen(requests, "rb"), replies


class Work(Protocol):
    """What a session does for one request; `run` it once."""

    def run(self) -> Report:
        """Do it and let go of the database; failures are in the report."""

    def interrupt(self) -> None:
        """End it soon; may come from any thread, and more than once."""


def _work(
    order: protocol.Work, driver: Driver, log: Callable[[str], None], give: Callable[[str], None]
) -> Work:
    """What answers a request; what is rare is imported when it comes up.

    `log` takes lines for the log, `give` pieces of what was asked for.
    """
    match order:
        case protocol.Run():
            return Execution(
                driver,
                order.database,
                order.script,
                order.text,
                order.variables,
                log,
                template=order.template,
                watch=order.watch,
            )
        case protocol.Check():
            from pit.sql.checks import Checking

            return Checking(driver, order, log)
        case protocol.Load():
            from pit.sql.transfer.loading import Loading

            return Loading(driver, order, log)
        case protocol.Save():
            from pit.sql.transfer.saving import Saving

            return Saving(driver, order, log)
        case protocol.Ask():
            from pit.sql.questions import Questioning

            return Questioning(driver, order)
        case protocol.Query():
            from pit.sql import queries

            return queries.work(driver, order, log, give)
        case protocol.Probe():
            from pit.sql.probes import Probing

            return Probing(driver, order)


@runtime_checkable
class Sharing(Protocol):
    """A driver whose databases work in this process, with the machine's memory and processors."""

    def share(self, database: Database) -> None:
        """A database, open or not, takes no more than its options say from now on; never waits."""


class Running:
    """A run under way; `shared` once another one overlapped it."""

    def __init__(self, execution: Work, shared: bool) -> None:
        self.execution = execution
        self.shared = shared
        self.over = threading.Event()
        self.cpu = time.process_time()


class Server:
    """Takes requests one by one; every run answers for itself."""

    def __init__(self, replies: int, peak: Peak) -> None:
        self._replies, self._peak = replies, peak
        self._writing = threading.Lock()
        self._drivers: dict[str, Driver] = {}
        self._running: dict[int, Running] = {}
        self._lock = threading.Lock()

    def serve(self, requests: BinaryIO) -> None:
        """Answer until the end of `requests`, then end the process."""
        for line in requests:
            message = protocol.request(line)
            if isinstance(message, protocol.End):
                break
            if isinstance(message, protocol.Interrupt):
                self._interrupt(message.id)
            elif isinstance(message, protocol.Share):
                self._share(message.database)
            else:
                self._begin(message)
        self._leave()

    def _begin(self, order: protocol.Work) -> None:
        def log(text: str) -> None:
            self._reply(protocol.Log(id=order.id, text=text))

        def give(text: str) -> None:
            self._reply(protocol.Data(id=order.id, text=text))

        try:
            driver = self._driver(order.database.kind)
        except Unavailable as error:
            self._refuse(order, log, Failure(message=str(error), kind="missing"))
            return
        except (ImportError, ValueError) as error:
            self._refuse(order, log, _defect(error))
            return
        running = self._enter(order.id, _work(order, driver, log, give))
        threading.Thread(target=self._perform, args=(order, running, log), daemon=True).start()

    def _refuse(self, order: protocol.Work, log: Callable[[str], None], failure: Failure) -> None:
        """What cannot even begin has a log all the same."""
        _tell(order, log, failure)
        self._reply(protocol.Done(id=order.id, failure=failure))

    def _driver(self, kind: str) -> Driver:
        if kind not in self._drivers:
            self._drivers[kind] = _load(kind)
        return self._drivers[kind]

    def _share(self, database: Database) -> None:
        driver: object = self._drivers.get(database.kind)
        if isinstance(driver, Sharing):
            driver.share(database)

    def _enter(self, number: int, execution: Work) -> Running:
        with self._lock:
            for other in self._running.values():
                other.shared = True
            running = Running(execution, shared=bool(self._running))
            self._running[number] = running
        if not running.shared:
            self._peak.forget()
        return running

    def _perform(self, order: protocol.Work, running: Running, log: Callable[[str], None]) -> None:
        number = order.id
        self._reply(protocol.Begun(id=number))  # not by the main thread, which must hear interrupts
        try:
            report = running.execution.run()
        # A defect must be told like any failure: a run that never answers would hang its task.
        except Exception as error:
            report = Report(failure=_defect(error))
            _tell(order, log, _defect(error))
        with self._lock:
            del self._running[number]
        running.over.set()
        alone = not running.shared
        self._reply(
            protocol.Done(
                id=number,
                failure=report.failure,
                warning=report.warning,
                statements=report.statements,
                rows=report.rows,
                answer=report.answer,
                cpu_seconds=time.process_time() - running.cpu if alone else None,
                peak_memory=self._peak.bytes() if alone else None,
            )
        )

    def _interrupt(self, number: int) -> None:
        with self._lock:
            running = self._running.get(number)
        if running is not None:
            threading.Thread(target=_insist, args=(running,), daemon=True).start()

    def _reply(self, message: protocol.Reply) -> None:
        data = memoryview(protocol.encode(message))
        try:
            with self._writing:
                while data:
                    data = data[os.write(self._replies, data) :]
        except BrokenPipeError:
            return  # Pit is gone; the end of `requests` tells the same and ends this process

    def _leave(self) -> None:
        with self._lock:
            left = list(self._running)
            waits = [running.over for running in self._running.values()]
        for number in left:
            self._interrupt(number)
        deadline = time.monotonic() + _LAST_WAIT
        for over in waits:
            over.wait(max(0.0, deadline - time.monotonic()))
        # Not sys.exit: a library's exit hook must not wait for a query that cannot be interrupted.
        os._exit(0)


def _tell(order: protocol.Work, log: Callable[[str], None], failure: Failure) -> None:
    """Log why a script failed that could not say so itself; who asks a question is answered."""
    if isinstance(order, protocol.Run | protocol.Check | protocol.Load | protocol.Save):
        log(f"{order.script}: {failure.message}")


def _insist(running: Running) -> None:
    while True:
        running.execution.interrupt()
        if running.over.wait(_AGAIN):
            return


def _load(kind: str) -> Driver:
    """The driver for a kind of database; its library is imported here and nowhere else."""
    match kind:
        case "duckdb":
            from pit.sql.drivers.duck import DuckDB

            return DuckDB()
        case "sqlite":
            from pit.sql.drivers.sqlite import SQLite

            return SQLite()
        case "postgres":
            return _postgres()
        case "sqlserver":
            from pit.sql.drivers.sqlserver import SQLServer

            return SQLServer()
        case "odbc":
            from pit.sql.drivers.odbc import ODBC

            return ODBC()
    raise ValueError(f"no driver for {kind}")


def _postgres() -> Driver:
    try:
        from pit.sql.drivers.postgres import Postgres
    except ImportError as error:
        if not str(error.name or "psycopg").startswith("psycopg"):
            raise
        raise Unavailable(
            "Postgres needs psycopg: pip install 'pit-orchestrator[postgres]'"
        ) from None
    return Postgres()


def _defect(error: Exception) -> Failure:
    text = error.args[0] if error.args else ""
    return Failure(message=f"{type(error).__name__}: {text}", kind="internal", retryable=False)


# ---------------------------------------------------------------- memory, where Linux tells it


class Peak:
    """The most memory that this process has held since it was last told to forget."""

    def __init__(self) -> None:
        self._clear: int | None = None
        with suppress(OSError):  # then the peak is that of the process's whole life
            self._clear = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)

    def forget(self) -> None:
        """Begin anew from what is held now."""
        if self._clear is not None:
            with suppress(OSError):
                os.write(self._clear, b"5")

    def bytes(self) -> int | None:
        """Resident memory at its peak; None where the system does not tell."""
        try:
            with open("/proc/self/status") as file:
                for line in file:
                    if line.startswith("VmHWM:"):
                        return int(line.split()[1]) * 1024
        except OSError:
            pass
        return None


if __name__ == "__main__":
    main()
