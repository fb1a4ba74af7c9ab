"""Pit against a model of itself: random pipelines, edits between and during runs, failures.

After each run exactly what was stale has run, and the project is what a build from scratch makes.
`PIT_TEST_CASES=2000 pytest tests/engine/test_model.py` tries more than the few dozen of a normal
run.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from pit.engine import seal, sealing
from pit.engine.look import Action, Look, Subject
from pit.engine.request import Request, Services
from pit.engine.run import execute
from pit.engine.select import prepared
from pit.events import AttemptStarted, Event, TaskEnded
from pit.spec import config as spec
from pit.state.store import Store
from pit.work import process
from tests.engine.foretold import Foretold, Outcome, Plan, first_sources, from_scratch, scan
from tests.engine.pipelines import ALL_KINDS, LIVE, SOURCES, Pipeline, Tree, pipelines

CASES = int(os.environ.get("PIT_TEST_CASES", "0"))
ADDED = ("s/missing", "s/e.x", "f/new", "big/w")
VERSION = "test"

Edit = tuple[str, int, int]
"""What is done to the project between two runs, to which thing, with which value."""


class Turn(NamedTuple):
    """Some edits, then a run: of everything, or of a task and what is above or below it."""

    edits: list[Edit]
    selection: str
    task: int
    mode: str
    force: bool
    trouble: str
    victim: int


EDITS = (
    *("write", "sly", "replace", "touch", "delete", "rename", "add"),
    *("hand", "sly hand", "drop", "touch target", "extra", "extra", "extra", "folder"),
    *("salt", "salt", "comment", "env", "timeout", "always", "rest"),
)
turns = st.builds(
    Turn,
    edits=st.lists(
        st.tuples(st.sampled_from(EDITS), st.integers(0, 9), st.integers(0, 9)), max_size=4
    ),
    selection=st.sampled_from(("all", "all", "all", "all", "one", "above", "below")),
    task=st.integers(0, 4),
    mode=st.sampled_from(("1", "1", "2")),
    force=st.sampled_from((False,) * 7 + (True,)),
    trouble=st.sampled_from(
        ("", "", "", "fail", "fail", "edit", "edit", "edit", "edit live", "edit target")
    ),
    victim=st.integers(0, 9),
)


class Bench:
    """A project under test, the store that knows it, and what is foretold of it."""

    def __init__(self, root: Path, pipeline: Pipeline, store: Store) -> None:
        self.root, self.pipeline, self.store = root, pipeline, store
        self.project = root / "projects" / "m"
        self.foretold = Foretold()
        self.seals: dict[tuple[str, str], Path] = {}
        self.undone: set[str] = set()
        for place, content in first_sources().items():
            self.put(place, content)
        pipeline.write(self.project)

    def put(self, place: str, content: str) -> None:
        """Write one file."""
        path = self.project / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    # ------------------------------------------------------------------ one turn

    def turn(self, turn: Turn) -> None:
        """The edits, the run, and all that must hold then."""
        for edit in turn.edits:
            self.edit(*edit)
        self.pipeline.write(self.project)
        before = scan(self.project)
        plan = self.plan(turn, before)
        self.control(plan)
        config = spec.load_workspace_config(self.root)
        dag = spec.discover_one(config, "m")
        selection = self.selection(turn)
        given = {"mode": plan.mode}
        sealed = self.sealed(dag, config, selection, given)
        decisions = self.decisions(dag, config, plan)
        due = self.foretold.run(self.pipeline, before, plan)
        seen: list[Event] = []
        request = Request(
            dag=dag, config=config, only=selection, given=given, force=plan.force, grace=1.0
        )
        execute(request, Services(history=self.store, sinks=(_Sink(seen.append),)))
        ran = {event.task for event in seen if isinstance(event, AttemptStarted)}
        why = {event.task: event.why for event in seen if isinstance(event, TaskEnded)}
        assert ran == due.ran, why
        assert scan(self.project) == due.tree
        assert not list(self.project.rglob(".pit-*"))
        if not plan.force:
            self.agree(decisions, sealed, due)
        self.check_from_scratch(plan, before, due)

    def agree(self, decisions: dict[str, Action], sealed: bool, due: Outcome) -> None:
        """Whoever only looked has seen the same as the run."""
        assert not (sealed and due.ran)
        skipped = {name for name, action in decisions.items() if action is Action.SKIP}
        sure = {name for name, action in decisions.items() if action is Action.RUN}
        assert not skipped & due.ran
        assert sure <= due.ran | due.failed | due.held_up

    def check_from_scratch(self, plan: Plan, before: Tree, due: Outcome) -> None:
        """A whole run without trouble leaves what a build from scratch makes."""
        whole = len(plan.chosen) == len(self.pipeline.steps)
        if whole and not due.failed and (plan.edit is None or not plan.edit[1].startswith(LIVE)):
            built = from_scratch(self.pipeline, before, plan.mode)
            assert {place: due.tree.get(place) for place in built} == built

    def sealed(self, dag: Any, config: Any, selection: str | None, given: dict[str, str]) -> bool:
        """Whether the short way says that there is nothing to do."""
        place = seal.place(config, "m", selection or "", given)
        if seal.unbroken(place, VERSION, self.store.mark("m")) is not None:
            return True
        began = time.time_ns()
        question = sealing.Question(
            dag=dag, config=config, selection=selection, given=given, version=VERSION, began=began
        )
        found = sealing.look(question, self.store, process.capture)
        if found is not None:
            seal.write(place, found)
        return found is not None

    def decisions(self, dag: Any, config: Any, plan: Plan) -> dict[str, Action]:
        """What a look says that a run would do."""
        params = {"mode": plan.mode}
        subject = Subject(dag=prepared(dag, params), config=config, params=params)
        found = Look(subject, self.store, process.capture).decisions(plan.chosen)
        return {decision.task: decision.action for decision in found}

    # ------------------------------------------------------------------ what a turn means

    def selection(self, turn: Turn) -> str | None:
        """The selection as it is typed."""
        name = self.name(turn.task)
        return {"all": None, "one": name, "above": f"+{name}", "below": f"{name}+"}[turn.selection]

    def name(self, index: int) -> str:
        """The name of some step."""
        return self.pipeline.steps[index % len(self.pipeline.steps)].name

    def plan(self, turn: Turn, before: Tree) -> Plan:
        """The run as the model takes it."""
        name, victim = self.name(turn.task), self.pipeline.step(self.name(turn.victim))
        chosen = {
            "all": {step.name for step in self.pipeline.steps},
            "one": {name},
            "above": self.pipeline.above(name),
            "below": self.pipeline.below(name),
        }[turn.selection]
        failing: set[str] = set()
        edit = None
        if not victim.python:
            if turn.trouble == "fail":
                failing.add(victim.name)
            elif turn.trouble == "edit":
                edit = (victim.name, SOURCES[turn.task % 4], "e\n")
            elif turn.trouble == "edit live" and self.reads_alone(victim.name, before):
                edit = (victim.name, "big/u", "e\n")
            elif turn.trouble == "edit target" and victim.kind == "file":
                edit = (victim.name, victim.targets[0], "e\n")
        if edit and not (self.project / edit[1]).is_file():
            edit = None
        return Plan(frozenset(chosen), turn.mode, turn.force, frozenset(failing), edit)

    def reads_alone(self, name: str, before: Tree) -> bool:
        """Whether a task is the only one that reads the live file."""
        readers = [s.name for s in self.pipeline.steps if "big/u" in s.reads(before)]
        return readers == [name]

    def control(self, plan: Plan) -> None:
        """Tell the scripts what to do besides their work."""
        shutil.rmtree(self.root / "control", ignore_errors=True)
        for name in plan.failing:
            self.put(f"../../control/{name}", "exit 3\n")
        if plan.edit is not None:
            name, place, content = plan.edit
            self.put(
                f"../../control/{name}", _SLY_EDIT.format(content=content.strip(), place=place)
            )

    # ------------------------------------------------------------------ edits

    def edit(self, what: str, which: int, value: int) -> None:
        """One edit of the sources, a target or the definition."""
        if what in ("salt", "comment", "env", "timeout", "always"):
            self.redefine(what, which, value)
        elif what == "rest":
            time.sleep(0.15)
        elif what in ("hand", "sly hand", "drop", "touch target", "extra", "folder"):
            self.edit_target(what, which, value)
        else:
            self.edit_source(what, which, value)

    def redefine(self, what: str, which: int, value: int) -> None:
        """Change one key or the script of a step."""
        steps = list(self.pipeline.steps)
        index = which % len(steps)
        new: dict[str, Any] = {"timeout": value + 10, "always": bool(value % 2)}
        changed: dict[str, Any] = {what: new.get(what, value % 3)}
        steps[index] = steps[index]._replace(**changed)
        self.pipeline = Pipeline(tuple(steps))

    def edit_source(self, what: str, which: int, value: int) -> None:
        """Change a file that no task makes, in one of the ways in which that happens."""
        place = self.project / (ADDED[which % len(ADDED)] if what == "add" else _source(which))
        if what in ("write", "add"):
            self.put(place.relative_to(self.project).as_posix(), f"{value}\n")
        elif place.is_file():
            _SOURCE_EDITS[what](place, f"{value}\n", self.project / _source(value))

    def edit_target(self, what: str, which: int, value: int) -> None:
        """Meddle with something that a task has made."""
        made = sorted(p for p in scan(self.project) if p.startswith("o/") and p[-1] != "/")
        made = [place for place in made if not (self.project / place).is_symlink()]
        if what == "folder":  # the scripts read no link to a folder, and there is one to `all`
            made = [place for place in made if not place.endswith("/all")]
        folders = sorted(target for step in self.pipeline.steps for target in step.targets)
        folders = [f for f in folders if f.endswith("/") and (self.project / f).is_dir()]
        if what == "extra":
            place = f"{folders[which % len(folders)]}extra" if folders else ""
            if folders and not (self.project / place).is_dir():
                self.put(place, f"{value}\n")
        elif made:
            path = self.project / made[which % len(made)]
            _TARGET_EDITS[what](path, f"{value}{path.read_text()[1:]}")


_SLY_EDIT = """\
touch -r "$LIVE/{place}" stamp
echo {content} > "$LIVE/{place}"
touch -r stamp "$LIVE/{place}"
"""
"""What a task does to a live file: an edit that leaves its size and modification time."""


def _source(index: int) -> str:
    return SOURCES[index % len(SOURCES)]


def _slyly(path: Path, content: str, *_: object) -> None:
    """An edit in place that leaves size and modification time as they were."""
    info = path.stat()
    path.write_text(content)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def _replaced(path: Path, content: str, *_: object) -> None:
    """Another file of the same age takes its place."""
    info = path.stat()
    other = path.with_name("new")
    other.write_text(content)
    os.utime(other, ns=(info.st_atime_ns, info.st_mtime_ns))
    other.replace(path)


def _renamed(path: Path, _: str, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    path.replace(to)


def _folder_instead(path: Path, content: str) -> None:
    path.unlink()
    path.mkdir()
    (path / "x").write_text(content)


_SOURCE_EDITS: dict[str, Callable[[Path, str, Path], object]] = {
    "sly": _slyly,
    "replace": _replaced,
    "touch": lambda path, *_: os.utime(path),
    "delete": lambda path, *_: path.unlink(),
    "rename": _renamed,
}
_TARGET_EDITS: dict[str, Callable[[Path, str], object]] = {
    "hand": lambda path, content: path.write_text(content),
    "sly hand": _slyly,
    "drop": lambda path, _: path.unlink(),
    "touch target": lambda path, _: os.utime(path),
    "folder": _folder_instead,
}


class _Sink:
    """Hears the events of a run."""

    def __init__(self, hear: Callable[[Event], None]) -> None:
        self.emit = hear


@contextmanager
def bench(pipeline: Pipeline) -> Iterator[Bench]:
    """A fresh workspace with one project."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with Store.open(root / "pit_metadata.db") as store:
            yield Bench(root, pipeline, store)


