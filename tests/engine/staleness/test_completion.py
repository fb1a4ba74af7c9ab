"""Runs of some tasks that are together a run of the whole DAG, and how old that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pit.config.dag.expanded import ExpandedDag
from pit.engine.staleness.completion import complete_at
from pit.model import Dag, Task
from pit.state.store.tables.dags import StandingRow
from pit.state.store.tables.runs import RunRow
from tests.state.story import row

DECLARED = Dag(
    name="d",
    project=Path("/d"),
    tasks=(
        Task(name="a"),
        Task(name="b", depends_on=("a",)),
        Task(name="c", depends_on=("b",)),
        Task(name="x"),
    ),
)
DAG = ExpandedDag.of(DECLARED, DECLARED.tasks)


def standings(**facts: tuple[int, int]) -> list[StandingRow]:
    """The run of the last attempt and the last one that knew it to be done; the time is like it."""
    return [
        row(StandingRow, task=task, seq=seq, done_seq=done, done_at=float(done) if done else None)
        for task, (seq, done) in facts.items()
    ]


def complete(seq: int, complete_at: float) -> RunRow:
    """A run after which all was done."""
    return row(RunRow, seq=seq, complete_at=complete_at)


@pytest.mark.parametrize(
    ("facts", "at"),
    [
        ({"a": (1, 1), "b": (1, 1), "c": (1, 1), "x": (1, 1)}, 1.0),
        ({"a": (1, 1), "b": (2, 2), "c": (3, 3), "x": (2, 2)}, 1.0),
        # Found current again, so the oldest is another one.
        ({"a": (1, 5), "b": (2, 5), "c": (3, 5), "x": (4, 4)}, 4.0),
        # b was made again and c found current after it.
        ({"a": (1, 1), "b": (4, 4), "c": (2, 4), "x": (2, 2)}, 1.0),
        # c needs b alone: that a was made again, and b found current, is nothing to it.
        ({"a": (5, 5), "b": (2, 5), "c": (2, 2), "x": (1, 1)}, 1.0),
    ],
)
def test_all_is_done_when_each_task_was_after_what_it_needs(
    facts: dict[str, tuple[int, int]], at: float
) -> None:
    assert complete_at(DAG, standings(**facts)) == at


@pytest.mark.parametrize(
    "facts",
    [
        {"a": (1, 1), "b": (1, 1), "c": (1, 1)},  # x is new
        {"a": (1, 1), "b": (1, 1), "c": (1, 1), "x": (2, 1)},  # x failed since
        {"a": (1, 1), "b": (1, 1), "c": (1, 1), "x": (0, 0)},  # x was never come to
        {"a": (2, 2), "b": (1, 1), "c": (1, 1), "x": (1, 1)},  # a was made again, b not
        {"a": (1, 1), "b": (4, 4), "c": (3, 3), "x": (1, 1)},  # b was, c not
        {},
    ],
)
def test_one_that_is_not_is_enough(facts: dict[str, tuple[int, int]]) -> None:
    assert complete_at(DAG, standings(**facts)) is None


def test_a_whole_run_with_nothing_to_do_was_about_every_task() -> None:
    facts = standings(a=(3, 3), b=(1, 1), c=(1, 1), x=(1, 1))
    assert complete_at(DAG, facts, complete(seq=2, complete_at=2.0)) is None
    assert complete_at(DAG, facts, complete(seq=4, complete_at=9.0)) == 9.0
    later = standings(a=(3, 3), b=(1, 1), c=(5, 5), x=(1, 1))
    assert complete_at(DAG, later, complete(seq=4, complete_at=4.5)) == 4.5


def test_a_task_that_was_never_tried_was_not_done_by_an_earlier_run_of_all() -> None:
    facts = standings(a=(3, 3), b=(3, 3), c=(3, 3))
    assert complete_at(DAG, facts, complete(seq=9, complete_at=9.0)) is None
