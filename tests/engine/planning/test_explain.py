"""Changes in words: what a tired person reads."""

from __future__ import annotations

import json

import pytest

from pit.engine.planning import explain
from pit.engine.staleness import earlier
from pit.engine.staleness.comparison import Change, Kind
from pit.engine.staleness.planner import Action, Decision
from pit.model import Fingerprint, TaskRecord

WAS = "3f2a91bc 120000"
NOW = "9c1d22aa 121000"


def record(note: str = "", **facts: str) -> TaskRecord:
    """A record of a task that took two seconds."""
    return TaskRecord(
        dag="sales",
        task="load",
        params="",
        run="20260131_060000.000_sales",
        at=0.0,
        seconds=2.0,
        fingerprint=Fingerprint(version=1, **facts),  # type: ignore[arg-type]
        note=note,
    )


def decided(*changes: Change, was: TaskRecord | None = None, **facts: str) -> Decision:
    """A verdict with these changes."""
    now = Fingerprint(version=1, **facts)  # type: ignore[arg-type]
    action = Action.RUN if changes else Action.SKIP
    return Decision(task="a", action=action, changes=changes, record=was, fingerprint=now)


def lock(**versions: str) -> bytes:
    """A uv.lock with these packages."""
    tables = (f'[[package]]\nname = "{n}"\nversion = "{v}"\n' for n, v in versions.items())
    return "".join(["version = 1\n", *tables]).encode()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (Change(kind=Kind.INPUT, subject="a.csv", now=NOW), "a.csv is new"),
        (Change(kind=Kind.INPUT, subject="a.csv", was=WAS), "a.csv is gone"),
        (
            Change(kind=Kind.INPUT, subject="a.csv", was=WAS, now=NOW),
            "a.csv changed (was 3f2a91bc, 120.0 kB; now 9c1d22aa, 121.0 kB)",
        ),
        (
            Change(kind=Kind.UPSTREAM, subject="a.csv", was=WAS, now=NOW, maker="extract"),
            "a.csv, made by extract, changed (was 3f2a91bc, 120.0 kB; now 9c1d22aa, 121.0 kB)",
        ),
        (Change(kind=Kind.SOURCE, subject="load.sql", was="aa", now="bb"), "load.sql changed"),
        (
            Change(kind=Kind.PRODUCT, subject="out.csv", was=WAS, now=NOW),
            "its target out.csv is not what it made "
            "(was 3f2a91bc, 120.0 kB; now 9c1d22aa, 121.0 kB)",
        ),
        (Change(kind=Kind.PRODUCT, subject="out.csv", was=WAS), "its target out.csv is gone"),
        (Change(kind=Kind.SUCCESS, subject="extract", was="a", now="b"), "extract ran"),
        (Change(kind=Kind.SUCCESS, subject="extract"), "extract would run"),
        (Change(kind=Kind.ENVIRONMENT, was="a", now="b"), "its Python environment changed"),
        (
            Change(kind=Kind.ENVIRONMENT, was="a"),
            "its Python environment has not been built yet",
        ),
        (Change(kind=Kind.NO_RECORD), "no success of it is on record"),
        (Change(kind=Kind.NO_RECORD, subject=earlier.FIRST), "first run"),
        (Change(kind=Kind.NO_RECORD, subject=earlier.FAILED), "it failed the last time"),
        (Change(kind=Kind.NO_RECORD, subject=earlier.FORGOTTEN), "its record was dropped"),
        (Change(kind=Kind.NO_RECORD, subject="timeout"), "it timed out the last time"),
        (Change(kind=Kind.UNTRACKED), "it declares no inputs, so it always runs"),
    ],
)
def test_a_change_in_words(change: Change, sentence: str) -> None:
    assert explain.sentence(change) == sentence


