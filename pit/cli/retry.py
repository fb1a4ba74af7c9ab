"""`pit retry`: a new run that goes on where an earlier one stopped."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec.structs import replace

from pit.cli.complete import complete_target
from pit.cli.main import version
from pit.cli.options import Settings, command
from pit.cli.perform import conclude, perform
from pit.cli.run import is_done
from pit.engine.request import Again, Request
from pit.errors import BadArgument, InvalidConfig, SnapshotFailed
from pit.model import Dag, RunState, WorkspaceConfig
from pit.spec import config as spec
from pit.spec.project import read_project
from pit.state import recover
from pit.state.history import RunRow
from pit.state.rundir import RunDir
from pit.state.store import Store


@command("retry", short_help="Go on with a run that did not succeed.")
@click.argument("target", metavar="RUN|DAG", shell_complete=complete_target)
@click.option(
    "--code",
    type=click.Choice(["old", "new"]),
    default="old",
    help="Its own snapshot (old, the default), or today's project.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one event per line as JSON.")
def retry(settings: Settings, target: str, code: str, as_json: bool) -> None:
    """Go on with a run that failed, was cancelled or interrupted.

    RUN is a run id, or the beginning of one; DAG means its last run. What had succeeded is not
    done again, tracked or not. The new run takes over the data folder of the old one and, unless
    --code new is given, its frozen code.
    """
    config = settings.config()
    with Store.open(config.metadata_db) as store:
        recover.recover(store, config.runs_dir)
        run = _run(store, target)
        tasks, hashes = store.tasks(run.id), store.environments(run.id)
    folder = RunDir.at(config.runs_dir, run.id).root
    dag = _old_dag(config, run, folder) if code == "old" else spec.discover_one(config, run.dag)
    again = Again(
        run=run.id,
        folder=folder,
        started_at=run.started_at,
        done={task.task: task.made_by or run.id for task in tasks if is_done(task)},
        old_code=code == "old",
        hashes=hashes,
    )
    request = Request(
        dag=dag,
        config=config,
        only=run.selection,
        given=run.params,
        again=again,
        pit_version=version(),
    )
    conclude(perform(settings, request, as_json))


def _run(store: Store, target: str) -> RunRow:
    """The run that is meant; an error for one that is alive or has succeeded."""
    run = store.last_run(target) or store.run(target)
    if run.state is RunState.RUNNING:
        raise BadArgument(f"run {run.id} is still running", "Wait until it has ended")
    if run.state is RunState.SUCCESS:
        raise BadArgument(f"run {run.id} succeeded", f"Run it anew with: pit run {run.dag}")
    return run


def _old_dag(config: WorkspaceConfig, run: RunRow, folder: Path) -> Dag:
    """The DAG as the old run's snapshot declares it, for the project that it was taken of."""
    if not (folder / "project").is_dir():
        raise SnapshotFailed(
            f"the snapshot of run {run.id} is gone", "Go on with today's code: --code new"
        )
    found = read_project(folder / "project", config.root)
    if found.dag is None or found.findings:
        raise InvalidConfig(found.findings.problems())
    return replace(found.dag, name=run.dag, project=Path(run.project))
