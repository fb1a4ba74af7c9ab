"""What the words of a command line name: a DAG, tasks of it, parameters, what was left undone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pit.engine.target.typed import Typed
from pit.errors import BadArgument, UnknownDag, UnknownRun
from pit.model import Dag, Reason, WorkspaceConfig

if TYPE_CHECKING:
    from pit.cli.options import Settings
    from pit.state.store.store import Store
    from pit.state.store.tables.runs import RunRow


def unsuccessful(config: WorkspaceConfig, dag: str) -> tuple[str, ...]:
    """The tasks that did not succeed when they were last to run; UsageError if all did."""
    from pit.state.store.store import Store

    with Store.open_readonly(config.metadata_db) as store:
        found = tuple(_undone(store, dag))
    if not found:
        raise BadArgument(
            f'the last run of DAG "{dag}" left nothing undone',
            f"Whatever is not current runs with: pit run {dag}",
        )
    return found


def _undone(store: Store, dag: str) -> Iterator[str]:
    """Back to the last run that was about the whole DAG; those after it were about parts."""
    seen: set[str] = set()
    for run in store.runs.latest(dag, limit=_RUNS_BACK):
        tasks = store.runs.tasks(run.id)
        mine = [task for task in tasks if task.reason != Reason.SINGLE_TASK]
        yield from (task.task for task in mine if not (task.is_done or task.task in seen))
        seen |= {task.task for task in mine}
        found_current = run.reason == Reason.CURRENT and not run.selection
        if found_current or (tasks and len(mine) == len(tasks)):
            return


_RUNS_BACK = 50
"""So many runs are looked through for one that was about the whole DAG."""


def typed(words: str, pairs: Sequence[str]) -> Typed:
    """What `DAG` or `DAG/SELECTION` and the `-p` options say."""
    dag, slash, selection = words.partition("/")
    if not dag or (slash and not selection):
        raise BadArgument(
            f'"{words}" does not name a {"task" if dag else "DAG"}', "Write DAG or DAG/TASK"
        )
    return Typed(dag=dag, selection=selection, params=_parameters(pairs))


def declared(config: WorkspaceConfig, typed: Typed) -> Dag:
    """The DAG that is named, as pit.toml has it."""
    from pit.config.workspace import PROJECTS, discover_one

    try:
        return discover_one(config, typed.dag)
    except UnknownDag as error:
        path = typed.selection.rstrip("/")
        if typed.dag == PROJECTS and path in error.known:  # typed with the shell's completion
            error.hint = f'Did you mean "{path}"?'
        raise


def _parameters(pairs: Sequence[str]) -> dict[str, str]:
    """`-p name=value` as a mapping."""
    given: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise BadArgument(f'"-p {pair}" is not NAME=VALUE', "Write it like: -p date=2026-01-31")
        if name in given:
            raise BadArgument(f'parameter "{name}" is given twice')
        given[name] = value
    return given


def require_known(config: WorkspaceConfig, name: str) -> None:
    """Raise unless the workspace has the DAG; its project may be broken."""
    from pit.config.workspace import discover

    found = discover(config)
    if name in found.broken or name in found.dags:
        return
    if not found.projects:
        found.dag(name)
    raise UnknownDag(name, sorted(found.dags))


def run_of(settings: Settings, store: Store, dag: str, run_id: str | None) -> RunRow:
    """The run that a command means: the one of that id, which must be the DAG's, or the latest."""
    if run_id is not None and store.exists:
        run = store.runs.find(run_id)
        if run.dag != dag:
            raise BadArgument(
                f'run "{run.id}" belongs to DAG "{run.dag}", not "{dag}"',
                f"List the runs with: {settings.again(f'runs {dag}')}",
            )
        return run
    latest = store.runs.last_run(dag)
    if latest is not None:
        return latest
    require_known(settings.config(), dag)
    if run_id is not None:
        raise UnknownRun(run_id, dag)
    raise BadArgument(
        f'DAG "{dag}" has not run yet', f"Run it with: {settings.again(f'run {dag}')}"
    )
