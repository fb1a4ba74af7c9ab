"""A release of Pit that compares more than the one before says so before it runs anything."""

from __future__ import annotations

from msgspec.structs import replace

from pit.engine.staleness import comparison
from pit.state.store.store import Store
from tests.builder import Pit
from tests.engine.staleness.test_incremental import TWO, ran


def aged(pit: Pit) -> Pit:
    """A project of two tracked tasks that an earlier release of Pit has run."""
    pit.project("m").toml(TWO).file("data/x.csv", "a\n")
    pit.file("clean.sh", "cp data/x.csv out/clean.csv").file("report.sh", "date > out/report.txt")
    pit.run("run", "m").ok()
    with Store.open(pit.root / "pit_metadata.db") as store:
        old = [
            replace(record, fingerprint=replace(record.fingerprint, version=comparison.VERSION - 1))
            for record in store.records.of_dag("m")
        ]
        assert store.records.renew(old) == 2
    return pit


def test_it_is_said_once_and_first(pit: Pit) -> None:
    events = aged(pit).run("run", "m", "--json").ok().events
    told = [n for n, event in enumerate(events) if "compares more" in event.get("message", "")]
    begun = [n for n, event in enumerate(events) if event["event"] == "attempt_started"]
    assert len(told) == 1
    assert told[0] < begun[0]
    assert len(begun) == 2
    assert "2 tasks are stale by that" in events[told[0]]["message"]
    assert "pit accept m/'*'" in events[told[0]]["hint"]
    later = pit.run("run", "m", "--json").ok().events
    assert not any("compares more" in event.get("message", "") for event in later)


def test_only_of_what_is_selected(pit: Pit) -> None:
    events = aged(pit).run("run", "m/clean", "--json").ok().events
    assert [e["message"] for e in events if "1 task is stale by that" in e.get("message", "")]


def test_a_plan_says_it_and_what_is_accepted_is_current(pit: Pit) -> None:
    said = aged(pit).run("plan", "m").ok().out
    assert "compares more than the one that recorded them: 2 tasks are stale by that" in said
    assert "2 tasks are stale by that" in pit.run("status", "m").ok().err
    pit.run("accept", "m/*", "-m", "new Pit").ok()
    assert "compares more" not in pit.run("status", "m").ok().err
    assert "compares more" not in pit.run("plan", "m").ok().out
    assert ran(pit) == set()


def test_whoever_forces_a_run_need_not_hear_it(pit: Pit) -> None:
    assert "compares more" not in aged(pit).run("run", "m", "--force").ok().err
