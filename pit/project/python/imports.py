"""What one Python file says about the modules that it needs, read from its syntax tree.

Where a file loads code in a way that cannot be read from the tree, that is said too: such a file
is `dynamic` (it loads modules by names made at run time) or `moved` (it changes where modules
come from). The lists of names below err on the side of saying so. What its strings may name is
told by `words`; a string that is Python itself is read like a file.

Files are parsed once for each content: `load` and `save` keep what was read between processes.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import msgspec

from pit.fs import atomic
from pit.model import Record
from pit.project import digest
from pit.project.python import meaning, words

_T = TypeVar("_T")

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
_EXECUTING = frozenset(
    """
    SourceFileLoader SourcelessFileLoader compile exec execfile load_source run_path
    spec_from_file_location
    """.split()  # noqa: SIM905
)
"""Names that execute files, whatever those are called."""
_DYNAMIC_MODULES = frozenset(
    """
    _pickle builtins cProfile celery cloudpickle code codeop dill django doctest hydra imp joblib
    jsonpickle lazy_import lazy_loader logging.config marshal mlflow nose2 papermill pickle
    pkg_resources pkgutil pluggy profile pydoc pytest runpy shelve stevedore timeit torch zipimport
    """.split()  # noqa: SIM905
)
"""Modules that load others by name, or code from text or from pickles."""
_MOVING_MODULES = frozenset({"nose2", "pytest", "site", "zipimport"})
"""Modules that take code from wherever they are told to."""
_HARMLESS = frozenset({"metadata", "resources"})
"""What of importlib loads no modules by itself (`entry_points` is a name of its own)."""
_WATCHED = frozenset({"sys", "importlib"})
_PATH_NAMES = frozenset({"path", "meta_path", "path_hooks", "path_importer_cache", "*"})
_MOVING_NAMES = frozenset({"__path__", "addsitedir", "extend_path", "PYTHONPATH"})
_COLLECTING_NAMES = frozenset({"discover", "loadTestsFromName", "loadTestsFromNames"})
"""Names that look for modules in folders by themselves."""
_ELSEWHERE = frozenset({"chdir", "cwd", "pushd"})
"""Names that have a program start in another folder, from which its modules come then."""
_PLACE_NAMES = frozenset(
    "__cached__ __file__ __loader__ __spec__ getabsfile getfile getsourcefile".split()  # noqa: SIM905
)
"""Names that tell where a module lies, and so lead to the files beside it."""
_RESOURCE_NAMES = frozenset(
    """
    PackageLoader as_file get_data get_resource_reader importlib_resources is_resource open_binary
    read_binary resource_filename resource_listdir resource_stream resource_string resources
    """.split()  # noqa: SIM905
)
"""Names that read the data of a package that is named by text."""
_SIGNS = (ast.expr_context, ast.operator, ast.cmpop)
"""What stands in a tree and says nothing."""
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_COMPARING = (ast.Compare, ast.Subscript, ast.MatchValue, ast.Dict)
_LONGEST = 10_000
_LONGEST_CHAIN = 100
"""Of how many parts a text may be put together that is read as one."""
_DEEPEST = 3
"""How far Python is read that stands in a string that stands in a string."""


class Import(Record, array_like=True):
    """One import: `from <level dots><module> import <names>`; without names, the module alone."""

    module: str
    level: int = 0
    names: tuple[str, ...] = ()


class Imports(Record, array_like=True):
    """What a file needs; `dynamic` and `moved` say why that is not all, or are empty.

    `strings` are names that stand in it as text, `modules` those of a command line, `scripts` paths
    of files of code. `starts`: it starts a Python, which looks for modules where it is started.
    `beside`: it looks at files by where it lies itself, `around`: by where others lie;
    `resources`: at the data of packages.
    """

    imports: tuple[Import, ...] = ()
    strings: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    dynamic: str = ""
    moved: str = ""
    starts: bool = False
    beside: bool = False
    around: bool = False
    resources: bool = False
    parsed: bool = True


def read(text: bytes) -> Imports:
    """What a Python file of this content needs."""
    tree = meaning.parse(text)
    if tree is None:
        return Imports(dynamic="Python cannot parse it", parsed=False)
    return _Reader(tree).imports()


def read_words(command: Sequence[str]) -> Imports:
    """What the words of a command name."""
    return read(repr(list(command)).encode())


class _Reader:
    """Goes through one tree; nothing that it finds depends on anything else."""

    def __init__(self, tree: ast.Module, depth: int = 0) -> None:
        self._depth = depth
        self._imports: dict[Import, None] = {}
        self._texts: dict[str, None] = {}
        self._strings: dict[str, None] = {}
        self._modules: dict[str, None] = {}
        self._inner: list[Imports] = []
        self._seen: set[str] = set()
        self._dynamic: list[tuple[int, str]] = []
        self._moved: list[tuple[int, str]] = []
        self._elsewhere: list[tuple[int, str]] = []
        self._starts = False
        self._around = False
        self._aliases = {name: name for name in _WATCHED}
        nodes = [node for node in ast.walk(tree) if not isinstance(node, _SIGNS)]
        of_kind: dict[type[ast.AST], list[ast.AST]] = {}
        for node in nodes:
            of_kind.setdefault(type(node), []).append(node)

        def among(kinds: Iterable[type[ast.AST]]) -> Iterable[ast.AST]:
            return (node for kind in kinds for node in of_kind.get(kind, ()))

        texts = map(_docstring, among(_DOCUMENTED))
        self._ignored = {id(text) for text in texts if text is not None}
        self._joined: set[int] = set()
        self._compared = {id(each) for node in among(_COMPARING) for each in _compared(node)}
        for node in among((ast.Import, ast.ImportFrom)):
            self._statement(node)
        for node in among((ast.Call,)):
            self._call(node)
        for node in nodes:
            self._use(node)

    def imports(self) -> Imports:
        """All that was found."""
        beside = not self._seen.isdisjoint(_PLACE_NAMES)
        resources = not self._seen.isdisjoint(_RESOURCE_NAMES)
        beside |= resources and not self._seen.isdisjoint(("__package__", "__name__"))
        # What executes files, or finds them by where it lies, may mean any file that it names.
        named = words.paths if beside or not self._seen.isdisjoint(_EXECUTING) else words.programs
        if self._starts:
            self._moved += self._elsewhere
        inner = self._inner
        return Imports(
            imports=_once(self._imports, *(each.imports for each in inner)),
            strings=_once(self._strings, *(each.strings for each in inner)),
            modules=_once(self._modules, *(each.modules for each in inner)),
            scripts=_once(
                (path for text in self._texts for path in named(text)),
                *(each.scripts for each in inner),
            ),
            dynamic=_first(self._dynamic),
            moved=_first(self._moved),
            starts=self._starts or any(each.starts for each in inner),
            beside=beside,
            around=self._around,
            resources=resources or any(each.resources for each in inner),
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
        if parts[0] in _MOVING_MODULES:
            self._moved.append((node.lineno, f"the module {parts[0]}"))
        self._seen.update(parts)

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
                self._around |= attr in _PLACE_NAMES
                self._word(node, attr)
            case ast.Name(id=name):
                self._name(node, name)
            case ast.keyword(arg=str(name)):
                self._word(node.value, name)
            case ast.JoinedStr() | ast.BinOp():
                self._composed(node)
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Call(args=parts):
                self._arguments(node, parts)
            case ast.Constant():
                text = _text(node)
                if text is not None:
                    self._said(node, text)

    # ------------------------------------------------ texts

    def _composed(self, node: ast.JoinedStr | ast.BinOp) -> None:
        """A text that is put together, of which parts may be known at run time only."""
        if id(node) in self._joined:
            return
        text, parts = _composed(node)
        self._joined.update(id(part) for part in parts if part is not node)
        if text.strip(f"{words.GAP}/"):
            self._said(node, text)

    def _arguments(self, node: ast.expr, parts: Sequence[ast.expr]) -> None:
        """The words of a command: a module behind `-m` that is not told is made at run time."""
        if parts and words.is_module_flag(_text(parts[-1]) or ""):
            self._dynamically(node, "a module behind -m that is made at run time")
        for flag, module in pairwise(parts):
            if words.is_module_flag(_text(flag) or "") and _text(module) is None:
                self._dynamically(node, "a module behind -m that is made at run time")

    def _said(self, node: ast.expr, text: str) -> None:
        """Judges one text by what it may name."""
        self._word(node, text)
        if len(text) > _LONGEST:
            return
        if words.is_name(text) and not (words.is_plain(text) and id(node) in self._compared):
            self._strings[text] = None
        if text in self._texts:
            return
        self._texts[text] = None
        if words.starts_python(text):
            self._starts = True
            self._modules |= dict.fromkeys(words.modules(text))
        if words.goes_elsewhere(text):
            self._elsewhere.append((node.lineno, "a program that starts elsewhere"))
        made_up = "" if id(node) in self._joined else words.made_up(text)
        if found := made_up or words.collects(text):
            self._anywhere(node, found)
        if "import" in text:
            self._code(node, text)

    def _code(self, node: ast.expr, text: str) -> None:
        """A text in which something is imported is Python for somebody."""
        for module, names in words.imports(text):
            self._imports[Import(module=module, names=names)] = None
            self._starts = True
        tree = meaning.parse(text.encode("utf-8", "surrogateescape"))
        if tree is None or self._depth == _DEEPEST or _is_one_name(tree):
            return
        found = _Reader(tree, self._depth + 1).imports()
        self._inner.append(found)
        if found.dynamic:
            self._dynamically(node, f"a text with {found.dynamic.partition(', line')[0]}")
        if found.moved:
            self._moved.append((node.lineno, f"a text with {found.moved.partition(', line')[0]}"))

    def _anywhere(self, node: ast.expr | ast.stmt, what: str) -> None:
        """Modules by names that are not told, in folders that are not told."""
        self._dynamically(node, what)
        self._moved.append((node.lineno, what))

    # ------------------------------------------------ names

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
        self._seen.add(word)
        self._starts |= word == "executable"
        if word in _ELSEWHERE:
            self._elsewhere.append((node.lineno, f"a program that starts elsewhere ({word})"))
        if word in _COLLECTING_NAMES:
            self._anywhere(node, word)
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


def _text(node: ast.expr) -> str | None:
    """The text of a string or of bytes; None for anything else."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Constant(value=bytes(data)):
            return data.decode("latin-1")
    return None


