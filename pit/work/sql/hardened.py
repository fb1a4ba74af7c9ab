"""What Pit starts as a SQL process: `pit.sql.server`, once nobody else can read its memory."""

from __future__ import annotations

from pit.sql import server
from pit.state.secrets import memory

NAME = __name__


def main() -> None:
    """Serve the run that started this process; never returns."""
    server.main(memory.keep_to_itself)
