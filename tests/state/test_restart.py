"""What counts as written when the machine has been restarted since a run."""

from __future__ import annotations

import math
from typing import Any

from pit.model import RunState
from pit.state.restart import SETTLING, settled_until
from tests.state.story import EPOCH


class Seen:
    """A run as `settled_until` needs it."""

    def __init__(self, seq: int, boot: str, began: float, **facts: Any) -> None:
        self.seq, self.boot_id, self.started_at = seq, boot, EPOCH + began
        self.state: RunState = facts.get("state", RunState.FAILED)
        self.seconds: float | None = facts.get("seconds", 10.0)
        self.ended_at: float | None = EPOCH + facts.get("ended", began + 10)


def until(run: Seen, *others: Seen, boot: str = "now") -> float:
    return settled_until(run, others, boot) - EPOCH + SETTLING


def test_without_a_restart_or_a_name_for_it_all_counts() -> None:
    assert until(Seen(1, "now", 0)) == math.inf
    assert until(Seen(1, "", 0)) == math.inf
    assert until(Seen(1, "before", 0), boot="") == math.inf


def test_the_last_sign_of_life_before_the_same_restart_counts() -> None:
    run = Seen(2, "before", 0)
    assert until(run) == 10
    assert until(run, Seen(3, "before", 500), Seen(4, "now", 9000)) == 510


def test_when_a_power_cut_was_found_out_is_no_sign_of_life() -> None:
    cut = Seen(1, "before", 0, state=RunState.INTERRUPTED, seconds=30.0, ended=86400)
    assert until(cut) == 30


def test_a_clock_that_was_put_back_makes_nothing_older() -> None:
    assert until(Seen(2, "before", 0), Seen(1, "before", 7200)) == 10