def _composed(node: ast.expr) -> tuple[str, list[ast.expr]]:
    """The text that an expression makes, with gaps for what is not known, and the expressions
    that it is made of."""
    parts: list[ast.expr] = []
    return _joined(node, parts, _LONGEST_CHAIN), parts


def _joined(node: ast.expr, parts: list[ast.expr], left: int) -> str:
    if not left:
        return words.GAP
    match node:
        case ast.JoinedStr(values=values):
            found = "".join(_joined(each, parts, left - 1) for each in values)
        case ast.BinOp(left=one, op=ast.Add() | ast.Div() as how, right=other):  # a / b of pathlib
            between = "/" if isinstance(how, ast.Div) else ""
            found = _joined(one, parts, left - 1) + between + _joined(other, parts, left - 1)
        case _:
            text = _text(node)
            if text is None:
                return words.GAP
            found = text
    parts.append(node)
    return found


def _compared(node: ast.AST) -> Iterable[ast.expr]:
    """What a value is only compared with, or looked up by: such a text names nothing to others."""
    match node:
        case ast.Compare(left=left, comparators=right):
            for each in (left, *right):
                yield from _elements(each)
        case ast.Dict(keys=keys):
            yield from (key for key in keys if key is not None)
        case ast.Subscript(slice=each) | ast.MatchValue(value=each):
            yield from _elements(each)


