"""Random pipelines, and what they are bound to make: the pure half of the model test.

A pipeline's scripts are functions of what they declare: every target is a digest of the names and
contents that the task's inputs match, so what a build from scratch would make is computed here,
without Pit. `Pipeline.write` puts the same thing on the disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

Tree = dict[str, str]
"""Files by place, with their contents; an empty folder's place ends with a slash."""

SOURCES = ("s/a", "s/b", "s/c.x", "s/d.x", "f/p", "f/q/r", "big/u", "big/v")
"""Where sources may lie. `big` is in .pitignore, so runs read it live."""
INPUTS = ("s/a", "s/b", "s/*.x", "s/*", "f", "big/*", "big/u", "s/missin[g]")
KINDS = ("file", "folder", "folder", "glob", "pair", "none", "none")
LIVE = "big/"
DANGLING = "\0dangling"
"""The content of a link to nothing, which no script reads."""


class Step(NamedTuple):
    """One task: `kind` is what sort of targets it has, `salt` what its script adds."""

    name: str
    kind: str
    inputs: tuple[str, ...] | None
    depends_on: tuple[str, ...]
    salt: int = 0
    comment: int = 0
    env: int = 0
    timeout: int = 60
    python: bool = False
    always: bool = False
    mode: bool = False

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets as pit.toml has them."""
        name = self.name
        return {
            "file": (f"o/{name}.txt",),
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
    def script(self) -> str:
        """Where its script lies."""
        return f"code/{self.name}.{'py' if self.python else 'sh'}"

    def owns(self, place: str) -> bool:
        """Whether a place is one of its targets or lies in one."""
        parts = place.split("/")
        return any(
            fnmatchcase("/".join(parts[: target.rstrip("/").count("/") + 1]), target.rstrip("/"))
            for target in self.targets
        )

    def reads(self, tree: Mapping[str, str]) -> Tree:
        """What its inputs match, in the order in which its script reads it."""
        found: Tree = {}
        for pattern in self.inputs or ():
            found |= {place: tree[place] for place in matching(pattern, tree)}
        return found


def matching(pattern: str, tree: Iterable[str]) -> list[str]:
    """The places that a pattern names, in the order of their bytes."""
    folder = pattern.rstrip("/")
    return sorted(
        place
        for place in tree
        if (fnmatchcase(place, pattern) and place.count("/") == pattern.count("/"))
        or place.startswith(f"{folder}/")
    )


def made_by(step: Step, tree: Mapping[str, str], mode: str) -> Tree:
    """What a task makes of a tree: the function that its script computes."""
    lines = [str(step.salt), f"{step.env or ''}{mode if step.mode else ''}"]
    heads: Tree = {}
    for pattern in step.inputs or ():
        for place in matching(pattern, tree):
            if not place.endswith("/") and tree[place] != DANGLING:
                lines += [place, tree[place].rstrip("\n")]
                heads[tree[place][:1]] = place
    text = "".join(f"{line}\n" for line in lines)
    summary = f"{hashlib.md5(text.encode()).hexdigest()}  -\n"
    name = step.name
    match step.kind:
        case "file":
            return {f"o/{name}.txt": summary}
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


# ---------------------------------------------------------------- on the disk


_SHELL = """\
# {comment}
set -e
export LC_ALL=C
files() {{
  {files}
}}
summary() {{
  {{
    printf '%s\\n' {salt} "$EXTRA$MODE"
    files | while read -r f; do printf '%s\\n' "$f"; cat "$f"; done
  }} | md5sum
}}
MODE={mode}
{spoil}
control=$PIT_WORKSPACE/control/{name}
if [ -e "$control" ]; then . "$control"; fi
{make}
"""

_MAKE = {
    "file": "summary > o/{n}.txt",
    "pair": "summary > o/{n}.1\nsummary > o/deep/{n}.2",
    "folder": "rm -f o/{n}/all\nmkdir -p o/{n}/empty\nsummary > o/{n}/all\nln -s all o/{n}/link\n"
    'files | while read -r f; do read -r c < "$f"; '
    'printf "%s\\n" "$f" > "o/{n}/n${{c%"${{c#?}}"}}"; done',
    "glob": "summary > o/{n}-all.txt\n"
    'files | while read -r f; do read -r c < "$f"; '
    'printf "%s\\n" "$f" > "o/{n}-n${{c%"${{c#?}}"}}.txt"; done',
    "none": "summary",
}
_SPOIL = {
    "file": "echo half > o/{n}.txt",
    "pair": "echo half > o/{n}.1",
    "folder": "mkdir -p o/{n}; echo half > o/{n}/all",
    "glob": "echo half > o/{n}-all.txt",
    "none": ":",
}

_PYTHON = """\
# {comment}
import glob, hashlib, os
from lib_{name} import SALT
lines = [str(SALT), os.environ.get("EXTRA", "") + {mode}]
for pattern in {patterns!r}:
    found = glob.glob(pattern)
    if os.path.isdir(pattern):
        found = [os.path.join(at, name) for at, _, names in os.walk(pattern) for name in names]
    for place in sorted(found):
        if os.path.isfile(place):
            lines += [place, open(place).read().rstrip("\\n")]
