"""What tasks hand on beside targets: values, and files in the data folder, also when skipped."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pit.state.store.store import Store
from tests.builder import Pit
from tests.engine.run.test_run import rows
from tests.engine.staleness.test_incremental import ran

TOML = """
[[tasks]]
name = "make"
script = "make.sh"
inputs = ["in.txt"]
targets = ["o.txt"]
[[tasks]]
name = "use"
script = "use.sh"
inputs = ["other.txt"]
depends_on = ["make"]
"""


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks find `pit`, as they do where it is installed."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")


@pytest.fixture
def made(pit: Pit) -> Pit:
    """A task that makes a target, sets a value and saves a file; another that uses all three."""
    pit.project("m").toml(TOML).file("in.txt", "a\n").file("other.txt", "1\n")
    pit.file(
        "make.sh",
        "set -e\nhead -1 in.txt > o.txt\n"
        "mkdir -p $PIT_DATA_DIR/sub\ncp in.txt $PIT_DATA_DIR/sub/f.txt\n"
        "pit sdk saved file=sub/f.txt\n"
        "pit sdk set_value name=lines value=$(wc -l < in.txt)\n",
    )
    pit.file(
        "use.sh",
        "set -e\ncat o.txt $PIT_DATA_DIR/sub/f.txt > $PIT_WORKSPACE/used\n"
        "pit sdk get_value name=lines >> $PIT_WORKSPACE/used\n",
    )
    assert ran(pit) == {"make", "use"}
    return pit


def used(pit: Pit) -> list[str]:
    return (pit.root / "used").read_text().split()


def test_a_skipped_task_hands_on_what_it_made(made: Pit) -> None:
    assert used(made) == ["a", "a", "1"]
    assert ran(made) == set()
    made.file("other.txt", "2\n")
    (made.root / "used").unlink()
    assert ran(made) == {"use"}
    assert used(made) == ["a", "a", "1"]
    assert ran(made) == set()


def test_a_changed_value_or_file_reaches_who_depends_on_it(made: Pit) -> None:
    made.file("in.txt", "a\nb\n")  # the target stays the same
    events = made.run("run", "m", "--json").ok().events
    why = {e["task"]: e["why"] for e in events if e["event"] == "task_ended"}
    assert used(made) == ["a", "a", "b", "2"]
    assert "data:sub/f.txt" in why["use"]
    assert "value:lines" in why["use"]


def test_what_is_gone_is_made_anew(made: Pit) -> None:
    shutil.rmtree(made.runs()[0] / "data")
    assert ran(made) == {"make"}, "the same again, so whoever uses it is current"
    with closing(sqlite3.connect(made.root / "pit_metadata.db")) as store, store:
        store.execute("DELETE FROM task_values")
    assert ran(made) == {"make"}
    (made.runs()[-1] / "data/sub/f.txt").write_text("spoilt\n")
    assert ran(made) == {"make"}


def test_retention_keeps_what_a_record_hands_on(made: Pit) -> None:
    made.toml(f"[dag]\nkeep_artifacts = []\n{TOML}")
    made.run("run", "m", "--force").ok()
    assert (made.runs()[-1] / "data/sub/f.txt").is_file()
    assert ran(made) == set()


def test_a_selection_gets_what_its_upstream_made(made: Pit) -> None:
    (made.root / "used").unlink()
    made.run("run", "m/use", "--force").ok()
    assert used(made) == ["a", "a", "1"]


def test_what_is_accepted_counts_what_it_was_handed(made: Pit) -> None:
    made.file("other.txt", "2\n")
    made.run("accept", "m/use", "-m", "no matter").ok()
    assert ran(made) == set()
    assert ran(made, "m/use") == set()


def test_a_retry_leaves_what_records_hand_on(made: Pit) -> None:
    made.file("in.txt", "c\n").file("use.sh", "exit 1\n")
    made.run("run", "m").fails(1)
    made.run("retry", "m", "--code", "old").fails(1)
    made.file("use.sh", "cat $PIT_DATA_DIR/sub/f.txt > $PIT_WORKSPACE/used\n")
    assert ran(made) == {"use"}
    assert used(made) == ["c"]


TWO = """
[[tasks]]
name = "one"
script = "one.sh"
inputs = ["one.txt"]
[[tasks]]
name = "two"
script = "two.sh"
inputs = ["two.txt"]
depends_on = ["one"]
[[tasks]]
name = "use"
script = "use.sh"
inputs = ["three.txt"]
depends_on = ["one", "two"]
"""


def test_a_file_that_two_tasks_save_is_not_taken_for_what_it_is_not(pit: Pit) -> None:
    pit.project("m").toml(TWO).file("one.txt", "1").file("two.txt", "1").file("three.txt", "1")
    for name in ("one", "two"):
        pit.file(
            f"{name}.sh",
            f"set -e\necho {name} $(cat {name}.txt) > $PIT_DATA_DIR/f\npit sdk saved file=f\n",
        )
    pit.file("use.sh", "cat $PIT_DATA_DIR/f > $PIT_WORKSPACE/used\n")
    assert ran(pit) == {"one", "two", "use"}
    assert used(pit) == ["two", "1"]
    pit.file("two.txt", "2")
    assert "two" in ran(pit)
    assert used(pit) == ["two", "2"]
    assert "use" in ran(pit), "it is never recorded as having read what one has saved"


def test_what_a_retry_takes_over_is_what_its_records_say(made: Pit) -> None:
    made.file("in.txt", "c\n")
    made.file("use.sh", "echo spoilt > $PIT_DATA_DIR/sub/f.txt\nexit 1\n")
    made.run("run", "m").fails(1)
    made.file("use.sh", "cat $PIT_DATA_DIR/sub/f.txt > $PIT_WORKSPACE/used\n")
    spoilt = "make: sub/f.txt, which it saved, was changed since run"
    made.run("retry", "m", "--code", "new").fails(1, spoilt, "run it again: pit run m")
    assert ran(made) == {"make", "use"}
    assert used(made) == ["c"]


def test_what_a_plain_task_sets_counts_too(pit: Pit) -> None:
    pit.project("m").toml(
        '[[tasks]]\nname = "plain"\nscript = "plain.sh"\ntargets = ["o.txt"]\n'
        '[[tasks]]\nname = "use"\nscript = "use.sh"\ninputs = []\ndepends_on = ["plain"]\n'
    )
    pit.file("n", "1").file("plain.sh", "touch o.txt; pit sdk set_value name=n value=$(cat n)\n")
    pit.file("use.sh", "pit sdk get_value name=n\n")
    assert ran(pit) == {"plain", "use"}
    assert ran(pit) == {"plain"}
    assert ran(pit, "m/use") == set()
    pit.file("n", "2")
    assert ran(pit) == {"plain", "use"}


def test_another_database_behind_a_secret_is_noticed(pit: Pit) -> None:
    pit.project("m").toml(
        '[[tasks]]\nname = "a"\nscript = "a.sh"\ninputs = []\nsecrets = ["w", "token"]\n'
    ).file("a.sh", "true\n")
    secrets = pit.root / "s.toml"
    pit.file("../../pit_config.toml", 'secrets_dir = "s.toml"\n')

    def write(database: str, token: str) -> None:
        secrets.write_text(f'[global]\nw = "{database}"\ntoken = "{token}"\n')
        secrets.chmod(0o600)

    write("postgres://u:geheim@db.example.com/sales", "tkn-one-secret")
    assert ran(pit) == {"a"}
    write("postgres://u:another@db.example.com/sales", "tkn-two-secret")
    assert ran(pit) == set(), "a password says nothing of what is read, nor does a token"
    write("postgres://u:another@db.example.com/other", "tkn-two-secret")
    assert ran(pit) == {"a"}
    (why,) = rows(pit, "select why from tasks order by run desc limit 1")
    assert "the database w is a different one" in why[0]
    with Store.open(pit.root / "pit_metadata.db") as store:
        (record,) = store.records.of_dag("m")
    assert record.fingerprint.databases == {"w": "postgres db.example.com:5432/other u"}
