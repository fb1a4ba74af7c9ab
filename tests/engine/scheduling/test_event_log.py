"""Where the events of a run go: kept first, then told, and never with a secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pit.engine.scheduling.event_log import EventLog
from pit.errors import StoreUnavailable
from pit.events import AttemptStarted, Event, Progressed, SetupStep, TaskEnded, Warned
from pit.model import RunState, TaskState
from pit.state.store.store import Store
from pit.work.masking import Masks
from tests.state.story import EPOCH, ended, run_id, started

RUN = run_id(1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An open store."""
    with Store.open(tmp_path / "pit.db") as opened:
        yield opened


def same(event: Event) -> Event:
    """Hides nothing."""
    return event


def test_what_is_kept_and_what_is_told_are_masked_alike(store: Store) -> None:
    masks, heard = Masks(), list[Event]()
    masks.add({"token": "swordfish-4711"})
    log = EventLog(store, [heard.append], masks.hidden)
    log.emit(started(RUN))
    secret = "it is swordfish-4711"
    log.emit(Warned(run=RUN, at=EPOCH, message=secret, hint=secret))
    log.emit(Progressed(run=RUN, at=EPOCH, task="load", attempt=1, done=1, message=secret))
    log.barrier()
    (warning,) = store.runs.warnings(RUN)
    (progress,) = store.runs.progress(RUN)
    assert (warning.message, warning.hint, progress.message) == ("it is ***",) * 3
    assert [getattr(event, "message", "") for event in heard] == ["", "it is ***", "it is ***"]


def test_the_end_of_a_run_is_kept_before_it_is_told(store: Store) -> None:
    kept: list[RunState] = []
    log = EventLog(store, [lambda event: kept.append(store.runs.find(RUN).state)], same)
    log.emit(started(RUN))
    log.emit(ended(RUN))
    assert kept == [RunState.RUNNING, RunState.SUCCESS]


def test_nobody_hears_what_cannot_be_kept_but_signals_need_no_store(tmp_path: Path) -> None:
    Store.open(tmp_path / "pit.db").close()
    heard: list[Event] = []
    with Store.open_readonly(tmp_path / "pit.db") as store:
        log = EventLog(store, [heard.append], same)
        with pytest.raises(StoreUnavailable):
            log.emit(started(RUN))
        assert (heard, log.started) == ([], False)
        log.emit(SetupStep(run=RUN, at=EPOCH, step="snapshot", message="3 files"))
        assert (len(heard), log.started) == (1, False)


def test_who_hears_with_a_defect_hears_no_more_and_the_run_comes_to_its_end(store: Store) -> None:
    first: list[Event] = []
    heard: list[Event] = []

    def hear(event: Event) -> None:
        heard.append(event)
        raise ZeroDivisionError

    log = EventLog(store, [first.append, hear], same)
    with pytest.raises(ZeroDivisionError):
        log.emit(started(RUN))
    log.emit(ended(RUN))
    assert (len(first), len(heard)) == (2, 1)
    assert store.runs.find(RUN).state is RunState.SUCCESS


def test_it_knows_which_tasks_have_begun_and_ended(store: Store) -> None:
    log = EventLog(store, [], same)
    log.emit(started(RUN))
    log.emit(AttemptStarted(run=RUN, at=EPOCH, task="load", attempt=1, attempts=1))
    log.emit(TaskEnded(run=RUN, at=EPOCH, task="extract", state=TaskState.SKIPPED))
    assert (log.started, log.begun, log.ended) == (True, {"load"}, {"extract"})
