"""The frozen copy of a project of 10,000 small files against `cp -r` to the same disk.

Three cases, beside `cp -r` in turn: the first time; nothing has changed since the last run, which
has left its snapshot as a base; one file has. Budgets: 1.1 × and 0.1 × `cp -r`; the memory that
the copy adds stays under 20 MB.
"""

from __future__ import annotations

import os
import resource
import shutil
import time
from pathlib import Path

from measure import folder, medians, report, rounds, run, seconds

from pit.project import manifest
from pit.project.snapshot import snapshot
from pit.project.snapshot.base import Base
from pit.project.snapshot.snapshot import Snapshot

FIRST, AGAIN = 1.1, 0.1
FILES = 10_000
PER_FOLDER = 100


def build(project: Path) -> None:
    """A project of 10,000 files of one to four kilobytes in 100 folders."""
    for number in range(FILES // PER_FOLDER):
        (project / f"part{number:03}").mkdir(parents=True)
        for file in range(PER_FOLDER):
            content = b"x" * (1024 + 31 * file)
            (project / f"part{number:03}" / f"file{file:03}.txt").write_bytes(content)


class Warm:
    """A project whose last snapshot is the base of the next, as between two runs."""

    def __init__(self, workspace: Path, project: Path) -> None:
        self.project, self.workspace = project, workspace
        self.place, self.manifest = workspace / "warm", workspace / "manifest"
        self._keep(snapshot.take(project, self.place, (), workspace))

    def _keep(self, taken: Snapshot) -> None:
        assert taken.manifest is not None
        manifest.write(taken.manifest, self.manifest)
        self.began = time.time_ns()

    def take(self) -> None:
        """All that a run does: read the manifest, bring the base up to date, write the new one."""
        left = manifest.read(self.manifest)
        assert left is not None
        base = Base(left, self.began, self.place.parent.stat())
        self._keep(snapshot.take(self.project, self.place, (), self.workspace, base=base))

    def edit(self) -> None:
        """Another content for one file."""
        place = self.project / "part042" / "file042.txt"
        place.write_bytes(os.urandom(2000))
        time.sleep(0.2)


def peak_memory() -> float:
    """The highest resident size of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the ratios and the memory."""
    with folder() as workspace:
        project, copy = workspace / "projects" / "many", workspace / "copy"
        build(project)

        def first() -> float:
            taken = seconds(lambda: snapshot.take(project, copy, (), workspace))
            shutil.rmtree(copy)
            return taken

        def cp() -> float:
            taken = seconds(lambda: run(["cp", "-r", str(project), str(copy)], workspace))
            shutil.rmtree(copy)
            return taken

        before = peak_memory()
        first()
        added = peak_memory() - before
        warm = Warm(workspace, project)

        def changed() -> float:
            warm.edit()
            return seconds(warm.take)

        peers = {
            "cp -r": cp,
            "unchanged": lambda: seconds(warm.take),
            "first": first,  # neither copy right after the other's files were removed
            "one changed": changed,
        }
        found = medians(peers, rounds(7))
    for case, budget in (("first", FIRST), ("unchanged", AGAIN), ("one changed", AGAIN)):
        ratio = found[case] / found["cp -r"]
        figures = f"{ratio:.3f}: {found[case]:.3f} s, cp -r {found['cp -r']:.3f} s"
        report(f"snapshot, {FILES:,} files, {case}, ≤ {budget} × cp -r", ratio, budget, figures)
    report("memory that a snapshot adds, ≤ 20 MB", added, 20, f"{added:.1f} MB")


if __name__ == "__main__":
    main()
