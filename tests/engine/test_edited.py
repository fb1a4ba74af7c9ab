"""The hint that a look is in vain: certain of what it says, silent where it cannot know."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pit.engine.edited import is_edited
from pit.model import Task
from pit.project.snapshot.digest import Digests
from pit.state.digests import Seen

TASK = Task(name="a", script="a.sh", inputs=("in.txt", "lib.py"), targets=("o.txt",))


@pytest.fixture
def known(tmp_path: Path) -> dict[str, Seen]:
    """The digest cache of a project in which all is as it was."""
    digests = Digests()
    for name in ("in.txt", "lib.py", "o.txt", "beside.txt"):
        (tmp_path / name).write_text(f"{name}\n")
    time.sleep(0.1)  # until the files are not young any more
    for name in ("in.txt", "lib.py", "o.txt", "beside.txt"):
        digests.of(str(tmp_path / name))
    found = {path: seen for path, seen in digests.changes().items() if seen is not None}
    assert len(found) == 4
    assert not is_edited([TASK], tmp_path, found)
    return found


@pytest.mark.parametrize("name", ["in.txt", "o.txt"])
@pytest.mark.parametrize("text", ["longer than before\n", "IN.TXT\n"])
def test_an_edited_input_or_target_is_told(
    tmp_path: Path, known: dict[str, Seen], name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    assert is_edited([TASK], tmp_path, known)


def test_a_touch_code_and_strangers_are_left_to_the_look(
    tmp_path: Path, known: dict[str, Seen]
) -> None:
    os.utime(tmp_path / "in.txt")
    (tmp_path / "lib.py").write_text("# a comment\n")
    (tmp_path / "beside.txt").write_text("of no task\n")
    (tmp_path / "o.txt").unlink()
    assert not is_edited([TASK], tmp_path, known)
