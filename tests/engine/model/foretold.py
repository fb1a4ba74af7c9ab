"""What a run is bound to do, foretold without Pit: which tasks run, and how the project looks then.

It says in terms of names and contents what Pit does with digests, records and renames.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from tests.engine.model.pipelines import (
    BEYOND,
    DANGLING,
    KEPT,
    SOURCES,
    VALUE,
    Pipeline,
    Step,
    Tree,
    is_live,
    made_by,
    values,
)


class Success(NamedTuple):
    """What a tracked task's last success read and made, and the number of its run."""

    read: tuple[Any, ...]
    products: Tree
    run: int


class Meddling(NamedTuple):
    """What a task does beside its work: to the live project, or to what it was handed.

    `live` are the contents that it writes there before its work, `back` what it puts back after
    it, `over` the place that it appends to in its own run after it.
    """

    task: str = ""
    live: Tree = {}  # noqa: RUF012
    back: Tree = {}  # noqa: RUF012
    over: str = ""


class Plan(NamedTuple):
    """One run: the tasks chosen, a parameter, which fail, and what one task does meanwhile."""

    chosen: frozenset[str]
    mode: str = "1"
    force: bool = False
    failing: frozenset[str] = frozenset()
    meddling: Meddling = Meddling()


class Outcome(NamedTuple):
    """What a run is to do: the tasks that are attempted, those held up, and the project then.

    `done` are the tasks that need not be done again by a run that goes on with this one.
    """

    ran: set[str]
    failed: set[str]
    held_up: set[str]
    done: set[str]
    tree: Tree


# ---------------------------------------------------------------- the project as it lies there


def scan(project: Path) -> Tree:
    """The data in a project and beyond it, as it is seen through links: all but the code, pit.toml
    and temporary files."""
    found = {place: content for place, content in _scanned(project, "") if _is_data(place)}
    beyond = project.parent.parent / "ext"
    return found | dict(_scanned(beyond, f"{BEYOND}ext/"))


def _is_data(place: str) -> bool:
    folder = place.partition("/")[0]
    return folder not in ("code", "lib", "src", "pit.toml", ".pitignore")


def _scanned(root: Path, prefix: str) -> Iterator[tuple[str, str]]:
    for at, folders, names in os.walk(root, followlinks=True):
        here = Path(at).relative_to(root).as_posix()
        inside = prefix if here == "." else f"{prefix}{here}/"
        folders[:] = [name for name in folders if not name.startswith(".pit-")]
        if inside.startswith("o/t") and not folders and not names:
            yield inside, ""
        for name in names:
            if not name.startswith((".pit-", "ref.db-")):
                yield f"{inside}{name}", content_of(Path(at) / name)


def content_of(path: Path) -> str:
    """The content of a file as scripts see it."""
    if not path.exists():
        return DANGLING
    if path.suffix == ".db":
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as link:
            rows = link.execute("select a from t order by rowid").fetchall()
        return ",".join(str(row[0]) for row in rows) + "\n"
    if path.suffix == ".huge" and path.stat().st_size > 1000:
        with path.open("rb") as file:
            head = file.readline().decode()
            size = file.seek(0, os.SEEK_END)
            file.seek(-100, os.SEEK_END)
            return f"{head}{size}\n" + file.read().strip(b"\0").decode()
    return path.read_text()


def first_sources() -> Tree:
    """The sources that every project begins with, but for links and databases."""
    return {place: f"{index}\n" for index, place in enumerate(SOURCES)} | KEPT


# ---------------------------------------------------------------- what has happened, what will


class Foretold:
    """All that has happened to a pipeline's tasks so far.

    A record goes with a failure, or when somebody says so; `made`, what was published last, stays.
    """

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Success] = {}
        self.last: dict[str, tuple[int, Tree]] = {}
        self.made: dict[tuple[str, str], Tree] = {}
        self.runs = 0
        self._latest: _Run | None = None

    def run(self, pipeline: Pipeline, before: Tree, plan: Plan) -> Outcome:
        """What a run does to a project that looks like `before`; remembered as having happened."""
        self.runs += 1
        self._latest = _Run(self, pipeline, before, plan)
        return self._latest.outcome()

    def retry(self, before: Tree, failing: frozenset[str]) -> Outcome:
        """What going on with the latest run does: with its code, its files and what it has done."""
        assert self._latest is not None
        self.runs += 1
        self._latest = self._latest.again(before, failing)
        return self._latest.outcome()

    def latest(self, before: Tree) -> Pipeline | None:
        """The pipeline of the latest run, if that can be gone on with: it has failed, what it was
        handed by earlier ones stands, what a task has appended to stands as it was published, and
        it has the same tasks again."""
        run = self._latest
        if run is None or not (run.failed or run.held_up):
            return None
        beyond = {step.axis for step in run.pipeline.steps if step.axis.endswith("beyond")}
        if any(values(axis, run.before) != values(axis, before) for axis in beyond):
            return None
        handed = [run.made[name] for name in run.done - run.made_here]
        stands = all(before.get(p) == c for made in handed for p, c in made.items() if _is_file(p))
        made = {
            place: content for products in run.made.values() for place, content in products.items()
        }
        whole = all(before.get(place) == made[place] for place in run.altered)
        return run.pipeline if stands and whole else None

    def forget(self, name: str, mode: str) -> None:
        """Drop the record of a task."""
        for key in ("", mode):
            self.records.pop((name, key), None)


