"""Random pipelines, and what they are bound to make: the pure half of the model test.

A pipeline's scripts are functions of what they declare: every target is a digest of the names and
contents that the task's inputs match, so what a build from scratch would make is computed here,
without Pit. `scripts.py` puts the same thing on the disk.

Places are relative to the project, or begin with `{workspace}/`. The content of a database is its
rows, that of a huge file its first line, its size and its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from hypothesis import strategies as st

Tree = dict[str, str]
"""Files by place, with their contents; an empty folder's place ends with a slash."""

LEARNED = {
    "strangers": True,  # files that the task has not made, in folders that are its targets
    "links": True,  # links within the project and out of it, flipped; hard links
    "written over": True,  # a task appends to what it was handed
    "swaps": True,  # a folder in place of another: the same names, sizes and times
    "bases": True,  # a task spoils its snapshot, which the next run begins with
    "journals": True,  # rows that a database keeps beside its file
    "matrices": True,  # tasks that come and go with the values in a file, or with files
    "code": True,  # PYTHONPATH, -m, a program after `$`, Python by another suffix
    "selections": True,  # retry and forget, and values of tasks that are not selected
    "plan": True,  # what `pit plan` says is what `pit run` does
}
"""What the model knows of; what is switched off here is not generated, nor asserted."""

SOURCES = ("s/a", "s/b", "s/c.x", "s/d.x", "f/p", "f/q/r", "big/u", "big/v")
"""Where sources may lie. `big` is in .pitignore, so runs read it live."""
BEYOND = "{workspace}/"
LIVE = ("big/", BEYOND)
"""How the places begin that runs read as they are, and not as they were."""
DATABASE = f"{BEYOND}ext/ref.db"
KEPT = {
    **{"k/1": "1k\n", "k/2": "2k\n", "k/d1/x": "3k\n", "k/d2/x": "4k\n"},
    **{f"{BEYOND}ext/1": "5k\n", f"{BEYOND}ext/d/x": "6k\n"},
    **{f"{BEYOND}ext/d1/x": "7k\n", f"{BEYOND}ext/d2/x": "8k\n"},
    **{f"{BEYOND}ext/precious": "0\n"},
    **{f"{at}/list.txt": "a\nb\n" for at in ("v", f"{BEYOND}ext/v")},
    **{f"{at}/{value}.v": f"{value}v\n" for at in ("v", f"{BEYOND}ext/v") for value in "ab"},
}
"""Sources that are written but not deleted: links lead to them, values come from them."""
FLIPS = {
    "l/file": ("../k/1", "../k/2", "../../../ext/1"),
    "l/dir": ("../k/d1", "../k/d2", "../../../ext/d"),
    f"{BEYOND}ext/cur": ("d1", "d2"),
}
"""Links, and where each may lead: the first at the beginning."""
AXES = {
    "file": "v/list.txt",
    "file beyond": f"{BEYOND}ext/v/list.txt",
    "glob": "v/*.v",
    "glob beyond": f"{BEYOND}ext/v/*.v",
}
"""Where the values of a matrix may come from."""

INPUTS = ("s/a", "s/b", "s/*.x", "s/*", "f", "big/*", "big/u", "s/missin[g]")
LINKED = ("l/file", "l/dir", "l/dir/x", "l/dir/*", "k/1", f"{BEYOND}ext/cur/x", f"{BEYOND}ext/1")
KINDS = ("file", "folder", "folder", "glob", "pair", "none", "none")
CODES = ("lib", "path", "suffix", "module", "text")
"""How a Python task comes by its code: a module beside the script, one by PYTHONPATH, one beside a
script with another suffix, `-m` in a list, `-m` in a string."""
DANGLING = "\0dangling"
"""The content of a link to nothing, which no script reads."""
HUGE = 70_000_000
"""The bytes of a target of the kind `huge`: more than is copied without a thought."""
VALUE = "value:"
"""How the places of values begin, which tasks hand on beside files."""


