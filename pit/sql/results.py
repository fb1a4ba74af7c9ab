"""Results in files: a DuckDB of one's own to look into them, and names that they can have."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb


def private() -> duckdb.DuckDBPyConnection:
    """A DuckDB of one's own, for files."""
    return duckdb.connect(config={"python_enable_replacements": "false"})


def distinct(names: Sequence[str]) -> list[str]:
    """Names as a file needs them: a query may have one twice, or columns without any."""
    found: list[str] = []
    for index, name in enumerate(names):
        taken = {other.lower() for other in found}
        while not name or name.lower() in taken:
            name = f"{name or 'column'}_{index + 1}"
        found.append(name)
    return found


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