class _Run:
    """One run: `view` is what the tasks see in the snapshot, `after` the live project."""

    def __init__(self, past: Foretold, pipeline: Pipeline, before: Tree, plan: Plan) -> None:
        self.past, self.pipeline, self.before, self.plan = past, pipeline, before, plan
        self.number = past.runs
        chosen = [step for step in pipeline.steps if step.name in plan.chosen]
        hidden = self._orphans()
        self.view = {
            place: content
            for place, content in before.items()
            if place not in hidden and not any(step.owns(place) for step in chosen)
        }
        self.after = dict(before)
        self.made: dict[str, Tree] = {}
        self.runs: dict[str, int] = {}
        self.done: set[str] = set()
        self.made_here: set[str] = set()
        self.ran: set[str] = set()
        self.failed: set[str] = set()
        self.held_up: set[str] = set()
        self.altered: set[str] = set()  # products of others, by a task that has not run again

    def again(self, before: Tree, failing: frozenset[str]) -> _Run:
        """The run that goes on with this one."""
        plan = Plan(self.plan.chosen, self.plan.mode, failing=failing)
        run = _Run(self.past, self.pipeline, before, plan)
        left = [self.pipeline.step(name) for name in self.plan.chosen - self.done]
        run.view = {
            place: content
            for place, content in self.view.items()
            if not is_live(place) and not any(step.owns(place) for step in left)
        } | {place: content for place, content in before.items() if is_live(place)}
        run.done, run.made_here = set(self.done), set(self.made_here)
        run.altered = set(self.altered)
        run.made = {name: self.made[name] for name in self.done}
        run.runs = {name: self.runs[name] for name in self.done}
        return run

    def outcome(self) -> Outcome:
        """Go through the steps, each after all that it depends on."""
        for step in self.pipeline.steps:
            if step.name not in self.plan.chosen:
                self._left_out(step)
            elif step.name in self.done:
                self._has(step, self.made[step.name], self.runs[step.name])
            elif any(
                maker.name in self.failed | self.held_up for maker in self.pipeline.makers(step)
            ):
                self.held_up.add(step.name)
            else:
                self._chosen(step)
        return Outcome(self.ran, self.failed, self.held_up, self.done, self.after)

    def _orphans(self) -> set[str]:
        """What tasks have made that are no more, as far as it stands as they made it."""
        names = {step.name for step in self.pipeline.steps}
        return {
            place
            for (name, _), record in self.past.records.items()
            if name not in names
            for place, content in record.products.items()
            if self.before.get(place) == content
            and not any(step.owns(place) for step in self.pipeline.steps)
        }

    def _key(self, step: Step) -> tuple[str, str]:
        return step.name, self.plan.mode if step.mode else ""

    def _left_out(self, step: Step) -> None:
        record = self.past.records.get(self._key(step))
        run, handed = self.past.last.get(step.name, (0, {}))
        self.runs[step.name] = run
        if record is not None and step.tracked and self._stands(step, record.products):
            self.made[step.name] = record.products
        else:
            self.made[step.name] = {p: c for p, c in self.view.items() if step.owns(p)} | handed
        self.view |= {p: c for p, c in self.made[step.name].items() if p.startswith(VALUE)}

    def _chosen(self, step: Step) -> None:
        record = self.past.records.get(self._key(step)) if step.tracked else None
        read = self._read(step)
        same = record is not None and record.read == read and not self.plan.force
        if record is not None and same and self._stands(step, record.products):
            self.done.add(step.name)
            self._has(step, record.products, record.run)
            return
        if any(self._is_missing(path.rstrip("/")) for path in step.inputs or ()):
            self.failed.add(step.name)
            return
        self.ran.add(step.name)
        self.altered -= step.reads(self.view).keys()
        self.past.records.pop(self._key(step), None)
        moved = self._meddle(step)
        products = made_by(step, self.view, self.plan.mode)
        self._put_back(step)
        if step.name in self.plan.failing or self._occupied(step, products):
            self.failed.add(step.name)
            return
        self.done.add(step.name)
        self.made_here.add(step.name)
        self._publish(step, products)
        self._has(step, products, self.number)
        self.past.last[step.name] = (self.number, _values_of(products))
        watched = {place for place in step.reads(self.view) if is_live(place)}
        if step.tracked and not moved & watched:
            self.past.records[self._key(step)] = Success(read, products, self.number)

    def _is_missing(self, path: str) -> bool:
        """Whether an input that is no pattern is not there; the folder of sources always is."""
        if "*" in path or "[" in path or path == "f":
            return False
        return not any(place == path or place.startswith(f"{path}/") for place in self.view)

    def _has(self, step: Step, products: Tree, run: int) -> None:
        self.made[step.name], self.runs[step.name] = products, run
        self.view |= products

    def _read(self, step: Step) -> tuple[Any, ...]:
        """All that makes the task current or not, but for its own products."""
        code = (step.salt,) if step.python else (step.salt, step.comment)
        facts = (step.env, step.inputs and sorted(step.inputs), step.targets)
        upstream = [self.pipeline.step(name) for name in step.depends_on]
        contents = {up.name: self.made[up.name] for up in upstream if self.made[up.name]}
        successes = {up.name: self.runs[up.name] for up in upstream if not up.targets}
        return (code, facts, step.reads(self.view), contents, successes)

    def _stands(self, step: Step, products: Mapping[str, str]) -> bool:
        files = {place: content for place, content in products.items() if _is_file(place)}
        if any(self.before.get(place) != content for place, content in files.items()):
            return False
        whole = step.kind == "folder"
        return not whole or all(p in products for p in self.before if step.owns(p))

    def _occupied(self, step: Step, products: Tree) -> list[str]:
        """What stands where its targets go and is not its own: none of it may be lost."""
        going = [p for p in products if _is_file(p)]
        found = [
            place
            for place in self.after
            if step.owns(place)
            and place[-1] != "/"
            and (
                step.kind == "folder"
                or any(place.startswith(f"{target}/") for target in going)
                or (step.kind == "glob" and place in going)
            )
        ]
        return [place for place in found if self._is_strange(step, place, products)]

    def _is_strange(self, step: Step, place: str, products: Tree) -> bool:
        """Whether it was neither made before, as it is or to be made anew, nor just now."""
        made = self.past.made.items()
        known = {tree[place] for (name, _), tree in made if name == step.name and place in tree}
        if known and place in products:
            return False
        return self.after[place] not in known | {products.get(place)}

    def _meddle(self, step: Step) -> set[str]:
        """What the running task does to the live project; what is read live changes for it."""
        meddling = self.plan.meddling
        if meddling.task != step.name:
            return set()
        self.after |= meddling.live
        self.view |= {place: text for place, text in meddling.live.items() if is_live(place)}
        return set(meddling.live)

    def _put_back(self, step: Step) -> None:
        meddling = self.plan.meddling
        if meddling.task == step.name:
            self.after |= meddling.back
            self.view |= {place: text for place, text in meddling.back.items() if is_live(place)}
            if meddling.over:
                self.view[meddling.over] += "over\n"
                self.altered.add(meddling.over)

    def _publish(self, step: Step, products: Tree) -> None:
        """The targets appear; what it made before with these parameters, and not now, goes."""
        old = self.past.made.get(self._key(step), {})
        products = {place: content for place, content in products.items() if _is_file(place)}
        for place in [place for place in self.after if step.owns(place)]:
            inside = any(place.startswith(f"{made}/") for made in products)
            outdated = place in old and self.after[place] == old[place]
            if step.kind == "folder" or inside or (outdated and place not in products):
                del self.after[place]
        self.after |= products
        self.past.made[self._key(step)] = products


def _is_file(place: str) -> bool:
    return not place.startswith(VALUE)


def _values_of(products: Tree) -> Tree:
    return {place: content for place, content in products.items() if not _is_file(place)}


def from_scratch(pipeline: Pipeline, sources: Tree, mode: str) -> Tree:
    """The targets of a build of everything from these sources."""
    tree = {place: content for place, content in sources.items() if not place.startswith("o/")}
    built: Tree = {}
    for step in pipeline.steps:
        products = made_by(step, tree, mode)
        tree |= products
        built |= products
    return {place: content for place, content in built.items() if _is_file(place)}


def leftovers(pipeline: Pipeline, tree: Iterable[str]) -> list[str]:
    """What lies among the targets, and is none of any task."""
    return [
        place
        for place in tree
        if place.startswith("o/") and not any(step.owns(place) for step in pipeline.steps)
    ]
