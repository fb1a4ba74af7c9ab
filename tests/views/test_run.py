"""One run as there is to see of it: what its events come to is what the store has of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pit.errors import UnknownRun
from pit.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    Fact,
    Progressed,
    RunEnded,
    SetupStep,
    Signal,
    TaskEnded,
    Waits,
    Warned,
)
from pit.model import Reason, RunState, TaskState
from pit.order import Outcome
from pit.state.store.recording import WRITERS
from pit.state.store.store import Store
from pit.views.run import Active, RunView, Wait
from tests.builder import Pit
from tests.state.story import EPOCH, run_id, started

RUN = run_id(1)
TEXTS = st.one_of(
    st.sampled_from(["", "late", "half of a character \udcff", "x" * 20_001]), st.text(max_size=9)
)
REASONS = st.sampled_from([None, *Reason])
SECONDS = st.floats(0, 1e6)


class Story:
    """The facts of one run, in an order in which a run may tell them."""

    def __init__(self, draw: Callable[[st.SearchStrategy[object]], object]) -> None:
        self._draw = draw
        self.at = EPOCH

    def draw(self, strategy: st.SearchStrategy[object]) -> object:
        """Any value."""
        return self._draw(strategy)

    def any(self, kind: type[Event], **given: object) -> Event:
        """An event of a kind; what is not given may be anything."""
        self.at += self.draw(st.floats(0, 9))  # type: ignore[operator]
        return kind(run=RUN, at=self.at, **given)  # type: ignore[arg-type]

    def told(self) -> Iterator[Event]:
        """The facts: tasks take turns, and any of them may be cut short by the end of the run."""
        names = [f"t{n}" for n in range(self.draw(st.integers(0, 3)))]  # type: ignore[arg-type]
        yield started(
            RUN,
            tasks=tuple(names),
            selection=self.draw(st.sampled_from([None, "t0"])),
            whole=self.draw(st.booleans()),
            params={"day": self.draw(TEXTS)},
            parent=self.draw(st.sampled_from([None, run_id(0)])),
        )
        lives = [self.task(name) for name in names] + [self.remarks()]
        for _ in range(self.draw(st.integers(0, 40))):  # type: ignore[arg-type]
            if lives:
                life = self.draw(st.sampled_from(lives))
                event = next(life, None)  # type: ignore[call-overload]
                if event is None:
                    lives.remove(life)  # type: ignore[arg-type]
                else:
                    yield event
        if self.draw(st.booleans()):
            yield self.any(
                RunEnded,
                state=self.draw(st.sampled_from([*RunState])),
                reason=self.draw(REASONS),
                error=self.draw(TEXTS),
                seconds=self.draw(SECONDS),
                stub=self.draw(st.booleans()),
                complete_at=self.draw(st.none() | SECONDS),
            )

    def remarks(self) -> Iterator[Event]:
        """What a run says by the way."""
        for _ in range(3):
            task = self.draw(st.sampled_from(["", "t0"]))
            yield self.any(Warned, message=self.draw(TEXTS), hint=self.draw(TEXTS), task=task)
            yield self.any(SetupStep, step="snapshot", message="3 files")

    def task(self, name: str) -> Iterator[Event]:
        """One task: it waits, it is tried, also for another's fault, and comes to an end."""
        number = 1
        for last in [False] * self.draw(st.integers(0, 3)) + [True]:  # type: ignore[operator]
            for _ in range(self.draw(st.integers(0, 2))):  # type: ignore[arg-type]
                yield self.any(Waits, task=name, why=self.draw(TEXTS))
            if last:
                break
            yield self.any(AttemptStarted, task=name, attempt=number, attempts=3)
            for _ in range(self.draw(st.integers(0, 2))):  # type: ignore[arg-type]
                yield self.progress(name, number)
            outcome = self.outcome()
            delay = self.draw(st.none() | SECONDS)
            yield self.any(AttemptEnded, task=name, attempt=number, outcome=outcome, retry_in=delay)
            number += not outcome.lost
        if self.draw(st.booleans()):
            yield self.any(
                TaskEnded,
                task=name,
                state=self.draw(st.sampled_from([*TaskState])),
                reason=self.draw(REASONS),
                error=self.draw(TEXTS),
                attempts=number - 1,
                started_at=self.draw(st.none() | SECONDS),
                seconds=self.draw(SECONDS),
                why=self.draw(TEXTS),
                made_by=self.draw(st.sampled_from(["", run_id(0)])),
                saved=self.draw(SECONDS),
            )

    def progress(self, name: str, number: int) -> Event:
        """How far it is."""
        total = self.draw(st.none() | SECONDS)
        done, message = self.draw(SECONDS), self.draw(TEXTS)
        return self.any(
            Progressed, task=name, attempt=number, done=done, total=total, message=message
        )

    def outcome(self) -> Outcome:
        """How an attempt ends."""
        fields = {
            "started_at": self.draw(SECONDS),
            "ended_at": self.draw(SECONDS),
            "seconds": self.draw(SECONDS),
            "reason": self.draw(REASONS),
            "error": self.draw(TEXTS),
            "exit_code": self.draw(st.none() | st.integers(0, 255)),
            "signal": self.draw(st.none() | st.integers(1, 31)),
            "cpu_seconds": self.draw(st.none() | SECONDS),
            "peak_memory": self.draw(st.none() | st.integers(0, 1 << 40)),
            "lost": self.draw(st.booleans()),
        }
        return Outcome(**fields)  # type: ignore[arg-type]


