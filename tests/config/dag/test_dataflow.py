"""Targets that get in each other's way."""

from __future__ import annotations

from pathlib import Path

import pytest

from pit.config.dag.dataflow import Clash, Link, clashes, links
from pit.model import Dag, Task


def dag(*targets: tuple[str, ...], inputs: tuple[str, ...] | None = None) -> Dag:
    tasks = (
        Task(name=f"t{i}", script="x.sh", targets=made, inputs=inputs)
        for i, made in enumerate(targets)
    )
    return Dag(name="p", project=Path("/w/projects/p"), tasks=tuple(tasks))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("out/x.csv", "out/x.csv"),
        ("out", "out/"),
        ("out/", "out/x.csv"),
        ("out/deep/x.csv", "out/"),
        ("out/*.csv", "out/x.csv"),
        ("out/*.csv", "out/*.csv"),
        ("out/", "out/*.csv"),
        ("{workspace}/x", "/w/x"),
    ],
)
def test_two_targets_that_cannot_both_be_promised(first: str, second: str) -> None:
    assert clashes(dag((first,), (second,))) == [Clash((0, first), (1, second))]
    assert clashes(dag((second,), (first,))) == [Clash((0, second), (1, first))]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("out/x.csv", "out/y.csv"),
        ("out", "output"),
        ("out/*.csv", "out/x.parquet"),
        ("out/*.csv", "out/deep/x.csv"),
    ],
)
def test_targets_that_live_side_by_side(first: str, second: str) -> None:
    assert clashes(dag((first,), (second,))) == []


def test_a_link_tells_who_reads_what_of_whom() -> None:
    found = links(dag(("a.csv",), ("b.csv",), inputs=("*.csv",)))
    assert found[0] == Link("t0", "*.csv", "t0", "a.csv")
    assert {(link.reader, link.maker) for link in found} == {
        (reader, maker) for reader in ("t0", "t1") for maker in ("t0", "t1")
    }


def test_without_targets_nothing_is_linked() -> None:
    assert links(dag((), (), inputs=("*.csv",))) == []
