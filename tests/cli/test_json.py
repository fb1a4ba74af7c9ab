"""What `--json` prints: records of `pit.views` and nothing else, with the fields of the manual."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple, Union, get_args, get_origin

import click
import msgspec
import pytest

from pit import events
from pit.cli import main
from pit.cli.secrets import group
from pit.model import Record
from pit.views.connections import ConnectionView
from pit.views.graph.picture import GraphView
from pit.views.logs import LogListView, LogsView
from pit.views.outputs import OutputView
from pit.views.plan import PlansView, PlanView
from pit.views.prune import PruneView
from pit.views.records import AcceptView, CleanView, ForgetView
from pit.views.runs import RunView
from pit.views.secrets import AuditView, RecipientView, SecretView
from pit.views.status import DagStatusView, StatusView
from pit.views.sync import SyncView
from pit.views.validation.report import ValidateView
from pit.views.why import WhyView
from pit.work.socket.methods import Description
from tests.builder import Pit
from tests.cli.inside import Inside
from tests.docs.pages import DOCS, code, sections


class Printed(NamedTuple):
    """What a command prints with `--json`, by the words that make it do so; `words` are without
    the command. None is what people themselves have put there: a secret, rows of a query."""

    command: str
    words: tuple[str, ...]
    type: Any
    code: int = 0


PRINTED = (
    Printed("validate", (), ValidateView, code=11),
    Printed("run", ("shop",), events.Event, code=1),
    Printed("retry", ("shop",), events.Event, code=1),
    Printed("plan", (), PlansView),
    Printed("plan", ("shop",), PlanView),
    Printed("plan", ("shop/sums",), PlanView),
    Printed("sync", ("--check",), SyncView),
    Printed("status", (), StatusView),
    Printed("status", ("shop",), DagStatusView),
    Printed("why", ("shop/clean",), WhyView),
    Printed("why", ("shop/sums",), WhyView),
    Printed("logs", ("shop",), LogsView),
    Printed("logs", ("shop", "--list"), list[LogListView]),
    Printed("runs", (), list[RunView]),
    Printed("outputs", (), list[OutputView]),
    Printed("sql", ("lake", "select 1 as one"), None),
    Printed("sql", ("--check",), list[ConnectionView]),
    Printed("graph", ("shop",), GraphView),
    Printed("secrets get", ("global", "lake"), None),
    Printed("secrets list", (), list[SecretView]),
    Printed("secrets list", ("--recipients",), list[RecipientView]),
    Printed("secrets audit", (), AuditView),
    Printed("accept", ("shop/*", "-m", "looked at"), AcceptView),
    Printed("forget", ("shop/clean",), ForgetView),
    Printed("clean", ("shop", "--dry-run"), CleanView),
    Printed("prune", ("--all-finished", "--dry-run"), PruneView),
    Printed("sdk", ("--list",), list[Description]),
    Printed("sdk", ("--list", "log"), Description),
)
"""In an order in which each has something to print."""

ELSEWHERE = {events.Event: "as they come", Description: "of the socket, which tells tasks the same"}
"""What is printed and is no view of something that lasts."""

SHOP = """
[dag]
description = "Orders"
schedule = "0 6 * * *"
[dag.params]
day = { default = "monday" }
[dag.sql]
connection = "lake"
[[tasks]]
name = "clean"
script = "clean.sh"
inputs = ["orders.csv"]
targets = ["clean.csv"]
[[tasks]]
name = "sums"
script = "sums.sh"
inputs = ["clean.csv"]
targets = ["sums.csv"]
[[tasks]]
name = "mail"
script = "mail.sh"
depends_on = ["sums"]
[[outputs]]
name = "totals"
type = "file"
location = "sums.csv"
audience = "finance"
"""
KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Inside:
    """A workspace in which each command has something to say."""
    pit = Inside(tmp_path_factory.mktemp("shop"))
    pit.file(
        "secrets.toml", '[global]\nlake = ":memory:"\nlogin = { user = "a", password = "b" }\n'
    )
    pit.file("age-recipients.txt", f"# somebody\n{KEY}\n")
    pit.project("broken").toml("[dag]\nnam = 1\n")
    pit.project("shop").toml(SHOP)
    pit.file("orders.csv", "1\n").file("clean.sh", "echo cleaned; cat orders.csv > clean.csv\n")
    pit.file("sums.sh", "cat clean.csv > sums.csv\n").file("mail.sh", "exit 3\n")
    pit.run("run", "shop").fails(1)
    pit.run("secrets", "set", "global", "token", "t")
    pit.file("orders.csv", "2\n")
    return pit


@pytest.mark.parametrize("printed", PRINTED, ids=lambda each: " ".join((each.command, *each.words)))
def test_each_command_prints_its_record_and_nothing_else(shop: Inside, printed: Printed) -> None:
    run = Pit.run if printed.type is events.Event else Inside.run  # a run has its own process
    done = run(shop, *printed.command.split(), *printed.words, "--json")
    assert done.code == printed.code, done.err
    if printed.type is events.Event:
        kinds = Union[tuple(events.Event.__subclasses__())]  # noqa: UP007
        for line in done.out.splitlines():
            event = msgspec.json.decode(line, type=kinds)
            assert msgspec.json.encode(event).decode() == line
    elif printed.type is not None:
        record = msgspec.json.decode(done.out, type=printed.type)
        assert record
        assert msgspec.json.format(msgspec.json.encode(record)).decode() + "\n" == done.out


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command by its words."""
    for name in main.COMMANDS:
        found = main.program.get_command(click.Context(main.program), name)
        assert found is not None
        if isinstance(found, click.Group):
            for below in group.COMMANDS:
                inner = found.get_command(click.Context(found), below)
                assert inner is not None
                yield f"{name} {below}", inner
        else:
            yield name, found


