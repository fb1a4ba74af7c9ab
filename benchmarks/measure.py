"""What every benchmark shares: peers measured in turn, medians, one line per promise."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PIT = [sys.executable, "-m", "pit"]


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes, in seconds."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def medians(peers: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of what each peer measured; they take turns, so noise meets all alike."""
    found: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, work in peers.items():
            found[name].append(work())
    return {name: statistics.median(values) for name, values in found.items()}


def report(promise: str, value: float, budget: float, figures: str) -> None:
    """Print one promise: its share of the budget (1.00 is all of it) and the figures behind it."""
    share = value / budget
    verdict = "ok" if share <= 1 else "OVER"
    print(f"{promise:<46} {share:5.2f} of the budget  {verdict:<4}  {figures}", flush=True)


def run(argv: list[str], cwd: Path) -> None:
    """Run a command to its end, quietly; a failure ends the benchmark with its output."""
    done = subprocess.run(
        argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout[-4000:].decode()}")


def rounds(usual: int) -> int:
    """How often to measure: a third as often with --quick."""
    return max(1, usual // 3) if "--quick" in sys.argv else usual


@contextmanager
def folder() -> Iterator[Path]:
    """A folder to work in, gone afterwards; TMPDIR chooses the disk."""
    for name in [name for name in os.environ if name.startswith("PIT_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="pit-bench-") as made:
        yield Path(made)


def project(workspace: Path, name: str, toml: str, scripts: Mapping[str, str]) -> Path:
    """Write `projects/<name>` with its pit.toml and `tasks/*.sh`; its folder."""
    made = workspace / "projects" / name
    (made / "tasks").mkdir(parents=True)
    (made / "pit.toml").write_text(toml)
    for task, text in scripts.items():
        (made / "tasks" / f"{task}.sh").write_text(text)
    return made
