"""Every key, flag, variable, exit code and dependency stands in the manual, and no other does."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pit import errors
from pit.cli import compose, main
from pit.cli.options import global_options
from pit.config.keys import keys
from pit.errors import PitError
from pit.model import Reason
from tests.docs.pages import DOCS, ROOT, anchors, blocks, code, first_cells, sections

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]

FOR_MAINTAINERS = [
    DOCS / "architecture.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "tests/README.md",
    ROOT / "tests/engine/model/README.md",
]
"""Pages that name files of the repository: from its top, from `pit/`, or beside the page."""

PIT_TOML = {
    "[dag]": keys.DAG,
    "[dag.requires]": keys.REQUIRE,
    "[dag.params]": keys.PARAM,
    "[dag.sql]": keys.SQL,
    "[[tasks]]": keys.TASK,
    "expect": keys.EXPECT,
    "csv": keys.CSV,
    "[tasks.matrix]": keys.MATRIX,
    "[[outputs]]": keys.OUTPUT,
}
PIT_CONFIG = {"pit_config.toml": keys.CONFIG, "[retention]": keys.RETENTION}
TABLES = [
    *((DOCS / "pit_toml.md", heading, table) for heading, table in PIT_TOML.items()),
    *((DOCS / "pit_config.md", heading, table) for heading, table in PIT_CONFIG.items()),
]


def names(cells: list[str]) -> list[str]:
    """The first code-quoted word of each cell."""
    return [code(cell)[0].split()[0] for cell in cells]


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("page", "heading", "table"), TABLES, ids=[heading for _, heading, _ in TABLES]
)
def test_each_table_of_keys_is_the_declared_one(
    page: Path, heading: str, table: keys.Table
) -> None:
    assert names(first_cells(sections(page)[heading])) == list(table.keys)


def test_every_declared_table_is_documented() -> None:
    documented = [id(table) for _, _, table in TABLES]
    assert sorted(documented) == sorted(id(table) for table in keys.TABLES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_toml_in_the_manual_is_valid_and_knows_its_keys(page: Path) -> None:
    for block in blocks(page.read_text(), "toml"):
        top = tomllib.loads(block)
        assert set(top) <= {
            "dag",
            "tasks",
            "outputs",
            "global",
            "acl",
            "claims_pipeline",
            *keys.CONFIG.keys,
        }
        for key in top.get("dag", {}):
            assert key in keys.DAG.keys
        for task in top.get("tasks", []):
            assert set(task) <= set(keys.TASK.keys)


# ---------------------------------------------------------------- flags


def commands() -> dict[str, click.Command]:
    """Every command by its name."""
    found = {}
    for name in main.COMMANDS:
        command = main.program.get_command(click.Context(main.program), name)
        assert command is not None
        found[name] = command
    return found


def shared_flags() -> set[str]:
    """The options that every command takes."""
    return {flag for option in global_options() for flag in option.opts} | {"-h", "--help"}


def flags(command: click.Command) -> set[str]:
    """The options of one command, without those that every command takes; of a group, of all."""
    if isinstance(command, click.Group):
        within = (
            command.get_command(click.Context(command), name)
            for name in command.list_commands(click.Context(command))
        )
        return set().union(*(flags(each) for each in within if each is not None))
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    return {flag for option in options for flag in option.opts} - shared_flags()


def documented_flags(section: str) -> set[str]:
    """The options in the first cells of a section's table."""
    quoted = [word for cell in first_cells(section) for word in code(cell)]
    return {word.split()[0] for word in quoted}


def test_each_command_has_a_section_with_exactly_its_flags() -> None:
    written = {
        heading.split()[1]: documented_flags(text)
        for heading, text in sections(DOCS / "cli.md").items()
        if heading.startswith("pit ")
    }
    assert written == {name: flags(command) for name, command in commands().items()}


def test_the_global_options_are_documented() -> None:
    section = sections(DOCS / "cli.md")["Global options"]
    assert documented_flags(section) == shared_flags()
    assert "pit --version" in section


# ---------------------------------------------------------------- variables


def strings_in_the_code() -> Iterator[str]:
    """Every string of the program that is no docstring."""
    for path in sorted((ROOT / "pit").rglob("*.py")):
        if "scaffold" in path.parts:
            continue
        tree = ast.parse(path.read_text())
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or id(node) in docstrings:
                continue
            if isinstance(node.value, str):
                yield node.value


def variables(texts: Iterator[str] | list[str]) -> set[str]:
    """The names of Pit's variables in some texts; PIT_PARAM_ stands for its whole family."""
    found = {name for text in texts for name in re.findall(r"\bPIT_[A-Z_]*[A-Z_]", text)}
    return {re.sub(r"^(PIT_PARAM_|PIT_MATRIX_).+", r"\1", name) for name in found}


# click's own, between the shell and the script; the family that is kept from tasks
INTERNAL = {"PIT_COMPLETE", "_PIT_COMPLETE", "PIT_AGE_"}


