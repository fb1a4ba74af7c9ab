"""`pit plan`: what a run would do, why, and how long it would take; nothing is started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import click

from pit.cli.complete import complete_target, param_option
from pit.cli.options import Settings, command, json_option
from pit.cli.target import look, stale_above, target_of
from pit.cli.terminal.console import Cell, Column, count, duration, together
from pit.cli.terminal.folding import folded
from pit.config.workspace import no_projects
from pit.engine.staleness.comparison import Kind
from pit.engine.staleness.outdated import announcement
from pit.engine.staleness.planner import Action, Gap
from pit.errors import BadArgument, PitError, first_sentence
from pit.model import Record
from pit.state.store.store import Store
from pit.text.naming import tasks_named
from pit.views.plan import PlansView, PlanView, TaskPlan, Untold, plan_view

_LINES = 50
_STYLES = {Action.RUN: "cyan", Action.DEFER: "yellow", Action.SKIP: "dim"}


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
        stale = stale_above(settings, found, store, decisions)
        return plan_view(seen, decisions, store, asked.concurrency, stale)


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
            untold.append(Untold(dag=name, why=first_sentence(error)))
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