@pytest.mark.parametrize(
    ("key", "was", "now", "sentence"),
    [
        ("runner", "bash", "$ node", 'runner changed (was "bash"; now "$ node")'),
        ("connection", None, "db", 'connection changed (was absent; now "db")'),
        ("inputs", ["a", "b"], ["b", "c"], 'inputs: "c" added, "a" removed'),
        (
            "env",
            {"A": "1", "B": "2"},
            {"A": "1", "B": "3", "C": "4"},
            'env B changed (was "2"; now "3"), env C changed (was absent; now "4")',
        ),
        ("params", {"date": "a"}, None, 'params date changed (was "a"; now absent)'),
    ],
)
def test_a_key_of_pit_toml_in_words(key: str, was: object, now: object, sentence: str) -> None:
    before, after = ("" if value is None else json.dumps(value) for value in (was, now))
    change = Change(kind=Kind.DEFINITION, subject=key, was=before, now=after)
    assert explain.sentence(change) == f"pit.toml: {sentence}"


def test_every_kind_has_its_words_and_its_place() -> None:
    for kind in Kind:
        assert explain.sentence(Change(kind=kind, subject="x", was="a 1", now="b 2"))
    found = [Change(kind=kind, subject=kind, was="a", now="b") for kind in Kind]
    assert len(explain.ordered(found)) == len(Kind)


def test_what_somebody_did_comes_first_and_nothing_twice() -> None:
    found = explain.ordered(
        [
            Change(kind=Kind.INPUT, subject="out/a.csv", was=WAS, now=NOW),
            Change(kind=Kind.UPSTREAM, subject="out/a.csv", was=WAS, now=NOW, maker="a"),
            Change(kind=Kind.SOURCE, subject="load.sql", was="x", now="y"),
        ]
    )
    assert [change.kind for change in found] == [Kind.SOURCE, Kind.UPSTREAM]


def test_modules_are_not_called_gone_while_there_is_no_environment() -> None:
    found = explain.ordered(
        [
            Change(kind=Kind.SOURCE, subject="src/m.py", was="x"),
            Change(kind=Kind.ENVIRONMENT, was="x"),
        ]
    )
    assert [change.kind for change in found] == [Kind.ENVIRONMENT]


def test_the_packages_that_changed_are_named() -> None:
    old = lock(pandas="2.2.3", numpy="1.26", six="1.16")
    new = lock(pandas="2.3.0", numpy="1.26", tz="1")
    moved = ["pandas 2.2.3 → 2.3.0", "six 1.16 removed", "tz 1 added"]
    assert explain.packages(old, new) == moved
    texts = {"old": old, "new": new}
    found = decided(
        Change(kind=Kind.ENVIRONMENT, was="a", now="b"),
        was=record(packages="old"),
        packages="new",
    )
    assert explain.decision(found, texts.get) == f"uv.lock: {', '.join(moved)}"
    assert explain.decision(found) == "its Python environment changed"


@pytest.mark.parametrize("text", [b"\xff", b"not toml", b"package = 1", b'package = ["a"]'])
def test_a_strange_lock_file_tells_nothing(text: bytes) -> None:
    assert explain.packages(text, text + b" ") == []


def test_a_verdict_names_three_reasons_and_counts_the_others() -> None:
    gone = [Change(kind=Kind.INPUT, subject=f"{n}.csv", was=WAS) for n in range(5)]
    told = explain.decision(decided(*gone, was=record()))
    assert told == "0.csv is gone; 1.csv is gone; 2.csv is gone; and 2 more"


def test_the_parameters_without_a_record_are_named() -> None:
    for became, told in {
        "": "no success with date=2026-01-31 is on record",
        earlier.FIRST: "first run with date=2026-01-31",
    }.items():
        found = Decision(
            task="a",
            action=Action.RUN,
            changes=(Change(kind=Kind.NO_RECORD, subject=became),),
            record=None,
            fingerprint=Fingerprint(version=1, definition={"params": '{"date": "2026-01-31"}'}),
        )
        assert explain.decision(found) == told


def test_since_when_it_is_current() -> None:
    assert explain.decision(decided(was=record())) == f"current since run {record().run}"
    assert explain.decision(decided(was=record("same"))) == "accepted: same"
