"""`pit plan`: what a run would do, why, and how long it would take; nothing is started."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

import click
from msgspec.structs import replace

from pit.cli.complete import complete_target, param_option
from pit.cli.options import Settings, command, json_option
from pit.cli.target import look, stale_above, target_of
from pit.cli.terminal.console import Cell, Column, ago, count, duration, together
from pit.cli.terminal.folding import folded
from pit.config.workspace import discover, no_projects
from pit.engine.locks import place
from pit.engine.planning.causes import Causes
from pit.engine.planning.forecast import Forecast, forecast, gaps
from pit.engine.planning.look import Look
from pit.engine.planning.missing_secrets import Unmet
from pit.engine.staleness.comparison import Change, Kind
from pit.engine.staleness.outdated import announcement
from pit.engine.staleness.planner import Action, Decision, Gap
from pit.engine.target.target import Target
from pit.errors import BadArgument, InvalidConfig, PitError, RequirementNotMet
from pit.model import Dag, Overlap, Problem, Record, TaskRecord
from pit.state.rundir import RunDir
from pit.state.store.store import Store
from pit.text.naming import tasks_named

_LINES = 50
_STYLES = {Action.RUN: "cyan", Action.DEFER: "yellow", Action.SKIP: "dim"}


class Since(Record):
    """Since when a task is current; `note` is what somebody said who accepted it by hand."""

    run: str
    at: float
    seconds: float
    note: str


class TaskPlan(Record):
    """What a run would do with one task; `seconds` is null if it has never succeeded."""

    task: str
    action: Action
    why: str
    changes: tuple[Change, ...]
    after: tuple[str, ...]
    seconds: float | None
    since: Since | None


class PlanView(Record):
    """The shape of `pit plan --json`; `stub` if SQL tasks would be shown and not executed.

    `meets` says what a run would meet before its first task: a requirement that is not met, or
    another run of the DAG. `unmet` is what the secrets do not give its tasks. `stale` says what a
    selection leaves stale above it, and `hint` what to type instead; both are empty if nothing is.
    """

    dag: str
    selection: str
    params: dict[str, str]
    concurrency: int
    tasks: tuple[TaskPlan, ...]
    forecast: Forecast
    gaps: tuple[Gap, ...]
    stub: bool
    meets: tuple[str, ...] = ()
    unmet: tuple[Unmet, ...] = ()
    stale: str = ""
    hint: str = ""


class CannotRun(PitError):
    """The plan cannot be carried out: an input or a secret is not there, and nothing makes it."""


@command("plan", short_help="Show what a run would do, and why.")
@click.argument("target", required=False, metavar="[DAG[/TASK]]", shell_complete=complete_target)
@param_option
@click.option("-f", "--force", is_flag=True, help="As if everything had to run.")
@click.option("--failed", is_flag=True, help="Only what did not succeed, and what follows.")
@click.option(
    "-j",
    "--concurrency",
    type=click.IntRange(min=1),
    metavar="N",
    help="As if this many tasks ran at once.",
)
@json_option
def plan(
    settings: Settings,
    target: str | None,
    pairs: Sequence[str],
    force: bool,
    failed: bool,
    concurrency: int | None,
    as_json: bool,
) -> None:
    """Show what a run would do, why, and how long it would take. Nothing is started.

    A task that depends on something that would be made anew is deferred: it runs only if what is
    made differs from what was there. Exit code 1 if an input is missing that no task makes, or a
    secret that a task names. Without a DAG, a line for each one.
    """
    asked = Asked(force=force, failed=failed, concurrency=concurrency)
    if target is None:
        if pairs:
            raise BadArgument("parameters belong to one DAG", "Write: pit plan DAG -p …")
        return show_plans(settings, asked, as_json=as_json)
    show_plan(settings, target, pairs, asked, as_json=as_json)


class Asked(Record):
    """The options of a run that its plan depends on; `concurrency` is None for the DAG's own."""

    force: bool = False
    failed: bool = False
    concurrency: int | None = None


