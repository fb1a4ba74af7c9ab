"""`pit retry`: a new run that goes on where an earlier one stopped."""

from __future__ import annotations

import click
from msgspec.structs import replace

from pit.cli.complete import complete_target
from pit.cli.compose import conclude, perform, report_interrupted
from pit.cli.options import Settings, command
from pit.engine.run import retry as retrying
from pit.state.store.store import Store
from pit.version import VERSION


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
    --code new is given, its frozen code. After a restart of the machine, what may not have reached
    the disk before is not trusted: a young snapshot is refused, and young results are made again.
    """
    config = settings.config()
    with Store.open(config.metadata_db) as store:
        retrying.await_end(config, retrying.run_of(store, target), settings.console.note)
        report_interrupted(settings, config, store)
        run = retrying.run_of(store, target)  # which may just have been found dead
        request = retrying.request_of(
            store, config, run, settings.again, settings.day, old_code=code == "old"
        )
    request = replace(request, pit_version=VERSION)
    conclude(perform(settings, request, as_json))