def _elements(node: ast.expr) -> Sequence[ast.expr]:
    match node:
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
            return elements
    return (node,)


def _is_one_name(tree: ast.Module) -> bool:
    """Whether a text that could be Python is just a word or a dotted name."""
    match tree.body:
        case [ast.Expr(value=ast.Name() | ast.Attribute() | ast.Constant())] | []:
            return True
    return False


def _once(*found: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(each for some in found for each in some))


def _first(found: list[tuple[int, str]]) -> str:
    if not found:
        return ""
    line, what = min(found)
    return f"{what}, line {line}"


# ---------------------------------------------------------------- each content once

_known: dict[str, Imports] = {}
_new: set[str] = set()


@cache
def reading() -> str:
    """By what a file was read: the code of the reader and the parser of this Python.

    What another reader has found is of no use, for it knows other names.
    """
    texts = [Path(module).read_bytes() for module in (__file__, words.__file__)]
    code = digest.digest_bytes(b"".join(texts))
    return f"{code} {sys.version_info.major}.{sys.version_info.minor}"


def of(known_digest: str, content: Callable[[], bytes]) -> Imports:
    """What a file last seen with this digest needs; `content` reads it."""
    found = _known.get(known_digest)
    if found is None:
        text = content()
        found = read(text)
        key = digest.digest_bytes(text)
        _known[key] = found
        _new.add(key)
    return found


class _Kept(Record):
    """The cache file; `format` says by what its files were read."""

    format: str
    files: dict[str, Imports]


def load(path: Path) -> None:
    """Takes over what an earlier process has read; nothing if there is none or it is damaged."""
    with suppress(OSError, msgspec.MsgspecError):
        kept = msgspec.msgpack.decode(path.read_bytes(), type=_Kept)
        if kept.format == reading():
            _known.update(kept.files)


def save(path: Path) -> None:
    """Keeps what this process has read, if it is anything new. A cache: failing is no matter."""
    if not _new:
        return
    with suppress(OSError):
        kept = _Kept(format=reading(), files=_known)
        atomic.write(path, msgspec.msgpack.encode(kept))
        _new.clear()
