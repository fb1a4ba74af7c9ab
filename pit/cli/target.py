"""The target of a command, and a look at it that starts nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from pit.cli.arguments import declared, typed, unsuccessful
from pit.cli.asked import record_asked
from pit.cli.options import Settings
from pit.cli.unlock import unlock
from pit.engine.locks import owner
from pit.engine.planning import stale_upstream
from pit.engine.planning.look import Look
from pit.engine.staleness.planner import Decision
from pit.engine.target.target import Target, resolve
from pit.errors import BadArgument
from pit.model import Task
from pit.state.secrets.secrets import Secrets
from pit.state.store.store import Store


def target_of(
    settings: Settings, words: str, pairs: Sequence[str], *, failed: bool = False
) -> Target:
    """What `words` and the `-p` options name, of it what has `failed` if that is asked for;
    UsageError or InvalidConfig if nothing."""
    config, asked = settings.config(), typed(words, pairs)
    dag = declared(config, asked)
    if failed:
        asked = replace(asked, undone=unsuccessful(config, asked.dag))
    return resolve(dag, asked, config, settings.day)


def one(found: Target) -> Task:
    """The one task that is aimed at."""
    if not found.typed.selection:
        raise BadArgument(f'"{found.dag.name}" is a whole DAG', "Write DAG/TASK")
    tasks = found.tasks
    if len(tasks) > 1:
        names = ", ".join(task.name for task in tasks[:5]) + (" …" if len(tasks) > 5 else "")
        raise BadArgument(
            f'"{found.typed.selection}" means {len(tasks)} tasks', f"Name one of: {names}"
        )
    return tasks[0]


# ---------------------------------------------------------------- looking


def look(settings: Settings, target: Target, store: Store, *, force: bool = False) -> Look:
    """A look at a target as it stands in the project."""
    from pit.work.process import launch  # only for asking uv about Python

    owner.require(target.config, target.dag.name, store)
    unlock(settings.console, target.config)
    secrets = Secrets.of(target.config)
    record_asked(settings, target.config, target.dag.declared, secrets)
    return Look(target, secrets, store, launch.capture, force=force)


def stale_above(
    settings: Settings,
    target: Target,
    store: Store,
    alone: Iterable[Decision] | None = None,
) -> tuple[str, str]:
    """What is stale above the chosen tasks, and what to type; empty if nothing is.

    `alone` are the decisions on these tasks by themselves, if they are known.
    """
    stale = stale_upstream.looked_for(target, lambda each: look(settings, each, store), alone)
    return ("", "") if stale is None else (stale.sentence, stale.hint(settings.again))