def _turn(*edits: Edit, force: bool = False, trouble: str = "", victim: int = 0) -> Turn:
    return Turn(list(edits), "all", 0, "1", force, trouble, victim)


REST = ("rest", 0, 0)
SUCCESS_WITHOUT_PRODUCTS = [_turn(), _turn(("salt", 3, 1))]
SLY_EDIT_DURING_A_RUN = [_turn(trouble="edit"), _turn(REST)]
LEFTOVER_THAT_A_PATTERN_MATCHES = [_turn(), _turn(("write", 0, 1), ("hand", 8, 0)), _turn()]
UNTRACKED_FOR_A_RUN = [
    _turn(),
    _turn(("always", 2, 1), ("write", 0, 0)),
    _turn(("always", 2, 0), ("write", 0, 0)),
]
LINK_TO_NOTHING = [
    _turn(trouble="fail", victim=2),
    _turn(("drop", 2, 0))._replace(selection="below", task=2),
]
SEALED_THEN_FAILED = [_turn(), _turn(REST), _turn(force=True, trouble="fail"), _turn()]


@pytest.mark.timeout(180 + 2 * CASES)
@settings(
    max_examples=CASES or 50,
    derandomize=not CASES,
    deadline=None,
    database=None,
    print_blob=True,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@example(ALL_KINDS, SUCCESS_WITHOUT_PRODUCTS)
@example(ALL_KINDS, SLY_EDIT_DURING_A_RUN)
@example(ALL_KINDS, SEALED_THEN_FAILED)
@example(ALL_KINDS, LINK_TO_NOTHING)
@example(ALL_KINDS, UNTRACKED_FOR_A_RUN)
@example(ALL_KINDS, LEFTOVER_THAT_A_PATTERN_MATCHES)
@given(st.one_of(pipelines(), st.just(ALL_KINDS)), st.lists(turns, min_size=1, max_size=6))
def test_pit_does_what_the_model_foretells(pipeline: Pipeline, plan: list[Turn]) -> None:
    before = len(os.listdir("/dev/fd"))
    with bench(pipeline) as under_test:
        for turn in plan:
            under_test.turn(turn)
    assert len(os.listdir("/dev/fd")) <= before + 2, "a run has left files open"
