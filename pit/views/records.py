"""What people have done to the records of tasks by hand: accepted, forgotten, cleaned."""

from __future__ import annotations

from pit.engine.planning.vouch import Made
from pit.model import Record


class AcceptedView(Record):
    """One task in `pit accept --json`; `accepted` is false if it was current already."""

    task: str
    accepted: bool


class AcceptView(Record):
    """The shape of `pit accept --json`; `note` is why, as it stays in the history."""

    dag: str
    note: str
    tasks: tuple[AcceptedView, ...]


class ForgetView(Record):
    """The shape of `pit forget --json`: how many records of each task went."""

    dag: str
    forgotten: dict[str, int]


class CleanView(Record):
    """The shape of `pit clean --json`.

    `forgotten` records went, and `bytes` of targets; of each task it says which `places`, and why
    others are `kept`.
    """

    dag: str
    dry_run: bool
    forgotten: int
    bytes: int
    tasks: tuple[Made, ...]
