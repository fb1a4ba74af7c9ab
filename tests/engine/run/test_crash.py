"""Law 4: kill -9 at random instants, many times; the next command finds a consistent workspace."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.builder import Pit

KILLS = int(os.environ.get("PIT_TEST_KILLS", "20"))

TOML = """
[[tasks]]
name = "make"
script = "make.sh"
targets = ["out/a.txt", "site/"]
[[tasks]]
name = "use"
script = "use.sh"
depends_on = ["make"]
[[tasks]]
name = "fork"
script = "fork.sh"
""" + "".join(
    f'[[tasks]]\nname = "t{n}"\nscript = "t.sh"\ndepends_on = ["fork"]\n' for n in range(10)
)


def workspace(root: Path) -> Pit:
    pit = Pit(root)
    pit.project("crash").toml(TOML)
    pit.file("make.sh", 'echo "$PIT_RUN_ID" > out/a.txt; mkdir -p site/x; cp out/a.txt site/x/b\n')
    pit.file("use.sh", "cat out/a.txt; sleep 0.05")
    pit.file("fork.sh", "setsid sleep 68.731 & sleep 0.05")
    return pit.file("t.sh", "sleep 0.02; echo done")


def check(pit: Pit) -> None:
    """What must hold after any crash, once the next command has run."""
    with closing(sqlite3.connect(pit.root / "pit_metadata.db")) as store:
        assert store.execute("pragma integrity_check").fetchall() == [("ok",)]
        open_rows = store.execute(
            "select id from runs where state = 'running'"
            " union select task from tasks where state in ('running', 'pending')"
        ).fetchall()
        assert open_rows == []
        started = store.execute(
            "select t.run from tasks t join tasks f on f.run = t.run and f.task = 'fork'"
            " where t.task like 't_' and t.started_at is not null and f.state != 'success'"
        ).fetchall()
        assert started == [], "a task ran on a result that the crash took away"
        succeeded = {
            str(row[0])
            for row in store.execute(
                "select r.id from tasks t join runs r on r.seq = t.run where t.task = 'make'"
            )
        }
    project = pit.root / "projects" / "crash"
    for target in (project / "out/a.txt", project / "site/x/b"):
        if target.parent.exists():
            assert target.read_text().strip() in succeeded, "a target is whole, from one run"
    assert list(pit.marked("sleep\x0068.731")) == []


@pytest.mark.timeout(180 + 5 * KILLS)
def test_kills_at_random_instants(tmp_path: Path) -> None:
    pit = workspace(tmp_path)
    begun = time.monotonic()
    pit.run("run", "crash").ok()
    whole = time.monotonic() - begun
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    for number in range(KILLS):
        process = pit.start("run", "crash", "--grace", "100ms")
        time.sleep(chance.uniform(0.0, 1.1 * whole))
        process.kill()
        process.communicate()
        if number % 4 == 3:
            pit.run("run", "crash").ok()
            check(pit)
    result = pit.run("run", "crash").ok()
    assert result.code == 0, f"seed {seed}"
    check(pit)
