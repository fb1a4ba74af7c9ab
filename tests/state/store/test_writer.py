"""How the writer of a store commits for several threads at once."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pit.errors import StoreUnavailable
from pit.state.store.database import open_for_writing
from pit.state.store.reserve import Reserve
from pit.state.store.writer import Writer


class Crowd:
    """A writer whose first commit lasts until it is let go, and those who come meanwhile."""

    def __init__(self, path: Path) -> None:
        self.database = open_for_writing(path)
        self.writer = Writer(self.database, Reserve(path))
        self.commits: list[list[str]] = []
        self.errors: dict[str, Exception] = {}
        self._inside, self._go = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        self.database._connection.set_trace_callback(self._traced)

    def _traced(self, statement: str) -> None:
        if statement.startswith("BEGIN"):
            self.commits.append([])

    def note(self, name: str) -> None:
        self.commits[-1].append(name)

    def first(self) -> None:
        def then(connection: sqlite3.Connection) -> None:
            self.note("first")
            self._inside.set()
            assert self._go.wait(60)

        self._start("first", lambda: self.writer.flush(then))
        assert self._inside.wait(60)

    def come(self, name: str, error: str = "") -> None:
        def then(connection: sqlite3.Connection) -> None:
            self.note(name)
            if error:
                raise StoreUnavailable(error)

        asked = len(self.writer._asked)
        self._start(name, lambda: self.writer.flush(then))
        while len(self.writer._asked) == asked:
            time.sleep(0.001)

    def end(self) -> None:
        self._go.set()
        for thread in self._threads:
            thread.join(60)

    def _start(self, name: str, work: object) -> None:
        def run() -> None:
            try:
                work()  # type: ignore[operator]
            except StoreUnavailable as error:
                self.errors[name] = error

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    crowd = Crowd(tmp_path / "pit_metadata.db")
    with closing(crowd.database), closing(crowd.writer):
        yield crowd


def test_those_who_come_during_a_commit_share_the_next_one(crowd: Crowd) -> None:
    crowd.first()
    for number in range(8):
        crowd.come(f"t{number}")
    crowd.end()
    assert not crowd.errors
    assert [sorted(each) for each in crowd.commits] == [["first"], [f"t{n}" for n in range(8)]]


def test_where_a_commit_fails_nobody_who_shared_it_goes_on(crowd: Crowd) -> None:
    crowd.first()
    crowd.come("good")
    crowd.come("bad", error="no room for this")
    crowd.come("late")
    crowd.end()
    assert sorted(crowd.errors) == ["bad", "good", "late"]
    crowd.writer.flush(lambda connection: None)
