"""`pit accept`, `pit forget` and `pit clean`: what people do to the records of tasks by hand."""

from __future__ import annotations

from collections.abc import Sequence

import click
from msgspec.structs import replace

from pit.cli.complete import complete_target, param_option
from pit.cli.options import Settings, command, json_option
from pit.cli.target import look, target_of
from pit.cli.terminal.console import count, size
from pit.engine.locks import owner
from pit.engine.planning import vouch
from pit.engine.planning.vouch import Made
from pit.engine.staleness import comparison
from pit.engine.staleness.provenance import Provenance
from pit.engine.target.target import Target
from pit.errors import BadArgument, Overlapping
from pit.model import TaskRecord
from pit.project.digest import Digests
from pit.state.cache.digests import DigestCache
from pit.state.rundir import prepare
from pit.state.store.store import Store
from pit.views.records import AcceptedView, AcceptView, CleanView, ForgetView
from pit.work.sql import baselines

_LINES = 20


# ---------------------------------------------------------------- accept


@command("accept", short_help="Take a task's targets as current.")
@click.argument("target", metavar="DAG/TASK", shell_complete=complete_target)
@click.option("-m", "--message", required=True, metavar="TEXT", help="Why; kept in the history.")
@param_option
@json_option
def accept(
    settings: Settings, target: str, message: str, pairs: Sequence[str], as_json: bool
) -> None:
    """Take what stands at a task's targets as current, without running it.

    For a change that you know to make no difference, or a target that was repaired by hand.
    Afterwards the task is skipped until something changes again.
    """
    found = target_of(settings, target, pairs)
    if not found.typed.selection:
        raise BadArgument(
            f'"{target}" is a whole DAG', f"Name a task, or all of them: {target}/'*'"
        )
    with Store.open(found.config.metadata_db) as store:
        view = AcceptView(
            dag=found.dag.name, note=message, tasks=tuple(_accept(settings, found, store, message))
        )
    if as_json:
        settings.console.json(view)
        return
    for task in found.tasks:
        if not comparison.is_tracked(task):
            settings.console.note(f"{view.dag}/{task.name} always runs: nothing to accept")
    for done in view.tasks:
        said = "is taken as current" if done.accepted else "is current already"
        settings.console.out(f"{view.dag}/{done.task} {said}")


def _accept(settings: Settings, found: Target, store: Store, message: str) -> list[AcceptedView]:
    """Of several tasks, those that always run are passed over; one alone is refused."""
    seen = look(settings, found, store)
    successes = store.runs.last_successes(found.dag.name)
    done = []
    with seen.asking():
        stale = {each.task for each in seen.decisions() if not each.current}
        seen.planner.leave_out_all()  # from here on, every task counts as it last was
        for task in [task for task in found.tasks if comparison.is_tracked(task)] or found.tasks:
            if task.name in stale:
                prepare(found.config.runs_dir, found.config.settings)
                vouch.accept(seen, task, store, message, successes.get(task.name))
            done.append(AcceptedView(task=task.name, accepted=task.name in stale))
    seen.save()
    return done


# ---------------------------------------------------------------- forget


@command("forget", short_help="Drop what is known of tasks: they run again.")
@click.argument("target", metavar="DAG[/TASK]", shell_complete=complete_target)
@param_option
@click.option("--all-params", is_flag=True, help="Whatever their parameters were.")
@click.option("-m", "--message", default="", metavar="TEXT", help="Why; kept in the history.")
@json_option
def forget(
    settings: Settings,
    target: str,
    pairs: Sequence[str],
    all_params: bool,
    message: str,
    as_json: bool,
) -> None:
    """Drop the records of a DAG's tasks, or of one, so that they run the next time.

    Their targets stay. Records are kept per values of the parameters: those that go are of the
    values given with -p (or the defaults), or with --all-params of all.
    """
    found = target_of(settings, target, pairs)
    forgotten: dict[str, int] = {}
    if found.config.metadata_db.exists():
        with Store.open(found.config.metadata_db) as store:
            owner.require(found.config, found.dag.name, store)
            for task, keys in _known(found, store, all_params).items():
                gone = vouch.forget(found, task, keys, store, message)
                forgotten |= {task: gone} if gone else {}
    root = found.config.root
    bases = [one.name for one in found.tasks if baselines.forget(root, found.dag.name, one.name)]
    if as_json:
        settings.console.json(ForgetView(dag=found.dag.name, forgotten=forgotten))
        return
    for task in bases:
        settings.console.out(f"{found.dag.name}/{task}: max_change compares with its tables as is")
    if not forgotten and not bases:
        settings.console.out("nothing was on record")
    for task, gone in list(forgotten.items())[:_LINES]:
        settings.console.out(f"{found.dag.name}/{task}: {count(gone, 'record')} forgotten")
    if len(forgotten) > _LINES:
        settings.console.out(f"… and of {count(len(forgotten) - _LINES, 'more task')}")


