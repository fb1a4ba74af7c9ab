"""What a command costs before it does anything, and what a waiting run holds in memory.

Budgets: `pit --help` 60 ms and `pit status` 90 ms over bare Python; an idle `pit run` with its
guardian 60 MB (proportional set size: pages that both share count once).
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
from measure import PIT, folder, medians, project, report, run, seconds

TOML = '[[tasks]]\nname = "one"\nscript = "tasks/one.sh"\n'
ROUNDS = 21


def pit_memory(process: psutil.Process) -> int:
    """The bytes of a `pit run` and of its guardian, told from tasks by their command line."""
    command = process.cmdline()
    family = [process, *(child for child in process.children() if child.cmdline() == command)]
    return sum(member.memory_full_info().pss for member in family)


def idle_memory(workspace: Path) -> float:
    """The memory of a run whose only task sleeps, in bytes."""
    with subprocess.Popen(
        [*PIT, "run", "idle"], cwd=workspace, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        time.sleep(1.5)
        held = pit_memory(psutil.Process(running.pid))
        running.wait()
    return float(held)


def main() -> None:
    """Print the three promises."""
    with folder() as workspace:
        for number in range(10):
            project(workspace, f"dag{number}", TOML, {"one": "true\n"})
        project(workspace, "idle", TOML, {"one": "sleep 2.5\n"})
        for number in range(10):
            run([*PIT, "run", f"dag{number}"], workspace)

        def timed(*argv: str) -> float:
            return seconds(lambda: run([*argv], workspace)) * 1000

        found = medians(
            {
                "python": lambda: timed(sys.executable, "-c", "pass"),
                "help": lambda: timed(*PIT, "--help"),
                "status": lambda: timed(*PIT, "status"),
            },
            ROUNDS,
        )
        bare = found["python"]
        for name, budget in (("help", 60), ("status", 90)):
            cost = found[name] - bare
            command = "pit --help" if name == "help" else "pit status"
            figures = f"{cost:.0f} ms over Python's {bare:.0f} ms"
            report(f"{command}, ≤ {budget} ms over bare Python", cost, budget, figures)
        if sys.platform == "linux":
            held = medians({"idle": lambda: idle_memory(workspace)}, 3)["idle"] / 1e6
            report("an idle pit run and its guardian, ≤ 60 MB", held, 60, f"{held:.0f} MB")


if __name__ == "__main__":
    main()
