"""Digests of inputs against reading them, and the cost of digests that still stand.

Files in Pit's own pieces are read and digested in turn, as soon as they have been written, so
mostly from the memory of the system: on a disk that is slower than that, both wait for it alike.
1 GB by default, 10 GB with --all. The cache is measured with 10,000 files.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from measure import folder, medians, report, seconds

from pit.project.digest import Digests, digest_file

SIZE = 1 << 30
SIZE_ALL = 10 << 30
FILE = 256 << 20
PIECE = 1 << 20
BUDGET = 3.5
"""Reading from memory is a copy; BLAKE3 on one core takes about three times as long."""

FILES = 10_000
BUDGET_KNOWN = 0.060


def build(inputs: Path, size: int) -> list[Path]:
    """Files of 256 MB, `size` bytes together."""
    paths = [inputs / f"part{number}.bin" for number in range(size // FILE)]
    for path in paths:
        with open(path, "wb") as file:
            for _ in range(FILE // PIECE):
                file.write(os.urandom(PIECE))
    return paths


def read(paths: list[Path]) -> None:
    """Read files to their ends and look at nothing."""
    buffer = bytearray(PIECE)
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        while os.readv(descriptor, [buffer]):
            pass
        os.close(descriptor)


def digest(paths: list[Path]) -> None:
    """What Pit does with inputs that it has not seen."""
    for path in paths:
        digest_file(path)


def measure_large(inputs: Path) -> None:
    """Bytes per second."""
    size = SIZE_ALL if "--all" in sys.argv else SIZE
    paths = build(inputs, size)
    found = medians(
        {
            "reading": lambda: seconds(lambda: read(paths)),
            "digests": lambda: seconds(lambda: digest(paths)),
        },
        3 if size == SIZE_ALL else 5,
    )
    ratio = found["digests"] / found["reading"]
    speeds = ", ".join(f"{name} {size / value / 1e9:.1f} GB/s" for name, value in found.items())
    promise = f"digests of {size >> 30} GB, ≤ {BUDGET} × reading"
    report(promise, ratio, BUDGET, f"{ratio:.2f}: {speeds}")


def measure_known(inputs: Path) -> None:
    """Files that have not changed since their digests were kept."""
    paths = [f"{inputs}/file{number:05}.txt" for number in range(FILES)]
    for path in paths:
        Path(path).write_text(path)
    first = Digests()

    def ask(digests: Digests) -> None:
        for path in paths:
            digests.of(path)

    while len(seen := {path: each for path, each in first.changes().items() if each}) < FILES:
        first = Digests()
        ask(first)
    found = medians(
        {
            "known": lambda: seconds(lambda: ask(Digests(seen))),
            "os.stat": lambda: seconds(lambda: [os.stat(path) for path in paths]),
            "read": lambda: seconds(lambda: ask(Digests())),
        },
        7,
    )
    figures = ", ".join(f"{name} {value * 1000:.0f} ms" for name, value in found.items())
    report(f"{FILES:,} known files, ≤ 60 ms", found["known"], BUDGET_KNOWN, figures)


def main() -> None:
    """Print both promises."""
    for measure in (measure_known, measure_large):
        with folder() as inputs:
            measure(inputs)


if __name__ == "__main__":
    main()
