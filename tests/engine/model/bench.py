"""A project under test: the edits of the model test, the commands, and what must hold after them.

Pit is used as people use it, by its commands with `--json`, but within this process.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from pit.cli.main import main
from pit.fs.files import remove_tree
from pit.project.snapshot import base, snapshot
from pit.project.snapshot.snapshot import Snapshot
from tests.engine.model import scripts, troubles
from tests.engine.model.edits import Edits, lead, tell
from tests.engine.model.foretold import (
    Foretold,
    Outcome,
    Plan,
    first_sources,
    from_scratch,
    leftovers,
    scan,
)
from tests.engine.model.pipelines import (
    BEYOND,
    DATABASE,
    FLIPS,
    LEARNED,
    Pipeline,
    Step,
    Tree,
    brief,
    is_live,
)
from tests.engine.model.troubles import Trouble
from tests.project.snapshot.alike import SOON, unlike

Edit = tuple[str, int, int]
"""What is done to the project between two runs, to which thing, with which value."""


class Turn(NamedTuple):
    """Some edits, then a run: of everything, or of a task and what is above or below it.

    `trouble` is what `victim` does in it; `again` asks for a retry, where there is one to be had.
    """

    edits: list[Edit]
    selection: str = "all"
    task: int = 0
    mode: str = "1"
    force: bool = False
    trouble: str = ""
    victim: int = 0
    again: bool = False

    def __repr__(self) -> str:
        return brief(self, 1)


class Seen(NamedTuple):
    """What a run did: the tasks that were attempted, their last states, and why each ran."""

    ran: set[str]
    states: dict[str, str]
    why: dict[str, str]


class Bench:
    """A workspace with one project, and what is foretold of it.

    If it is `warm`, no snapshot is kept, so that each is the base of the next.
    """

    def __init__(self, root: Path, pipeline: Pipeline, warm: bool = False) -> None:
        self.root, self.declared = root, pipeline
        self.project = root / "projects" / "m"
        self.foretold = Foretold()
        self.edits = Edits(self)
        self.database: subprocess.Popen[str] | None = None
        self.bases = 0
        self.unlike: list[str] = []
        if warm:
            (root / "pit_config.toml").write_text("[retention]\nsnapshots = 0\n")
        for place, content in first_sources().items():
            self.put(place, content)
        for place, leads in FLIPS.items():
            lead(self.at(place), leads[0])
        if any(DATABASE in (step.inputs or ()) for step in pipeline.steps):
            self.database = _served(self.at(DATABASE))
        scripts.write(pipeline, self.project)

    def close(self) -> None:
        """End what serves the database."""
        if self.database is not None:
            self.database.communicate()

    def at(self, place: str) -> Path:
        """Where a place lies on the disk."""
        if place.startswith(BEYOND):
            return self.root / place.removeprefix(BEYOND)
        return self.project / place

    def put(self, place: str, content: str) -> None:
        """Write one file, in place."""
        path = self.at(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def pit(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a command."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), self.compared():
            code = main(["--project-dir", str(self.root), *arguments])
        return code, out.getvalue(), err.getvalue()

    @contextmanager
    def compared(self) -> Iterator[None]:
        """Has each snapshot that is made of a base compared with a copy.

        Tasks begin so long after it that what they change bears another time, which spares a tenth
        of a second each time.
        """
        take = snapshot.take

        def taken(*given: Any) -> Snapshot:
            made = take(*given)
            if len(given) > 6:
                self.bases += 1
                project, into, *more = given[:6]
                plain = Path(into).with_name("plain")
                due = take(project, plain, *more)
                self.unlike += unlike(into, plain, made, due)
                remove_tree(plain)
            time.sleep(SOON / 1e9)
            return made

        with (
            patch.object(snapshot, "take", taken),
            patch.object(base, "young_for", lambda ctime, now: ctime + SOON - now),
        ):
            yield

    # ------------------------------------------------------------------ one turn

    def turn(self, turn: Turn) -> None:
        """The edits, the run, and all that must hold then."""
        for edit in turn.edits:
            self.edits.make(*edit)
        scripts.write(self.declared, self.project)
        before = scan(self.project)
        if turn.again and self.foretold.latest(before) is not None:
            self.retried(turn, before)
        else:
            self.has_run(turn, before)

    def has_run(self, turn: Turn, before: Tree) -> None:
        """`pit plan` and `pit run`, and all that must hold then."""
        if led_out := self.edits.led_out():
            return self.refuses(self.target(turn), led_out, before)
        pipeline = self.declared.expanded(before)
        chosen = self.chosen(pipeline, turn)
        trouble = troubles.of(self, pipeline, turn.trouble, turn.victim, turn.task, before)
        self.control(trouble)
        plan = Plan(chosen, turn.mode, turn.force, trouble.failing, trouble.meddling)
        target = [
            self.target(turn),
            "-p",
            f"mode={plan.mode}",
            *(["--force"] if plan.force else []),
        ]
        planned = self.planned(*target)
        due = self.foretold.run(pipeline, before, plan)
        seen = self.seen("run", *target, "--grace", "1s")
        self.check(due, seen)
        if LEARNED["plan"]:
            agree(planned, due, seen)
        self.check_from_scratch(pipeline, plan, before, due)

    def retried(self, turn: Turn, before: Tree) -> None:
        """`pit retry`, and all that must hold then."""
        pipeline = self.foretold.latest(before)
        assert pipeline is not None
        kind = "fail" if turn.trouble == "fail" else ""
        trouble = troubles.of(self, pipeline, kind, turn.victim, turn.task, before)
        self.control(trouble)
        due = self.foretold.retry(before, trouble.failing)
        self.check(due, self.seen("retry", "m"))

    def refuses(self, target: str, place: str, before: Tree) -> None:
        """A target that is a link out of the project is an error of pit.toml."""
        for command in ("plan", "run"):
            code, out, err = self.pit(command, target)
            tell(f"  pit {command} {target} → {code}")
            assert 10 <= code < 20, (code, out, err)
            assert place in out + err
        assert scan(self.project) == before

    def planned(self, *target: str) -> dict[str, dict[str, Any]]:
        """What `pit plan` says of each task."""
        code, out, err = self.pit("plan", *target, "--json")
        assert out, (code, err)
        return {task["task"]: task for task in json.loads(out)["tasks"]}

    def seen(self, *arguments: str) -> Seen:
        """What a run does."""
        code, out, err = self.pit(*arguments, "--json")
        events = [json.loads(line) for line in out.splitlines()]
        assert events, (code, err)
        assert events[-1]["event"] == "run_ended", (code, out, err)
        ended = [event for event in events if event["event"] == "task_ended"]
        seen = Seen(
            {event["task"] for event in events if event["event"] == "attempt_started"},
            {event["task"]: event["state"] for event in ended},
            {event["task"]: event["why"] for event in ended},
        )
        tell(f"  pit {' '.join(arguments)} → {code}")
        for event in ended:
            tell(f"      {event['state']:<15} {event['task']}: {event['error'] or event['why']}")
        return seen

    def check(self, due: Outcome, seen: Seen) -> None:
        """What was foretold has come, and nothing of it lies beside the targets."""
        assert not self.unlike, self.unlike
        assert seen.ran == due.ran, _unlike("ran", seen.ran, due.ran)
        failed = {name for name, state in seen.states.items() if state == "failed"}
        assert failed == due.failed, _unlike("failed", failed, due.failed)
        held_up = {name for name, state in seen.states.items() if state == "upstream_failed"}
        assert held_up == due.held_up, _unlike("held up", held_up, due.held_up)
        now = scan(self.project)
        unlike = sorted(p for p in now.keys() | due.tree if now.get(p) != due.tree.get(p))
        assert not unlike, [(place, now.get(place), due.tree.get(place)) for place in unlike]
        assert not list(self.project.rglob(".pit-*"))

    def check_from_scratch(
        self, pipeline: Pipeline, plan: Plan, before: Tree, due: Outcome
    ) -> None:
        """A whole run without trouble leaves what a build from scratch makes."""
        whole = len(plan.chosen) == len(pipeline.steps)
        live = any(is_live(place) for place in plan.meddling.live)
        if whole and not due.failed and not live and not leftovers(pipeline, before):
            built = from_scratch(pipeline, before, plan.mode)
            assert {place: due.tree.get(place) for place in built} == built

    # ------------------------------------------------------------------ what a turn means

    def target(self, turn: Turn) -> str:
        """The DAG and the selection as they are typed."""
        name = one_of(self.declared, turn.task).name
        parts = {"all": "", "one": f"/{name}", "above": f"/+{name}", "below": f"/{name}+"}
        return f"m{parts[turn.selection]}"

    def chosen(self, pipeline: Pipeline, turn: Turn) -> frozenset[str]:
        """The tasks that a selection means."""
        ways: dict[str, Callable[[str], set[str]]] = {
            "all": lambda _: {step.name for step in pipeline.steps},
            "one": lambda name: {name},
            "above": pipeline.above,
            "below": pipeline.below,
        }
        names = [step.name for step in pipeline.named(one_of(self.declared, turn.task).name)]
        return frozenset(each for name in names for each in ways[turn.selection](name))

    def control(self, trouble: Trouble) -> None:
        """Tell the scripts what to do besides their work."""
        folder = self.root / "control"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if trouble.first:
            (folder / trouble.task).write_text(trouble.first)
        if trouble.then:
            (folder / f"{trouble.task}.after").write_text(trouble.then)


def agree(planned: Mapping[str, Mapping[str, Any]], due: Outcome, seen: Seen) -> None:
    """What was planned is what was done; what was deferred may have been either."""
    skipped = {name for name, task in planned.items() if task["action"] == "skip"}
    sure = {name for name, task in planned.items() if task["action"] == "run"}
    assert not skipped & seen.ran, _unlike("planned as skipped, but ran", skipped & seen.ran)
    left = sure - seen.ran - due.failed - due.held_up
    assert not left, _unlike("planned to run, but did not", left)
    for name in sure & seen.ran:
        if not planned[name]["after"] and seen.why[name]:  # one that always runs needs no reason
            run, plan = (_IN_RUN.sub("", why) for why in (seen.why[name], planned[name]["why"]))
            assert run == plan, f"{name} runs\n  by the run: {run}\n  by the plan: {plan}"


_IN_RUN = re.compile(r" in run [^\s;]+( \(\S+ before\))?")
"""What a plan says more of the success of a task without targets."""


def _unlike(what: str, *names: Iterable[str]) -> str:
    """A line of an assertion that failed: what was, and what was foretold."""
    return f"{what}: " + "; foretold: ".join(", ".join(sorted(each)) or "nothing" for each in names)


def one_of(pipeline: Pipeline, index: int) -> Step:
    """Some step."""
    return pipeline.steps[index % len(pipeline.steps)]


_SERVER = """\
import sqlite3, sys
link = sqlite3.connect(sys.argv[1], isolation_level=None)
link.execute("pragma journal_mode = wal")
link.execute("create table t (a)")
link.execute("insert into t values (1)")
link.execute("pragma wal_checkpoint(truncate)")
link.execute("pragma wal_autocheckpoint = 0")
print("ready", flush=True)
for line in sys.stdin:
    link.execute("insert into t values (?)", (line.strip(),))
    print("done", flush=True)
"""
"""Keeps a database open, so that what is written to it stays in its journal."""


def _served(path: Path) -> subprocess.Popen[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    return server


@contextmanager
def bench(pipeline: Pipeline, warm: bool = False) -> Iterator[Bench]:
    """A fresh workspace with one project."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        found = Bench(Path(folder), pipeline, warm)
        stack.callback(found.close)
        yield found