def show_plan(
    settings: Settings, target: str, pairs: Sequence[str], asked: Asked, *, as_json: bool
) -> None:
    """Write the plan of a run; CannotRun if it could not be carried out."""
    view = planned(settings, target, pairs, asked)
    if as_json:
        settings.console.json(view)
    else:
        _show(settings, view)
    if view.gaps or view.unmet:
        raise CannotRun(*_told(settings, view))


def planned(settings: Settings, target: str, pairs: Sequence[str], asked: Asked) -> PlanView:
    """What a run would do."""
    found = target_of(settings, target, pairs, failed=asked.failed)
    with Store.open_readonly(found.config.metadata_db) as store:
        seen = look(settings, found, store, force=asked.force)
        with seen.asking():
            decisions = seen.decisions()
        seen.save()
        view = _view(found, asked.concurrency, seen, store, decisions)
        stale, hint = stale_above(settings, found, store, decisions)
        return replace(view, stale=stale, hint=hint)


def since(record: TaskRecord) -> Since:
    """Since when the task of a record is current."""
    return Since(run=record.run, at=record.at, seconds=record.seconds, note=record.note)


def current_since(record: Since, now: float) -> str:
    """The same in words."""
    if record.note:
        return f'accepted {ago(record.at, now)}: "{record.note}"'
    return f"current since run {record.run}, {ago(record.at, now)}"


def _view(
    found: Target,
    concurrency: int | None,
    seen: Look,
    store: Store,
    decisions: Sequence[Decision],
) -> PlanView:
    slots = concurrency or found.dag.declared.concurrency
    causes = Causes(
        found,
        decisions,
        store,
        lambda digest: store.records.text(digest) or seen.fingerprints.text(digest),
    )

    def others() -> list[Dag]:
        dags = discover(found.config).dags.values()
        return [dag for dag in dags if dag.name != found.dag.name]

    lacking = gaps(
        [gap for decision in decisions for gap in decision.gaps],
        found.dag.tasks.values(),
        found.dag.project,
        found.config.root,
        others,
    )
    return PlanView(
        dag=found.dag.name,
        selection=found.typed.selection,
        params=found.params,
        concurrency=slots,
        tasks=tuple(_task(decision, causes) for decision in decisions),
        forecast=forecast(found.dag.needs, decisions, slots),
        gaps=lacking,
        stub=found.config.stub and _is_stub(found),
        meets=tuple(_meets(found, store)),
        unmet=seen.unmet(decisions),
    )


def _is_stub(found: Target) -> bool:
    """Whether there is SQL to execute and no secrets file."""
    return found.config.secrets_file is None and any(t.runner == "sql" for t in found.tasks)


def _meets(found: Target, store: Store) -> Iterator[str]:
    """What a run would meet before its first task, as far as the store knows."""
    dag = found.dag.declared
    if not found.config.stub and _is_stub(found):
        yield "there is no secrets file, and stub = false in pit_config.toml"
    if dag.overlap is not Overlap.ALLOW:
        others = [
            run.id
            for run in store.runs.running(dag.name)
            if RunDir.at(found.config.runs_dir, run.id).is_alive()
        ]
        verdict = "refused" if dag.overlap is Overlap.SKIP else "made to wait"
        if others:
            running = f"{', '.join(others)} is running"
            yield f'{running}: with overlap = "{dag.overlap}" a run is {verdict}'
    for name, age in dag.requires.items():
        try:
            place.check_requirements(dag.name, {name: age}, store, time.time())
        except RequirementNotMet as error:
            yield str(error)


def _task(decision: Decision, causes: Causes) -> TaskPlan:
    if decision.action is Action.SKIP and decision.record is not None:
        why, known = current_since(since(decision.record), time.time()), since(decision.record)
    else:
        why, known = causes.brief(decision.task), None
    return TaskPlan(
        task=decision.task,
        action=decision.action,
        why=why,
        changes=decision.changes,
        after=decision.after,
        seconds=decision.seconds,
        since=known,
    )


