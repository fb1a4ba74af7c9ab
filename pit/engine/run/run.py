"""One run, from open to close: `execute` lists its steps, each a method below, in order.

What the steps work with has modules of its own: the run's place, folder, lock and row
(`lifecycle`), environment and snapshot (`freeze`), what each task is told to do (`orders`), what is
current (`staleness`), when each task starts (`scheduling`), and what appears and is recorded
(`publish_record`). What is asked for has been worked out before (`target`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pit.config.dag import nearby
from pit.engine.locks import owner, place
from pit.engine.locks.claims import Claims
from pit.engine.planning import explain, look, missing_secrets, stale_upstream
from pit.engine.planning.stale_upstream import StaleUpstream
from pit.engine.run.freeze import Ground
from pit.engine.run.lifecycle import Lifetime
from pit.engine.run.orders import Orders
from pit.engine.run.publish_record import Recorder
from pit.engine.run.request import Finale, Request, Services
from pit.engine.run.sql_sessions import OnDemand
from pit.engine.run.task_socket import Asking
from pit.engine.scheduling.executor import Ends, Finished, Threads
from pit.engine.scheduling.jobs import Job, Refusal
from pit.engine.scheduling.scheduler import Scheduler
from pit.engine.scheduling.tally import Tally
from pit.engine.staleness import comparison, completion, databases
from pit.engine.staleness.fingerprint import Databases
from pit.engine.staleness.outdated import announcement, outdated
from pit.engine.staleness.planner import Decision, Planner
from pit.engine.staleness.products import Products, Scene
from pit.engine.staleness.provenance import Provenance
from pit.engine.staleness.questions import Questions
from pit.engine.target.target import Target
from pit.errors import PitError, StubRefused
from pit.events import SetupStep, TaskEnded
from pit.fs.files import remove_tree
from pit.model import Output, Reason, RunState, Task, TaskState
from pit.order import Order, Outcome
from pit.project.digest import Digests
from pit.project.view import frozen_view
from pit.state.cache.digests import DigestCache
from pit.state.secrets import memory
from pit.state.secrets.identities import has_key
from pit.text import durations
from pit.work import attempts
from pit.work.process import launch
from pit.work.site import Site
from pit.work.task_log import TaskLog

if TYPE_CHECKING:
    from pit.engine.run.learning import Learning
    from pit.state.secrets.secrets import Secrets


def execute(request: Request, services: Services) -> Finale:
    """Run a DAG (or one task of it) to its end; raises PitError when it could not be set up."""
    if request.again is not None:
        request.again.refuse_others(request.target.dag.tasks)
    if request.target.config.secrets_file is not None or has_key():
        memory.keep_to_itself()  # before there is a guardian, which is a copy of this process
    life = Lifetime(request, services)
    with life.place(), life.opened():
        run = _Run(life)
        run.refuse_stub()
        run.take_over()
        run.check_requirements()
        run.freeze()
        run.open_secrets()
        run.track()
        run.drive(run.compiled())
    return life.finale()


class _Run:
    """The steps of one run that is open, and what they hand to each other."""

    def __init__(self, life: Lifetime) -> None:
        self.life = life
        self.request, self.services = life.request, life.services
        self.target, self.dag, self.tasks = life.target, life.target.dag, life.target.tasks
        self.config, self.dir = life.target.config, life.dir
        self.cache = DigestCache(self.services.store.database)
        self.live = Digests(self.cache.load(str(self.dag.project), str(self.config.runs_dir)))
        self.ground = Ground(life, self.live)
        self.secrets: Secrets | None = None
        self.left_out: dict[str, str] = {}
        self.learning: Learning | None = None

    # ------------------------------------------------------------------ 1 to 3: before a task

    def refuse_stub(self) -> None:
        """A run whose SQL would only be shown does not begin where the workspace forbids that."""
        shown = () if self.config.stub else self.life.shown_only()
        if shown:
            raise StubRefused(shown)

    def take_over(self) -> None:
        """What the run that this one continues has left."""
        self.ground.take_over()

    def check_requirements(self) -> None:
        """Every DAG in `[dag.requires]` succeeded, and recently enough."""
        store, now = self.services.store, self.life.clock.now()
        requires = self.dag.declared.requires
        for required in requires:
            owner.require(self.config, required, store)
        place.check_requirements(self.dag.name, requires, store, now)

    def freeze(self) -> None:
        """The Python environment and the snapshot, both of the same moment."""
        self.ground.lay()

    # ------------------------------------------------------------------ 4 secrets

    def open_secrets(self) -> None:
        """The secrets file, if the command line or the workspace names one."""
        if self.config.secrets_file is None:
            return
        from pit.state.secrets.secrets import Secrets  # most runs have none

        self.secrets = Secrets.of(self.config)
        if self.secrets is not None:
            for message in self.secrets.warnings:
                self.life.warn(message)
        for lack in missing_secrets.unmet(self.secrets, self.dag.declared, self.tasks):
            self.life.warn(str(lack))  # now, for its turn may come hours later

    # ------------------------------------------------------------------ 5 what is current

    def track(self) -> None:
        """Get ready to tell what is current; what this run leaves out is as it last was."""
        self.asking = Asking(self.life, self.secrets, self.left_out)
        self.orders = Orders(self.life, self.asking, self._params_of)
        self.questions = Questions(self._url)
        forced = "--learn" if self.request.learn else "--force" if self.request.force else ""
        self.planner = self._planner(forced)
        scene = Scene(
            run=self.dir.id,
            workspace=self.config.root,
            project=self.dag.project,
            root=self.dir.project,
            data=self.dir.data,
            runs=self.config.runs_dir,
            snapshot=self.ground.snapshot,
            taken_at=self.ground.taken_at,
            number=self.ground.number,
        )
        store = self.services.store
        self.claims = Claims(self.dir.id, self.config.runs_dir, self.planner, store)
        self.recorder = Recorder(
            scene, self.planner, self.live, store, self.asking.facts, self.questions.missing
        )
        self._recorded = store.records.tasks(self.dag.name)
        self._tell_earlier()
        known = Provenance(self.dag, scene.runs, store, scene.run)
        self.products = Products(scene, self.planner, self.live, known)
        if not forced:
            self._announce()
        if self.request.learn:
            self._learn()

    def _planner(self, forced: str) -> Planner:
        """The planner, on the snapshot."""
        view = frozen_view(
            self.dir.project,
            self.ground.snapshot.manifest,
            self.dag.project,
            self.config.root,
            self.ground.rules,
            self.live,
        )
        databases = Databases(url=self._url, urls=self._urls, ask=self.questions.of)
        return Planner(
            self.target,
            view,
            self.services.store,
            databases,
            self.ground.env,
            forced=forced,
            number=self.ground.number,
        )

    def _order(self, name: str, attempt: int) -> Order | Refusal:
        """What a task is told to do, or why it cannot: as in make, what it reads must be there."""
        if lacking := self.planner.missing(name):
            names = [gap.input for gap in lacking]
            near = nearby.meant(
                name, names[0], self.dag.tasks.values(), self.dag.project, self.config.root
            )
            return Refusal(reason=Reason.MISSING_INPUT, error=explain.absent(names, near))
        return self.orders.order(name, attempt)

    def _params_of(self, task: Task) -> str | None:
        """The text of a task's parameter values; None where no record is concerned.

        A task that is not tracked any more, and runs, makes its old record a lie.
        """
        if not comparison.is_tracked(task) and task.name not in self._recorded:
            return None
        return self.target.key(task)

    def _judge(self, name: str) -> Decision:
        """What is to happen with a tracked task, its dependencies having ended."""
        decision = self.planner.decide(name)
        if decision.renewed is not None:
            self.recorder.keep_texts(decision.renewed.fingerprint)
        return decision

    def _tell_earlier(self) -> None:
        """What this run leaves out, or need not do again, has been done by earlier ones."""
        self.left_out |= self.planner.leave_out_unselected()
        again = self.request.again
        for name, run in again.done.items() if again is not None else ():
            if name in self.target.chosen:
                self.planner.done_before(name, run)

    def _announce(self) -> None:
        """Say first which tasks are stale for no better reason than a new release of Pit."""
        stale = outdated(self.target, self.services.store)
        if stale:
            self.life.warn(*announcement(self.dag.name, len(stale)))

    def _learn(self) -> None:
        """Have every attempt watched."""
        from pit.engine.run import learning  # no other run shall pay for it

        self.life.stack.callback(remove_tree, self.dir.root / learning.FOLDER)
        self.learning = learning.begun(
            self.target,
            self.dir,
            self.ground.env.prefix if self.ground.env is not None else None,
            self.planner.fingerprints,
            self.life.emit,
            self.life.capture,
        )

    def _url(self, task: Task) -> str | None:
        """The URL of the database that a task works on, if it has one and the secrets know it."""
        return self._url_of(databases.connection(self.dag.declared, task))

    def _url_of(self, connection: str | None) -> str | None:
        """The URL of a connection, for Pit to see which database it is."""
        return databases.url(self.secrets, self.dag.name, connection)

    def _urls(self, task: Task) -> Mapping[str, str]:
        """The databases that a task's `secrets` lead to, by key."""
        return databases.urls(self.secrets, self.dag.name, task.secrets or (), self.config.root)

    # ------------------------------------------------------------------ 6 compile

    def compiled(self) -> list[Job]:
        """The jobs of this run in topological order."""
        return self.orders.jobs()

    # ------------------------------------------------------------------ 7 drive

    def drive(self, jobs: Sequence[Job]) -> None:
        """Perform the jobs and record how the run ended."""
        self._skip_unselected()
        site = self._site()
        with closing(OnDemand(self.life, site, self._url_of)) as sessions:
            self.questions.begin(sessions, self.life.cancel)
            tools = attempts.Tools(
                site=site,
                cancel=self.life.cancel,
                connection=self.asking.connection,
                guardian=self.life.guardian,
                sessions=sessions,
                tap=self.services.tap,
                server=self.asking.server,
                masks=self.life.masks,
            )
            tally = self._scheduled(jobs, tools, sessions)
        self.life.end_processes()
        if self.learning is not None:
            self.learning.tell()
        self.cache.save(self.live.changes())
        outputs: tuple[Output, ...] = ()
        complete_at = None
        if tally.state is RunState.SUCCESS and not tally.stub:
            if self.target.whole:
                outputs = self.dag.declared.outputs
            else:
                complete_at = self._complete_at()
        error = tally.error
        timeout = self.dag.declared.timeout
        if tally.reason is Reason.TIMEOUT and timeout is not None:
            error += f" of {durations.format(timeout)}"
        self.life.end(tally.state, tally.reason, error, tally.stub, outputs, complete_at)

    def _site(self) -> Site:
        """Where the orders of this run are performed: here."""
        return Site(
            self.dir.id,
            self.dag.name,
            workspace=self.config.root,
            live=self.dag.project,
            project=self.dir.project,
            data=self.dir.data,
            logs=self.dir.logs,
            python=self.ground.env,
        )

    def _complete_at(self) -> float | None:
        """Since when the whole DAG is done, if this run of some tasks has left nothing undone."""
        self.life.tell.barrier()
        store = self.services.store
        before = store.runs.last_complete(self.dag.name)
        return completion.complete_at(self.dag, store.dags.standings(self.dag.name), before)

    def _scheduled(self, jobs: Sequence[Job], tools: attempts.Tools, sessions: OnDemand) -> Tally:
        perform = attempts.perform if self.learning is None else self.learning.perform
        life = self.life
        ends = Ends(
            before=lambda order: self.products.hand_on(order.task),
            perform=lambda order: perform(order, tools),
            after=self._conclude,
        )
        slots, mailbox = self.request.slots, life.mailbox
        executor = Threads(ends, self._judge, mailbox, slots, self.planner.recall)
        scheduler = Scheduler(
            self.dir.id,
            self.dag.name,
            jobs,
            tell=life.tell,
            executor=executor,
            order=self._order,
            mailbox=mailbox,
            cancel=life.cancel,
            slots=slots,
            timeout=life.time_left(),
            clock=life.clock,
            show_stub=self._show_stub,
            claim=self.claims.claim,
            claimant=self.claims.claimant,
            release=self.claims.release,
            explain=self._explained,
            reserve=sessions.reserve,
            dismiss=sessions.dismiss,
            show_wait=self._show_wait,
            show_end=self._show_end,
        )
        try:
            return scheduler.run()
        finally:
            executor.close()

    def _conclude(self, order: Order, outcome: Outcome) -> Finished:
        """What follows an attempt: what it has saved is handed on, what it has made recorded."""
        self.asking.saved(order, outcome)
        return self.recorder.conclude(order, outcome)

    def _explained(self, decision: Decision) -> str:
        """Why a task runs, with what the sources say that were kept."""
        return explain.decision(decision, self.planner.text)

    def _skip_unselected(self) -> None:
        chosen = self.target.chosen
        for name in self.dag.tasks:
            if name not in chosen:
                skipped, why = TaskState.SKIPPED, Reason.SINGLE_TASK
                self.life.emit(TaskEnded, task=name, state=skipped, reason=why)
        stale = self._stale_upstream()
        told = frozenset() if stale is None else self.dag.downstream(*stale.tasks)
        if stale is not None:
            self.life.warn(stale.sentence, stale.hint())
        for task in self.tasks:
            absent = [name for name in self.dag.needs[task.name] if name not in chosen]
            if absent and task.name not in told:
                self.life.warn(
                    f'task "{task.name}" depends on {", ".join(absent)}, not run now',
                    f"Run everything with: pit run {self.dag.name}",
                )

    def _stale_upstream(self) -> StaleUpstream | None:
        """What is stale above the tasks of this run, in the project as it is now.

        A retry goes on with what an older project had said.
        """
        request = self.request
        if request.again is not None and request.again.project is not None:
            return None
        force = request.force or request.learn

        def looking(target: Target) -> look.Look:
            store, capture = self.services.store, self.life.capture
            forced = force and target.chosen == self.target.chosen
            return look.Look(target, self.secrets, store, capture, force=forced)

        try:
            return stale_upstream.looked_for(self.target, looking)
        except (PitError, OSError):
            return None  # what is not selected stops no run

    def _show_stub(self, job: Job) -> None:
        """In stub mode the log holds the SQL that was not executed."""
        assert job.stub is not None
        with TaskLog(str(self.dir.log_file(job.name)), job.name, self.services.tap) as log:
            log.line("[pit] no secrets file: this SQL was not executed")
            query = self.dag.tasks[job.name].query
            log.write(Path(job.stub).read_bytes() if job.stub else query.encode())

    def _show_end(self, tasks: Sequence[str]) -> None:
        """Say how long the tasks have that were asked to end, and how to end them sooner."""
        has, it = (f"{tasks[0]} has", "it")
        if len(tasks) > 1:
            has, it = (f"{len(tasks)} tasks have", "them")
        number = self.life.signals.received  # none when the run's time is up
        again = "" if number is None else launch.signal_name(number).replace("SIGINT", "Ctrl-C")
        sooner = f"; another {again} kills {it} at once" if again else ""
        message = f"{has} {durations.format(self.request.grace)} to end{sooner}"
        self.life.emit(SetupStep, step="ending", message=message)

    def _show_wait(self, order: Order, what: str) -> None:
        """The log says what an attempt waits for before it begins."""
        path = str(self.dir.log_file(order.task))
        with (
            suppress(OSError),  # a full disk: the attempt itself meets it
            TaskLog(path, order.task, self.services.tap, self.life.masks) as log,
        ):
            log.line(f"waiting for {what}")