text = "".join(line + "\\n" for line in lines)
for place in {targets!r}:
    open(place, "w").write(hashlib.md5(text.encode()).hexdigest() + "  -\\n")
"""


def _files(patterns: Iterable[str]) -> str:
    """A shell function's body that prints the files that the patterns match, in order."""
    found = [
        f'for f in {pattern}; do if [ -f "$f" ]; then echo "$f"; '
        f'elif [ -d "{pattern}" ]; then find -L "${{f%/}}" -type f | sort; fi; done'
        for pattern in patterns
    ]
    return "\n  ".join(found) or ":"


def shell_script(step: Step) -> str:
    """The script of a task; it spoils its target first, then does what its control says."""
    return _SHELL.format(
        comment=step.comment,
        files=_files(step.inputs or ()),
        salt=step.salt,
        mode="$PIT_PARAM_MODE" if step.mode else "",
        spoil=_SPOIL[step.kind].format(n=step.name),
        name=step.name,
        make=_MAKE[step.kind].format(n=step.name),
    )


class Pipeline(NamedTuple):
    """Steps, each depending on earlier ones alone."""

    steps: tuple[Step, ...]

    def write(self, project: Path) -> None:
        """pit.toml and the scripts, where they are not as they should be."""
        _put(project / "pit.toml", self.toml(project))
        _put(project / ".pitignore", LIVE + "\n")
        for step in self.steps:
            if not step.python:
                _put(project / step.script, shell_script(step))
                continue
            mode = 'os.environ["PIT_PARAM_MODE"]' if step.mode else '""'
            text = _PYTHON.format(
                comment=step.comment,
                name=step.name,
                mode=mode,
                patterns=step.inputs or (),
                targets=step.targets,
            )
            _put(project / step.script, text)
            lib = f"# {step.comment}\nSALT  =  {step.salt}\n"
            _put(project / f"code/lib_{step.name}.py", lib)

    def toml(self, project: Path) -> str:
        """The project's pit.toml."""
        tasks = "".join(self._task(step) for step in self.steps)
        params = '[dag.params]\nmode = { type = "string", default = "1" }\n'
        return f'[dag]\nname = "m"\n[dag.env]\nLIVE = "{project}"\n{params}{tasks}'

    def _task(self, step: Step) -> str:
        lines = ["[[tasks]]", f'name = "{step.name}"', f'script = "{step.script}"']
        lines += [] if step.inputs is None else [f"inputs = {_listed(step.inputs)}"]
        lines += [f"targets = {_listed(step.targets)}"] if step.targets else []
        lines += [f"depends_on = {_listed(step.depends_on)}"] if step.depends_on else []
        lines += ["always = true"] if step.always else []
        lines += [f'timeout = "{step.timeout}s"', f"params = {_listed(_params(step))}"]
        lines += [f'env = {{ EXTRA = "{step.env}" }}'] if step.env else []
        return "\n".join(lines) + "\n"

    def step(self, name: str) -> Step:
        """A step by its name."""
        return next(step for step in self.steps if step.name == name)

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


def _meets(path: str, target: str) -> bool:
    return path.rstrip("/") == target.rstrip("/") or path.startswith(target.rstrip("/") + "/")


def _params(step: Step) -> tuple[str, ...]:
    return ("mode",) if step.mode else ()


def _listed(texts: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


# ---------------------------------------------------------------- strategies


def _readable(step: Step) -> Iterator[str]:
    """The inputs by which another step may read what this one makes."""
    yield from step.targets
    if step.kind == "folder":
        yield f"o/{step.name}/n*"


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    """Up to five steps of all kinds, from any sources and earlier steps."""
    steps: list[Step] = []
    for index in range(draw(st.integers(1, 5))):
        python = draw(st.integers(0, 7)) == 0
        kind = draw(st.sampled_from(("file", "pair") if python else KINDS))
        paths = [*INPUTS, *(path for step in steps for path in _readable(step))]
        inputs = tuple(draw(st.lists(st.sampled_from(paths), max_size=3, unique=True)))
        patterns = {path for step in steps if step.kind == "glob" for path in step.targets}
        written = [step.name for step in steps if patterns.intersection(inputs) & {*step.targets}]
        others = [step.name for step in steps]
        more = draw(st.lists(st.sampled_from(others), max_size=2, unique=True)) if others else []
        steps.append(
            Step(
                name=f"t{index}",
                kind=kind,
                inputs=None if draw(st.integers(0, 7)) == 0 else inputs,
                depends_on=tuple(dict.fromkeys([*written, *more])),
                python=python,
                always=draw(st.integers(0, 9)) == 0,
                mode=draw(st.integers(0, 3)) == 0,
            )
        )
    return Pipeline(tuple(steps))


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
