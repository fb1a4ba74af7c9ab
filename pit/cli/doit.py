"""`pit doit`, and what a dodo.py needs: doit's own commands on the tasks of a workspace."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pit.cli.console import Console
from pit.cli.main import failed, main
from pit.cli.options import Settings, command
from pit.errors import RunNotSuccessful
from pit.model import WorkspaceConfig

if TYPE_CHECKING:
    from pit.engine.face import Face
    from pit.engine.look import Outlook


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
    from pit.engine import face

    code = face.main(arguments, settings.root, lambda: _face(settings.root, settings.console))
    if code:
        raise RunNotSuccessful("doit was not successful", code)


def workspace(dodo: str) -> Face:
    """What the dodo.py of a workspace hands to doit: the tasks of all its projects."""
    return _face(_folder(dodo), Console())


def project(dodo: str) -> Face:
    """What the dodo.py in a project's folder hands to doit: its tasks alone."""
    folder = _folder(dodo)
    return _face(folder.parent.parent, Console(), only=folder)


def _folder(dodo: str) -> Path:
    return Path(os.path.abspath(dodo)).parent


def _face(root: Path, console: Console, only: Path | None = None) -> Face:
    from pit.cli import target
    from pit.engine.face import Face
    from pit.engine.standing import Outside, Subject

    settings = Settings(console=console, root=root)

    def look(config: WorkspaceConfig, subject: Subject) -> Sequence[Outlook]:
        aim = target.Aim(config=config, dag=subject.dag, params=dict(subject.params), chosen=())
        with target.remembered(config) as memory:
            seen = target.look(settings, aim, memory)
            found = seen.outlooks()
            seen.save()
            return found

    outside = Outside(
        pit=main,
        failed=lambda error: failed(console, error),
        warn=console.warning,
        look=look,
    )
    return Face(root, outside, only)
