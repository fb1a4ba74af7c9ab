"""What was typed: all that says what a command is about, before anything is looked up.

A module apart from what works it out, which a run that finds its stamp does not load.
"""

from __future__ import annotations

from msgspec import field

from pit.model import Record


class Typed(Record):
    """`DAG[/SELECTION]` and `-p NAME=VALUE`; `selection` is empty for the whole DAG.

    `undone` are the tasks that `--failed` stands for: these and what depends on them is meant.
    """

    dag: str
    selection: str = ""
    params: dict[str, str] = field(default_factory=dict)
    undone: tuple[str, ...] | None = None