class Step(NamedTuple):
    """One task, or a matrix of them: `kind` is what sort of targets it has, `salt` what its script
    adds, `code` what its script is, `axis` where its values come from, `value` that of an instance.
    """

    name: str
    kind: str
    inputs: tuple[str, ...] | None
    depends_on: tuple[str, ...] = ()
    salt: int = 0
    comment: int = 0
    env: int = 0
    timeout: int = 60
    code: str = "shell"
    always: bool = False
    mode: bool = False
    axis: str = ""
    value: str = "{k}"

    def __repr__(self) -> str:
        return brief(self, 3)

    @property
    def base(self) -> str:
        """The name of the task that pit.toml declares."""
        return self.name.partition(":")[0]

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets as pit.toml has them."""
        name = self.base
        if self.axis:
            return (f"o/{name}.{self.value}.out",)
        return {
            "file": (f"o/{name}.txt",),
            "value": (f"o/{name}.txt",),
            "huge": (f"o/{name}.huge",),
            "pair": (f"o/{name}.1", f"o/deep/{name}.2"),
            "folder": (f"o/{name}/",),
            "glob": (f"o/{name}-*.txt",),
            "none": (),
        }[self.kind]

    @property
    def tracked(self) -> bool:
        """Whether Pit may skip it."""
        return self.inputs is not None and not self.always

    @property
    def python(self) -> bool:
        """Whether Pit runs it as Python."""
        return self.code in CODES

    def owns(self, place: str) -> bool:
        """Whether a place is one of its targets or lies in one."""
        parts = place.split("/")
        return place == f"{VALUE}{self.name}" or any(
            fnmatchcase("/".join(parts[: target.rstrip("/").count("/") + 1]), target.rstrip("/"))
            for target in self.targets
        )

    def reads(self, tree: Mapping[str, str]) -> Tree:
        """What its inputs match, in the order in which its script reads it."""
        found: Tree = {}
        for pattern in self.inputs or ():
            found |= {place: tree[place] for place in matching(pattern, tree)}
        return found


def brief(record: Any, always: int) -> str:
    """A call that makes the record, without what is as usual."""
    usual = record._field_defaults
    parts = [repr(value) for value in record[:always]]
    for name, value in zip(record._fields[always:], record[always:], strict=True):
        parts += [] if value == usual[name] else [f"{name}={value!r}"]
    return f"{type(record).__name__}({', '.join(parts)})"


def matching(pattern: str, tree: Iterable[str]) -> list[str]:
    """The places that a pattern names, in the order of their bytes."""
    folder = pattern.rstrip("/")
    literal = BEYOND if pattern.startswith(BEYOND) else ""
    inside = pattern.removeprefix(literal)
    return sorted(
        place
        for place in tree
        if place.startswith(literal)
        if (
            fnmatchcase(place.removeprefix(literal), inside)
            and place.count("/") == pattern.count("/")
        )
        or place.startswith(f"{folder}/")
    )


def is_live(place: str) -> bool:
    """Whether runs read it as it is."""
    return place.startswith(LIVE)


def made_by(step: Step, tree: Mapping[str, str], mode: str) -> Tree:
    """What a task makes of a tree: the function that its script computes."""
    lines = [str(step.salt), f"{step.env or ''}{mode if step.mode else ''}"]
    lines += [step.value] if step.axis else []
    lines += [tree.get(f"{VALUE}{name}", "none") for name in step.depends_on if _values(name)]
    heads: Tree = {}
    for pattern in step.inputs or ():
        for place in matching(pattern, tree):
            if not place.endswith("/") and tree[place] != DANGLING:
                lines += [place, tree[place].rstrip("\n")]
                heads[tree[place][:1]] = place
    text = "".join(f"{line}\n" for line in lines)
    digest = hashlib.md5(text.encode()).hexdigest()
    summary = f"{digest}  -\n"
    name = step.name
    match step.kind:
        case "file":
            return {step.targets[0]: summary}
        case "value":
            return {step.targets[0]: "v\n", f"{VALUE}{name}": digest}
        case "huge":
            return {step.targets[0]: f"{summary}{HUGE}\n"}
        case "pair":
            return {f"o/{name}.1": summary, f"o/deep/{name}.2": summary}
        case "folder":
            each = {f"o/{name}/n{head}": f"{place}\n" for head, place in heads.items()}
            fixed = {f"o/{name}/all": summary, f"o/{name}/link": summary, f"o/{name}/empty/": ""}
            return each | fixed
        case "glob":
            each = {f"o/{name}-n{head}.txt": f"{place}\n" for head, place in heads.items()}
            return each | {f"o/{name}-all.txt": summary}
    return {}


def _values(name: str) -> bool:
    """Whether a task of this name sets a value: the name says so, for scripts to know it too."""
    return name.startswith("val")


# ---------------------------------------------------------------- pipelines


class Pipeline(NamedTuple):
    """Steps, each depending on earlier ones alone."""

    steps: tuple[Step, ...]

    def step(self, name: str) -> Step:
        """A step by its name."""
        return next(step for step in self.steps if step.name == name)

    def named(self, name: str) -> list[Step]:
        """The steps that a name in `depends_on` or in a selection means: all of a matrix."""
        return [step for step in self.steps if name in (step.name, step.base)]

    def expanded(self, tree: Tree) -> Pipeline:
        """With an instance in place of a matrix for each value that its source has."""
        steps: list[Step] = []
        for step in self.steps:
            for value in values(step.axis, tree) if step.axis else (step.value,):
                name = f"{step.name}:{value}" if step.axis else step.name
                inputs = step.inputs and tuple(p.replace("{k}", value) for p in step.inputs)
                upstream = [up.name for up in steps if {up.name, up.base} & {*step.depends_on}]
                steps.append(
                    step._replace(name=name, value=value, inputs=inputs, depends_on=tuple(upstream))
                )
        return Pipeline(tuple(steps))

    def makers(self, step: Step) -> list[Step]:
        """The steps that it depends on, by its inputs or in so many words."""
        return [
            other
            for other in self.steps
            if other.name in step.depends_on
            or any(_meets(path, target) for path in step.inputs or () for target in other.targets)
        ]

    def above(self, name: str) -> set[str]:
        """The names of all that a step depends on, itself among them."""
        found = {name}
        for maker in self.makers(self.step(name)):
            found |= self.above(maker.name)
        return found

    def below(self, name: str) -> set[str]:
        """The names of all that depend on a step, itself among them."""
        return {step.name for step in self.steps if name in self.above(step.name)}


def values(axis: str, tree: Tree) -> list[str]:
    """The values of a matrix."""
    source = AXES[axis]
    if "*" in source:
        head, tail = source.split("*")
        return [place.removeprefix(head).removesuffix(tail) for place in matching(source, tree)]
    lines = [line.strip() for line in tree[source].splitlines()]
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


def _meets(path: str, target: str) -> bool:
    if path.rstrip("/") == target.rstrip("/") or path.startswith(target.rstrip("/") + "/"):
        return True
    return "*" not in target and fnmatchcase(target, path) and target.count("/") == path.count("/")


# ---------------------------------------------------------------- strategies


def _readable(step: Step) -> Iterator[str]:
    """The inputs by which another step may read what this one makes."""
    if step.axis:
        yield f"o/{step.name}.*.out"
        return
    yield from step.targets
    if step.kind == "folder":
        yield f"o/{step.name}/n*"


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    """Up to five steps of all kinds, from any sources and earlier steps."""
    steps: list[Step] = []
    for index in range(draw(st.integers(1, 5))):
        steps.append(draw(_steps(index, tuple(steps))))
    return Pipeline(tuple(steps))


@st.composite
def _steps(draw: st.DrawFn, index: int, steps: tuple[Step, ...]) -> Step:
    code = "shell"
    if draw(st.integers(0, 5)) == 0:
        code = draw(st.sampled_from(CODES if LEARNED["code"] else ("lib",)))
    elif LEARNED["code"] and draw(st.integers(0, 9)) == 0:
        code = "runner"
    kind = draw(st.sampled_from(("file", "pair") if code in CODES else KINDS))
    axis = ""
    if code == "shell" and LEARNED["matrices"] and draw(st.integers(0, 5)) == 0:
        kind, axis = "file", draw(st.sampled_from(sorted(AXES)))
    elif code == "lib" and LEARNED["selections"] and draw(st.booleans()):
        kind = "value"
    paths = [*INPUTS, *(path for step in steps for path in _readable(step))]
    if LEARNED["links"]:
        paths += LINKED
    if LEARNED["journals"]:
        paths.append(DATABASE)
    inputs = tuple(draw(st.lists(st.sampled_from(paths), max_size=3, unique=True)))
    if "glob" in axis:
        inputs = (*inputs, AXES[axis].replace("*", "{k}"))
    patterns = {path for step in steps if step.kind == "glob" for path in step.targets}
    written = [step.name for step in steps if patterns.intersection(inputs) & {*step.targets}]
    others = [step.name for step in steps]
    more = draw(st.lists(st.sampled_from(others), max_size=2, unique=True)) if others else []
    return Step(
        name=f"{'val' if kind == 'value' else 't'}{index}",
        kind=kind,
        inputs=None if not axis and draw(st.integers(0, 7)) == 0 else inputs,
        depends_on=tuple(dict.fromkeys([*written, *more])),
        code=code,
        axis=axis,
        always=draw(st.integers(0, 9)) == 0,
        # "When it last succeeded" and "its last value" are not said of one value of a parameter.
        mode=kind not in ("none", "value") and draw(st.integers(0, 3)) == 0,
    )


ALL_KINDS = Pipeline(
    (
        Step("t0", "pair", ("s/a", "big/*"), ()),
        Step("t1", "folder", ("s/*", "o/t0.1"), ()),
        Step("t2", "glob", ("f", "o/deep/t0.2"), ()),
        Step("t3", "none", ("s/b",), ("t0",)),
        Step("t4", "file", ("o/t1/", "o/t2-*.txt"), ("t2", "t3")),
    )
)
"""Every kind of task and input in one pipeline."""
