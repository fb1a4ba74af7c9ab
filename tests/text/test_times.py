"""Times as people read them."""

from __future__ import annotations

from pit.text.times import ago, until


def test_times_are_told_in_one_unit() -> None:
    assert ago(100, 100.5) == "just now"
    assert ago(100, 145) == "45s ago"
    assert ago(0, 7300) == "2h ago"
    assert ago(0, 86400 * 40) == "40d ago"
    assert ago(200, 100) == "just now"  # the clock was set back
    assert until(3700, 0) == "in 1h"
    assert until(0, 10) == "now"
