"""Many tasks named in one short text."""

from __future__ import annotations

from collections.abc import Iterable


def tasks_named(names: Iterable[str], most: int = 5) -> str:
    """Tasks in one short text: instances of one matrix are counted, of many tasks the first told.

    `clean, staging_not_null ×3 and 4 more`.
    """
    instances: dict[str, list[str]] = {}
    for name in names:
        instances.setdefault(name.partition(":")[0], []).append(name)
    told = [of[0] if len(of) == 1 else f"{home} ×{len(of)}" for home, of in instances.items()]
    more = f" and {len(told) - most} more" if len(told) > most else ""
    return ", ".join(told[:most]) + more
