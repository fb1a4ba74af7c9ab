"""What size costs: validating, planning, and finding nothing to do.

Budgets: 10,000 tasks cost at most 12 times what 1,000 do. With --all, which takes a quarter of an
hour, 100,000 against 10,000, and there is nothing to do among 100,000 within 1.5 s and 300 MB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from measure import PIT, folder, project, report

LINEAR, SECONDS, MEGABYTES = 12, 1.5, 300
COMMANDS = {
    "validate": ("validate",),
    "plan": ("plan", "many", "--json"),
    "nothing to do": ("run", "many"),
}


class Cost(NamedTuple):
    """Seconds, and the highest resident size of the process in megabytes."""

    seconds: float
    megabytes: float


def build(workspace: Path, count: int) -> None:
    """A project of `count` tracked tasks, all of them done."""
    tasks = [f"t{number:06}" for number in range(count)]
    toml = "[dag]\nconcurrency = 4\n\n" + "\n".join(
        f'[[tasks]]\nname = "{task}"\nscript = "tasks/copy.sh"\n'
        f'inputs = ["in/{task}"]\ntargets = ["out/{task}"]\nenv = {{ NAME = "{task}" }}\n'
        for task in tasks
    )
    made = project(workspace, "many", toml, {"copy": 'cp "in/$NAME" "out/$NAME"\n'})
    (made / "in").mkdir()
    (made / "out").mkdir()
    for task in tasks:
        (made / "in" / task).write_text(f"{task}\n")
    cost(workspace, ("run", "many"))


def cost(workspace: Path, words: Sequence[str]) -> Cost:
    """What one command costs; it must succeed."""
    began = time.perf_counter()
    process = subprocess.Popen([*PIT, *words], cwd=workspace, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - began
    if process.returncode is None:
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"pit {' '.join(words)} ended with {process.returncode}")
    return Cost(taken, usage.ru_maxrss / 1024)


def costs(count: int) -> dict[str, Cost]:
    """What each command costs with `count` tasks."""
    with folder() as workspace:
        build(workspace, count)
        cost(workspace, COMMANDS["nothing to do"])
        time.sleep(1)  # what was written just now is too young for a stamp
        cost(workspace, COMMANDS["nothing to do"])
        return {name: cost(workspace, words) for name, words in COMMANDS.items()}


def main() -> None:
    """Print the promises."""
    whole = "--all" in sys.argv
    few, many = (10_000, 100_000) if whole else (1_000, 10_000)
    small, large = costs(few), costs(many)
    for name, there in large.items():
        ratio = there.seconds / small[name].seconds
        figures = f"{small[name].seconds:.2f} s, {there.seconds:.2f} s, {there.megabytes:.0f} MB"
        what = f"{name}: {many:,} tasks, ≤ {LINEAR} × {few:,}"
        report(what, ratio, LINEAR, f"{ratio:.1f}: {figures}")
    if whole:
        nothing = large["nothing to do"]
        report(
            f"nothing to do among {many:,}, ≤ {SECONDS} s",
            nothing.seconds,
            SECONDS,
            f"{nothing.seconds:.2f} s",
        )
        report(
            f"the same, ≤ {MEGABYTES} MB",
            nothing.megabytes,
            MEGABYTES,
            f"{nothing.megabytes:.0f} MB",
        )


if __name__ == "__main__":
    main()
