"""One run, from open to close: `execute` lists its steps, each of which hands a value to the next.

What the steps work with has modules of its own: what is asked for (`target`), the run's folder,
lock and row (`lifecycle`), environment and snapshot (`freeze`), what each task is told to do
(`orders`), what is current (`staleness`), when each task starts (`scheduling`), and what appears
and is recorded (`publish_record`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from pit.engine.locks import owner, place
from pit.engine.locks.claims import Claims
from pit.engine.locks.overlap import held_place
from pit.engine.planning import explain, look, missing_secrets, stale_upstream
from pit.engine.planning.stale_upstream import StaleUpstream
from pit.engine.run.freeze import Frozen, freeze, take_over
from pit.engine.run.lifecycle import OpenRun, opened
from pit.engine.run.orders import Orders
from pit.engine.run.publish_record import Recorder
from pit.engine.run.request import Request, RunResult, Services
from pit.engine.run.sql_sessions import LazySessions
from pit.engine.run.task_socket import TaskServices
from pit.engine.scheduling.checker import StalenessChecker
from pit.engine.scheduling.executor import Ends, Finished, Threads
from pit.engine.scheduling.ports import Ports
from pit.engine.scheduling.scheduler import Scheduler
from pit.engine.scheduling.tally import Tally
from pit.engine.staleness import completion
from pit.engine.staleness.databases import Connections
from pit.engine.staleness.fingerprint import Databases
from pit.engine.staleness.outdated import announcement, outdated
from pit.engine.staleness.planner import Decision, Planner
from pit.engine.staleness.products import Products, Scene
from pit.engine.staleness.provenance import Provenance
from pit.engine.staleness.questions import Questions
from pit.engine.target.target import Target
from pit.errors import PitError, StubRefused
from pit.events import TaskEnded
from pit.model import Output, Reason, Record, RunState, TaskState
from pit.order import Order, Outcome
from pit.project.digest import Digests
from pit.project.view import frozen_view
from pit.state import trash
from pit.state.cache.digests import DigestCache
from pit.state.secrets import memory
from pit.state.secrets.identities import has_key
from pit.text import durations
from pit.work import attempts
from pit.work.site import Site

if TYPE_CHECKING:
    from pit.engine.run.learning import Learning
    from pit.state.secrets.secrets import Secrets


def execute(request: Request, services: Services) -> RunResult:
    """Run a DAG (or one task of it) to its end; raises PitError when it could not be set up."""
    target, config, store = request.target, request.target.config, services.store
    if request.continued is not None:
        request.continued.refuse_others(target.dag.tasks)
    if config.secrets_file is not None or has_key():
        memory.keep_to_itself()  # before there is a guardian, which is a copy of this process
    with (
        held_place(config, target.dag.declared, store, services.waiting) as lock,
        opened(request, services, lock) as run,
    ):
        trash.empty_meanwhile(config.runs_dir)  # a thread: only now that there is a guardian
        _refuse_stub(run)
        take_over(run)
        _check_requirements(run)
        cache = DigestCache(store.database)
        digests = Digests(cache.load(str(target.dag.project), str(config.runs_dir)))
        frozen = freeze(run, digests)
        secrets = _open_secrets(run)
        plan = _plan(run, frozen, secrets, digests)
        tasks = TaskServices(run, secrets, plan.left_out)
        orders = Orders(run, tasks, plan.planner)
        learning = _learning(run, frozen, plan.planner)
        _skip_unselected(run, secrets)
        tally = _perform(run, frozen, plan, tasks, orders, learning)
        run.end_processes()
        if learning is not None:
            learning.tell()
        cache.save(digests.changes())
        _conclude(run, tally)
    return run.result()


# ---------------------------------------------------------------- before anything is read


def _refuse_stub(run: OpenRun) -> None:
    """A run whose SQL would only be shown does not begin where the workspace forbids that."""
    shown = () if run.target.config.stub else run.shown_only()
    if shown:
        raise StubRefused(shown)


def _check_requirements(run: OpenRun) -> None:
    """Every DAG in `[dag.requires]` succeeded, and recently enough."""
    dag, store = run.target.dag.declared, run.services.store
    for required in dag.requires:
        owner.require(run.target.config, required, store)
    place.check_requirements(dag.name, dag.requires, store, run.clock.now())


def _open_secrets(run: OpenRun) -> Secrets | None:
    """The secrets file, if the command line or the workspace names one."""
    if run.target.config.secrets_file is None:
        return None
    from pit.state.secrets.secrets import Secrets  # most runs have none

    secrets = Secrets.of(run.target.config)
    if secrets is not None:
        for message in secrets.warnings:
            run.warn(message)
    for lack in missing_secrets.unmet(secrets, run.target.dag.declared, run.target.tasks):
        run.warn(str(lack))  # now, for its turn may come hours later
    return secrets


# ---------------------------------------------------------------- what is current


class _Plan(Record):
    """What decides about the tasks of a run, their databases, and what it asks these.

    `left_out` are the runs in which tasks that this run leaves out have succeeded.
    """

    planner: Planner
    connections: Connections
    questions: Questions
    left_out: Mapping[str, str]


def _plan(run: OpenRun, frozen: Frozen, secrets: Secrets | None, digests: Digests) -> _Plan:
    """The planner, on the snapshot; what this run leaves out is as it last was."""
    request, dag, config = run.request, run.target.dag, run.target.config
    connections = Connections(dag.declared, secrets, config.root)
    questions = Questions(connections.url)
    view = frozen_view(
        run.dir.project,
        frozen.snapshot.manifest,
        dag.project,
        config.root,
        frozen.rules,
        digests,
    )
    forced = "--learn" if request.learn else "--force" if request.force else ""
    planner = Planner(
        run.target,
        view,
        run.services.store,
        Databases(url=connections.url, urls=connections.urls, ask=questions.of),
        frozen.environment,
        forced=forced,
        number=frozen.number,
    )
    left_out = planner.leave_out_unselected()
    for name, earlier in request.continued.done.items() if request.continued else ():
        if name in planner.target.chosen:
            planner.done_before(name, earlier)
    if not forced:
        _announce(run)
    return _Plan(planner=planner, connections=connections, questions=questions, left_out=left_out)


def _announce(run: OpenRun) -> None:
    """Say first which tasks are stale for no better reason than a new release of Pit."""
    dag = run.target.dag.name
    stale = outdated(run.target, run.services.store)
    if stale:
        run.warn(*announcement(dag, len(stale)))


def _learning(run: OpenRun, frozen: Frozen, planner: Planner) -> Learning | None:
    """Has every attempt watched, if that is asked for."""
    if not run.request.learn:
        return None
    from pit.engine.run import learning  # no other run shall pay for it

    return learning.begun(run, frozen.environment, planner.fingerprints)


# ---------------------------------------------------------------- what is not selected


def _skip_unselected(run: OpenRun, secrets: Secrets | None) -> None:
    """The tasks that are not selected are skipped; what that leaves open is told."""
    dag, chosen = run.target.dag, run.target.chosen
    for name in dag.tasks:
        if name not in chosen:
            skipped, why = TaskState.SKIPPED, Reason.SINGLE_TASK
            run.emit(TaskEnded, task=name, state=skipped, reason=why)
    stale = _stale_upstream(run, secrets)
    told = frozenset() if stale is None else dag.downstream(*stale.tasks)
    if stale is not None:
        run.warn(stale.sentence, stale.hint())
    for task in run.target.tasks:
        absent = [name for name in dag.needs[task.name] if name not in chosen]
        if absent and task.name not in told:
            run.warn(
                f'task "{task.name}" depends on {", ".join(absent)}, not run now',
                f"Run everything with: pit run {dag.name}",
                task.name,
            )


def _stale_upstream(run: OpenRun, secrets: Secrets | None) -> StaleUpstream | None:
    """What is stale above the tasks of a run, in the project as it is now.

    A retry goes on with what an older project had said.
    """
    request = run.request
    if request.continued is not None and request.continued.project is not None:
        return None
    force = request.force or request.learn

    def looking(target: Target) -> look.Look:
        forced = force and target.chosen == run.target.chosen
        return look.Look(target, secrets, run.services.store, run.capture, force=forced)

    try:
        return stale_upstream.looked_for(run.target, looking)
    except (PitError, OSError):
        return None  # what is not selected stops no run


# ---------------------------------------------------------------- what is selected


def _perform(
    run: OpenRun,
    frozen: Frozen,
    plan: _Plan,
    tasks: TaskServices,
    orders: Orders,
    learning: Learning | None,
) -> Tally:
    """Perform the jobs; how the tasks have ended."""
    dag, store, planner = run.target.dag.name, run.services.store, plan.planner
    if frozen.own:
        run.first_task()
    recorder, products = _products(run, frozen, plan, tasks)

    def judge(name: str) -> tuple[Decision, str]:
        decision = planner.decide(name)
        if decision.renewed is not None:
            recorder.keep_texts(decision.renewed.fingerprint)
        return decision, explain.decision(decision, planner.text)

    def barrier() -> None:
        try:
            store.barrier()
        except PitError as error:
            mailbox.put(error)  # which ends the run
            raise

    def after(order: Order, outcome: Outcome) -> Finished:
        tasks.saved(order, outcome)
        return recorder.conclude(order, outcome)

    slots, mailbox = run.request.slots, run.mailbox
    site = _site(run, frozen)
    with closing(LazySessions(run, site, plan.connections.url_of)) as sessions:
        plan.questions.begin(sessions, run.cancel)
        ends = Ends(
            barrier=barrier,
            before=lambda order: products.hand_on(order.task),
            perform=_attempt(run, site, tasks, sessions, learning),
            after=after,
        )
        with (
            closing(Threads(ends, mailbox, slots)) as executor,
            closing(StalenessChecker(judge, mailbox, slots, planner.recall)) as checker,
        ):
            ports = Ports(
                orders=orders,
                checker=checker,
                executor=executor,
                claims=Claims(run.dir.id, run.target.config.runs_dir, planner, store),
                reservations=sessions,
                log=run,
                cancel=run.cancel,
                mailbox=mailbox,
                clock=run.clock,
            )
            return Scheduler(dag, orders.jobs(), ports, slots, run.time_left()).run()


def _products(
    run: OpenRun, frozen: Frozen, plan: _Plan, tasks: TaskServices
) -> tuple[Recorder, Products]:
    """Who publishes and records what the tasks make, and who hands on what skipped ones had."""
    dag, store, planner = run.target.dag, run.services.store, plan.planner
    scene = Scene(
        run=run.dir.id,
        workspace=run.target.config.root,
        project=dag.project,
        root=run.dir.project,
        data=run.dir.data,
        runs=run.target.config.runs_dir,
        snapshot=frozen.snapshot,
        taken_at=frozen.taken_at,
        number=frozen.number,
    )
    live = planner.view.live_digests
    recorder = Recorder(scene, planner, live, store, tasks.facts, plan.questions.missing)
    known = Provenance(dag, scene.runs, store, scene.run)
    return recorder, Products(scene, planner, live, known)


def _site(run: OpenRun, frozen: Frozen) -> Site:
    """Where the orders of a run are performed: here."""
    dag = run.target.dag
    return Site(
        run.dir.id,
        dag.name,
        workspace=run.target.config.root,
        live=dag.project,
        project=run.dir.project,
        data=run.dir.data,
        logs=run.dir.logs,
        python=frozen.environment,
    )


def _attempt(
    run: OpenRun,
    site: Site,
    tasks: TaskServices,
    sessions: LazySessions,
    learning: Learning | None,
) -> Callable[[Order], Outcome]:
    """Who carries out one attempt."""
    tools = attempts.Tools(
        site=site,
        cancel=run.cancel,
        connection=tasks.connection,
        guardian=run.guardian,
        sessions=sessions,
        tap=run.services.tap,
        server=tasks.server,
        masks=run.masks,
    )
    return partial(attempts.perform if learning is None else learning.perform, tools=tools)


# ---------------------------------------------------------------- the end


def _conclude(run: OpenRun, tally: Tally) -> None:
    """Tell how the run ended."""
    dag = run.target.dag.declared
    outputs: tuple[Output, ...] = ()
    complete_at = None
    if tally.state is RunState.SUCCESS and not tally.stub:
        if run.target.whole:
            outputs = dag.outputs
        else:
            complete_at = _complete_at(run)
    error = tally.error
    if tally.reason is Reason.TIMEOUT and dag.timeout is not None:
        error += f" of {durations.format(dag.timeout)}"
    run.end(tally.state, tally.reason, error, tally.stub, outputs, complete_at)


def _complete_at(run: OpenRun) -> float | None:
    """Since when the whole DAG is done, if a run of some tasks has left nothing undone."""
    run.barrier()
    dag, store = run.target.dag, run.services.store
    return completion.complete_at(
        dag, store.dags.standings(dag.name), store.runs.last_complete(dag.name)
    )
