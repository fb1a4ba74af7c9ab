"""The house keeps its shape: folders, files, names, and the few places that catch any error.

That no import leads upwards or in a circle is held by import-linter.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, code, first_cells, sections

FILES = 15
"""A folder that holds more is more than one room; each command has a file of its own."""
LINES = 700
PARAMETERS = 8
BROAD = 12
"""So many places may catch any error."""

TWO_MEANINGS = {
    "Column": "of a table that is shown, of rows that are saved",
    "Database": "the one that a task works in, the one that holds the store",
    "Kind": "of a change, of a value",
    "Template": "of a path in pit.toml, of a script",
    "Way": "what a task finds when it runs, how a value gets its type",
}
"""Class names that leave their rooms although there are two of each; may only become fewer."""


def of_pit() -> Iterator[Path]:
    """Every module of the orchestrator, without what `pit new` copies."""
    return (path for path in (ROOT / "pit").rglob("*.py") if "scaffold" not in path.parts)


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text())


def module(path: Path) -> str:
    """The name by which it is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_no_folder_holds_more_files_than_one_can_look_over() -> None:
    held = Counter(path.parent.relative_to(ROOT / "pit") for path in of_pit())
    held.pop(Path("cli/commands"))
    assert {str(folder): files for folder, files in held.items() if files > FILES} == {}


def test_no_file_is_longer_than_one_can_read() -> None:
    files = [*of_pit(), *(ROOT / "tests").rglob("*.py")]
    long = {str(path): len(path.read_text().splitlines()) for path in files}
    assert {path: lines for path, lines in long.items() if lines > LINES} == {}


# ---------------------------------------------------------------- catching any error


_ANY = re.compile(r"\bexcept\s*:|\b(Base)?Exception\b")


def is_broad(node: ast.AST) -> bool:
    """Whether it catches any error: `except`, `except Exception`, `suppress(Exception)`."""
    match node:
        case ast.ExceptHandler(type=None):
            return True
        case ast.ExceptHandler(type=ast.Tuple(elts=kinds)):
            pass
        case ast.ExceptHandler(type=kind):
            kinds = [kind]
        case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=kinds):
            pass
        case _:
            return False
    return any(isinstance(k, ast.Name) and k.id in ("Exception", "BaseException") for k in kinds)


def broad(node: ast.AST, within: tuple[str, ...] = ()) -> Iterator[str]:
    """The functions, with their classes, that catch any error; one as often as it does so."""
    for child in ast.iter_child_nodes(node):
        if is_broad(child):
            yield ".".join(within)
        named = isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        yield from broad(child, (*within, child.name) if named else within)


def test_each_place_that_catches_any_error_is_listed_with_its_reason() -> None:
    found = [
        (str(path.relative_to(ROOT / "pit")), where)
        for path in of_pit()
        if _ANY.search(path.read_text())
        for where in broad(parsed(path))
    ]
    rows = first_cells(sections(DOCS / "architecture.md")["Where any error is caught"])
    assert sorted(found) == sorted(tuple(code(row)) for row in rows)
    assert len(found) <= BROAD


def test_any_form_of_catching_everything_is_seen() -> None:
    text = """
class A:
    def f(self):
        try: pass
        except (KeyError, Exception): pass
        with contextlib.suppress(OSError), suppress(BaseException): pass
async def g():
    try: pass
    except: pass
    try: pass
    except ExceptionGroup: pass
"""
    assert list(broad(ast.parse(text))) == ["A.f", "A.f", "g"]


# ---------------------------------------------------------------- what is asked for


def dotted(node: ast.AST) -> str:
    """A name, or one on a name: `Target`, `params.resolve`; of anything else what it ends with."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def using(pattern: str, wanted: Callable[[ast.AST], str]) -> set[str]:
    """The modules of Pit where something stands that is called like this."""
    return {
        str(path.relative_to(ROOT / "pit"))
        for path in of_pit()
        if re.search(pattern, path.read_text())  # much faster
        if any(re.fullmatch(pattern, wanted(node)) for node in ast.walk(parsed(path)))
    }


def called(node: ast.AST) -> str:
    """What is called, if this is a call."""
    return dotted(node.func) if isinstance(node, ast.Call) else ""


@pytest.mark.parametrize(
    ("function", "home"),
    [
        (r"params\.resolve", "engine/target/target.py"),
        (r"date\.today", "cli/options.py"),
        (r"matrix\.with_params", "engine/target/target.py"),
        ("links", "config/dag/expanded.py"),
    ],
)
def test_what_is_asked_for_is_worked_out_in_one_place(function: str, home: str) -> None:
    where = using(function, called)
    checks = {"config/check.py", "views/validation/files.py"}  # what stands in pit.toml
    assert where - checks == {home}


def test_what_a_task_waits_for_is_not_taken_from_what_is_written() -> None:
    """Its `depends_on` lacks what its inputs imply; jobs have a field of that name with both."""
    found = using("depends_on", lambda node: node.attr if isinstance(node, ast.Attribute) else "")
    beyond = {path for path in found if not path.startswith(("config/", "engine/scheduling/"))}
    assert beyond == {"engine/staleness/fingerprint.py"}


# ---------------------------------------------------------------- names


def test_a_class_name_that_leaves_its_room_means_one_thing() -> None:
    trees = {module(path): parsed(path) for path in of_pit()}
    public = {
        (name, node.name)
        for name, tree in trees.items()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }
    abroad = defaultdict(set)
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and not is_same_room(name, node):
                for alias in node.names:
                    if (node.module, alias.name) in public:
                        abroad[alias.name].add(node.module)
    several = {name for name, homes in abroad.items() if len(homes) > 1}
    assert several == TWO_MEANINGS.keys()


def is_same_room(importer: str, node: ast.ImportFrom) -> bool:
    """Whether a module imports from its own folder."""
    return importer.rpartition(".")[0] == str(node.module).rpartition(".")[0]


# ---------------------------------------------------------------- shape of a run


def born_late(tree: ast.Module) -> Iterator[str]:
    """The attributes that a class first gives itself after it was made."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
        given = {method.name: set(of_self(method)) for method in methods}
        first = given.pop("__init__", set())
        for name, attributes in given.items():
            yield from (f"{node.name}.{name}: {each}" for each in attributes - first)


def of_self(function: ast.FunctionDef) -> Iterator[str]:
    """The attributes of `self` that it assigns, however that is written."""
    for node in ast.walk(function):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=attribute, ctx=ast.Store()):
                yield attribute


def test_nothing_in_the_engine_is_half_built() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {each}"
        for path in (ROOT / "pit/engine").rglob("*.py")
        for each in born_late(parsed(path))
    }
    assert found == set()


def test_an_attribute_that_comes_late_is_seen() -> None:
    text = """
class A:
    def __init__(self): self.a, (self.b, *self.c) = 1, (2,)
    def f(self):
        self.a += 1
        self.d: int = 1
        with g() as self.e: pass
        for self.h in (): other.i = self.b.j = 2
"""
    assert sorted(born_late(ast.parse(text))) == ["A.f: d", "A.f: e", "A.f: h"]


def arguments(function: ast.FunctionDef) -> int:
    """How many parameters a caller may give."""
    args = function.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    return sum(each is not None and each.arg not in ("self", "cls") for each in every)


def test_no_function_of_the_engine_takes_more_than_one_can_keep_in_mind() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in (ROOT / "pit/engine").rglob("*.py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef) and arguments(node) > PARAMETERS
    }
    assert found == set()