@st.composite
def stories(draw: Callable[[st.SearchStrategy[object]], object]) -> list[Event]:
    """What runs may tell."""
    return list(Story(draw).told())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store on the disk, of many runs."""
    with Store.open(tmp_path_factory.mktemp("store") / "pit.db") as made:
        yield made


NUMBERS = count(2)


def follow(
    store: Store, told: Sequence[Event], looks: Iterable[bool]
) -> Iterator[tuple[RunView, RunView]]:
    """The fold of what was told, as a run of its own, and its rows, wherever they are looked at."""
    name, view = run_id(next(NUMBERS)), RunView()
    for event, look in zip(told, looks, strict=True):
        event = msgspec.structs.replace(event, run=name)
        view.apply(event)
        if isinstance(event, Fact):
            store.emit(event)
        if look:
            store.barrier()
            yield view, RunView.of(store, name)


@given(told=stories())
@settings(max_examples=50, deadline=None)
def test_after_every_fact_the_fold_is_what_the_rows_say(store: Store, told: list[Event]) -> None:
    for fold, rows in follow(store, told, [True] * len(told)):
        assert fold == rows


@given(told=stories(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_however_facts_are_grouped_the_fold_is_what_the_rows_say(
    store: Store, told: list[Event], data: st.DataObject
) -> None:
    looks = [data.draw(st.integers(0, 3), "look") == 0 for _ in told[:-1]] + [True]
    for fold, rows in follow(store, told, looks):
        assert fold == rows


LOST = Outcome(started_at=1, ended_at=2, seconds=1, reason=Reason.SQL_ERROR, lost=True)


@pytest.mark.parametrize(
    "told",
    [
        (
            AttemptStarted(run=RUN, at=1, task="load", attempt=1, attempts=1),
            AttemptEnded(run=RUN, at=2, task="load", attempt=1, outcome=LOST, retry_in=0.0),
            AttemptStarted(run=RUN, at=3, task="load", attempt=1, attempts=1),
        ),
        (
            AttemptStarted(run=RUN, at=1, task="load", attempt=1, attempts=2),
            AttemptEnded(run=RUN, at=2, task="load", attempt=1, outcome=LOST, retry_in=5.0),
            Waits(run=RUN, at=3, task="load", why="run 2 is doing it"),
        ),
    ],
)
def test_what_comes_again_in_one_group_is_not_taken_for_what_came_before(
    store: Store, told: tuple[Event, ...]
) -> None:
    events = (started(RUN), *told)
    ((fold, rows),) = follow(store, events, [False] * len(told) + [True])
    assert fold == rows


# ---------------------------------------------------------------- facts and signals


def kinds(base: type[Event]) -> Iterator[type[Event]]:
    """The events of a base, from wherever they are."""
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_each_fact_has_a_writer_and_no_signal_has_one() -> None:
    assert set(kinds(Fact)) == WRITERS.keys()
    assert set(kinds(Event)) == {Fact, Signal, *kinds(Fact), *kinds(Signal)}


def test_the_view_says_what_goes_on() -> None:
    view = RunView()
    assert view.active() == Active([], [], [])
    first = Outcome(started_at=1, ended_at=2, seconds=1, reason=Reason.EXIT, error="exit code 3")
    for event in (
        started(RUN, tasks=("a", "b", "c", "d", "e")),
        AttemptStarted(run=RUN, at=2, task="b", attempt=1, attempts=1),
        AttemptStarted(run=RUN, at=1, task="a", attempt=1, attempts=2),
        Progressed(run=RUN, at=2, task="a", attempt=1, done=3, total=10, message="march"),
        Progressed(run=RUN, at=2, task="b", attempt=1, done=1),
        Waits(run=RUN, at=3, task="c", why="run 2 is doing it"),
        Waits(run=RUN, at=4, task="c", why="run 3 is doing it"),
        AttemptStarted(run=RUN, at=4, task="d", attempt=1, attempts=2),
        AttemptEnded(run=RUN, at=5, task="d", attempt=1, outcome=first, retry_in=30.0),
    ):
        view.apply(event)
    running, waiting, retrying = view.active()
    assert [each.task for each in running] == ["a", "b"]
    assert waiting == [Wait("c", 3, "run 3 is doing it")]
    assert [(each.task, each.retry_at, each.error) for each in retrying] == [
        ("d", 35, "exit code 3")
    ]
    assert [view.how_far(task) is None for task in "abcde"] == [False, False, True, True, True]
    again = AttemptStarted(run=RUN, at=6, task="a", attempt=2, attempts=2)
    view.apply(again)
    assert view.how_far("a") is None


def test_of_a_run_that_is_not_known_there_is_no_view(store: Store) -> None:
    with pytest.raises(UnknownRun):
        RunView.of(store, "20990101")


def test_a_warning_or_progress_of_a_run_that_is_not_known_harms_nothing(store: Store) -> None:
    store.emit(Warned(run="x", at=EPOCH, message="big snapshot"))
    store.emit(Progressed(run="x", at=EPOCH, task="load", attempt=1, done=1))
    store.barrier()


# ---------------------------------------------------------------- real runs

REAL = """
[dag]
concurrency = 2
[[tasks]]
name = "extract"
script = "extract.sh"
inputs = ["in.csv"]
targets = ["out.csv"]
[[tasks]]
name = "load"
script = "load.sh"
depends_on = ["extract"]
retries = 1
retry_delay = "50ms"
[[tasks]]
name = "mart"
script = "mart.sh"
depends_on = ["load"]
[[tasks]]
name = "mail"
script = "mail.sh"
"""
SCRIPTS = {
    "extract.sh": "cp in.csv out.csv",
    "load.sh": "pit sdk progress done=1 total=4 message=march; pit sdk log message=late; exit 3",
    "mart.sh": "true",
    "mail.sh": "pit sdk progress done=1; pit sdk set_value name=n value=1",
}


def told_by(pit: Pit, *words: str) -> list[Event]:
    """The events of `pit run --json`, each of which is of the kind that it was."""
    by_name = {kind.__struct_config__.tag: kind for kind in kinds(Event)}
    lines = [json.loads(line) for line in pit.run("run", *words, "--json").out.splitlines()]
    return [msgspec.convert(line, by_name[line["event"]]) for line in lines]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param((), id="a failure after another try"),
        pytest.param(("/mail",), id="one task"),
        pytest.param(("/load",), id="a warning"),
        pytest.param(("/extract",), id="a tracked task"),
    ],
)
def test_what_a_real_run_tells_is_what_it_leaves_in_the_store(
    pit: Pit, store: Store, words: tuple[str, ...]
) -> None:
    pit.project("sales").toml(REAL).file("in.csv", "1\n")
    for name, text in SCRIPTS.items():
        pit.file(name, text)
    for _ in range(2):  # the second time some are current
        told = told_by(pit, f"sales{''.join(words)}")
        with Store.open_readonly(pit.root / "pit_metadata.db") as left:
            rows = RunView.of(left, told[0].run)
        fold = RunView()
        for event in told:
            fold.apply(event)
        assert fold == rows
        for folded, kept in follow(store, told, [True] * len(told)):
            assert folded == kept
