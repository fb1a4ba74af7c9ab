"""A run's lifetime: its place among others, its folder, lock, guardian, signals, row, and its end.

Whatever happens between opening and closing, the run gets a final state with a reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import Any

from pit.engine.locks import owner, place
from pit.engine.run.request import Finale, Request, Services
from pit.engine.scheduling.sinks import Clock, Telling
from pit.errors import (
    DiskFull,
    EnvironmentFailed,
    Overlapping,
    PitError,
    RequirementNotMet,
    RunNotSuccessful,
)
from pit.events import RunEnded, RunStarted, SetupStep, TaskEnded, Warned
from pit.model import Output, Overlap, Reason, RunState, TaskState
from pit.project.runners import table
from pit.state.rundir import RunDir, prepare
from pit.work import attempts
from pit.work.masking import Masks
from pit.work.process import launch, procfs
from pit.work.process.guardian import Guardian


class Lifetime:
    """What a run holds from its first moment to its last, and how it tells of itself.

    `dir`, `guardian` and `signals` are there once it is open; `stack` is unwound when it closes.
    """

    def __init__(self, request: Request, services: Services) -> None:
        self.request, self.services, self.target = request, services, request.target
        self.clock = Clock()
        self.masks = Masks()
        self.tell = Telling(services.store, services.sinks, self.masks.hidden)
        self.mailbox: SimpleQueue[Any] = SimpleQueue()
        self.cancel = launch.Cancel()
        self.stack = ExitStack()
        self.state = RunState.RUNNING
        self.reason: Reason | None = None

    # ------------------------------------------------------------------ its place among others

    @contextmanager
    def place(self) -> Iterator[None]:
        """The run's place among the runs of its DAG, as `overlap` says."""
        config, dag = self.target.config, self.target.dag
        prepare(config.runs_dir, config.settings)
        owner.claim(config, dag.name, self.services.store)
        self.dag_lock = place.lock_of(config.runs_dir, dag.name)
        try:
            self._take_place()
            yield
        finally:
            self.dag_lock.release()

    def _take_place(self) -> None:
        dag, store = self.target.dag.declared, self.services.store
        shared = dag.overlap is Overlap.ALLOW
        if self.dag_lock.acquire(shared=shared):
            return
        others = ", ".join(run.id for run in store.runs.running(dag.name))
        busy = f'DAG "{dag.name}" is already running ({others or "just starting"})'
        if dag.overlap is Overlap.SKIP:
            raise Overlapping(busy, 'overlap = "skip" in its pit.toml; --skip-ok exits 0 instead')
        parent = os.environ.get("PIT_RUN_ID")
        if parent and any(run.dag == dag.name for run in store.runs.ancestry(parent)):
            raise Overlapping(
                f"{busy}, and this run was started from within it", "It would wait for itself"
            )
        self._wait(shared, f"{busy}; waiting for it to end")

    def _wait(self, shared: bool, why: str) -> None:
        """Says why and waits for the place; a signal ends that, and there has been no run then."""
        signals = launch.install_signals(lambda: None, lambda: None)
        try:
            self.services.waiting(why)
            if self.dag_lock.wait(lambda: signals.received is not None, shared=shared):
                return
        finally:
            signals.restore()
        number = signals.received or 0
        ended = f"{launch.signal_name(number)} ended the wait: nothing was run"
        self.services.waiting(ended)
        raise RunNotSuccessful(ended, signals.exit_code or 1)

    # ------------------------------------------------------------------ open

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The run's folder, lock, guardian, signals and row; whatever happens, it gets an end."""
        with self.stack:
            self._open()
            with ExitStack() as stack:
                stack.callback(self.end_processes)
                stack.push(self._closed)
                self._tell_start()
                yield

    def _closed(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Tells what has ended the block; whether that was a signal, and all is said."""
        if error is None:
            return False
        self._failed(error)
        return self._is_cancellation(error)

    def _open(self) -> None:
        runs_dir, dag = self.target.config.runs_dir, self.target.dag.name
        self.stack.callback(self.cancel.close)
        self.dir = RunDir.allocate(runs_dir, dag, self.clock.now())
        self.stack.callback(self.dir.lock.release)
        self.begun = self.clock.monotonic()
        launch.become_subreaper()
        locks = (self.dir.lock.fileno(), self.dag_lock.fileno())
        self.guardian = Guardian.start(locks, self.dir.id, self.request.grace)
        self.stack.callback(self.guardian.close)
        self.signals = launch.install_signals(lambda: self._stop(1), lambda: self._stop(2))
        self.stack.callback(self.signals.restore)

    def _tell_start(self) -> None:
        request, target = self.request, self.target
        self.emit(
            RunStarted,
            dag=target.dag.name,
            run_dir=str(self.dir.root),
            project=str(target.dag.project),
            tasks=target.dag.order,
            params=target.params,
            selection=target.typed.selection or None,
            whole=target.whole,
            trigger=request.trigger,
            parent=os.environ.get("PIT_RUN_ID"),
            retry_of=request.again.run if request.again else None,
            concurrency=request.slots,
            pid=os.getpid(),
            pid_started=_start_of_this_process(),
            boot_id=procfs.boot_id(),
            pit_version=request.pit_version,
            stub=bool(self.shown_only()),
        )

    def shown_only(self) -> tuple[str, ...]:
        """The tasks whose SQL would be shown and not executed, for want of a secrets file."""
        if self.target.config.secrets_file is not None:
            return ()
        done = self.request.again.done if self.request.again else {}
        tasks = (task for task in self.target.tasks if task.name not in done)
        return tuple(task.name for task in tasks if table.of(task).is_sql)

    def _stop(self, level: int) -> None:
        self.cancel.request(level, Reason.CANCELLED)
        self.mailbox.put(None)

    # ------------------------------------------------------------------ while it lasts

    def emit(self, kind: type[Any], /, **facts: Any) -> None:
        """Tell an event of this run, now."""
        self.tell.emit(kind(run=self.dir.id, at=self.clock.now(), **facts))

    def warn(self, message: str, hint: str = "") -> None:
        """Tell of something that does not stop the run but should be known."""
        self.emit(Warned, message=message, hint=hint)

    def step(self, step: str, message: str) -> None:
        """Announce a step of the set-up, unless the user has already asked to stop."""
        self.checkpoint()
        self.emit(SetupStep, step=step, message=message)

    def checkpoint(self) -> None:
        """Where the set-up can be given up; raises KeyboardInterrupt."""
        if self.cancel.level > 0:
            raise KeyboardInterrupt

    def capture(self, argv: Sequence[str], **options: Any) -> tuple[int, bytes]:
        """The exit status and output of a command that ends with the run at the latest."""
        return launch.capture(argv, cancel=self.cancel, guardian=self.guardian, **options)

    def time_left(self) -> float | None:
        """Seconds that `dag.timeout` leaves, None without one."""
        timeout = self.target.dag.declared.timeout
        if timeout is None:
            return None
        return max(0.0, timeout - (self.clock.monotonic() - self.begun))

    # ------------------------------------------------------------------ its end

    def _failed(self, error: BaseException) -> None:
        """Set-up or the store failed: the run ends with that as its reason, if it can be told."""
        self.masks.scrub(error)
        if not self.tell.started:
            return
        try:
            self._tell_failure(error)
        except PitError:
            if self._is_cancellation(error):
                raise  # any other error has been raised already, and is told

    def _is_cancellation(self, error: BaseException) -> bool:
        """Whether this is what a signal makes of the set-up; anything else went wrong by itself,
        be it while the run was being cancelled."""
        if isinstance(error, EnvironmentFailed):  # uv was ended, or is no longer waited for
            return self.signals.received is not None
        return isinstance(error, KeyboardInterrupt)

    def _tell_failure(self, error: BaseException) -> None:
        cancelled = self._is_cancellation(error)
        reason = Reason.CANCELLED if cancelled else _reason(error)
        for name in self.target.dag.order:
            if name not in self.tell.ended:
                begun = name in self.tell.begun
                state = TaskState.CANCELLED if begun else TaskState.SKIPPED
                self.emit(TaskEnded, task=name, state=state, reason=reason)
        ended = RunState.CANCELLED if cancelled else RunState.FAILED
        self.end(ended, reason, "" if cancelled else str(error) or type(error).__name__)

    def end_processes(self) -> None:
        """Nothing that the run has started is left; what may be the run's and is left is named."""
        launch.end_all(self.request.grace, self.cancel)
        left = launch.doubtful() if self.state is RunState.RUNNING else []
        if left:
            names = ", ".join(f"{name} (process {pid})" for pid, name in left)
            self.warn(
                f"left running, because it may belong to this run or to another program: {names}",
                "the program whose place Pit has taken (exec) had children too, and resource "
                "limits, which would tell them apart, cannot be set here. To end them: "
                f"kill {' '.join(str(pid) for pid, _ in left)}",
            )

    def end(
        self,
        state: RunState,
        reason: Reason | None,
        error: str,
        stub: bool = False,
        outputs: tuple[Output, ...] = (),
        complete_at: float | None = None,
    ) -> None:
        """Tell, durably, how the run ended."""
        self.state, self.reason = state, reason
        self.emit(
            RunEnded,
            state=state,
            reason=reason,
            error=error,
            seconds=self.clock.monotonic() - self.begun,
            stub=stub,
            outputs=outputs,
            complete_at=complete_at,
        )
        self.tell.barrier()

    def finale(self) -> Finale:
        """What the caller makes an exit code of."""
        return Finale(
            run=self.dir.id, state=self.state, reason=self.reason, signal=self.signals.received
        )


def _reason(error: BaseException) -> Reason:
    match error:
        case DiskFull():
            return Reason.DISK_FULL
        case RequirementNotMet():
            return Reason.REQUIREMENT
        case PitError():
            return Reason.SETUP
        case OSError() if attempts.disk_reason(error):
            return Reason.DISK_FULL
    return Reason.INTERNAL


def _start_of_this_process() -> float:
    this = procfs.stat(os.getpid())
    return 0.0 if this is None else float(this.start)
