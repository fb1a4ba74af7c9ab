"""Places for tests that `tmp_path` is not: small disks of their own, folders open to all."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def mount(folder: Path, *options: str) -> None:
    """Runs mount; the test is skipped where that is forbidden."""
    if sys.platform != "linux":
        pytest.skip("needs Linux to mount a small disk")
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs the right to mount a small disk: {done.stderr.strip()}")


@contextmanager
def small_disk(megabytes: int, files: int = 0) -> Iterator[Path]:
    """A file system in memory of that size, for that many files (0: any number).

    Not below `tmp_path`: pytest could not clean up a mount that a killed test run left there.
    """
    folder = Path(tempfile.mkdtemp(prefix="pit-disk-"))
    try:
        mount(folder, "-t", "tmpfs", "-o", f"size={megabytes}m,nr_inodes={files},mode=0755", "none")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    finally:
        folder.rmdir()


def make_read_only(folder: Path) -> None:
    """Turns a mounted small disk read-only."""
    mount(folder, "-o", "remount,ro")


def fill(folder: Path, leave: int = 0) -> Path:
    """Fills a disk but for `leave` bytes; returns the file to delete for room."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        size = 1 << 20
        while size >= 512:
            try:
                while True:
                    if file.write(bytes(size)) < size:
                        break
            except OSError:
                pass
            size //= 2
        if leave:
            file.truncate(max(0, file.tell() - leave))
    return path


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that every user can reach and write to, which `tmp_path` is not."""
    with tempfile.TemporaryDirectory(prefix="pit-public-") as folder:
        path = Path(folder)
        path.chmod(0o777)
        yield path
