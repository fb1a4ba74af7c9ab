"""Why a run or a task ended as it did, in a few words."""

from __future__ import annotations

import pytest

from pit.model import Reason
from pit.views import reasons


@pytest.mark.parametrize(
    ("reason", "error", "sentence"),
    [
        (None, "", ""),
        (None, "clean, load\nand more", "clean, load"),
        (Reason.EXIT, "exit code 3", "exit code 3"),
        (Reason.EXIT, "", "exit"),
        (Reason.TIMEOUT, "", "timeout"),
        (Reason.TIMEOUT, "after 5s", "timeout: after 5s"),
        (Reason.TIMEOUT, "timeout", "timeout"),
        (Reason.SINGLE_TASK, "", "not selected"),
        (Reason.DISK_FULL, "\x1b[2Jno space", "disk_full: no space"),
        ("of_old", "", "of_old"),
        ("of_old", "as it was", "of_old: as it was"),
    ],
)
def test_the_reason_is_told_unless_the_error_says_it_better(
    reason: str | None, error: str, sentence: str
) -> None:
    assert reasons.sentence(reason, error) == sentence


def test_of_a_task_that_did_as_it_should_it_is_told_why_it_ran() -> None:
    assert reasons.of_task(None, "", "clean.sh\x07 changed") == "clean.sh changed"
    assert reasons.of_task(Reason.CURRENT, "", "current since run 7") == "current since run 7"
    assert reasons.of_task(Reason.EXIT, "exit code 3", "clean.sh changed") == "exit code 3"
