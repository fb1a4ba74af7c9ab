"""Shell completion: commands, DAGs, tasks and run ids; and the script that switches it on.

A completion never fails and never prints: where the workspace cannot be read there is nothing
to offer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from pit.cli.options import Given, Settings, command, settings_of
from pit.errors import PitError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from pit.model import Task

_RUN_IDS = 50

_HINTS = {
    "bash": 'Add to ~/.bashrc:  eval "$(pit completion bash)"',
    "zsh": 'Add to ~/.zshrc:  eval "$(pit completion zsh)"',
    "fish": "Run once:  pit completion fish > ~/.config/fish/completions/pit.fish",
}


def complete_dag(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The DAGs whose names begin so."""
    return _offer(ctx, incomplete, lambda settings: settings.workspace().dags)


def complete_target(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The DAGs whose names begin so; after a slash, the tasks of that DAG."""
    dag, slash, _ = incomplete.partition("/")
    if not slash:
        return complete_dag(ctx, param, incomplete)
    return _offer(ctx, incomplete, lambda settings: _targets(dag, settings))


def complete_param(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The parameters of the command's DAG whose names begin so, each with its "="."""
    words = ctx.params.get("target") or "".join(ctx.args[:1])  # click stops at a "-p" without value
    dag = str(words).partition("/")[0]
    return _offer(ctx, incomplete, lambda settings: _params(dag, settings))


param_option = click.option(
    "-p",
    "--param",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    shell_complete=complete_param,
    help="Set a run parameter.",
)
"""`-p name=value`, the same on every command that takes parameters."""


def _params(dag: str, settings: Settings) -> list[str]:
    return [f"{param.name}=" for param in settings.workspace().dag(dag).params]


def complete_connection(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The connections that DAGs name whose names begin so."""
    return _offer(ctx, incomplete, _connections)


def _connections(settings: Settings) -> list[str]:
    dags = settings.workspace().dags.values()
    named = {dag.connection for dag in dags}
    named |= {task.connection for dag in dags for task in dag.tasks}
    return sorted(name for name in named if name)


def complete_run(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The latest runs whose ids begin so, of the DAG that the command line names."""
    target = ctx.params.get("target") or ctx.params.get("dag") or ""
    dag = str(target).partition("/")[0] or None
    return _offer(ctx, incomplete, lambda settings: _run_ids(dag, settings))


def _targets(dag: str, settings: Settings) -> list[str]:
    tasks: tuple[Task, ...] = settings.workspace().dag(dag).tasks
    return [f"{dag}/{task.name}" for task in tasks]


def _run_ids(dag: str | None, settings: Settings) -> list[str]:
    from pit.state.store.store import Store

    with Store.open_readonly(settings.config().metadata_db) as store:
        return [run.id for run in store.runs.latest(dag=dag, limit=_RUN_IDS)]


def _offer(
    ctx: click.Context, incomplete: str, names: Callable[[Settings], Iterable[str]]
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem  # most commands are not being completed

    given = ctx.find_object(Given)
    if given is None:
        return []
    try:
        found = names(settings_of(given))
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]
    except (PitError, OSError):
        return []


@command("completion", short_help="Print the completion script of a shell.", workspace=False)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, settings: Settings, shell: str) -> None:
    """Print the script that makes a shell complete commands, DAGs, tasks and run ids.

    \b
    bash  add to ~/.bashrc:  eval "$(pit completion bash)"
    zsh   add to ~/.zshrc:   eval "$(pit completion zsh)"
    fish  run once:          pit completion fish > ~/.config/fish/completions/pit.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, "click knows bash, zsh and fish"
    script = kind(ctx.find_root().command, {}, "pit", "_PIT_COMPLETE")
    settings.console.out(f"# {_HINTS[shell]}\n{script.source_template % script.source_vars()}")
