"""What one Python file says about the modules that it needs, read from its syntax tree.

Where a file loads code in a way that cannot be read from the tree, that is said too: such a file
is `dynamic` (it loads modules by names made at run time) or `moved` (it changes where modules
come from). The lists of names below err on the side of saying so.

Files are parsed once for each content: `load` and `save` keep what was read between processes.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from pit.fs import atomic
from pit.model import Record
from pit.project.python import meaning
from pit.project.snapshot import digest

_IMPORTERS = frozenset({"import_module", "__import__"})
_DYNAMIC_NAMES = frozenset(
    """
    __builtins__ __import__ allow_pickle entry_points exec_module find_loader find_module find_spec
    import_class import_module import_object import_string iter_entry_points iter_modules
    load_module load_source module_from_spec read_pickle run_module run_path
    set_forkserver_preload spec_from_file_location spec_from_loader unsafe_load UnsafeLoader
    walk_packages
    """.split()  # noqa: SIM905
)
"""Names that load modules by name, wherever they come from."""
_DYNAMIC_BUILT_INS = frozenset({"eval", "exec", "execfile"})
"""Names that do so as built-in functions; as methods they are a data frame's or a session's."""
_DYNAMIC_MODULES = frozenset(
    """
    _pickle builtins cProfile celery cloudpickle code codeop dill django doctest hydra imp joblib
    jsonpickle lazy_import lazy_loader logging.config mlflow papermill pickle pkg_resources pkgutil
    pluggy profile pydoc runpy shelve stevedore timeit torch zipimport
    """.split()  # noqa: SIM905
)
"""Modules that load others by name, or code from text or from pickles."""
_HARMLESS = frozenset({"metadata", "resources"})
"""What of importlib loads no modules by itself (`entry_points` is a name of its own)."""
_WATCHED = frozenset({"sys", "importlib"})
_PATH_NAMES = frozenset({"path", "meta_path", "path_hooks", "path_importer_cache", "*"})
_MOVING_NAMES = frozenset({"__path__", "addsitedir", "extend_path", "PYTHONPATH"})

_SCRIPT = re.compile(r"[\w./-]+\.py\b")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?::[A-Za-z_][\w.]*)?")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_LONGEST = 10_000


class Import(Record, array_like=True):
    """One import: `from <level dots><module> import <names>`; without names, the module alone."""

    module: str
    level: int = 0
    names: tuple[str, ...] = ()


class Imports(Record, array_like=True):
    """What a file needs; `dynamic` and `moved` say why that is not all, or are empty.

    `strings` are dotted names that stand in it as text, `scripts` paths of Python files.
    """

    imports: tuple[Import, ...] = ()
    strings: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    dynamic: str = ""
    moved: str = ""


def read(text: bytes) -> Imports:
    """What a Python file of this content needs."""
    tree = meaning.parse(text)
    if tree is None:
        return Imports(dynamic="Python cannot parse it")
    return _Reader(tree).imports()


class _Reader:
    """Goes through one tree; nothing that it finds depends on anything else."""

    def __init__(self, tree: ast.Module) -> None:
        self._imports: dict[Import, None] = {}
        self._texts: dict[str, None] = {}
        self._dynamic: list[tuple[int, str]] = []
        self._moved: list[tuple[int, str]] = []
        self._aliases = {name: name for name in _WATCHED}
        nodes = list(ast.walk(tree))
        self._ignored = {id(text) for node in nodes if (text := _docstring(node)) is not None}
        for node in nodes:
            self._statement(node)
        for node in nodes:
            self._call(node)
        for node in nodes:
            self._use(node)

    def imports(self) -> Imports:
        """All that was found."""
        bare = "-m" in self._texts
        return Imports(
            imports=tuple(self._imports),
            strings=tuple(text for text in self._texts if _names_module(text, bare)),
            scripts=tuple(dict.fromkeys(path for text in self._texts for path in _scripts(text))),
            dynamic=_first(self._dynamic),
            moved=_first(self._moved),
        )

    # ------------------------------------------------ import statements

    def _statement(self, node: ast.AST) -> None:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    self._imports[Import(module=alias.name)] = None
                    self._module(node, alias.name)
                    if alias.name in _WATCHED and alias.asname:
                        self._aliases[alias.asname] = alias.name
            case ast.ImportFrom(module=module, names=names, level=level):
                words = tuple(alias.name for alias in names)
                self._imports[Import(module=module or "", level=level, names=words)] = None
                if module and not level:
                    for alias in names:
                        self._member(node, module, alias)

    def _module(self, node: ast.stmt, name: str) -> None:
        """Judges a module, say `a.b`, by its name and those of the packages around it."""
        parts = name.split(".")
        for length in range(len(parts)):
            if (around := ".".join(parts[: length + 1])) in _DYNAMIC_MODULES:
                self._dynamically(node, f"the module {around}")
        if parts[0] == "importlib" and len(parts) > 1 and parts[1] not in _HARMLESS:
            self._dynamically(node, name)
        if parts[0] == "site":
            self._moved.append((node.lineno, "the module site"))

    def _member(self, node: ast.stmt, module: str, alias: ast.alias) -> None:
        """Judges one name that is imported from a module."""
        name = f"{module}.{alias.name}"
        if alias.name in _IMPORTERS:  # then its uses are judged
            if alias.asname not in (None, alias.name):
                self._dynamically(node, alias.name)
            return
        self._module(node, name)
        self._word(node, alias.name)
        if module == "sys" and alias.name in _PATH_NAMES:
            self._moved.append((node.lineno, name))
        if name in _WATCHED or alias.name in _WATCHED:  # from os import sys
            self._aliases[alias.asname or alias.name] = alias.name

    # ------------------------------------------------ the rest

    def _call(self, node: ast.AST) -> None:
        """A module that is imported by a call with its plain name is as good as a statement."""
        match node:
            case ast.Call(func=func, args=[ast.Constant(value=str(module)), *more]):
                name = _word(func)
                alone = not more and not node.keywords
                if name in _IMPORTERS and not module.startswith(".") and alone:
                    self._imports[Import(module=module)] = None
                    self._ignored.add(id(func))
                    if isinstance(func, ast.Attribute):
                        self._ignored.add(id(func.value))

    def _use(self, node: ast.AST) -> None:
        if id(node) in self._ignored:
            return
        match node:
            case ast.Attribute(value=value, attr=attr):
                if module := self._aliases.get(_word(value)):
                    self._ignored.add(id(value))
                    self._attribute(node, module, attr)
                self._word(node, attr)
            case ast.Name(id=name):
                self._name(node, name)
            case ast.keyword(arg=str(name)):
                self._word(node.value, name)
            case ast.Constant(value=str(text)) if len(text) <= _LONGEST:
                self._texts[text] = None
                self._word(node, text)

    def _attribute(self, node: ast.expr, module: str, attr: str) -> None:
        if module == "sys" and attr in _PATH_NAMES:
            self._moved.append((node.lineno, f"sys.{attr}"))
        elif module == "importlib" and attr not in _HARMLESS:
            self._dynamically(node, f"importlib.{attr}")

    def _name(self, node: ast.expr, name: str) -> None:
        """A module that is handed around whole may be used in any way."""
        module = self._aliases.get(name)
        if module == "importlib" or name in _DYNAMIC_BUILT_INS:
            self._dynamically(node, name)
        elif module == "sys":
            self._moved.append((node.lineno, name))
        self._word(node, name)

    def _word(self, node: ast.expr | ast.stmt, word: str) -> None:
        if word in _DYNAMIC_NAMES:
            self._dynamically(node, word)
        elif word in _MOVING_NAMES:
            self._moved.append((node.lineno, word))

    def _dynamically(self, node: ast.expr | ast.stmt, what: str) -> None:
        self._dynamic.append((node.lineno, what))


def _docstring(node: ast.AST) -> ast.Constant | None:
    match node:
        case (
            ast.Module(body=[ast.Expr(value=ast.Constant(value=str()) as text), *_])
            | ast.ClassDef(body=[ast.Expr(value=ast.Constant(value=str()) as text), *_])
            | ast.FunctionDef(body=[ast.Expr(value=ast.Constant(value=str()) as text), *_])
            | ast.AsyncFunctionDef(body=[ast.Expr(value=ast.Constant(value=str()) as text), *_])
        ):
            return text
    return None


def _word(func: ast.expr) -> str:
    match func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _names_module(text: str, bare: bool) -> bool:
    """Whether a text is `package.module`, `module:name`, or just a word where that counts."""
    if bare and _IDENTIFIER.fullmatch(text):
        return True
    return ("." in text or ":" in text) and _DOTTED.fullmatch(text) is not None


def _scripts(text: str) -> Iterable[str]:
    return _SCRIPT.findall(text) if ".py" in text else ()


def _first(found: list[tuple[int, str]]) -> str:
    if not found:
        return ""
    line, what = min(found)
    return f"{what}, line {line}"


# ---------------------------------------------------------------- each content once

_FORMAT = f"1 {sys.version_info.major}.{sys.version_info.minor}"
_known: dict[str, Imports] = {}
_new: set[str] = set()


def of(path: str, known_digest: str) -> Imports:
    """What the file at `path`, last seen with this digest, needs."""
    found = _known.get(known_digest)
    if found is None:
        text = Path(path).read_bytes()
        found = read(text)
        key = digest.digest_bytes(text)
        _known[key] = found
        _new.add(key)
    return found


class _Kept(Record):
    """The cache file: of no use to another Python, whose parser may see other things."""

    format: str
    files: dict[str, Imports]


def load(path: Path) -> None:
    """Takes over what an earlier process has read; nothing if there is none or it is damaged."""
    with suppress(OSError, msgspec.MsgspecError):
        kept = msgspec.msgpack.decode(path.read_bytes(), type=_Kept)
        if kept.format == _FORMAT:
            _known.update(kept.files)


def save(path: Path) -> None:
    """Keeps what this process has read, if it is anything new. A cache: failing is no matter."""
    if not _new:
        return
    with suppress(OSError):
        kept = _Kept(format=_FORMAT, files=_known)
        atomic.write(path, msgspec.msgpack.encode(kept))
        _new.clear()
