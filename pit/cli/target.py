"""What `DAG[/TASK]` and `-p` mean on a command line, and a look at it that starts nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from pathlib import Path

from pit.cli.arguments import chosen, parameters
from pit.cli.asked import record_asked
from pit.cli.options import Settings
from pit.cli.unlock import unlock
from pit.config.dag import graph, params
from pit.engine.locks import owner, place
from pit.engine.planning.look import Look
from pit.engine.planning.select import prepared, selected
from pit.engine.staleness.planner import Decision, target_of
from pit.errors import BadArgument
from pit.model import Dag, Record, Task, WorkspaceConfig
from pit.state.secrets.secrets import Secrets
from pit.state.store.store import Store


class Aim(Record):
    """What a command is about: a DAG with its matrices expanded, parameters, and chosen tasks.

    `selection` is what stands after the slash, empty for the whole DAG.
    """

    config: WorkspaceConfig
    dag: Dag
    params: dict[str, str]
    chosen: tuple[str, ...]
    selection: str = ""

    @property
    def locks(self) -> Path:
        """Where runs keep the locks on tasks."""
        return place.locks(self.config.runs_dir)

    def tasks(self) -> tuple[Task, ...]:
        """The chosen tasks, as pit.toml declares them."""
        names = set(self.chosen)
        return tuple(task for task in self.dag.tasks if task.name in names)

    def implied(self) -> tuple[Task, ...]:
        """The chosen tasks with the dependencies that their inputs imply."""
        tasks = {task.name: task for task in graph.implied(self.dag).tasks}
        return tuple(tasks[name] for name in self.chosen)


def aim(settings: Settings, target: str, pairs: Sequence[str]) -> Aim:
    """What `target` and the `-p` options name; UsageError or InvalidConfig if nothing."""
    config = settings.config()
    declared, selection = chosen(config, target)
    values = params.resolve(declared.params, parameters(pairs), date.today())
    dag = prepared(declared, values)
    names = selected(dag, selection) if selection else {task.name for task in dag.tasks}
    return Aim(
        config=config,
        dag=dag,
        params=values,
        chosen=tuple(task.name for task in dag.tasks if task.name in names),
        selection=selection or "",
    )


def one(found: Aim) -> Task:
    """The one task that is aimed at."""
    if not found.selection:
        raise BadArgument(f'"{found.dag.name}" is a whole DAG', "Write DAG/TASK")
    if len(found.chosen) > 1:
        names = ", ".join(found.chosen[:5]) + (" …" if len(found.chosen) > 5 else "")
        raise BadArgument(
            f'"{found.selection}" means {len(found.chosen)} tasks', f"Name one of: {names}"
        )
    return found.dag.task(found.chosen[0])


# ---------------------------------------------------------------- looking


def look(
    settings: Settings,
    found: Aim,
    store: Store,
    *,
    force: bool = False,
    whole: bool = False,
    chosen: Collection[str] | None = None,
) -> Look:
    """A look at the DAG as it stands in the project: at the tasks that are aimed at, at others, or
    at the whole."""
    from pit.work.process import launch  # only for asking uv about Python

    owner.require(found.config, found.dag.name, store)
    unlock(settings.console, found.config)
    secrets = Secrets.of(found.config)
    record_asked(settings, found.config, found.dag, secrets)
    names = None if whole else chosen or found.chosen
    target = target_of(found.dag, found.config, found.params, names)
    return Look(target, secrets, store, launch.capture, force=force)


def stale_above(
    settings: Settings,
    found: Aim,
    pairs: Sequence[str],
    store: Store,
    alone: Iterable[Decision] | None = None,
) -> tuple[str, str]:
    """What is stale above the tasks that are aimed at, and what to type; empty if nothing is.

    `alone` are the decisions on these tasks by themselves, if they are known.
    """
    from pit.engine.planning import stale_upstream  # not every look asks for it

    selection = stale_upstream.Selection(
        dag=found.dag,
        chosen=frozenset(found.chosen),
        typed=found.selection,
        given=parameters(pairs),
    )
    stale = stale_upstream.looked_for(
        selection, lambda chosen: look(settings, found, store, chosen=chosen), alone
    )
    return ("", "") if stale is None else (stale.sentence, stale.hint(settings.again))
