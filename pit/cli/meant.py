"""What was probably meant by commands and options that `pit` has not: those of other tools."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress

from pit.cli.options import Given, settings_of
from pit.errors import PitError

_SCHEDULED = "Pit has no server and no scheduler of its own: let cron or a timer call pit run DAG"
_RUN = "Run a DAG with: pit run DAG"
_LIST = "List the DAGs with pit status, the tasks of one with: pit status DAG"
_STOP = (
    "Press Ctrl-C where it runs, or send SIGTERM to that pit run; the second time it ends at once"
)
_CHECK = 'Check the projects with pit validate; data is checked by tasks with type = "check"'

_COMMANDS = {
    **dict.fromkeys(("serve", "server", "schedule", "scheduler", "daemon", "up"), _SCHEDULED),
    **dict.fromkeys(("ui", "web", "dashboard", "top", "ps"), "See what runs with: pit status"),
    **dict.fromkeys(("build", "make", "start", "exec", "execute", "trigger", "do"), _RUN),
    **dict.fromkeys(("ls", "list", "dags", "tasks", "info"), _LIST),
    **dict.fromkeys(("test", "tests", "check", "lint"), _CHECK),
    **dict.fromkeys(("stop", "kill", "cancel", "abort", "down"), _STOP),
    "backfill": "A run has one value for each parameter; write a loop: for day in 2026-01-01 "
    "2026-01-02; do pit run DAG -p day=$day; done",
    "watch": "Call it again and again, it does nothing while all is current: watch pit run DAG",
    **dict.fromkeys(("dag", "tree", "viz", "draw"), "Draw a DAG with: pit graph DAG"),
    "history": "List runs with: pit runs",
    **dict.fromkeys(("diff", "explain"), "Ask why a task would run: pit why DAG/TASK"),
    **dict.fromkeys(("query", "db"), "Send a query with: pit sql CONNECTION QUERY"),
    **dict.fromkeys(("install", "env", "lock", "venv"), "Build the Python environments: pit sync"),
    **dict.fromkeys(
        ("rm", "remove", "delete"), "Remove what tasks made with pit clean, old runs with pit prune"
    ),
    **dict.fromkeys(
        ("create", "scaffold"),
        "Make a workspace with pit new PATH, a project in it with pit init NAME",
    ),
    "config": "The settings of the workspace are the file pit_config.toml",
    "man": "Help on one command: pit help COMMAND",
}
"""Words by which people ask for something that `pit` has under another name, or has not."""


_OPTIONS = {
    "-v": "The output of tasks: --verbose; the version: pit --version",
    "-q": "Results alone: redirect standard error, 2>/dev/null",
    "--watch": _COMMANDS["watch"],
}
"""Options that other tools have, and what `pit` has in their place."""


def option(name: str) -> str:
    """What to write in the place of an option that there is not, or ""."""
    return _OPTIONS.get(name, "")


def command(word: str) -> str:
    """What to do in the place of a command that there is not, or ""."""
    return _COMMANDS.get(word.lower(), "")


def parameter(given: Given, option: str, arguments: Sequence[str]) -> str:
    """How to write an option that is the name of a parameter of the DAG that is named, or ""."""
    name, equals, value = option.lstrip("-").partition("=")
    for place, word in enumerate(arguments):
        if not equals and word == option and place + 1 < len(arguments):
            value = arguments[place + 1]
        elif word.startswith(f"{option}="):
            value = word.partition("=")[2]
    for word in arguments:
        names = _parameters(given, word.partition("/")[0]) if not word.startswith("-") else ()
        known = [each for each in names if each.replace("_", "-") == name.replace("_", "-")]
        if known:
            return f"A parameter is given with -p: -p {shlex.quote(f'{known[0]}={value}')}"
    return ""


def _parameters(given: Given, dag: str) -> tuple[str, ...]:
    with suppress(PitError):
        from pit.config.workspace import discover_one

        settings = settings_of(given)
        return tuple(param.name for param in discover_one(settings.config(), dag).params)
    return ()
