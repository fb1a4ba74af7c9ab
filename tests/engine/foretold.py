"""What a run is bound to do, foretold without Pit: which tasks run, and how the project looks then.

It says in terms of names and contents what Pit does with digests, records and renames.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.engine.pipelines import DANGLING, LIVE, SOURCES, Pipeline, Step, Tree, made_by


class Success(NamedTuple):
    """What a tracked task's last success read and made, and the number of its run."""

    read: tuple[Any, ...]
    products: Tree
    run: int


class Plan(NamedTuple):
    """One run: the tasks chosen, a parameter, which fail, and what one task edits meanwhile.

    `edit` is (task, place, content): the task writes it into the live project when it runs.
    """

    chosen: frozenset[str]
    mode: str = "1"
    force: bool = False
    failing: frozenset[str] = frozenset()
    edit: tuple[str, str, str] | None = None


class Outcome(NamedTuple):
    """What a run is to do: the tasks that are attempted, those held up, and the project then."""

    ran: set[str]
    failed: set[str]
    held_up: set[str]
    tree: Tree


def scan(project: Path) -> Tree:
    """The data in a project: all but the code, pit.toml and temporary files."""
    found: Tree = {}
    for at, folders, names in os.walk(project):
        here = Path(at).relative_to(project).as_posix()
        if here == ".":
            folders[:] = [name for name in folders if name != "code"]
            names = [name for name in names if name not in ("pit.toml", ".pitignore")]
        folders[:] = [name for name in folders if not name.startswith(".pit-")]
        names = [name for name in names if not name.startswith(".pit-")]
        if here.startswith("o/t") and not folders and not names:
            found[f"{here}/"] = ""
        for name in names:
            path = Path(at) / name
            found[f"{here}/{name}"] = path.read_text() if path.exists() else DANGLING
    return found


class Foretold:
    """All that has happened to a pipeline's tasks so far."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], Success] = {}
        self._makings: dict[tuple[str, str], Tree] = {}
        self._last: dict[str, int] = {}
        self._runs = 0

    def run(self, pipeline: Pipeline, before: Tree, plan: Plan) -> Outcome:
        """What a run does to a project that looks like `before`; remembered as having happened."""
        self._runs += 1
        known = (self._records, self._makings, self._last)
        return _Run(pipeline, before, plan, *known, self._runs).outcome()


class _Run:
    """One run: `view` is what the tasks see in the snapshot, `after` the live project."""

    def __init__(
        self,
        pipeline: Pipeline,
        before: Tree,
        plan: Plan,
        records: dict[tuple[str, str], Success],
        makings: dict[tuple[str, str], Tree],
        last: dict[str, int],
        number: int,
    ) -> None:
        self.pipeline, self.before, self.plan = pipeline, before, plan
        self.records, self.makings, self.last, self.number = records, makings, last, number
        self.chosen = [step for step in pipeline.steps if step.name in plan.chosen]
        self.view = {p: c for p, c in before.items() if not any(s.owns(p) for s in self.chosen)}
        self.after = dict(before)
        self.made: dict[str, Tree] = {}
        self.runs: dict[str, int] = {}
        self.ran: set[str] = set()
        self.failed: set[str] = set()
        self.held_up: set[str] = set()

    def outcome(self) -> Outcome:
        """Go through the steps, each after all that it depends on."""
        for step in self.pipeline.steps:
            if step.name not in self.plan.chosen:
                self._left_out(step)
            elif any(
                maker.name in self.failed | self.held_up for maker in self.pipeline.makers(step)
            ):
                self.held_up.add(step.name)
            else:
                self._chosen(step)
        return Outcome(self.ran, self.failed, self.held_up, self.after)

    def _key(self, step: Step) -> tuple[str, str]:
        return step.name, self.plan.mode if step.mode else ""

    def _left_out(self, step: Step) -> None:
        record = self.records.get(self._key(step))
        self.runs[step.name] = self.last.get(step.name, 0)
        if record is not None and step.tracked and self._stands(step, record.products):
            self.made[step.name] = record.products
        else:
            self.made[step.name] = {p: c for p, c in self.view.items() if step.owns(p)}

    def _chosen(self, step: Step) -> None:
        record = self.records.get(self._key(step)) if step.tracked else None
        read = self._read(step)
        same = record is not None and record.read == read and not self.plan.force
        if record is not None and same and self._stands(step, record.products):
            self._has(step, record.products, record.run)
            return
        if any(self._is_missing(path.rstrip("/")) for path in step.inputs or ()):
            self.failed.add(step.name)
            return
        self.ran.add(step.name)
        self.records.pop(self._key(step), None)
        edited = self._edit(step)
        if step.name in self.plan.failing:
            self.failed.add(step.name)
            return
        products = made_by(step, self.view, self.plan.mode)
        if any(self._is_strange(step, place, products) for place in self.after):
            self.failed.add(step.name)
            return
        self._publish(step, products)
        self.makings[self._key(step)] = products
        self._has(step, products, self.number)
        self.last[step.name] = self.number
        if step.tracked and not (edited.startswith(LIVE) and edited in step.reads(self.view)):
            self.records[self._key(step)] = Success(read, products, self.number)

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
        if any(self.before.get(place) != content for place, content in products.items()):
            return False
        whole = step.kind == "folder"
        return not whole or all(p in products for p in self.before if step.owns(p))

    def _edit(self, step: Step) -> str:
        """What the running task does to the live project; what is read live changes for it."""
        if self.plan.edit is None or self.plan.edit[0] != step.name:
            return ""
        _, place, content = self.plan.edit
        self.after[place] = content
        if place.startswith(LIVE):
            self.view[place] = content
        return place

    def _is_strange(self, step: Step, place: str, products: Tree) -> bool:
        """Whether what stands at a place would be lost, and nobody is known to have made it."""
        inside = any(place.startswith(f"{made}/") for made in products)
        goes = step.kind == "folder" or inside or (step.kind == "glob" and place in products)
        if not step.owns(place) or not goes or place.endswith("/"):
            return False
        made = [m[place] for (n, _), m in self.makings.items() if n == step.name and place in m]
        if made and place in products:
            return False
        return self.after[place] not in (*made, products.get(place))

    def _publish(self, step: Step, products: Tree) -> None:
        old = self.makings.get(self._key(step), {})
        for place in [place for place in self.after if step.owns(place)]:
            inside = any(place.startswith(f"{made}/") for made in products)
            outdated = place in old and self.after.get(place) == old[place]
            if step.kind == "folder" or inside or (outdated and place not in products):
                del self.after[place]
        self.after |= products


def from_scratch(pipeline: Pipeline, sources: Tree, mode: str) -> Tree:
    """The targets of a build of everything from these sources."""
    tree = {place: content for place, content in sources.items() if not place.startswith("o/")}
    built: Tree = {}
    for step in pipeline.steps:
        products = made_by(step, tree, mode)
        tree |= products
        built |= products
    return built


def first_sources() -> Tree:
    """The sources that every project begins with."""
    return {place: f"{index}\n" for index, place in enumerate(SOURCES)}
