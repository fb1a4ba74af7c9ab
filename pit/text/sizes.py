"""Sizes in bytes as people read them."""

from __future__ import annotations


def size(count: int) -> str:
    """A number of bytes at a glance: `812 B`, `3.4 kB`, `1.2 GB`."""
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.95 or unit == "TB":
            break
    return f"{amount:.1f} {unit}"
