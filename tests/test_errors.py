"""`on_error`: what a block began is undone if it fails, whatever the failure, which goes on."""

from __future__ import annotations

import asyncio

import pytest

from pit.errors import DiskFull, on_error


def test_a_block_that_ends_well_is_not_undone() -> None:
    undone: list[int] = []

    def work() -> str:
        with on_error(lambda: undone.append(1)):
            return "done"

    assert work() == "done"
    assert undone == []


@pytest.mark.parametrize(
    "error", [DiskFull("no space"), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()]
)
def test_a_block_that_fails_is_undone_once_and_its_error_goes_on(error: BaseException) -> None:
    undone: list[int] = []
    with pytest.raises(type(error)) as raised, on_error(lambda: undone.append(1)):
        raise error
    assert raised.value is error
    assert undone == [1]


def test_an_error_while_undoing_goes_on_with_the_first_behind_it() -> None:
    def undo() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone") as raised, on_error(undo):
        raise ValueError("first")
    assert isinstance(raised.value.__context__, ValueError)
