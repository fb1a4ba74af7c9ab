"""What counts as written when the machine has been restarted since a run."""

from __future__ import annotations

import math
from typing import Any

from pit.model import RunState
from pit.state.restart import SETTLING, settled_until
from pit.state.store.tables.runs import RunRow
from tests.state.story import EPOCH, row


def seen(seq: int, boot: str, began: float, **facts: Any) -> RunRow:
    """A run of ten seconds; times are seconds after the epoch of the tests."""
    ended = EPOCH + facts.pop("ended", began + 10)
    given = {"state": RunState.FAILED, "seconds": 10.0} | facts
    return row(RunRow, seq=seq, boot_id=boot, started_at=EPOCH + began, ended_at=ended, **given)


def until(run: RunRow, *others: RunRow, boot: str = "now") -> float:
    return settled_until(run, others, boot) - EPOCH + SETTLING


def test_without_a_restart_or_a_name_for_it_all_counts() -> None:
    assert until(seen(1, "now", 0)) == math.inf
    assert until(seen(1, "", 0)) == math.inf
    assert until(seen(1, "before", 0), boot="") == math.inf


def test_the_last_sign_of_life_before_the_same_restart_counts() -> None:
    run = seen(2, "before", 0)
    assert until(run) == 10
    assert until(run, seen(3, "before", 500), seen(4, "now", 9000)) == 510


def test_when_a_power_cut_was_found_out_is_no_sign_of_life() -> None:
    cut = seen(1, "before", 0, state=RunState.INTERRUPTED, seconds=30.0, ended=86400)
    assert until(cut) == 30


def test_a_clock_that_was_put_back_makes_nothing_older() -> None:
    assert until(seen(2, "before", 0), seen(1, "before", 7200)) == 10
