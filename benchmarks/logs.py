"""A task that prints a gigabyte: how fast it reaches the log, and what Pit's memory does meanwhile.

Budget: 300 MB/s, and no more than 20 MB of memory over a task that prints nothing. The peer is the
same command with its output sent straight into a file, the limit of the disk.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from measure import PIT, folder, medians, project, report, run, seconds

BUDGET = 300.0
MEGABYTES = 1_000
TOML = '[dag]\n\n[[tasks]]\nname = "print"\nscript = "tasks/print.sh"\n'


def task_seconds(workspace: Path, dag: str) -> tuple[float, float]:
    """How long the one task of a run took, in seconds, and Pit's peak memory in megabytes."""
    with subprocess.Popen(
        [*PIT, "run", dag, "--json"], cwd=workspace, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        events = [json.loads(line) for line in running.stdout]
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    ended = next(event for event in events if event["event"] == "attempt_ended")
    shutil.rmtree(workspace / "runs")
    return float(ended["outcome"]["seconds"]), usage.ru_maxrss / 1024


def main() -> None:
    """Print the rate and the memory."""
    script = f"head -c {MEGABYTES}000000 /dev/zero\n"
    memory: dict[str, float] = {}
    with folder() as workspace:
        loud = project(workspace, "loud", TOML, {"print": script})
        project(workspace, "quiet", TOML, {"print": "true\n"})

        def pit(dag: str) -> float:
            taken, peak = task_seconds(workspace, dag)
            memory[dag] = max(peak, memory.get(dag, 0.0))
            return taken

        def straight() -> float:
            taken = seconds(
                lambda: run(["sh", "-c", f"bash tasks/print.sh > {workspace}/out"], loud)
            )
            (workspace / "out").unlink()
            return taken

        found = medians(
            {"pit": lambda: pit("loud"), "straight": straight, "quiet": lambda: pit("quiet")}, 3
        )
    rate, limit = MEGABYTES / found["pit"], MEGABYTES / found["straight"]
    figures = f"{rate:.0f} MB/s; straight into a file {limit:.0f} MB/s"
    report("1 GB of task output, ≥ 300 MB/s", BUDGET, rate, figures)
    added = memory["loud"] - memory["quiet"]
    report("memory that 1 GB of output adds, ≤ 20 MB", max(added, 0.0), 20, f"{added:.1f} MB")


if __name__ == "__main__":
    main()
