"""The edits of the model test: what people and programs do to a project between two runs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import currently_in_test_context, note

from tests.engine.model.foretold import scan
from tests.engine.model.pipelines import (
    AXES,
    BEYOND,
    FLIPS,
    HUGE,
    KEPT,
    SOURCES,
    Pipeline,
    Tree,
    values,
)

if TYPE_CHECKING:
    from tests.engine.model.bench import Bench

ADDED = ("s/missing", "s/e.x", "f/new", "big/w")
LISTS = ("a\n", "a\nb\n", "b\nc\n", "a\n# x\n\nc\n")
"""What may stand in a file of values."""

_EDITS = {
    "": (
        *("write", "sly", "replace", "touch", "delete", "rename", "add"),
        *("hand", "sly hand", "drop", "touch target"),
        *("salt", "salt", "comment", "env", "timeout", "always", "rest"),
    ),
    "strangers": (
        *("stranger", "stranger", "stranger matches", "stranger leads out", "folder"),
        *("strangers gone",) * 3,
    ),
    "links": ("flip", "flip", "hard link", "write kept", "sly kept"),
    "swaps": ("swap",),
    "journals": ("row",),
    "matrices": ("list", "value", "value gone"),
    "selections": ("forget",),
}


def known(learned: dict[str, bool]) -> list[str]:
    """The edits that may be made."""
    found = [edits for feature, edits in _EDITS.items() if learned.get(feature, True)]
    return [each for edits in found for each in edits]


def tell(line: str) -> None:
    """Say what is done, to be seen if the test fails."""
    if currently_in_test_context():
        note(line)
    else:
        print(line)


class Edits:
    """The edits of one project."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._project = bench.project
        self._rows = 1

    def make(self, what: str, which: int, value: int) -> None:
        """One edit; `which` thing it is about, with which value."""
        method = getattr(self, f"_{what.replace(' ', '_')}", None)
        if method is not None:
            told = method(which, value)
        elif what in ("salt", "comment", "env", "timeout", "always"):
            told = self._redefine(what, which, value)
        elif what in _TARGET_EDITS:
            told = self._target(what, which, value)
        else:
            told = self._source(what, which, value)
        tell(f"  {what}: {told or 'nothing to be done'}")

    # ------------------------------------------------------------------ sources

    def _source(self, what: str, which: int, value: int) -> str:
        """Change a file that no task makes, in one of the ways in which that happens."""
        names = {"add": ADDED, "write kept": _WRITTEN, "sly kept": _WRITTEN}.get(what, SOURCES)
        place = names[which % len(names)]
        path = self._bench.at(place)
        if what in ("write", "add", "write kept"):
            if path.is_dir():
                return ""
            self._bench.put(place, f"{value}\n")
        elif path.is_file():
            to = self._bench.at(SOURCES[value % len(SOURCES)])
            _SOURCE_EDITS[what](path, f"{value}\n", to)
        else:
            return ""
        return f"{place}, {value}"

    def _rest(self, _which: int, _value: int) -> str:
        time.sleep(0.15)
        return "0.15 s"

    def _flip(self, which: int, value: int) -> str:
        """Let a link lead elsewhere."""
        place = list(FLIPS)[which % len(FLIPS)]
        to = FLIPS[place][value % len(FLIPS[place])]
        lead(self._bench.at(place), to)
        return f"{place} to {to}"

    def _hard_link(self, which: int, value: int) -> str:
        """Make two sources one file."""
        one, other = (SOURCES[each % len(SOURCES)] for each in (which, value))
        path, to = self._bench.at(one), self._bench.at(other)
        if not path.is_file() or to.is_dir() or one == other:
            return ""
        to.parent.mkdir(parents=True, exist_ok=True)
        to.unlink(missing_ok=True)
        os.link(path, to)
        return f"{other} is {one}"

    def _swap(self, which: int, _value: int) -> str:
        """Another folder takes the place of one: the same names, sizes and times."""
        folder = self._project / ("s", "f", "k/d1")[which % 3]
        if not folder.is_dir():
            return ""
        spare = self._bench.root / "spare"
        shutil.rmtree(spare, ignore_errors=True)
        make_like(folder, spare)
        shutil.rmtree(self._bench.root / "away", ignore_errors=True)
        folder.rename(self._bench.root / "away")
        spare.rename(folder)
        shutil.rmtree(self._bench.root / "away")
        return str(folder)

    def _row(self, _which: int, _value: int) -> str:
        """A row for the database, which stays in its journal."""
        server = self._bench.database
        if server is None:
            return ""
        self._rows += 1
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(f"{self._rows}\n")
        server.stdin.flush()
        assert server.stdout.readline() == "done\n"
        return str(self._rows)

    # ------------------------------------------------------------------ values of matrices

    def _list(self, which: int, value: int) -> str:
        """Other values in a file of them, written in place."""
        place = ("v/list.txt", f"{BEYOND}ext/v/list.txt")[which % 2]
        self._bench.put(place, LISTS[value % len(LISTS)])
        return f"{place}, {LISTS[value % len(LISTS)].split()}"

    def _value(self, which: int, value: int) -> str:
        """A file that a pattern of values matches, new or written in place."""
        place = f"{('v', f'{BEYOND}ext/v')[which % 2]}/{'abc'[value % 3]}.v"
        self._bench.put(place, f"{value}v\n")
        return place

    def _value_gone(self, which: int, value: int) -> str:
        """One such file less, but for the last."""
        source = AXES[("glob", "glob beyond")[which % 2]]
        found = values(("glob", "glob beyond")[which % 2], scan(self._project))
        if len(found) < 2:
            return ""
        place = source.replace("*", found[value % len(found)])
        self._bench.at(place).unlink()
        return place

    # ------------------------------------------------------------------ tasks and their targets

    def _redefine(self, what: str, which: int, value: int) -> str:
        """Change one key or the code of a step."""
        steps = list(self._bench.declared.steps)
        index = which % len(steps)
        new: dict[str, Any] = {"timeout": value + 10, "always": bool(value % 2)}
        changed: dict[str, Any] = {what: new.get(what, value % 3)}
        steps[index] = steps[index]._replace(**changed)
        self._bench.declared = Pipeline(tuple(steps))
        return f"{steps[index].name}, {changed[what]}"

    def _forget(self, which: int, value: int) -> str:
        """Drop what is known of a task."""
        if self.led_out():
            return ""
        steps = self._bench.declared.expanded(scan(self._project)).steps
        name, mode = steps[which % len(steps)].name, "12"[value % 2]
        code, _, err = self._bench.pit("forget", f"m/{name}", "-p", f"mode={mode}")
        assert code == 0, err
        self._bench.foretold.forget(name, mode)
        return f"{name}, mode = {mode}"

    def _target(self, what: str, which: int, value: int) -> str:
        """Meddle with something that a task has made."""
        made = sorted(p for p in scan(self._project) if p.startswith("o/") and p[-1] != "/")
        made = [place for place in made if self._is_plain(place)]
        if what == "folder":  # the scripts read no link to a folder, and there is one to `all`
            made = [place for place in made if not place.endswith(("/all", "/x"))]
        if not made:
            return ""
        place = made[which % len(made)]
        path = self._project / place
        text = "" if path.stat().st_size >= HUGE else path.read_text()[1:]
        _TARGET_EDITS[what](path, f"{value}{text}")
        return f"{place}, {value}"

    def _is_plain(self, place: str) -> bool:
        """Whether neither it nor a folder above is a link."""
        path = self._project / place
        return os.path.realpath(path) == os.path.join(os.path.realpath(self._project), place)

    # ------------------------------------------------------------------ strangers

    def _folders(self) -> list[str]:
        """The folders that are targets."""
        targets = [target for step in self._bench.declared.steps for target in step.targets]
        return sorted(target for target in targets if target.endswith("/"))

    def led_out(self) -> str:
        """A folder among the targets that is a link to somebody else's; empty if none is."""
        folders = (folder.rstrip("/") for folder in self._folders())
        return next((each for each in folders if (self._project / each).is_symlink()), "")

    def _stranger(self, which: int, value: int) -> str:
        """A file in a folder that a task makes."""
        folders = self._folders()
        if not folders:
            return ""
        place = f"{folders[which % len(folders)]}{('extra', 'sub/extra')[which % 2]}"
        if (self._project / place).is_dir():
            return ""
        self._bench.put(place, f"{value}\n")
        return place

    def _stranger_leads_out(self, which: int, _value: int) -> str:
        """A link to a folder of somebody else in place of one that a task makes."""
        folders = self._folders()
        if not folders:
            return ""
        path = self._project / folders[which % len(folders)].rstrip("/")
        path.parent.mkdir(exist_ok=True)
        if path.is_symlink():
            return ""
        shutil.rmtree(path, ignore_errors=True)
        path.symlink_to("../../../ext")
        return str(path)

    def _stranger_matches(self, which: int, value: int) -> str:
        """A file that a pattern among the targets matches, and perhaps what the task will make."""
        steps = [step.name for step in self._bench.declared.steps if step.kind == "glob"]
        if not steps:
            return ""
        place = f"o/{steps[which % len(steps)]}-{('all', 'n5', 'extra')[value % 3]}.txt"
        if (self._project / place).is_dir():
            return ""
        self._bench.put(place, f"{value}\n")
        return place

    def _strangers_gone(self, which: int, _value: int) -> str:
        """All that strangers have put among the targets goes."""
        gone = []
        found = [*self._project.glob("o/**/x"), *self._project.glob("o/*-extra.txt")]
        for path in filter(Path.is_file, found):
            gone.append(path.relative_to(self._project).as_posix())
            path.unlink()
            if path.name == "x":
                path.parent.rmdir()
        for folder in self._folders():
            path = self._project / folder.rstrip("/")
            if path.is_symlink():
                path.unlink()
                gone.append(folder)
            for place in ("sub/extra", "extra"):
                if (path / place).is_file():
                    (path / place).unlink()
                    gone.append(f"{folder}{place}")
            if (path / "sub").is_dir() and not os.listdir(path / "sub"):
                (path / "sub").rmdir()
        return ", ".join(gone)


