"""The files of code that a Python script uses: its modules of the project, and their data.

Python looks for a module in the script's own folder first, then in the folders of PYTHONPATH.
Here every file counts that could be meant, also one that another hides: what is there but not
taken can only make a task stale once too often. What is not the project's is ignored, for it is
part of the environment, whose digest stands for it.

A name that stands in the code as text counts as well if it could mean a module or a script of the
project, for it may be handed to an interpreter. In an imported package everything counts that is
not Python: templates, tables, compiled modules; so it does beside a module that looks at files by
where it lies itself (`__file__`).
Where a module of those that are found loads others by names made at run time, all modules that
could be meant count, and whole folders of PYTHONPATH; where one changes the import path, modules
are looked for in all folders of the project.

Limits: a program that is started with a name made at run time is not seen, nor code that another
package loads for the project by a name that stands in a data file. Such files are `inputs`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pit.fs.patterns import ancestors
from pit.model import Record
from pit.project import selection
from pit.project.digest import Digests
from pit.project.files import DiskFiles, Files, Names
from pit.project.python import imports, words
from pit.project.python.imports import Import, Imports

_MODULE_ENDS = (".py", ".so", ".pyd")
_SCRIPT_ENDS = (".py", ".pyw")
_ARCHIVES = (".zip", ".egg", ".whl", ".pyz")
"""What may stand on the import path instead of a folder."""
_PATHS = ".pth"
"""A file that adds folders to the import path, and may import modules."""
_BUILT = (".egg-info", ".dist-info")
_AT_START = ("sitecustomize", "usercustomize")
"""Modules that Python imports by itself, from any folder of PYTHONPATH."""
_LONGEST_SCRIPT = 1 << 20
"""Bytes up to which a file is looked at that need not be Python."""
_COMMAND = "runner"
"""In place of a file, where the words of a command say something."""
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
    script: str, root: Path, path: Sequence[str], digests: Digests | None = None
) -> Sources:
    """What a script uses as the files are now; OSError if one of them cannot be read.

    For many scripts at one moment, ask one Finder.
    """
    return Finder(DiskFiles(root, digests)).sources(script, path)


class _Folder(NamedTuple):
    """What a folder holds: files by the module that they may be, folders, and other files."""

    modules: dict[str, list[str]]
    folders: frozenset[str]
    data: list[str]
    files: frozenset[str]


class Finder:
    """Finds sources in one project at one moment: what it has looked at once, it knows.

    So make a new one whenever files may have changed in between.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._root, self._real = files.root, files.real("")
        self._folders: dict[str, _Folder] = {}
        self._imports: dict[str, Imports] = {}
        self._steps: dict[Roots, dict[str, frozenset[str]]] = {}
        self._data: dict[str, frozenset[str]] = {}
        self._called: dict[str, list[str]] | None = None
        self._started: dict[str, frozenset[str]] = {}
        self._programs: set[str] = set()

    @property
    def files(self) -> Files:
        """Where it looks."""
        return self._files

    def sources(self, script: str, path: Sequence[str] = ()) -> Sources:
        """What `script`, a place in the project, uses as Python, with these folders on its
        PYTHONPATH: places, or absolute paths."""
        script = os.path.normpath(script)
        return self._search(script, (script,), path, Imports())

    def commanded(
        self, command: Sequence[str], script: str, path: Sequence[str] = (), speaks: bool = False
    ) -> Sources:
        """What a command uses to which the script is added: the files that it names, and what
        those of them lead to that are Python. `speaks`: it is told to be of Python."""
        script = os.path.normpath(script)
        speaks = speaks or any(map(words.starts_python, (*command, " ".join(command))))
        named = dict.fromkeys((script, *self.named(command)))
        python = tuple(place for place in named if self._is_said_python(place, speaks))
        said = imports.read_words((*command, " ".join(command))) if speaks or python else Imports()
        started = {place for text in said.scripts for place in self._script(text, "")}
        entries = (*python, *(each for each in started - {*python} if self._is_program(each)))
        found = self._search(script, entries, path, said)
        files = (script, *sorted({*found.files, *named, *started} - {script}))
        return Sources(files=files, dynamic=found.dynamic, because=found.because)

    def _is_said_python(self, place: str, speaks: bool) -> bool:
        """Whether a file is Python by its name, or by who runs it if it can be."""
        if place.endswith(_SCRIPT_ENDS):
            return True
        if not self._is_file(place) or self._files.mark(place).size > _LONGEST_SCRIPT:
            return False
        told = speaks or words.is_python_line(self._files.read(place))
        return told and self._is_program(place)

    def named(self, texts: Iterable[str]) -> list[str]:
        """The files of the project that the words of a command name, in whatever part of them."""
        tokens = (path for text in texts for path in words.paths(text))
        found = {place for token in tokens for place in self._there(token)}
        return sorted(found)

    def all_in(self, folder: str) -> Iterator[str]:
        """All files of a folder of the project, at any depth, modules and data alike."""
        for place in self._inside([folder]):
            for inner in self._below(place):
                yield from (_join(inner, name) for name in sorted(self._folder(inner).files))

    def _search(
        self, script: str, entries: tuple[str, ...], path: Sequence[str], said: Imports
    ) -> Sources:
        """All that the entries, files of Python, lead to; `said` is what else is known of them."""
        sites = tuple(dict.fromkeys(self._inside(path)))
        roots = tuple(dict.fromkeys(folder for each in entries for folder in self._around(each)))
        roots = tuple(dict.fromkeys((*roots, *(site for site in sites if not self._is_file(site)))))
        start = {*entries, *filter(self._is_file, sites)}
        while True:
            first = start | self._told(said, "", roots)
            reached = self._reached(first, roots, entries)
            codes = [
                (each, code) for each in sorted(reached) if (code := self._code(each, entries))
            ]
            codes.append((_COMMAND, said))
            dynamic = [f"{place}: {code.dynamic}" for place, code in codes if code.dynamic]
            moved = [f"{place}: {code.moved}" for place, code in codes if code.moved]
            wider, more = self._wider(codes, entries), set(start)
            if moved:
                wider = (*wider, *self._all_folders())
                more |= self._on_any_path()
            wider = tuple(dict.fromkeys((*roots, *wider)))
            if dynamic:
                more |= self._anything(wider, sites)
            if wider == roots and more == start:
                break
            roots, start = wider, more
        because = tuple(dict.fromkeys((*dynamic, *moved)))
        files = (script, *sorted(reached - {script}))
        return Sources(files=files, dynamic=bool(because), because=because)

    def _wider(self, codes: Iterable[tuple[str, Imports]], entries: Iterable[str]) -> Roots:
        """Where Pythons look for modules that these files start: where they are started, and
        beside what they are started with."""
        found: dict[str, None] = {}
        for place, code in codes:
            if code.starts:
                found[""] = None
            if code.scripts:
                for script in filter(self._is_program, self._starts(place, entries)):
                    found |= dict.fromkeys(self._around(script))
        return tuple(found)

    # ------------------------------------------------------------------ where to look

    def _inside(self, paths: Iterable[str]) -> Iterator[str]:
        """Those of the paths that lie in the project, as places: as given, and links resolved."""
        for path in paths:
            given = os.path.normpath(os.path.join(self._root, path))
            real = self._files.real(given)
            if selection.lies_in(real, self._real):
                if selection.lies_in(given, self._root):
                    yield given[len(self._root) + 1 :]
                yield real[len(self._real) + 1 :]

    def _around(self, script: str) -> Iterator[str]:
        """The script's folder; if the script is a link, Python takes that of the real file."""
        yield os.path.dirname(script)
        yield from self._inside([os.path.dirname(self._files.real(script))])

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

    def _anything(self, roots: Roots, sites: Roots) -> set[str]:
        """Every module that some name may mean, the data of every package, and all that lies in
        the folders of PYTHONPATH, unless one of them is the project itself."""
        found: set[str] = set()
        for folder in (folder for root in roots for folder in self._below(root)):
            found.update(self._modules_in(folder))
            if folder and "__init__" in self._folder(folder).modules:
                found |= self._data_of(folder)
        return found.union(*(self._data_of(site) for site in sites if site))

    def _on_any_path(self) -> set[str]:
        """What else than folders may be put on the import path."""
        ends = (*_ARCHIVES, _PATHS)
        return {place for place in self._data_of("") if place.endswith(ends)}

    # ------------------------------------------------------------------ going along imports

    def _reached(self, start: set[str], roots: Roots, entries: tuple[str, ...]) -> set[str]:
        """All files that these lead to, themselves and what Python imports uninvited included."""
        steps = self._steps.setdefault(roots, {})
        reached = start.union(self._uninvited(roots))
        todo = list(reached)
        while todo:
            place = todo.pop()
            leads = steps.get(place)
            if leads is None:
                leads = frozenset(self._leads(place, roots, entries))
                if place.endswith(_SCRIPT_ENDS):  # others are Python to some tasks alone
                    steps[place] = leads
            new = leads - reached
            reached |= new
            todo += new
        return reached

    def _leads(self, place: str, roots: Roots, entries: tuple[str, ...]) -> Iterator[str]:
        """The files that one file names."""
        found = self._code(place, entries)
        if found is None:
            return
        yield from self._told(found, place, roots)
        yield from self._starts(place, entries)
        if found.beside:
            yield from self._beside(place)

    def _told(self, found: Imports, place: str, roots: Roots) -> set[str]:
        """The modules that code names, by import and by text; `place` is where it stands."""
        reached: set[str] = set()
        for each in found.imports:
            modules = self._named(each, self._bases(place, each.level, roots))
            reached |= modules
            if found.around:
                reached.update(*map(self._beside, modules))
        anywhere = tuple(dict.fromkeys((*roots, "")))
        for text in found.strings:
            reached |= self._said(text, anywhere, found)
        for module in found.modules:
            reached |= self._run(module, anywhere)
        return reached

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

    def _said(self, text: str, roots: Roots, by: Imports) -> set[str]:
        """The files of the module that a text names: `package.module`, `module:name` or `name`.

        Of a dotted text two words must be there, or every file name such as `load.csv` would
        mean the module `load`.
        """
        dotted, named, _ = text.partition(":")
        parts = dotted.split(".")
        if len(parts) > 1 and not named and not self._is_there(parts[:2], roots):
            return set()
        found = self._named(Import(module=dotted), roots)
        if by.starts:
            found |= self._run(dotted, roots)
        if by.resources and not found:  # a folder without modules is a package to importlib
            found = set().union(*map(self._data_of, filter(None, self._portions(parts, roots))))
        return found

    def _run(self, module: str, roots: Roots) -> set[str]:
        """The files of a module that may be run, as by `python -m`."""
        return self._named(Import(module=module), roots) | self._named(
            Import(module=f"{module}.__main__"), roots
        )

    def _is_there(self, parts: list[str], roots: Roots) -> bool:
        *packages, last = parts
        held = [self._folder(each) for each in self._portions(packages, roots)]
        return any(last in each.modules or last in each.folders for each in held)

    def _starts(self, place: str, entries: Iterable[str]) -> frozenset[str]:
        """The files of code that a file names by their paths."""
        if (found := self._started.get(place)) is None:
            code = self._code(place, entries)
            if code is None:
                return frozenset()
            found = frozenset(each for text in code.scripts for each in self._script(text, place))
            self._programs.update(found)
            if place.endswith(_SCRIPT_ENDS):
                self._started[place] = found
        return found

    def _script(self, text: str, place: str) -> Iterator[str]:
        """The files that a path in a text may mean, from wherever that may be.

        Of what stands before it nothing is known, so it is any file whose path ends so; and it may
        be that of a folder, which is run by its `__main__`.
        """
        wanted = os.path.normpath(text.lstrip("/"))
        while wanted.startswith("../"):
            wanted = wanted[3:]
        for found in self._by_name().get(os.path.basename(wanted), ()):
            if found == wanted or found.endswith(f"/{wanted}"):
                yield found
        for folder in {"", os.path.dirname(place)}:
            inner = _plain(_join(folder, wanted))
            if not inner.startswith(".."):
                yield from self._module(inner, "__main__")

    def _by_name(self) -> dict[str, list[str]]:
        """All files of the project by their names."""
        if self._called is None:
            self._called = {}
            for folder in self._below(""):
                for name in self._folder(folder).files:
                    self._called.setdefault(name, []).append(_join(folder, name))
        return self._called

    def _there(self, path: str) -> Iterator[str]:
        """The file, or the `__main__` of the folder, that a path in a command means; it may stand
        right behind an option: `-fsome/file`."""
        for text in dict.fromkeys((path, path[2:] if path.startswith("-") else path)):
            for place in self._inside([text]) if text.startswith("/") else [_plain(text)]:
                if self._is_file(place):
                    yield place
                if not place.startswith(".."):
                    yield from self._module(place, "__main__")

    def _is_file(self, place: str) -> bool:
        folder, name = os.path.split(place)
        return not place.startswith("..") and name in self._folder(folder).files

    def _beside(self, place: str) -> frozenset[str]:
        """The data beside a module, at any depth; the project itself is no folder of one module."""
        folder = os.path.dirname(place)
        return self._data_of(folder) if folder else frozenset()

    # ------------------------------------------------------------------ what is there

    def _code(self, place: str, entries: Iterable[str]) -> Imports | None:
        """What a file of Python says; None for any other file."""
        if place.endswith(_SCRIPT_ENDS) or place in entries:
            return self._of(place)
        if place.endswith(_PATHS):
            return self._of_paths(place)
        return self._of(place) if place in self._programs and self._is_program(place) else None

    def _is_program(self, place: str) -> bool:
        """Whether a file that is started is Python, whatever it is called."""
        return place.endswith(_SCRIPT_ENDS) or (self._is_file(place) and self._of(place).parsed)

    def _of(self, place: str) -> Imports:
        found = self._imports.get(place)
        if found is None:
            digest = self._files.mark(place).digest
            found = self._imports[place] = imports.of(digest, lambda: self._files.read(place))
        return found

    def _of_paths(self, place: str) -> Imports:
        """Of a `.pth` file those lines are Python that import."""
        found = self._imports.get(place)
        if found is None:
            lines = self._files.read(place).splitlines()
            code = b"\n".join(line for line in lines if line.startswith((b"import ", b"import\t")))
            found = self._imports[place] = imports.read(code)
        return found

    def _folder(self, place: str) -> _Folder:
        found = self._folders.get(place)
        if found is None:
            found = self._folders[place] = _sorted_out(self._files.names(place))
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
        todo = [(folder, frozenset({self._files.real(folder)}))]
        while todo:
            place, above = todo.pop()
            yield place
            for name in sorted(self._folder(place).folders):
                inner = _join(place, name)
                real = self._files.real(inner)
                if real not in above:
                    todo.append((inner, above | {real}))


def _sorted_out(names: Names) -> _Folder:
    """What of a folder could be code or belong to it."""
    modules: dict[str, list[str]] = {}
    data = []
    for name in names.files:
        if name.endswith(_MODULE_ENDS):
            modules.setdefault(name.partition(".")[0], []).append(name)
        else:
            data.append(name)
    folders = frozenset(name for name in names.folders if not name.endswith(_BUILT))
    return _Folder(modules, folders, data, frozenset(names.files))


def _plain(path: str) -> str:
    """A path without detours; that of the project itself is ""."""
    plain = os.path.normpath(path)
    return "" if plain == "." else plain


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _relative(place: str, folder: str) -> str:
    return place[len(folder) :].lstrip("/")
