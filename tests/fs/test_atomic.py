"""Files that are written whole, by several at once who cannot tell each other apart."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pit.engine.staleness import handed
from pit.fs import atomic
from pit.project.python import editable, interpreter
from pit.work import bundled

ROOT = Path(__file__).parents[2]
SIZE = 1 << 18


def _handed(path: Path, content: bytes) -> None:
    source = path.parent / f"source-{content[0]}"
    source.write_bytes(content)
    handed._copy(source, path)


def _editable(path: Path, content: bytes) -> None:
    editable._rewrite(path, [content[:-1].decode()])


WRITERS = {
    "atomic": atomic.write,
    "durable": lambda path, content: atomic.write(path, content, durable=True),
    "interpreter": interpreter.write_whole,
    "bundled": bundled._put,
    "handed": _handed,
    "editable": _editable,
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("name", ["file", "n" * 255], ids=["short", "as long as may be"])
def test_writers_of_one_process_number_do_not_share_what_they_write(
    tmp_path: Path, writer: Callable[[Path, bytes], None], name: str
) -> None:
    place = tmp_path / name
    contents = [bytes([letter]) * SIZE + b"\n" for letter in b"abcd"]
    troubles: list[BaseException] = []

    def write(content: bytes) -> None:
        try:
            for _ in range(20):
                writer(place, content)
                assert place.read_bytes() in contents
        except BaseException as error:
            troubles.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".pit-")] == []


def test_a_file_that_cannot_be_put_in_its_place_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "in it").touch()
    with pytest.raises(IsADirectoryError):
        atomic.write(tmp_path / "folder", b"content")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_file_is_private_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    atomic.write(tmp_path / "own", b"")
    atomic.write(tmp_path / "program", b"", mode=0o700)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"own": 0o600, "program": 0o700}


def test_no_temporary_file_is_named_for_a_process_number() -> None:
    named = re.compile(r"(with_name|join|/)\(?.*f[\"'].*getpid\(\)")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted((ROOT / "pit").rglob("*.py"))
        for line in path.read_text().splitlines()
        if named.search(line)
    ]
    assert found == []
