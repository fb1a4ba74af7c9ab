"""The files of code that a Python script uses: its modules of the project, and their data.

Python looks for a module in the script's own folder first, then in the folders of PYTHONPATH.
Here every file counts that could be meant, also one that another hides: what is there but not
taken can only make a task stale once too often. What is not the project's is ignored, for it is
part of the environment, whose digest stands for it.

In an imported package everything counts that is not Python: templates, tables, compiled modules.
Where a module of those that are found loads others by names made at run time, all modules that
could be meant count, and whole folders of PYTHONPATH; where one changes the import path, modules
are looked for in all folders of the project.

Limits: a program that is started with a name made at run time is not seen, nor code that another
package loads for the project by a name that stands in a data file. Such files are `inputs`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pit.model import Record
from pit.project import selection
from pit.project.digest import Digests
from pit.project.python import imports
from pit.project.python.imports import Import, Imports
from pit.spec.patterns import ancestors

_MODULE_ENDS = (".py", ".so", ".pyd")
_BUILT = (".egg-info", ".dist-info")
_AT_START = ("sitecustomize", "usercustomize")
"""Modules that Python imports by itself, from any folder of PYTHONPATH."""
_HIDDEN_BY_US = sys.stdlib_module_names.union(_AT_START)

Roots = tuple[str, ...]
"""Folders, relative to the project, in which modules are looked for; "" is the project."""


class Sources(Record):
    """The files that a script uses, relative to the project: the script first, the rest sorted.

    `dynamic`: which modules are loaded cannot be read from the code, so all that could be are
    here; `because` says what in the code that is.
    """

    files: tuple[str, ...]
    dynamic: bool = False
    because: tuple[str, ...] = ()


def python_sources(
    script: str, root: Path, site_paths: Iterable[str], digests: Digests | None = None
) -> Sources:
    """What a script uses as the files are now; OSError if one of them cannot be read.

    For many scripts at one moment, ask one Finder.
    """
    return Finder(root, site_paths, digests).sources(script)


class _Folder(NamedTuple):
    """What a folder holds: files by the module that they may be, folders, and other files."""

    modules: dict[str, list[str]]
    folders: frozenset[str]
    data: list[str]


_NOTHING = _Folder({}, frozenset(), [])


class Finder:
    """Finds sources in one project at one moment: what it has looked at once, it knows.

    So make a new one whenever files may have changed in between.
    """

    def __init__(
        self, root: Path, site_paths: Iterable[str], digests: Digests | None = None
    ) -> None:
        self._root = os.path.abspath(root)
        self._real = os.path.realpath(root)
        self._sites = tuple(dict.fromkeys(self._inside(site_paths)))
        self._digests = Digests() if digests is None else digests
        self._folders: dict[str, _Folder] = {}
        self._imports: dict[str, Imports] = {}
        self._steps: dict[Roots, dict[str, frozenset[str]]] = {}
        self._data: dict[str, frozenset[str]] = {}

    def sources(self, script: str) -> Sources:
        """What `script`, a path relative to the project, uses."""
        script = os.path.normpath(script)
        roots = tuple(dict.fromkeys((*self._script_folders(script), *self._sites)))
        reached = self._reached({script}, roots)
        dynamic, moved = self._saying(reached, "dynamic"), self._saying(reached, "moved")
        if dynamic:
            reached = self._reached(reached | self._anything(roots), roots)
        if moved or self._saying(reached, "moved"):
            roots = tuple(dict.fromkeys((*roots, *self._all_folders())))
            reached = self._reached(reached, roots)
            if dynamic or self._saying(reached, "dynamic"):
                reached = self._reached(reached | self._anything(roots), roots)
        because = tuple(dict.fromkeys((*dynamic, *moved)))
        files = (script, *sorted(reached - {script}))
        return Sources(files=files, dynamic=bool(because), because=because)

    def _saying(self, reached: Iterable[str], what: str) -> tuple[str, ...]:
        return tuple(
            f"{place}: {said}"
            for place in sorted(reached)
            if place.endswith(".py") and (said := getattr(self._of(place), what))
        )

    # ------------------------------------------------------------------ where to look

    def _inside(self, paths: Iterable[str]) -> Iterator[str]:
        """Those of the paths that lie in the project, as places: as given, and links resolved."""
        for path in paths:
            given = os.path.normpath(os.path.join(self._root, path))
            real = os.path.realpath(given)
            if selection.lies_in(real, self._real):
                if selection.lies_in(given, self._root):
                    yield given[len(self._root) + 1 :]
                yield real[len(self._real) + 1 :]

    def _script_folders(self, script: str) -> Iterator[str]:
        """The script's folder; if the script is a link, Python takes that of the real file."""
        yield os.path.dirname(script)
        yield from self._inside([os.path.dirname(os.path.realpath(f"{self._root}/{script}"))])

    def _all_folders(self) -> list[str]:
        """Every folder of the project from which a module might be imported, or a package."""
        holding = [folder for folder in self._below("") if self._folder(folder).modules]
        return sorted({"", *holding, *(above for each in holding for above in ancestors(each))})

    def _uninvited(self, roots: Roots) -> Iterator[str]:
        """Modules that come before those of the standard library, whoever imports them."""
        for root in roots:
            folder = self._folder(root)
            for name in (folder.modules.keys() | folder.folders) & _HIDDEN_BY_US:
                yield from self._named(Import(module=name), (root,))

    def _anything(self, roots: Roots) -> set[str]:
        """Every module that some name may mean, the data of every package, and all that lies in
        the folders of PYTHONPATH, unless one of them is the project itself."""
        found: set[str] = set()
        for folder in (folder for root in roots for folder in self._below(root)):
            found.update(self._modules_in(folder))
            if folder and "__init__" in self._folder(folder).modules:
                found |= self._data_of(folder)
        return found.union(*(self._data_of(site) for site in self._sites if site))

    # ------------------------------------------------------------------ going along imports

    def _reached(self, start: set[str], roots: Roots) -> set[str]:
        """All files that these lead to, themselves and what Python imports uninvited included."""
        steps = self._steps.setdefault(roots, {})
        reached = start.union(self._uninvited(roots))
        todo = list(reached)
        while todo:
            place = todo.pop()
            if place not in steps:
                steps[place] = frozenset(self._leads(place, roots))
            new = steps[place] - reached
            reached |= new
            todo += new
        return reached

    def _leads(self, place: str, roots: Roots) -> Iterator[str]:
        """The files that one file names."""
        if not place.endswith(".py"):
            return
        found = self._of(place)
        for each in found.imports:
            yield from self._named(each, self._bases(place, each.level, roots))
        for text in found.strings:
            yield from self._said(text, roots)
        for text in found.scripts:
            yield from self._script(text, place, roots)

    def _bases(self, place: str, level: int, roots: Roots) -> Roots:
        """Where the search for an import in a file begins: at the roots unless it is relative."""
        if not level:
            return roots
        base = os.path.dirname(place)
        for _ in range(level - 1):
            base = os.path.dirname(base)
        names = {
            _relative(base, root) for root in roots if not root or selection.lies_in(base, root)
        }
        others = (self._portions(name.split("/"), roots) for name in names if name)
        return tuple(dict.fromkeys((base, *(folder for found in others for folder in found))))

    def _portions(self, parts: Iterable[str], roots: Iterable[str]) -> list[str]:
        """The folders, one for each root that has it, that together are a package."""
        folders = list(roots)
        for part in parts:
            folders = [_join(each, part) for each in folders if part in self._folder(each).folders]
        return folders

    def _named(self, what: Import, bases: Roots) -> set[str]:
        """The files that importing something executes, and the data of its packages."""
        found: set[str] = set()
        folders, packages = list(bases), set[str]()
        if not what.module:  # from . import x
            found.update(place for each in folders for place in self._module(each, "__init__"))
            packages.update(each for each in folders if each)
        for part in what.module.split(".") if what.module else ():
            found.update(place for each in folders for place in self._module(each, part))
            folders = self._portions([part], folders)
            packages.update(folders)
        for name in what.names:
            found.update(place for each in folders for place in self._members(each, name))
        return found.union(*map(self._data_of, packages)) if found else found

    def _members(self, folder: str, name: str) -> Iterator[str]:
        """The modules that `from <folder> import <name>` may load."""
        if name != "*":
            yield from self._module(folder, name)
            return
        held = self._folder(folder)
        for each in held.modules.keys() | held.folders:
            yield from self._module(folder, each)

    def _module(self, folder: str, name: str) -> Iterator[str]:
        """The files in a folder that may be the module; for a package, its `__init__`."""
        held = self._folder(folder)
        yield from (_join(folder, file) for file in held.modules.get(name, ()))
        if name in held.folders:
            inner = _join(folder, name)
            files = self._folder(inner).modules.get("__init__", ())
            yield from (_join(inner, file) for file in files)

    def _modules_in(self, folder: str) -> Iterator[str]:
        for files in self._folder(folder).modules.values():
            yield from (_join(folder, file) for file in files)

    def _said(self, text: str, roots: Roots) -> set[str]:
        """The files of the module that a text names: `package.module`, `module:name` or `name`.

        Of a dotted text two words must be there, or every file name such as `load.csv` would
        mean the module `load`.
        """
        dotted, named, _ = text.partition(":")
        parts = dotted.split(".")
        if len(parts) > 1 and not named and not self._is_there(parts[:2], roots):
            return set()
        return self._named(Import(module=dotted), roots)

    def _is_there(self, parts: list[str], roots: Roots) -> bool:
        *packages, last = parts
        held = [self._folder(each) for each in self._portions(packages, roots)]
        return any(last in each.modules or last in each.folders for each in held)

    def _script(self, text: str, place: str, roots: Roots) -> Iterator[str]:
        """The script of the project that a text names, from wherever that may be meant."""
        for folder in {"", os.path.dirname(place), *roots}:
            named = os.path.normpath(_join(folder, text.lstrip("/")))
            if not named.startswith("..") and named in self._modules_in(os.path.dirname(named)):
                yield named

    # ------------------------------------------------------------------ what is there

    def _of(self, place: str) -> Imports:
        found = self._imports.get(place)
        if found is None:
            path = f"{self._root}/{place}"
            found = imports.of(path, self._digests.of(path).digest)
            self._imports[place] = found
        return found

    def _folder(self, place: str) -> _Folder:
        found = self._folders.get(place)
        if found is None:
            found = self._folders[place] = _listed(f"{self._root}/{place}", not place)
        return found

    def _data_of(self, package: str) -> frozenset[str]:
        """All files in a folder that are not modules, at any depth."""
        if package not in self._data:
            self._data[package] = frozenset(
                _join(folder, file)
                for folder in self._below(package)
                for file in self._folder(folder).data
            )
        return self._data[package]

    def _below(self, folder: str) -> Iterator[str]:
        """A folder and those in it, at any depth; through links, but never round in circles."""
        todo = [(folder, frozenset({os.path.realpath(f"{self._root}/{folder}")}))]
        while todo:
            place, above = todo.pop()
            yield place
            for name in sorted(self._folder(place).folders):
                inner = _join(place, name)
                real = os.path.realpath(f"{self._root}/{inner}")
                if real not in above:
                    todo.append((inner, above | {real}))


def _listed(path: str, top: bool) -> _Folder:
    """What of a folder could be code or belong to it: all that a snapshot takes."""
    try:
        with os.scandir(path) as entries:
            found = [entry for entry in entries if not selection.is_left_out(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        return _NOTHING
    if not top and selection.is_virtual_environment([entry.name for entry in found]):
        return _NOTHING
    modules: dict[str, list[str]] = {}
    folders, data = set(), []
    for entry in found:
        name = entry.name
        if _is_folder(entry):
            if not name.endswith(_BUILT):
                folders.add(name)
        elif not _is_file(entry):
            continue
        elif name.endswith(_MODULE_ENDS):
            modules.setdefault(name.partition(".")[0], []).append(name)
        elif not selection.is_database(name):
            data.append(name)
    return _Folder(modules, frozenset(folders), data)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _is_file(entry: os.DirEntry[str]) -> bool:
    return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _relative(place: str, folder: str) -> str:
    return place[len(folder) :].lstrip("/")
