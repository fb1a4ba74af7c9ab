"""Private files and folders, and the removal of stubborn ones."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pit.errors import DiskFull, SetupError
from pit.fs.files import close_to_others, create_file, failure, make_folder, remove_tree, usage
from tests.state.store.disks import public_folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_folders_and_files_are_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_folder(tmp_path / "a" / "b")
        assert create_file(tmp_path / "a" / "b" / "file")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700
    assert mode(tmp_path / "a" / "b" / "file") == 0o600


def test_a_folder_that_exists_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    make_folder(tmp_path / "open" / "inner")
    assert mode(tmp_path / "open") == 0o755


def test_a_file_is_created_once(tmp_path: Path) -> None:
    assert create_file(tmp_path / "file")
    assert not create_file(tmp_path / "file")


def test_a_file_open_to_others_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    path.chmod(0o644)
    close_to_others(path)
    assert mode(path) == 0o600
    close_to_others(tmp_path / "missing")


def test_system_errors_become_sentences() -> None:
    full = failure(OSError(errno.ENOSPC, "No space left on device"), "cannot copy a.csv")
    assert isinstance(full, DiskFull)
    assert str(full) == "cannot copy a.csv: the disk is full"
    quota = failure(OSError(errno.EDQUOT, "Disk quota exceeded"), "cannot copy a.csv")
    assert isinstance(quota, DiskFull)
    other = failure(OSError(errno.EACCES, "Permission denied"), "cannot copy a.csv", "Do it")
    assert isinstance(other, SetupError)
    assert (str(other), other.hint) == ("cannot copy a.csv: permission denied", "Do it")


def test_links_are_removed_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "data.csv").write_text("1")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "folder").symlink_to(tmp_path / "live")
    (tree / "file").symlink_to(tmp_path / "live" / "data.csv")
    (tree / "dangling").symlink_to("nowhere")
    os.mkfifo(tree / "fifo")
    remove_tree(tree)
    assert not tree.exists()
    assert (tmp_path / "live" / "data.csv").read_text() == "1"


def test_a_link_to_a_folder_is_unlinked_itself(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "data.csv").write_text("1")
    (tmp_path / "link").symlink_to("live")
    remove_tree(tmp_path / "link")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "live" / "data.csv").exists()


def test_what_is_missing_already_is_fine(tmp_path: Path) -> None:
    remove_tree(tmp_path / "missing")


def test_deep_trees_go_too(tmp_path: Path) -> None:
    deep = str(tmp_path / "tree")
    for _ in range(1200):
        os.mkdir(deep)
        deep += "/d"
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


REMOVE_AS_NOBODY = """
import os, sys
from pathlib import Path
from pit.fs.files import make_folder, remove_tree
root = Path(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
tree = root / "tree"
for name in ("readonly", "closed", "readonly/inner"):
    make_folder(tree / name)
    (tree / name / "file").write_text("x")
for name in ("readonly/inner", "readonly", "closed"):
    (tree / name).chmod(0o000 if name == "closed" else 0o555)
try:
    os.listdir(tree / "closed")
except PermissionError:
    pass
else:
    sys.exit("this user may do everything: nothing was tested")
remove_tree(tree)
sys.exit(tree.exists())
"""


def test_read_only_and_closed_folders_are_removed() -> None:
    with public_folder() as folder:
        subprocess.run([sys.executable, "-c", REMOVE_AS_NOBODY, str(folder)], check=True)


def test_usage_counts_blocks_of_the_whole_tree(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with (tmp_path / "a" / "b" / "big").open("wb") as file:
        file.write(os.urandom(100_000))
        file.flush()
        # Blocks are counted once they are on the disk.
        os.fsync(file.fileno())
    assert 100_000 <= usage(tmp_path / "a") < 200_000
    assert usage(tmp_path / "missing") == 0
