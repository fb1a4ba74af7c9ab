"""What Pit adds to a task: 1,000 (with --all also 10,000) shell scripts of one `true`, 4 at a time.

Budget: 1.3 × `make -j4` running the same `bash script` files. `xargs -P4` is shown beside it.
Pit does more in that time: a snapshot, a log per task, every result durable before its dependants.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from measure import PIT, folder, medians, project, report, rounds, run, seconds

BUDGET = 1.3


def build(workspace: Path, count: int) -> Path:
    """A project of `count` independent tasks, with a Makefile and a list for xargs beside it."""
    names = [f"t{number:05}" for number in range(count)]
    entries = (f'[[tasks]]\nname = "{name}"\nscript = "tasks/{name}.sh"\n' for name in names)
    toml = "[dag]\nconcurrency = 4\n\n" + "\n".join(entries)
    made = project(workspace, "many", toml, dict.fromkeys(names, "true\n"))
    rules = "".join(f"{name}:\n\t@bash tasks/{name}.sh\n" for name in names)
    (workspace / "Makefile").write_text(
        f".PHONY: all {' '.join(names)}\nall: {' '.join(names)}\n{rules}"
    )
    (workspace / "list").write_text("".join(f"tasks/{name}.sh\n" for name in names))
    return made


def measure(count: int, times: int) -> None:
    """Print the ratio for `count` tasks."""
    with folder() as workspace:
        made = build(workspace, count)
        found = medians(
            {
                "pit": lambda: seconds(lambda: run([*PIT, "run", "many"], workspace)),
                "make": lambda: seconds(lambda: run(["make", "-j4", "-f", "../../Makefile"], made)),
                "xargs": lambda: seconds(
                    lambda: run(["xargs", "-a", "../../list", "-P4", "-n1", "bash"], made)
                ),
            },
            times,
        )
    ratio = found["pit"] / found["make"]
    figures = ", ".join(f"{name} {value:.2f} s" for name, value in found.items())
    report(
        f"{count:,} shell tasks, ≤ {BUDGET} × make -j4", ratio, BUDGET, f"{ratio:.2f}: {figures}"
    )


if __name__ == "__main__":
    for tool in ("make", "xargs"):
        if shutil.which(tool) is None:
            sys.exit(f"this benchmark compares with {tool}, which is not installed")
    measure(1_000, rounds(5))
    if "--all" in sys.argv:
        measure(10_000, rounds(3))