_WRITTEN = tuple(place for place in KEPT if not place.endswith((".txt", ".v", "precious")))


# ---------------------------------------------------------------- files


def lead(link: Path, to: str) -> None:
    """Let a link lead there, as `ln -sfn` does."""
    link.parent.mkdir(parents=True, exist_ok=True)
    new = link.with_name("new")
    new.symlink_to(to)
    new.rename(link)


def same_file(path: Path, other: Path) -> bool:
    """Whether both are the same file, by whatever way."""
    return path.is_file() and path.samefile(other)


def altered(tree: Tree) -> Tree:
    """The same files with other contents of the same size."""
    return {place: chr(ord(text[0]) ^ 1) + text[1:] for place, text in tree.items() if text}


def make_like(folder: Path, new: Path) -> None:
    """A folder with the same names, sizes and times, and `altered` contents."""
    shutil.copytree(folder, new, symlinks=True)
    for path in new.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size:
            (text,) = altered({"": path.read_text()}).values()
            _slyly(path, text)


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
    if not (to.exists() and to.samefile(path)):  # else nothing happens, and both stay
        to.parent.mkdir(parents=True, exist_ok=True)
        path.replace(to)


def _folder_instead(path: Path, content: str) -> None:
    path.unlink()
    path.mkdir()
    (path / "x").write_text(content)


_SOURCE_EDITS: dict[str, Callable[[Path, str, Path], object]] = {
    "sly": _slyly,
    "sly kept": _slyly,
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
