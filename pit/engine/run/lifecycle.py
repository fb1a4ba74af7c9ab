"""A run that is open: its folder, lock, guardian, signals and row, its end, what is kept of it.

Whatever happens between opening and closing, the run gets a final state with a reason.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from pit.engine.run.request import Request, RunResult, Services
from pit.engine.scheduling.clock import Clock
from pit.engine.scheduling.event_log import EventLog
from pit.engine.scheduling.jobs import Job
from pit.errors import DiskFull, EnvironmentFailed, PitError, RequirementNotMet
from pit.events import Event, RunEnded, RunStarted, SetupStep, TaskEnded, Warned
from pit.fs.locks import Lock
from pit.fs.stat import YOUNG
from pit.model import Output, Reason, RunState, TaskState
from pit.order import Order
from pit.project.python import surplus
from pit.project.runners import table
from pit.state import bases, retention, trash
from pit.state.bases import Ended
from pit.state.rundir import RunDir
from pit.text import durations
from pit.work import attempts
from pit.work.masking import Masks
from pit.work.process import launch, procfs
from pit.work.process.guardian import Guardian
from pit.work.task_log import TaskLog

if TYPE_CHECKING:
    from pit.state.store.store import Store


@contextmanager
def opened(request: Request, services: Services, place: Lock) -> Iterator[OpenRun]:
    """A run that has its `place` among those of its DAG, open; whatever happens, it gets an end."""
    with ExitStack() as held:
        run = OpenRun(request, services, place, held)
        with ExitStack() as stack:
            stack.callback(run.end_processes)
            stack.push(run.closed)
            run.tell_start()
            yield run
        run.tell_nothing_left()


class OpenRun:
    """What a run holds from its first moment to its last, and how it tells of itself.

    `held` is unwound when the run has got its end and nothing that it has started is left.
    """

    def __init__(
        self,
        request: Request,
        services: Services,
        place: Lock,
        held: ExitStack,
    ) -> None:
        self.request, self.services, self.target = request, services, request.target
        self.held = held
        self.clock, self.masks = Clock(), Masks()
        self.mailbox: SimpleQueue[Any] = SimpleQueue()
        self.cancel = launch.Cancel()
        held.callback(self.cancel.close)
        self.dir = RunDir.allocate(
            self.target.config.runs_dir, self.target.dag.name, self.clock.now()
        )
        held.callback(self.dir.lock.release)
        self.begun = self.clock.monotonic()
        launch.become_subreaper()
        locks = (self.dir.lock.fileno(), place.fileno())
        self.guardian = Guardian.start(locks, self.dir.id, request.grace)
        held.callback(self.guardian.close)
        self.signals = launch.install_signals(lambda: self._stop(1), lambda: self._stop(2))
        held.callback(self.signals.restore)
        self.state = RunState.RUNNING
        self.reason: Reason | None = None
        self._tasks_begun: tuple[int, int] | None = None
        self._log = EventLog(services.store, services.hear, self.masks.hidden)

    def _stop(self, level: int) -> None:
        self.cancel.request(level, Reason.CANCELLED)
        self.mailbox.put(None)

    def tell_start(self) -> None:
        """The run's row says that it is running."""
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
            retry_of=request.continued.run if request.continued else None,
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
        done = self.request.continued.done if self.request.continued else {}
        tasks = (task for task in self.target.tasks if task.name not in done)
        return tuple(task.name for task in tasks if table.of(task).is_sql)

    # ------------------------------------------------------------------ while it lasts

    def emit(self, kind: type[Any], /, **facts: Any) -> Any:
        """Tell an event of this run, now."""
        event = kind(run=self.dir.id, at=self.clock.now(), **facts)
        self.tell(event)
        return event

    def tell(self, event: Event) -> None:
        """Tell an event, without the secrets that the run has given out."""
        self._log.emit(event)

    def barrier(self) -> None:
        """Wait until all facts so far are durable."""
        self._log.barrier()

    def warn(self, message: str, hint: str = "", task: str = "") -> None:
        """Tell of something that does not stop the run but should be known; `task` is whose."""
        self.emit(Warned, message=message, hint=hint, task=task)

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

    # ------------------------------------------------------------------ its tasks

    def show_stub(self, job: Job) -> None:
        """In stub mode the log holds the SQL that was not executed."""
        assert job.stub is not None
        with TaskLog(str(self.dir.log_file(job.name)), job.name, self.services.tap) as log:
            log.line("[pit] no secrets file: this SQL was not executed")
            query = self.target.dag.tasks[job.name].query
            log.write(Path(job.stub).read_bytes() if job.stub else query.encode())

    def show_wait(self, order: Order, what: str) -> None:
        """The log says what an attempt waits for before it begins."""
        path = str(self.dir.log_file(order.task))
        with (
            suppress(OSError),  # a full disk: the attempt itself meets it
            TaskLog(path, order.task, self.services.tap, self.masks) as log,
        ):
            log.line(f"waiting for {what}")

    def show_ending(self, tasks: Sequence[str]) -> None:
        """Say how long the tasks have that were asked to end, and how to end them sooner."""
        has, it = (f"{tasks[0]} has", "it")
        if len(tasks) > 1:
            has, it = (f"{len(tasks)} tasks have", "them")
        number = self.signals.received  # none when the run's time is up
        again = "" if number is None else launch.signal_name(number).replace("SIGINT", "Ctrl-C")
        sooner = f"; another {again} kills {it} at once" if again else ""
        message = f"{has} {durations.format(self.request.grace)} to end{sooner}"
        self.emit(SetupStep, step="ending", message=message)

    # ------------------------------------------------------------------ its end

    def closed(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Tells what has ended the block; whether that was a signal, and all is said."""
        if error is None:
            return False
        self._failed(error)
        return self._is_cancellation(error)

    def _failed(self, error: BaseException) -> None:
        """Set-up or the store failed: the run ends with that as its reason, if it can be told."""
        self.masks.scrub(error)
        if not self._log.started:
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
            if name not in self._log.ended:
                state = TaskState.CANCELLED if name in self._log.begun else TaskState.SKIPPED
                self.emit(TaskEnded, task=name, state=state, reason=reason)
        ended = RunState.CANCELLED if cancelled else RunState.FAILED
        self.end(ended, reason, "" if cancelled else str(error) or type(error).__name__)

    def first_task(self) -> None:
        """From now on, tasks may write into the snapshot that this run has taken."""
        self._tasks_begun = time.time_ns(), time.monotonic_ns()

    def tell_nothing_left(self) -> None:
        """Say in the run's folder that nothing writes there any more, if that is certain.

        It is not if the clock was set back meanwhile: then a change may bear the time of another.
        """
        if self._tasks_begun is None or self.state is RunState.RUNNING:
            return
        began, monotonic = self._tasks_begun
        lost = (time.monotonic_ns() - monotonic) - (time.time_ns() - began)
        if lost < YOUNG and launch.nothing_left():
            bases.tell_end(self.dir.root, Ended(boot=procfs.boot_id(), began=began))

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
        self.barrier()

    def result(self) -> RunResult:
        """What the caller makes an exit code of."""
        return RunResult(
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


def clean_up(request: Request, store: Store, run: str) -> tuple[str, ...]:
    """Remove what `keep_artifacts` and retention no longer want, now that a run has ended; a
    sentence for all that could not be removed."""
    config, now = request.target.config, time.time()
    trash.empty_if_crowded(config.runs_dir)  # before there is something new in it
    keep = request.target.dag.declared.keep_artifacts
    keep = config.keep_artifacts if keep is None else keep
    done = retention.after_run(store, config.runs_dir, run, config.retention, keep, now)
    named = partial(retention.environments, store, config.runs_dir)
    old = surplus.surplus(config.cache_dir, named, config.retention.days, now)
    return (*done.problems, *surplus.remove(old).problems)
