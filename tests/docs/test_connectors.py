"""Every method of a connector and each of its params stand in the manual, and no others."""

from __future__ import annotations

from importlib import import_module

import pytest

from pit.work.socket.call import Method
from pit.work.socket.methods import MODULES
from tests.docs.pages import DOCS, code, first_cells, sections

PAGE = DOCS / "connectors.md"
PACKAGE = "pit.work.connectors."
SHARED = {"s3.methods": "S3"}
"""Connectors whose methods share params, which a section of their own tells."""

CONNECTORS = {name: module for name, module in MODULES.items() if module.startswith(PACKAGE)}


def method(name: str) -> Method:
    """The method of that name."""
    found: Method = import_module(CONNECTORS[name]).METHODS[name]
    return found


def told(section: str) -> list[str]:
    """The params in the first cells of a section's tables."""
    return [code(cell)[0] for cell in first_cells(sections(PAGE)[section])]


@pytest.mark.parametrize("name", sorted(CONNECTORS))
def test_each_method_is_told_with_exactly_its_params(name: str) -> None:
    shared = SHARED.get(CONNECTORS[name].removeprefix(PACKAGE))
    expected = set(method(name).params.__struct_encode_fields__)
    assert {*told(name), *(told(shared) if shared else ())} == expected


def test_every_method_can_be_asked_for() -> None:
    for module in {*CONNECTORS.values()}:
        declared = set(import_module(module).METHODS)
        assert declared == {name for name, home in CONNECTORS.items() if home == module}


def test_the_first_table_lists_every_method() -> None:
    rows = [row for row in sections(PAGE)["Connectors"].splitlines() if row.startswith("| [")]
    listed = {name for row in rows for name in code(row.split("|")[2])}
    assert listed == set(CONNECTORS)