def test_each_command_with_json_is_listed_with_what_it_prints() -> None:
    able = {n for n, found in commands() if any("--json" in each.opts for each in found.params)}
    assert able == {each.command for each in PRINTED}


# ---------------------------------------------------------------- the records


def records(kind: Any) -> Iterator[type[Record]]:
    """The records that a type holds, itself among them."""
    for inner in get_args(kind):
        yield from records(inner)
    if isinstance(kind, type) and issubclass(kind, Record):
        yield kind
        for field in msgspec.structs.fields(kind):
            if field.type is not Any and kind not in get_args(field.type):
                yield from records(field.type)


def own(kind: Any) -> type[Record] | None:
    """The record that a type is, or may be, or is a list of; None if there is none."""
    found = next(iter(get_args(kind)), kind)
    return found if isinstance(found, type) and issubclass(found, Record) else None


def test_what_is_printed_stands_in_views_and_what_it_holds_there_or_below() -> None:
    for printed in PRINTED:
        kind = own(printed.type)
        if kind is not None and kind not in ELSEWHERE:
            assert kind.__module__.startswith("pit.views."), kind
        for each in records(printed.type):
            assert not each.__module__.startswith("pit.cli"), each


# ---------------------------------------------------------------- the manual


def shapes(text: str) -> list[Any]:
    """The shapes in the rows of a table: `{a, b: [{c}]}` as {"a": None, "b": [{"c": None}]}."""
    rows = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    found = (each for each in code(rows) if _SHAPE.fullmatch(each))
    return [_shape(re.findall(r"[][{},:]|\w+", each)) for each in found]


_SHAPE = re.compile(r"\[?\{[][{},:\w\s]*\}\]?")


def _shape(tokens: list[str]) -> Any:
    """The shape at the beginning of the tokens, which are taken; a word alone is None."""
    first = tokens.pop(0)
    if first == "[":
        inner = [_shape(tokens)]
        assert tokens.pop(0) == "]"
        return inner
    if first != "{":
        return None
    found: dict[str, Any] = {}
    while (name := tokens.pop(0)) != "}":
        found[name] = None
        if tokens[0] == ":":
            del tokens[0]
            found[name] = _shape(tokens)
        if tokens[0] == ",":
            del tokens[0]
    return found


def spelled(shape: Any, kind: Any) -> Iterator[type[Record]]:
    """The records of a type whose fields a shape spells out; ValueError if it is of another."""
    if shape is None or get_origin(kind) is dict:
        return
    if isinstance(shape, list) != (get_origin(kind) in (list, tuple)):
        raise ValueError(f"{kind} is not as in {shape}")
    if isinstance(shape, list):
        yield from spelled(shape[0], get_args(kind)[0])
        return
    record = own(kind)
    fields = msgspec.structs.fields(record) if record else ()
    if record is None or list(shape) != [field.encode_name for field in fields]:
        raise ValueError(f"{kind} is not as in {shape}")
    yield record
    for field in fields:
        yield from spelled(shape[field.encode_name], field.type)


def test_a_shape_that_lacks_a_field_is_none_of_its_record() -> None:
    (shape,) = shapes("| one run | `[{run, size}]`, where `size` is null |")
    assert list(spelled(shape, list[LogListView])) == [LogListView]
    for other in ("`[{run}]`", "`[{size, run}]`", "`[{run, size, more}]`", "`{run, size}`"):
        with pytest.raises(ValueError, match="is not as in"):
            list(spelled(shapes(f"| {other} |")[0], list[LogListView]))


def test_the_manual_spells_out_each_record_that_is_printed() -> None:
    pages = {name.split(" ")[1]: t for name, t in sections(DOCS / "cli.md").items() if " " in name}
    told = set()
    for printed in PRINTED:
        if printed.type is None or printed.type is events.Event:
            continue
        fitting = 0
        for shape in shapes(pages[printed.command.split()[0]]):
            with suppress(ValueError):
                told |= set(spelled(shape, printed.type))
                fitting += 1
        assert fitting == 1, f"{printed.command} in docs/cli.md does not say: {printed.type}"
    whole = {each for p in PRINTED if p.type is not events.Event for each in records(p.type)}
    assert whole - told == set()
