"""What a task does besides its work while it runs: it fails, edits the live project, appends to
what it was handed, or spoils its snapshot. Each is foretold, and told to the task's script in
shell.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

from tests.engine.model.edits import altered, make_like, same_file
from tests.engine.model.foretold import Meddling
from tests.engine.model.pipelines import (
    BEYOND,
    FLIPS,
    SOURCES,
    Pipeline,
    Step,
    Tree,
    is_live,
    matching,
)

if TYPE_CHECKING:
    from tests.engine.model.bench import Bench

TROUBLES = (
    *("", "", "", "", "fail", "fail", "edit", "edit", "edit", "edit live", "edit target"),
    *("there and back", "swap", "append", "append and fail", "spoil", "spoil", "spoil"),
)
_FEATURES = {
    "there and back": "links",
    "swap": "swaps",
    "append": "written over",
    "spoil": "bases",
    "append and fail": "written over",
}
"""What has to be learned for a trouble to be made."""


def known(learned: dict[str, bool]) -> list[str]:
    """The troubles that may be made."""
    return [each for each in TROUBLES if each not in _FEATURES or learned[_FEATURES[each]]]


class Trouble(NamedTuple):
    """What one task does: as it is foretold, and in shell before and after its work."""

    task: str = ""
    meddling: Meddling = Meddling()
    first: str = ""
    then: str = ""
    fails: bool = False

    @property
    def failing(self) -> frozenset[str]:
        """The tasks that fail."""
        return frozenset({self.task} if self.fails else ())


def of(
    bench: Bench, pipeline: Pipeline, kind: str, victim: int, which: int, before: Tree
) -> Trouble:
    """The trouble of this kind, where the victim can make it."""
    step = pipeline.steps[victim % len(pipeline.steps)]
    if step.python:
        return Trouble()
    match kind:
        case "fail":
            return Trouble(step.name, first="exit 3\n", fails=True)
        case "edit":
            return _writing(bench, step, SOURCES[which % 4], before)
        case "edit target" if step.targets and step.kind == "file":
            return _writing(bench, step, step.targets[0], before)
        case "edit live" | "there and back":
            alone = _read_alone(bench, pipeline, step, before)
            if alone and kind == "edit live":
                return _writing(bench, step, alone[which % len(alone)], before)
            return _there_and_back(bench, step, alone, before) if alone else Trouble()
        case "swap":
            return _swapping(bench, step, before)
        case "spoil":
            return _spoiling(pipeline, step, which, before)
        case "append" | "append and fail":
            return _appending(pipeline, step, which, fails=kind.endswith("fail"))
    return Trouble()


def _writing(bench: Bench, step: Step, place: str, before: Tree) -> Trouble:
    """An edit in place that leaves size and times, seen wherever else the same file is seen."""
    path = bench.at(place)
    if not path.is_file():
        return Trouble()
    same = [each for each in before if same_file(bench.at(each), path)]
    meddling = Meddling(step.name, live=dict.fromkeys(same, "e\n"))
    return Trouble(step.name, meddling, first=_WRITE.format(path=path, content="e"))


_WRITE = """\
touch -r "{path}" stamp
echo {content} > "{path}"
touch -r stamp "{path}"
"""


def _read_alone(bench: Bench, pipeline: Pipeline, step: Step, before: Tree) -> list[str]:
    """The live files that a task reads, and no other by whatever way."""
    found = []
    for place in step.reads(before):
        if is_live(place) and not place.endswith(".db"):
            path = bench.at(place)
            same = {each for each in before if is_live(each) and same_file(bench.at(each), path)}
            if [s.name for s in pipeline.steps if same & s.reads(before).keys()] == [step.name]:
                found.append(place)
    return found


def _there_and_back(bench: Bench, step: Step, alone: list[str], before: Tree) -> Trouble:
    """A link on the way to an input leads elsewhere while the task works."""
    place = f"{BEYOND}ext/cur/x"
    if place not in alone:
        return Trouble()
    link = bench.at(f"{BEYOND}ext/cur")
    now = os.readlink(link)
    other = next(to for to in FLIPS[f"{BEYOND}ext/cur"] if to != now)
    there, back = ({place: before[f"{BEYOND}ext/{to}/x"]} for to in (other, now))
    return Trouble(
        step.name,
        Meddling(step.name, live=there, back=back),
        first=f'ln -sfn {other} "{link}"\n',
        then=f'ln -sfn {now} "{link}"\n',
    )


def _swapping(bench: Bench, step: Step, before: Tree) -> Trouble:
    """Another folder takes the place of one of sources, with the same names, sizes and times."""
    folder = bench.project / "s"
    live = altered({place: text for place, text in before.items() if place.startswith("s/")})
    if not live:
        return Trouble()
    spare = bench.root / "spare"
    for each in (spare, bench.root / "away"):
        shutil.rmtree(each, ignore_errors=True)
    make_like(folder, spare)
    first = f'mv "{folder}" "{bench.root}/away"\nmv "{spare}" "{folder}"\n'
    return Trouble(step.name, Meddling(step.name, live=live), first=first)


def _appending(pipeline: Pipeline, step: Step, which: int, fails: bool) -> Trouble:
    """The task appends to a file that another has made, and that it alone reads."""
    made = [
        f"{target}all" if target.endswith("/") else target
        for maker in pipeline.makers(step)
        for target in maker.targets
        if "*" not in target
    ]
    places = [place for place in made if _readers(pipeline, place) == [step.name]]
    if not places:
        return Trouble()
    place = places[which % len(places)]
    then = f"echo over >> {place}\n" + ("exit 3\n" if fails else "")
    return Trouble(step.name, Meddling(step.name, over=place), then=then, fails=fails)


def _readers(pipeline: Pipeline, place: str) -> list[str]:
    return [
        step.name
        for step in pipeline.steps
        if any(matching(pattern, [place]) for pattern in step.inputs or ())
    ]


def _spoiling(pipeline: Pipeline, step: Step, which: int, before: Tree) -> Trouble:
    """What a task does, after its work, to parts of its snapshot that no other task reads.

    Nothing of it is foretold: whatever it is, no later run shall see it.
    """
    others = [other for other in pipeline.steps if other.name != step.name]
    read = {place for other in others for place in other.reads(before)}
    links = any(place.startswith("l/") for place in read)
    free = {
        place
        for place in before
        if place.startswith(("s/", "f/") if links else ("s/", "f/", "k/")) and place not in read
    }
    deeds = [
        SPOILS[(which + number) % len(SPOILS)].format(at=place)
        for number, place in enumerate(sorted(free))
    ]
    # Last, and one alone: through a link, what came after it would reach the live project.
    folders = {os.path.dirname(place) for place in free}
    alone = [at for at in sorted(folders) if {p for p in before if p.startswith(f"{at}/")} <= free]
    if alone:
        way = SPOILS_OF_FOLDERS[which % len(SPOILS_OF_FOLDERS)]
        deeds.append(way.format(folder=alone[which % len(alone)]))
    tried = "".join(f"{{ {deed}; }} 2> /dev/null || true\n" for deed in deeds)
    return Trouble(step.name, then=tried + _STRANGE)


SPOILS = (
    "touch -r {at} stamp; printf z | dd of={at} conv=notrunc; touch -r stamp {at}",
    "chmod 600 {at}",
    'ln -f {at} "$PIT_WORKSPACE/kept"; echo z > "$PIT_WORKSPACE/kept"',
    "mkdir -p zz; mv {at} zz/moved",
    "rm {at}",
    'rm {at}; ln -s "$PIT_WORKSPACE/ext/precious" {at}',
    "rm {at}; mkdir -p {at}/in/ner",
    'ln -f "$PIT_WORKSPACE/ext/precious" {at}',
    "cp -p {at} stamp; mv stamp {at}",
)
"""What may be done to a file of a snapshot, in shell: other bytes under the old time, permissions,
a name elsewhere, another name, none, a link, a folder, a hard link to a live file, a copy."""
SPOILS_OF_FOLDERS = (
    "mkdir -p zz; mv {folder} zz/away; echo z > {folder}",
    'rm -rf {folder}; ln -s "$LIVE/{folder}" {folder}',
    "rm -rf {folder}",
    "chmod 000 {folder}",
)
"""The same for a folder."""
_STRANGE = """\
mkdir -p zz/deep/er code/__pycache__ lib/p/strange
echo z > zz/deep/er/z
echo z > code/__pycache__/strange.pyc
chmod 500 zz/deep
chmod 700 code
"""