# ---------------------------------------------------------------- on the screen


def _show(settings: Settings, view: PlanView) -> None:
    out, paint = settings.console.out, settings.console.paint
    counts = Counter(task.action for task in view.tasks)
    params = f"  {parameters_of(view.params)}" if view.params else ""
    out(f"{paint(view.dag, 'bold')}{params}  {_extent(counts, len(view.tasks))}")
    lines_of, left = _shown(settings, view)
    if lines_of:
        out()
        columns = (Column(""), Column(""), Column("", right=True), Column("", flexible=True))
        settings.console.table(columns, [_row(name, tasks) for name, tasks in lines_of])
    if left:
        out(f"\n  … and {count(left, 'task')} more (--verbose shows all)")
    elif len(lines_of) < len(view.tasks):
        out("\n  (--verbose shows each task)")
    lines = [*(f"A run would stop here: {text}" for text in view.meets), *_times(view)]
    stale = sum(change.kind is Kind.VERSION for task in view.tasks for change in task.changes)
    if stale:
        lines[:0] = announcement(view.dag, stale)
    if lines:
        out()
    for line in lines:
        settings.console.prose(line)
    if view.stale:
        settings.console.warning(view.stale, view.hint)


def parameters_of(values: dict[str, str]) -> str:
    """Parameters as people write them."""
    return " ".join(f"{name}={value}" for name, value in values.items())


def _extent(counts: Counter[Action], tasks: int) -> str:
    """How many of the tasks would run, may run and are current."""
    if counts[Action.SKIP] == tasks:
        return f"nothing to do: {'it is' if tasks == 1 else f'all {tasks:,} tasks are'} current"
    words = {Action.RUN: "to run", Action.DEFER: "deferred", Action.SKIP: "current"}
    parts = [f"{counts[each]:,} {word}" for each, word in words.items() if counts[each]]
    return f"{count(tasks, 'task')}: {', '.join(parts)}"


def _shown(settings: Settings, view: PlanView) -> tuple[list[tuple[str, Sequence[TaskPlan]]], int]:
    """The lines, each with the tasks that it stands for, and how many tasks are left out."""
    tasks = view.tasks
    if settings.verbose:
        return [(task.task, [task]) for task in tasks], 0
    times = "×" if settings.console.unicode else "x"
    lines = folded([(task.task, (task.action, task.why)) for task in tasks], times)
    if len(lines) > _LINES:
        lines = [line for line in lines if tasks[line.of[0]].action is not Action.SKIP][:_LINES]
    left = len(tasks) - sum(len(line.of) for line in lines)
    return [(line.name, [tasks[at] for at in line.of]) for line in lines], left


def _row(name: str, tasks: Sequence[TaskPlan]) -> list[Cell]:
    first = tasks[0]
    known = [task.seconds for task in tasks if task.seconds is not None]
    took = together(known) if known and first.action is not Action.SKIP else ""
    return [
        Cell(f"  {first.action}", _STYLES[first.action]),
        Cell(name),
        Cell(took),
        Cell(first.why, "dim" if first.action is Action.SKIP else ""),
    ]


def _times(view: PlanView) -> list[str]:
    told, lines = view.forecast, []
    if told.seconds and told.at_least < _NOTHING and told.unknown:
        lines.append(
            f"How long it takes is not known yet: {tasks_named(told.unknown)} never "
            "succeeded before."
        )
    elif told.seconds:
        text = f"Takes about {duration(told.at_least)}"
        if told.seconds - told.at_least >= 0.05:
            text += f", or {duration(told.seconds)} if all that is deferred has to run"
        lines.append(f"{text}, {view.concurrency} at a time, going by the last times.")
    if len(told.critical) > 1:
        lines.append(f"Critical path: {_path(told.critical)}")
    if told.unknown and told.at_least >= _NOTHING:
        names = tasks_named(told.unknown)
        lines.append(f"Not counted, because they never succeeded before: {names}")
    if told.saved >= 0.05:
        lines.append(f"Skipping what is current saves {duration(told.saved)} of work.")
    if view.stub:
        lines.append("There is no secrets file: SQL tasks would be shown, and not executed.")
    return lines


