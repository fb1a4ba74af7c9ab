"""`pit sdk`: what a shell task asks of Pit, by the same socket as every SDK."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from pit.cli.options import Settings, command
from pit.errors import BadArgument, PitError, UsageError

_JSON_VALUES = ("get_value",)
"""Methods whose result is JSON whatever it holds; a shell wants the text of a text."""


@command("sdk", workspace=False, short_help="Ask Pit for something, from a shell task.")
@click.argument("method", required=False)
@click.argument("pairs", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--list", "listing", is_flag=True, help="List the methods, or what METHOD takes.")
@click.option("--json", "as_json", is_flag=True, help="List as JSON.")
@click.option("--path", is_flag=True, help="Print the folder to put on PYTHONPATH by hand.")
def sdk(
    settings: Settings,
    method: str | None,
    pairs: Sequence[str],
    listing: bool,
    as_json: bool,
    path: bool,
) -> None:
    """Ask Pit for something, from a shell task, and print the answer.

    \b
    KEY=VALUE    a text, or what the method makes of it (a number, true, false)
    KEY:=JSON    any JSON: KEY:='["a", "b"]'
    KEY=@FILE    what a file holds; KEY:=@FILE takes it as JSON
    KEY=-        standard input, without its last newline

    What a method takes is shown by `pit sdk --list METHOD`. Exit code 0 means that it was done,
    1 that Pit could not, 2 that the call is wrong or this is not a task.
    """
    if path:
        from pit.work import bundled

        settings.console.out(bundled.PYTHON)
    elif listing:
        _list(settings, as_json) if method is None else _describe(settings, method, as_json)
    elif as_json:
        raise BadArgument("--json goes with --list", "What a method answers is printed as it is")
    elif method is None:
        raise BadArgument("which method?", "List them with: pit sdk --list")
    else:
        answer = _asked(method, dict(_params(method, pairs)))
        if answer:
            settings.console.out(answer)


def _asked(method: str, params: dict[str, Any]) -> str:
    from pit.sdk import OutsideTask, PitSDKError, ask

    try:
        answer = ask(method, params)
    except OutsideTask:
        raise UsageError(
            f"pit sdk {method} works in a task of a run only: PIT_SOCKET is not set",
            "Call it from a script that pit.toml names, and start that with: pit run DAG/TASK",
        ) from None
    except PitSDKError as error:
        raise PitError(str(error)) from None
    if method in _JSON_VALUES:
        value = json.loads(answer)
        return value if isinstance(value, str) else answer
    return answer


def _params(method: str, pairs: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """The params that the words say."""
    seen: set[str] = set()
    for pair in pairs:
        name, equals, value = pair.partition("=")
        is_json = name.endswith(":")
        name = name.removesuffix(":")
        if not equals or not name:
            hint = f"Write it like: {_first_param(method)}={pair.lstrip('=:')}"
            raise BadArgument(f'"{pair}" is not KEY=VALUE', hint)
        if name in seen:
            raise BadArgument(f'"{name}" is given twice')
        seen.add(name)
        text = _text(name, value)
        yield name, _json(name, text) if is_json else text


def _first_param(method: str) -> str:
    """What a lone word is most likely meant for."""
    from msgspec.structs import fields

    from pit.work.socket import methods

    try:
        return fields(methods.find(method).params)[0].encode_name
    except PitError:
        return "key"


def _text(name: str, value: str) -> str:
    """What a value stands for: itself, a file's text, or standard input."""
    try:
        if value == "-":
            return sys.stdin.read().removesuffix("\n")
        if value.startswith("@"):
            with open(value[1:], encoding="utf-8") as file:
                return file.read()
    except UnicodeDecodeError as error:
        hint = "Binary files go through the data folder, by their names"
        raise BadArgument(f"{name}: what {value} holds is not text: {error}", hint) from None
    return value


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        hint = f"A text needs no colon: {name}=…"
        raise BadArgument(f"{name} is not JSON: {error}", hint) from None


def _describe(settings: Settings, name: str, as_json: bool) -> None:
    """One method with its params, each on a line with its default."""
    from pit.cli.terminal.console import Cell, Column
    from pit.work.socket import methods

    try:
        method = methods.describe(name)
    except PitError as error:
        raise BadArgument(str(error), error.hint) from None
    if as_json:
        settings.console.json(method)
        return
    settings.console.out(f"{method.name}: {method.doc}" if method.doc else method.name)
    columns = [Column("PARAM"), Column("DEFAULT", flexible=True)]
    rows = [
        [Cell(param.name), Cell("(required)" if param.required else param.default or "(none)")]
        for param in method.params
    ]
    settings.console.table(columns, rows)


def _list(settings: Settings, as_json: bool) -> None:
    """Every method with its params, those that may be left out in brackets."""
    import textwrap

    from pit.work.socket import methods

    console = settings.console
    if as_json:
        console.json(list(methods.described()))
        return
    for method in methods.described():
        in_order = sorted(method.params, key=lambda param: not param.required)
        words = (p.name if p.required else f"[{p.name}]" for p in in_order)
        width = (console.width or 100) - 1
        head, *more = textwrap.wrap(
            " ".join((method.name, *words)), width, subsequent_indent="    "
        )
        console.out(console.paint(method.name, "bold") + head[len(method.name) :])
        for line in (*more, *([f"    {method.doc}"] if method.doc else [])):
            console.out(line)
