"""What Pit starts as a SQL process: `pit.sql.child`, once nobody else can read its memory."""

from __future__ import annotations

from pit.sql import child
from pit.work import kernel

NAME = __name__


def main() -> None:
    """Serve the run that started this process; never returns."""
    child.main(kernel.keep_to_itself)