_NOTHING = 0.001
"""Seconds; less is no time that was taken."""


def _path(names: Sequence[str]) -> str:
    if len(names) > 8:
        names = (*names[:4], "…", *names[-3:])
    return " → ".join(names)


def _told(settings: Settings, view: PlanView) -> tuple[str, str]:
    """What is missing, and what to run for it."""
    lines = [
        f"{view.dag}/{gap.task} needs {gap.input}, which is not there"
        + (f"; {gap.maker} makes it" if gap.maker else f", and no task makes it{_meant(gap)}")
        for gap in view.gaps[:10]
    ]
    if len(view.gaps) > 10:
        lines.append(f"… and {len(view.gaps) - 10} more")
    lines += [str(each) for each in view.unmet]
    makers = dict.fromkeys(
        gap.maker if "/" in gap.maker else f"{view.dag}/{gap.maker}"
        for gap in view.gaps
        if gap.maker
    )
    hints = [f"Run first: {settings.again(f'run {maker}')}" for maker in list(makers)[:3]]
    return "\n".join(lines), "\n".join(hints)


def _meant(gap: Gap) -> str:
    return f'; did you mean "{gap.meant}"?' if gap.meant else ""


# ---------------------------------------------------------------- every DAG


class Untold(Record):
    """A DAG of which it cannot be said what a run would do, such as for want of a parameter."""

    dag: str
    why: str


class PlansView(Record):
    """The shape of `pit plan --json` without a DAG."""

    dags: tuple[PlanView, ...]
    untold: tuple[Untold, ...]
    problems: tuple[Problem, ...]


def show_plans(settings: Settings, asked: Asked, *, as_json: bool) -> None:
    """Write what runs of all DAGs would do; one that cannot be told stops no other."""
    workspace = settings.workspace()
    if not workspace.projects and not workspace.problems:
        raise no_projects(workspace.config.root)
    plans, untold = [], []
    for name in sorted(workspace.dags):
        try:
            plans.append(planned(settings, name, (), asked))
        except (PitError, OSError) as error:
            untold.append(Untold(dag=name, why=_sentence(error)))
    if as_json:
        view = PlansView(dags=tuple(plans), untold=tuple(untold), problems=workspace.problems)
        return settings.console.json(view)
    rows = {plan.dag: _line(plan) for plan in plans}
    rows |= {each.dag: (Cell(each.dag, "bold"), Cell(each.why), "") for each in untold}
    if rows:
        columns = (Column("DAG", flexible=True), Column("PLAN", flexible=True), Column("TAKES"))
        settings.console.table(columns, [rows[name] for name in sorted(rows)])
    if workspace.problems:
        paths = ", ".join(dict.fromkeys(problem.path for problem in workspace.problems))
        settings.console.out()
        settings.console.prose(f"Left out: {paths}; see: {settings.again('validate')}", "  ")


def _line(plan: PlanView) -> tuple[Cell, Cell, str]:
    counts = Counter(task.action for task in plan.tasks)
    told, style = _extent(counts, len(plan.tasks)), ""
    if plan.gaps:
        told, style = f"cannot run: {plan.gaps[0].input} is not there", "red"
    elif plan.unmet:
        told, style = f"cannot run: {plan.unmet[0].sentence}", "red"
    elif counts[Action.SKIP] == len(plan.tasks):
        told, style = "nothing to do", "dim"
    sure = plan.forecast.at_least
    return Cell(plan.dag, "bold"), Cell(told, style), duration(sure) if sure else ""


def _sentence(error: PitError | OSError) -> str:
    if isinstance(error, InvalidConfig):
        return error.problems[0].sentence
    return str(error).partition("\n")[0]
