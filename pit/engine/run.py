"""One run, from open to close: `execute` lists its steps, each a method below, in order."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import date
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from pit.engine import compile, explain, place
from pit.engine.compile import Job, Refusal
from pit.engine.current import Verdict
from pit.engine.events import Clock, Telling
from pit.engine.executors import Finished, Threads
from pit.engine.fingerprint import Fingerprints, Surroundings
from pit.engine.orphaned import orphaned
from pit.engine.request import Again, Finale, Request, Services
from pit.engine.schedule import Scheduler, Tally
from pit.engine.select import prepared, selected, with_downstream
from pit.engine.tracking import Scene, Tracking
from pit.errors import (
    DiskFull,
    Overlapping,
    PitError,
    RequirementNotMet,
    SecretsError,
    SnapshotFailed,
)
from pit.model import (
    EnvironmentHashed,
    Order,
    Output,
    Overlap,
    Reason,
    RunEnded,
    RunStarted,
    RunState,
    SetupStep,
    Task,
    TaskEnded,
    TaskState,
    Warned,
)
from pit.spec import graph, params
from pit.state.files import remove_tree
from pit.state.rundir import RunDir
from pit.state.secrets import Secrets
from pit.work import environment, operators, process, publish, snapshot, tree
from pit.work.broker import Sessions
from pit.work.digest import Digests
from pit.work.frozen import Frozen
from pit.work.guardian import Guardian
from pit.work.tasklog import TaskLog

if TYPE_CHECKING:
    from pit.engine.learning import Learning


def execute(request: Request, services: Services) -> Finale:
    """Run a DAG (or one task of it) to its end; raises PitError when it could not be set up."""
    run = _Run(request, services)
    run.resolve()
    with run.place(), run.opened():
        run.take_over()
        run.check_requirements()
        run.freeze()
        run.open_secrets()
        run.track()
        run.drive(run.compiled())
    return run.finale()


class _Run:
    """One run and what it holds while it lasts."""

    def __init__(self, request: Request, services: Services) -> None:
        self.config = request.config
        self.request, self.services = request, services
        self.clock = Clock()
        self.tell = Telling(services.history, services.sinks)
        self.mailbox: SimpleQueue[Any] = SimpleQueue()
        self.cancel = process.Cancel()
        self.stack = ExitStack()
        self.env: environment.Environment | None = None
        self.snapshot: snapshot.Snapshot | None = None
        self.secrets: Secrets | None = None
        self.learning: Learning | None = None
        self.orphans: frozenset[str] = frozenset()
        self.live = Digests(services.history.digests(str(request.dag.project)))
        self.state = RunState.RUNNING
        self.reason: Reason | None = None

    # ------------------------------------------------------------------ 1 resolve

    def resolve(self) -> None:
        """Parameters, matrices, the selection and concurrency, before anything is recorded."""
        request = self.request
        self.params = params.resolve(request.dag.params, request.given, date.today())
        self.declared = prepared(request.dag, self.params)
        self.dag = graph.implied(self.declared)
        self.tasks = self._selected()
        self.slots = self.request.concurrency or self.dag.concurrency

    def _selected(self) -> tuple[Task, ...]:
        names = {task.name for task in self.dag.tasks}
        if self.request.only is not None:
            names &= selected(self.declared, self.request.only)
        if self.request.failed is not None:
            names &= with_downstream(self.declared, self.request.failed)
        return tuple(task for task in self.dag.tasks if task.name in names)

    @contextmanager
    def place(self) -> Iterator[None]:
        """The run's place among the runs of its DAG, as `overlap` says."""
        self.dag_lock = place.lock_of(self.config.runs_dir, self.dag.name)
        try:
            self._take_place()
            yield
        finally:
            self.dag_lock.release()

    def _take_place(self) -> None:
        shared = self.dag.overlap is Overlap.ALLOW
        if self.dag_lock.acquire(shared=shared):
            return
        others = ", ".join(run.id for run in self.services.history.open_runs(self.dag.name))
        busy = f'DAG "{self.dag.name}" is already running ({others or "just starting"})'
        if self.dag.overlap is Overlap.SKIP:
            raise Overlapping(busy, 'overlap = "skip" in its pit.toml; --skip-ok exits 0 instead')
        parent = os.environ.get("PIT_RUN_ID")
        if parent and any(r.dag == self.dag.name for r in self.services.history.ancestry(parent)):
            raise Overlapping(
                f"{busy}, and this run was started from within it", "It would wait for itself"
            )
        self.services.waiting(f"{busy}; waiting for it to end")
        self.dag_lock.wait(lambda: False, shared=shared)

    # ------------------------------------------------------------------ 2, 3 open

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The run's folder, lock, guardian, signals and row; whatever happens, it gets an end."""
        with self.stack:
            self._open()
            try:
                yield
            except BaseException as error:
                self._failed(error)
                if self.cancel.level == 0 or self.state is not RunState.CANCELLED:
                    raise
            finally:
                process.end_all(self.request.grace, self.cancel)

    def _open(self) -> None:
        self.dir = RunDir.allocate(self.config.runs_dir, self.dag.name, self.clock.now())
        self.stack.callback(self.dir.lock.release)
        self.begun = self.clock.monotonic()
        process.become_subreaper()
        locks = (self.dir.lock.fileno(), self.dag_lock.fileno())
        self.guardian = Guardian.start(locks, self.dir.id, self.request.grace)
        self.stack.callback(self.guardian.close)
        self.signals = process.install_signals(lambda: self._stop(1), lambda: self._stop(2))
        self.stack.callback(self.signals.restore)
        self.tell.emit(
            RunStarted(
                run=self.dir.id,
                at=self.clock.now(),
                dag=self.dag.name,
                run_dir=str(self.dir.root),
                project=str(self.dag.project),
                tasks=graph.topological(self.dag),
                params=self.params,
                selection=self.request.only,
                trigger=self.request.trigger,
                parent=os.environ.get("PIT_RUN_ID"),
                retry_of=self.request.again.run if self.request.again else None,
                concurrency=self.slots,
                pid=os.getpid(),
                pid_started=_start_of_this_process(),
                boot_id=tree.boot_id(),
                pit_version=self.request.pit_version,
            )
        )

    def _stop(self, level: int) -> None:
        self.cancel.request(level, Reason.CANCELLED)
        self.mailbox.put(None)

    def _failed(self, error: BaseException) -> None:
        """Set-up or the store failed: the run ends with that as its reason, if it can be told."""
        with suppress(PitError):  # a store that cannot be written has raised already
            self._tell_failure(error)

    def _tell_failure(self, error: BaseException) -> None:
        cancelled = self.cancel.level > 0 or isinstance(error, KeyboardInterrupt)
        reason = Reason.CANCELLED if cancelled else _reason(error)
        for name in graph.topological(self.dag):
            if name not in self.tell.ended:
                self._emit(TaskEnded, task=name, state=TaskState.SKIPPED, reason=reason)
        state = RunState.CANCELLED if cancelled else RunState.FAILED
        self._end(state, reason, "" if cancelled else str(error) or type(error).__name__)

    def _emit(self, kind: type[Any], /, **facts: Any) -> None:
        self.tell.emit(kind(run=self.dir.id, at=self.clock.now(), **facts))

    def _step(self, step: str, message: str) -> None:
        """Announce a step of the set-up, unless the user has already asked to stop."""
        self._checkpoint()
        self._emit(SetupStep, step=step, message=message)

    def _checkpoint(self) -> None:
        """Where the set-up can be given up."""
        if self.cancel.level > 0:
            raise KeyboardInterrupt

    # ------------------------------------------------------------------ what a retry takes over

    def take_over(self) -> None:
        """What the run that this one continues has left: its data, and its code if wanted.

        First of all, so that whatever stops this run now, its own retry finds them.
        """
        again = self.request.again
        if again is None:
            return
        moves = ((again.data, self.dir.data), (again.project, self.dir.project))
        for there, here in moves:
            if there is not None:
                _move(there, here, again.run)

    # ------------------------------------------------------------------ requirements

    def check_requirements(self) -> None:
        """Every DAG in `[dag.requires]` succeeded, and recently enough."""
        place.check_requirements(
            self.dag.name, self.dag.requires, self.services.history, self.clock.now()
        )

    # ------------------------------------------------------------------ 4 environment, snapshot

    def freeze(self) -> None:
        """The Python environment and the snapshot, both of the same moment."""
        again = self.request.again
        if again is not None and again.project is not None:
            self._thaw(again)
            self._tell_hashes(again.taken_by)
            return
        for _ in range(_ROUNDS):
            self._make_environment()
            self._take_snapshot()
            if self._belong_together():
                break
            remove_tree(self.dir.project)
        else:
            raise SnapshotFailed(
                f"pyproject.toml or uv.lock of {self.dag.project} kept changing",
                "Wait until it is at rest, then try again",
            )
        self._tell_hashes(self.dir.id)

    def _thaw(self, again: Again) -> None:
        """The environment that belongs to a snapshot taken over, and what is read in place."""
        self.env = environment.kept_environment(self.config.cache_dir, again.hashes)
        if self.env is None:
            self._make_environment()
        self.snapshot = snapshot.again(
            [pattern for task in self.tasks for pattern in task.inputs or ()],
            self.config.root,
        )
        self.taken = (again.taken_at, again.taken_at)

    def _belong_together(self) -> bool:
        """Whether the environment is the one that the snapshot's files ask for (law 1)."""
        known = self.env.hashes if self.env is not None else {}
        files = {"pyproject": "pyproject.toml", "uv_lock": "uv.lock"}
        return all(
            hashlib.sha256(path.read_bytes()).hexdigest() == known[kind]
            for kind, name in files.items()
            if kind in known and (path := self.dir.project / name).is_file()
        )

    def _tell_hashes(self, taken_by: str) -> None:
        """What the run executes with; only now is its snapshot known to be whole."""
        toml = (self.dir.project / "pit.toml").read_bytes()
        hashes = {"pit_toml": hashlib.sha256(toml).hexdigest(), "snapshot": taken_by}
        hashes |= self.env.hashes if self.env is not None else {}
        for kind, digest in hashes.items():
            self._emit(EnvironmentHashed, dag=self.dag.name, kind=kind, digest=digest)

    def _make_environment(self) -> None:
        """The project's Python environment, built on first use, when a task needs it."""
        if not any(operators.runner_of(task) == "python" for task in self.tasks):
            return
        self.env = environment.python_environment(
            self.dag.project,
            self.config.cache_dir,
            self._capture,
            lambda message: self._step("environment", message),
            lambda: self.cancel.level > 0,
        )
        for path in self.env.unfrozen:
            message = f"{path} is outside the project: its code is neither frozen nor tracked"
            self._emit(Warned, message=message)

    def _capture(self, argv: Sequence[str], **options: Any) -> tuple[int, bytes]:
        return process.capture(argv, cancel=self.cancel, guardian=self.guardian, **options)

    def _take_snapshot(self) -> None:
        """The frozen copy that every task runs from."""
        self._step("snapshot", "copying the project")
        publish.sweep(self.dag.project, [t for task in self.dag.tasks for t in task.targets])
        began = self.clock.now()
        patterns = {pattern for task in self.tasks for pattern in task.inputs or ()}
        self.snapshot = snapshot.take(
            self.dag.project,
            self.dir.project,
            tuple(sorted(patterns)),
            self.config.root,
            exclude=(self.config.runs_dir, *self._own_targets(), *self._orphans()),
            checkpoint=self._checkpoint,
        )
        self.taken = (began, self.clock.now())
        for message in self.snapshot.warnings:
            self._emit(Warned, message=message)

    def _own_targets(self) -> list[Path]:
        """What the tasks of this run will make: neither copied nor seen by them."""
        return [self.dag.project / target for task in self.tasks for target in task.targets]

    def _orphans(self) -> list[Path]:
        """What tasks that the DAG no longer has have left; no part of the project any more."""
        records = self.services.history.records(self.dag.name)
        self.orphans = orphaned(self.declared, records, self.live)
        for left in sorted(self.orphans)[:_NAMED]:
            self._emit(Warned, message=f"{left} was made by a task that no longer exists: ignored")
        return [self.dag.project / left for left in self.orphans]

    # ------------------------------------------------------------------ 5 secrets

    def open_secrets(self) -> None:
        """The secrets file, if the command line or the workspace names one."""
        path = self.request.secrets_file or self.config.secrets_file
        if path is None:
            return
        self.secrets = Secrets.load(path)
        for message in self.secrets.warnings:
            self._emit(Warned, message=message)

    # ------------------------------------------------------------------ what is current

    def track(self) -> None:
        """Get ready to tell what is current; what this run leaves out is as it last was."""
        history = self.services.history
        frozen = Frozen(self.live, self.dir.project, self.dag.project, *self.taken)
        surroundings = Surroundings(
            dag=self.declared,
            root=self.dir.project,
            workspace=self.config.root,
            params=self.params,
            environment=self.env,
            url=self._url,
            orphans=self.orphans,
        )
        fingerprints = self.fingerprints = Fingerprints(surroundings, frozen)
        assert self.snapshot is not None
        scene = Scene(
            run=self.dir.id,
            workspace=self.config.root,
            project=self.dag.project,
            root=self.dir.project,
            runs=self.config.runs_dir,
            snapshot=self.snapshot,
            taken_at=self.taken[0],
        )
        self.tracking = Tracking(
            self.dag,
            self.params,
            scene,
            fingerprints,
            self.live,
            history,
            forced_by="--learn" if self.request.learn else "--force" if self.request.force else "",
        )
        chosen = {task.name for task in self.tasks}
        needed = graph.above(self.dag, chosen)
        for name, success in history.last_successes(self.dag.name).items():
            if name not in chosen:
                self.tracking.left_out(name, success.run, name in needed)
        if self.request.learn:
            self._learn()

    def _learn(self) -> None:
        """Have every attempt watched."""
        from pit.engine import learning  # no other run shall pay for it

        self.stack.callback(remove_tree, self.dir.root / learning.FOLDER)
        self.learning = learning.begun(
            self.request,
            self.dag,
            self.params,
            self.dir,
            self.env.prefix if self.env is not None else None,
            self.fingerprints,
            self._emit,
            self._capture,
        )

    def _url(self, task: Task) -> str | None:
        """The URL of the database that a task works on, if it has one and the secrets know it."""
        name = self._connection(task)
        if name is None or self.secrets is None:
            return None
        try:
            return self.secrets.connection_url(self.dag.name, name)
        except SecretsError:
            return None

    def _connection(self, task: Task) -> str | None:
        shared = self.dag.connection if operators.runner_of(task) == "sql" else None
        return task.connection or shared

    # ------------------------------------------------------------------ 6 compile

    def compiled(self) -> list[Job]:
        """The jobs of this run in topological order."""
        jobs = {task.name: self._job(task) for task in self.tasks}
        return compile.ordered(jobs, graph.topological(self.dag))

    def _job(self, task: Task) -> Job:
        runner = operators.runner_of(task)
        job = Job(
            name=task.name,
            depends_on=task.depends_on,
            policy=compile.policy(task),
            base=self.python_variables if runner == "python" else self.variables,
            params=self.tracking.params_of(task),
            done=self._done_before(task.name),
        )
        if runner == "sql":
            return self._sql_job(job, task)
        reserved = task.connection if self.secrets is not None else None
        return self._connected(job, task, reserved, argv=self._argv(task))

    def _done_before(self, name: str) -> str:
        """The run that has done a task already, if this one continues another."""
        again = self.request.again
        run = again.done.get(name, "") if again is not None else ""
        if run:
            self.tracking.done_before(name, run)
        return run

    def _sql_job(self, job: Job, task: Task) -> Job:
        script = str(self.dir.project / task.script)
        if self.secrets is None:
            return replace(job, stub=script, order=self._order(task))
        name = self._connection(task)
        if name is None:
            error = "no connection: name one on the task, or in [dag.sql]"
            return replace(job, refusal=Refusal(reason=Reason.MISSING_CONNECTION, error=error))
        return self._connected(job, task, name, sql=script)

    def _connected(self, job: Job, task: Task, name: str | None, **work: Any) -> Job:
        """The job with its order; refused when the secrets lack the connection `name`."""
        if name is None:
            return replace(job, order=self._order(task, **work))
        assert self.secrets is not None
        try:
            url = self.secrets.connection_url(self.dag.name, name)
        except SecretsError as error:
            refusal = Refusal(reason=Reason.MISSING_CONNECTION, error=str(error))
            return replace(job, refusal=refusal)
        return replace(job, order=self._order(task, database=url, **work))

    def _argv(self, task: Task) -> tuple[str, ...]:
        script = self.dir.project / task.script
        match operators.runner_of(task):
            case "python":
                assert self.env is not None
                return environment.command(self.env, script)
            case "bash":
                return operators.bash_command(script)
            case runner:
                return operators.custom_command(runner, script)

    def _order(self, task: Task, **work: Any) -> Order:
        return Order(
            run=self.dir.id,
            dag=self.dag.name,
            task=task.name,
            attempt=0,
            attempts=task.retries + 1,
            log=str(self.dir.log_file(task.name)),
            cwd=str(self.dir.project),
            env=self._overlay(task),
            marker="",
            targets=publish.anchored(task.targets, self.config.root),
            timeout=task.timeout,
            grace=self.request.grace,
            **work,
        )

    def _overlay(self, task: Task) -> dict[str, str]:
        """What this task's variables add to those that it shares with the others."""
        wanted = self.params if task.params is None else task.params
        given = {f"PIT_PARAM_{name.upper()}": self.params[name] for name in wanted}
        return self.dag.env | task.env | given | {"PIT_TASK_NAME": task.name}

    @cached_property
    def variables(self) -> dict[str, str]:
        """The environment that every task of this run shares."""
        return environment.base_variables(os.environ) | {
            "PIT_RUN_ID": self.dir.id,
            "PIT_DAG_NAME": self.dag.name,
            "PIT_DATA_DIR": str(self.dir.data),
            "PIT_PROJECT_DIR": str(self.dir.project),
            "PIT_WORKSPACE": str(self.config.root),
        }

    @cached_property
    def python_variables(self) -> dict[str, str]:
        """The same for Python tasks, with the environment that they run in."""
        assert self.env is not None
        # Unbuffered, or a task that is killed takes its last words with it.
        return (
            {"PYTHONUNBUFFERED": "1"}
            | self.variables
            | environment.task_variables(
                self.env, self.dag.project, self.dir.project, self.variables
            )
        )

    # ------------------------------------------------------------------ 7 drive

    def drive(self, jobs: Sequence[Job]) -> None:
        """Perform the jobs and record how the run ended."""
        self._skip_unselected()
        with Sessions(
            spawn=process.spawn_session,
            cwd=self.dir.project,
            env=self.variables,
            stderr=self.dir.logs / ".sql.log",
            workspace=self.config.root,
            guardian=self.guardian,
        ) as sessions:
            tools = operators.Tools(
                cancel=self.cancel,
                guardian=self.guardian,
                sessions=sessions,
                tap=self.services.tap,
            )
            tally = self._scheduled(jobs, tools)
        process.end_all(self.request.grace, self.cancel)
        if self.learning is not None:
            self.learning.tell()
        self.services.history.save_digests(self.live.changes())
        outputs: tuple[Output, ...] = ()
        if tally.state is RunState.SUCCESS and not tally.stub and self.request.only is None:
            outputs = self.dag.outputs
        self._end(tally.state, tally.reason, tally.error, tally.stub, outputs)

    def _scheduled(self, jobs: Sequence[Job], tools: operators.Tools) -> Tally:
        attempt = operators.perform if self.learning is None else self.learning.perform

        def perform(order: Order) -> Finished:
            self.tracking.hand_on(order.task)
            return self.tracking.conclude(order, attempt(order, tools))

        executor = Threads(perform, self.tracking.judge, self.mailbox, self.slots)
        timeout = self.dag.timeout
        if timeout is not None:
            timeout = max(0.0, timeout - (self.clock.monotonic() - self.begun))
        scheduler = Scheduler(
            self.dir.id,
            self.dag.name,
            jobs,
            tell=self.tell,
            executor=executor,
            mailbox=self.mailbox,
            cancel=self.cancel,
            slots=self.slots,
            timeout=timeout,
            clock=self.clock,
            show_stub=self._show_stub,
            claim=self.tracking.claim,
            release=self.tracking.release,
            explain=self._explained,
        )
        try:
            return scheduler.run()
        finally:
            executor.close()

    def _explained(self, verdict: Verdict) -> str:
        """Why a task runs, with what the sources say that were kept."""
        history = self.services.history
        return explain.verdict(verdict, lambda d: self.fingerprints.text(d) or history.text(d))

    def _skip_unselected(self) -> None:
        chosen = {task.name for task in self.tasks}
        for task in self.dag.tasks:
            if task.name not in chosen:
                self._emit(
                    TaskEnded, task=task.name, state=TaskState.SKIPPED, reason=Reason.SINGLE_TASK
                )
        for task in self.tasks:
            absent = [name for name in task.depends_on if name not in chosen]
            if absent:
                self._emit(
                    Warned,
                    message=f'task "{task.name}" depends on {", ".join(absent)}, not run now',
                    hint=f"Run everything with: pit run {self.dag.name}",
                )

    def _show_stub(self, job: Job) -> None:
        """In stub mode the log holds the SQL that was not executed."""
        assert job.stub is not None
        assert job.order is not None
        with TaskLog(job.order.log, job.name, self.services.tap) as log:
            log.line("[pit] no secrets file: this SQL was not executed")
            log.write(Path(job.stub).read_bytes())

    # ------------------------------------------------------------------ 8 close

    def _end(
        self,
        state: RunState,
        reason: Reason | None,
        error: str,
        stub: bool = False,
        outputs: tuple[Output, ...] = (),
    ) -> None:
        self.state, self.reason = state, reason
        self._emit(
            RunEnded,
            state=state,
            reason=reason,
            error=error,
            seconds=self.clock.monotonic() - self.begun,
            stub=stub,
            outputs=outputs,
        )
        self.tell.barrier()

    def finale(self) -> Finale:
        """What the caller makes an exit code of."""
        return Finale(
            run=self.dir.id, state=self.state, reason=self.reason, signal=self.signals.received
        )


def _move(there: Path, here: Path, run: str) -> None:
    try:
        os.rename(there, here)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SnapshotFailed(
            f"cannot take over {there} of run {run}: {reason}",
            "Another retry of it may have come first; see: pit runs",
        ) from error


def _reason(error: BaseException) -> Reason:
    match error:
        case DiskFull():
            return Reason.DISK_FULL
        case RequirementNotMet():
            return Reason.REQUIREMENT
        case PitError():
            return Reason.SETUP
        case OSError() if operators.disk_reason(error):
            return Reason.DISK_FULL
    return Reason.INTERNAL


def _start_of_this_process() -> float:
    this = tree.stat(os.getpid())
    return 0.0 if this is None else float(this.start)


_ROUNDS = 3
"""How often a project that changes under our hands is looked at again."""

_NAMED = 5
"""How many left-over files a run names."""
