"""`pit doit`, and what a dodo.py needs: doit's own commands on the tasks of a workspace."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pit.cli.main import failed, main
from pit.cli.options import Settings, command
from pit.cli.terminal.console import Console
from pit.errors import RunNotSuccessful

if TYPE_CHECKING:
    from pit.engine.doit.commands import Face
    from pit.engine.staleness.planner import Decision
    from pit.engine.target.target import Target

_SETTINGS = "pit.doit.settings"


@command(
    "doit",
    short_help="Call doit, on the tasks of this workspace.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[DOIT ARGUMENT]...")
def doit(settings: Settings, arguments: Sequence[str]) -> None:
    """Call doit, on the tasks of this workspace: `pit doit list --all --status`.

    Its dodo.py is read if it has one, and not needed. `pit doit help` is doit's own help.
    """
    from pit.engine.doit import commands

    click.get_current_context().meta[_SETTINGS] = settings
    code = commands.main(arguments, settings.root, lambda: _face(settings))
    if code:
        raise RunNotSuccessful("doit was not successful", code)


def workspace(dodo: str) -> Face:
    """What the dodo.py of a workspace hands to doit: the tasks of all its projects."""
    return _face(_settings(_folder(dodo)))


def project(dodo: str) -> Face:
    """What the dodo.py in a project's folder hands to doit: its tasks alone."""
    folder = _folder(dodo)
    return _face(_settings(folder.parent.parent), only=folder)


def _folder(dodo: str) -> Path:
    return Path(os.path.abspath(dodo)).parent


def _settings(root: Path) -> Settings:
    """Those of the `pit doit` that reads the dodo.py; bare ones where doit itself does."""
    context = click.get_current_context(silent=True)
    around: Settings | None = context.meta.get(_SETTINGS) if context else None
    return around.at(root) if around else Settings(Console(), root)


def _face(settings: Settings, only: Path | None = None) -> Face:
    from pit.cli.target import look
    from pit.engine.doit.commands import Face
    from pit.engine.doit.status import Outside
    from pit.state.store.store import Store

    shared = [f"--project-dir={settings.root}"]
    if settings.secrets:
        shared.append(f"--secrets={settings.secrets}")
    if settings.identity:
        shared.append(f"--identity={settings.identity}")
    if settings.verbose:
        shared.append("--verbose")

    def looked(target: Target) -> Sequence[Decision]:
        with Store.open_readonly(target.config.metadata_db) as store:
            seen = look(settings, target, store)
            with seen.asking():
                found = seen.decisions()
            seen.save()
            return found

    outside = Outside(
        config=settings.config,
        day=settings.day,
        pit=lambda words: main([*shared, *words]),
        failed=lambda error: failed(settings.console, error),
        warn=settings.console.warning,
        look=looked,
    )
    return Face(settings.root, outside, only)