def _known(found: Target, store: Store, all_params: bool) -> dict[str, list[str]]:
    """The parameters, as texts, of the records to drop, by task.

    Of a whole DAG, tasks that it does not have any more are forgotten as well.
    """
    wanted = {task.name: found.key(task) for task in found.tasks}
    keys: dict[str, list[str]] = {}
    for record in store.records.of_dag(found.dag.name):
        own = record.task in wanted and (all_params or record.params == wanted[record.task])
        left_over = not found.typed.selection and all_params and record.task not in found.dag.tasks
        if own or left_over:
            keys.setdefault(record.task, []).append(record.params)
    return keys


# ---------------------------------------------------------------- clean


@command("clean", short_help="Remove what tasks have made.")
@click.argument("target", metavar="DAG[/TASK]", shell_complete=complete_target)
@param_option
@click.option("-n", "--dry-run", is_flag=True, help="Only show what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--unrecorded", is_flag=True, help="Also what no task is known to have made.")
@json_option
def clean(
    settings: Settings,
    target: str,
    pairs: Sequence[str],
    dry_run: bool,
    yes: bool,
    unrecorded: bool,
    as_json: bool,
) -> None:
    """Remove the targets of a DAG's tasks, or of one, and drop their records.

    Only what pit.toml declares as targets goes, only inside the project, and only what is as the
    task made it. What else stands there stays, unless --unrecorded is given.
    """
    found = target_of(settings, target, pairs)
    plan = _planned(found, unrecorded)
    view = CleanView(
        dag=found.dag.name,
        dry_run=dry_run,
        forgotten=0,
        bytes=sum(made.bytes for made in plan.values()),
        tasks=tuple(made for made in plan.values() if made.places or made.kept),
    )
    busy: list[str] = []
    if not dry_run:
        _confirm(settings, view, yes)
        with Store.open(found.config.metadata_db) as store:
            owner.require(found.config, found.dag.name, store)
            prepare(found.config.runs_dir, found.config.settings)
            gone, busy = _clean(found, plan, store)
        view = replace(view, forgotten=gone)
    if as_json:
        settings.console.json(view)
    else:
        _say_cleaned(settings, view)
    if busy:
        raise Overlapping("\n".join(busy), "The rest has been cleaned.")


def _planned(found: Target, unrecorded: bool) -> dict[str, Made]:
    """What would go of each task, as far as the store knows who made it."""
    with Store.open_readonly(found.config.metadata_db) as store:
        known = Provenance(found.dag, found.config.runs_dir, store)
        digests = Digests(DigestCache(store.database).load(str(found.dag.project)))
        tasks = found.tasks
        return {t.name: vouch.made(found, t, known, digests, unrecorded) for t in tasks}


def _confirm(settings: Settings, view: CleanView, yes: bool) -> None:
    """Ask before anything goes; refuse where nobody can answer."""
    places = [f"{place}" for made in view.tasks for place in made.places]
    if yes or not places:
        return
    for place in places[:_LINES]:
        settings.console.note(f"  {place}")
    if len(places) > _LINES:
        settings.console.note(f"  … and {len(places) - _LINES} more")
    question = f"Remove {count(len(places), 'target')} of {view.dag}, {size(view.bytes)}?"
    answer = settings.console.ask(question)
    if answer is None:
        raise BadArgument("nobody is there to answer", "Give --yes to remove without asking")
    if not answer:
        raise click.Abort


def _clean(found: Target, plan: dict[str, Made], store: Store) -> tuple[int, list[str]]:
    """Cleans task by task; how many records went, and what could not be done."""
    gone, busy = 0, []
    records: dict[str, list[TaskRecord]] = {}
    for record in store.records.of_dag(found.dag.name):
        records.setdefault(record.task, []).append(record)
    for task in found.tasks:
        try:
            known = records.get(task.name, ())
            gone += vouch.clean(found, task, plan[task.name], store, known)
        except Overlapping as error:
            busy.append(str(error))
    return gone, busy


def _say_cleaned(settings: Settings, view: CleanView) -> None:
    out = settings.console.out
    places = [place for made in view.tasks for place in made.places]
    for place in places[:_LINES] if view.dry_run else ():
        out(f"  {place}")
    if view.dry_run and len(places) > _LINES:
        out(f"  … and {len(places) - _LINES} more")
    for made in view.tasks:
        for place, why in made.kept.items():
            settings.console.note(f"{place} of {view.dag}/{made.task} stays: {why}")
    targets = f"{count(len(places), 'target')}, {size(view.bytes)}"
    if view.dry_run:
        out(f"would remove {targets}")
    elif places or view.forgotten:
        out(f"removed {targets}; {count(view.forgotten, 'record')} forgotten")
    else:
        out("nothing to clean")
