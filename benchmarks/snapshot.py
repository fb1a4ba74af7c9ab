"""The frozen copy of a project of 10,000 small files against `cp -r` to the same disk.

Budget: 1.2 × `cp -r`; the memory that the copy adds stays under 20 MB.
"""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

from measure import folder, medians, report, run, seconds

from pit.project.snapshot import snapshot

BUDGET = 1.2
FILES = 10_000
PER_FOLDER = 100


def build(project: Path) -> None:
    """A project of 10,000 files of one to four kilobytes in 100 folders."""
    for number in range(FILES // PER_FOLDER):
        (project / f"part{number:03}").mkdir(parents=True)
        for file in range(PER_FOLDER):
            content = b"x" * (1024 + 31 * file)
            (project / f"part{number:03}" / f"file{file:03}.txt").write_bytes(content)


def peak_memory() -> float:
    """The highest resident size of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the ratio and the memory."""
    with folder() as workspace:
        project, copy = workspace / "projects" / "many", workspace / "copy"
        build(project)

        def pit() -> float:
            taken = seconds(lambda: snapshot.take(project, copy, (), workspace))
            shutil.rmtree(copy)
            return taken

        def cp() -> float:
            taken = seconds(lambda: run(["cp", "-r", str(project), str(copy)], workspace))
            shutil.rmtree(copy)
            return taken

        before = peak_memory()
        found = medians({"pit": pit, "cp -r": cp}, 7)
        added = peak_memory() - before
    ratio = found["pit"] / found["cp -r"]
    figures = ", ".join(f"{name} {value:.2f} s" for name, value in found.items())
    report(
        f"snapshot of {FILES:,} files, ≤ {BUDGET} × cp -r", ratio, BUDGET, f"{ratio:.2f}: {figures}"
    )
    report("memory that snapshots add, ≤ 20 MB", added, 20, f"{added:.1f} MB")


if __name__ == "__main__":
    main()
