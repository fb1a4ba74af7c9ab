"""What Pit starts as a SQL process: `pit.sql.child`, once nobody else can read its memory."""

from __future__ import annotations

from pit.sql import child
from pit.state import memory

NAME = __name__


def main() -> None:
    """Serve the run that started this process; never returns."""
    child.main(memory.keep_to_itself)
