"""`pit validate` and `pit schema`: what the projects say, checked before anything runs."""

from __future__ import annotations

import click
import msgspec

from pit.cli.options import Settings, command, json_option
from pit.cli.terminal.console import count
from pit.config.workspace import Workspace, no_projects
from pit.errors import InvalidConfig


@command("validate", short_help="Check every project, and show all problems.")
@json_option
def validate(settings: Settings, as_json: bool) -> None:
    """Check every project of the workspace, and show all problems of all of them at once."""
    from pit.views.validation.report import validate_view

    workspace = settings.workspace()
    if not workspace.projects:
        raise no_projects(workspace.config.root)
    report = validate_view(workspace)
    if as_json:
        settings.console.json(report)
        raise click.exceptions.Exit(0 if report.valid else InvalidConfig.exit_code)
    for note in report.notes:
        settings.console.out(f"note: {note}")
    for warning in report.warnings:
        told = msgspec.structs.replace(warning, sentence=f"warning: {warning.sentence}")
        settings.console.problem(told)
    if not report.valid:
        raise InvalidConfig(report.problems)
    settings.console.out(_all_is_well(workspace, len(report.warnings)))


def _all_is_well(workspace: Workspace, warnings: int) -> str:
    tasks = sum(len(dag.tasks) for dag in workspace.dags.values())
    but = f", with {count(warnings, 'warning')}" if warnings else ""
    return f"{count(workspace.projects, 'project')} with {count(tasks, 'task')}: all valid{but}."


@command("schema", short_help="Print the JSON Schema of pit.toml.", workspace=False)
def schema(settings: Settings) -> None:
    """Print the JSON Schema of pit.toml, with which editors complete and check it.

    A pit.toml names it in its first line: #:schema ../../pit.schema.json
    """
    from pit.config.keys.schema import json_schema

    settings.console.json(json_schema())