def test_every_variable_is_documented_and_no_other() -> None:
    pages = [sections(DOCS / "cli.md")["Variables"]]
    pages.append(sections(DOCS / "pit_toml.md")["Variables that a task sees"])
    cells = [cell for page in pages for cell in first_cells(page)]
    assert variables(cells) == variables(strings_in_the_code()) - INTERNAL


def test_no_page_mentions_a_variable_that_is_not_there() -> None:
    known = variables(strings_in_the_code())
    for page in PAGES:
        assert variables([page.read_text()]) <= known, page.name


# ---------------------------------------------------------------- exit codes and reasons


def error_classes(base: type[PitError] = PitError) -> Iterator[type[PitError]]:
    """Every class of the tree in errors.py."""
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
        yield from error_classes(child)


def exit_codes() -> set[int]:
    """Every code that the program can end with."""
    boundary = {value for name, value in vars(main).items() if name.startswith("EXIT_")}
    of_runs = {compose._EXIT_FAILED, compose._EXIT_TIMEOUT}
    signals = {compose._EXIT_SIGNAL + number for number in (2, 15)}
    return {0, *(kind.exit_code for kind in error_classes()), *boundary, *of_runs, *signals}


def test_every_exit_code_is_documented_and_no_other() -> None:
    rows = first_cells(sections(DOCS / "cli.md")["Exit codes"])
    assert [int(cell) for cell in rows] == sorted(exit_codes())


def test_the_tree_in_errors_draws_every_class() -> None:
    drawn = set(re.findall(r"\b[A-Z][A-Za-z]+\b", errors.__doc__ or ""))
    assert {kind.__name__ for kind in error_classes()} <= drawn


def test_every_reason_is_explained() -> None:
    rows = first_cells(sections(DOCS / "cli.md")["Reasons"])
    assert names(rows) == [str(reason) for reason in Reason]


# ---------------------------------------------------------------- dependencies, links


def distributions(requirements: list[str]) -> set[str]:
    """The names in a list of requirements, without versions and extras."""
    return {re.split(r"[<>=\[]", requirement)[0] for requirement in requirements}


def test_each_dependency_has_its_reason_and_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = distributions(project["dependencies"])
    rows = first_cells(sections(DOCS / "architecture.md")["Dependencies"])
    assert {name for row in rows for name in row.split(", ")} == declared

    extras = project["optional-dependencies"]
    of_extras = distributions([x for name in extras.keys() - {"all", "dev"} for x in extras[name]])
    rows = first_cells(sections(DOCS / "architecture.md")["Extras"])
    assert {name for row in rows for name in row.split(", ")} == of_extras

    by_path = {"mssql_python"}  # pyodbc loads the driver that it carries
    used = (imported() | by_path) - sys.stdlib_module_names - {"pit"}
    assert {name.replace("-", "_") for name in declared | of_extras} == used


def imported() -> set[str]:
    """The top-level names that the program imports, wherever in a file."""
    found = set()
    for path in (ROOT / "pit").rglob("*.py"):
        if "scaffold" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize(
    "page", sorted({*PAGES, *FOR_MAINTAINERS}), ids=lambda page: str(page.relative_to(ROOT))
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        there = (page.parent / path) if path else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name} links to {target}"


PACKAGE = ROOT / "pit"
ROOMS = {
    f"{path.parent.relative_to(PACKAGE)}/"
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py" and path.parent != PACKAGE and "scaffold" not in path.parts
}


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", FOR_MAINTAINERS, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_files_that_a_page_for_maintainers_names_are_there(page: Path) -> None:
    tops = {"pit", "tests", "sdk", "docs", *(room.split("/")[0] for room in ROOMS)}
    named = [each for each in code(prose(page.read_text())) if re.fullmatch(r"[\w./-]+", each)]
    paths = {each for each in named if each.split("/")[0] in tops or each.endswith(".py")} - tops
    assert paths
    for path in sorted(paths):
        beside = (ROOT, PACKAGE, page.parent)
        assert any((folder / path).exists() for folder in beside), f"{page.name} names {path}"


def test_architecture_describes_every_room() -> None:
    page = (DOCS / "architecture.md").read_text()
    rooms = page.split("\n## Rooms\n")[1].split("\n## ")[0]
    assert ROOMS - set(code(rooms)) == set()


def test_each_test_file_is_named_for_a_module_of_its_room_or_for_a_behaviour() -> None:
    tests = ROOT / "tests"
    listed = {code(cell)[0] for cell in first_cells(sections(tests / "README.md")["Behaviour"])}
    files = [path.relative_to(tests) for path in tests.rglob("test_*.py")]
    here = [path for path in files if (PACKAGE / path.parts[0]).is_dir()]
    own = {path for path in here if any((PACKAGE / path.parent).rglob(path.name[len("test_") :]))}
    assert listed == {f"tests/{path}" for path in {*here} - own}
