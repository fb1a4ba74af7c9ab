"""What a text in code may name: modules, files of code, and Python that is to be executed.

Texts are the strings of a Python file and the words of a command. What is made at run time has
been put into them as GAP. Where a text could name something, it does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pit.text import regex

GAP = "\0"
"""Stands in a text for what is only known at run time."""

_FLAG = r"(?<![\w-])-[bBdEiIOPqRsSuvx]*m"
_AS_MODULE = regex.lazy(rf"{_FLAG}\s*['\"]?([A-Za-z_][\w.]*)")
_AS_MADE_UP_MODULE = regex.lazy(rf"{_FLAG}\s*['\"]?[\w.]*\0")
_IS_FLAG = regex.lazy(_FLAG)
_PYTHON = r"(?<![\w.-])(?:i?python|pypy|graalpy)[\d.]*w?(?![\w-])"
_INTERPRETER = regex.lazy(_PYTHON)
_CALL = regex.lazy(_PYTHON + r"['\"]?\s+\S")
_NAME = r"[A-Za-z_][\w.]*"
_IMPORT = regex.lazy(rf"\bimport\s+({_NAME}(?:\s+as\s+\w+)?(?:\s*,\s*{_NAME}(?:\s+as\s+\w+)?)*)")
_FROM = regex.lazy(rf"\bfrom\s+({_NAME})\s+import\s+\(?\s*([\w\s,*]+)")
_MADE_UP_IMPORT = regex.lazy(r"\b(?:import|from)\s+[\w.]*\0")

_PLACEHOLDER = regex.lazy(r"%\(\w+\)[-\d.]*[sdr]|%[-\d.]*[sdr]|\{[^{}\n]*\}")
_MADE_UP_FILE = regex.lazy(r"(?:^|[/\s])\.pyw?\b|[\0*?\]][\w.-]*\.pyw?\b")
_COLLECTOR = regex.lazy(r"(?<![\w./-])(?:pytest|py\.test|unittest|nose2|discover)(?![\w.])")

_DOTTED = regex.lazy(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?::[A-Za-z_][\w.]*)?")
_PATH = regex.lazy(r"[^\s'\"`;,|&<>(){}\[\]$=:@*?!#^\\\0]+")
_VARIABLE = regex.lazy(r"\$(?:\w+|\{\w+\})/?")
_ELSEWHERE = regex.lazy(r"(?<![\w-])(?:cd\s|pushd\s|-C\b|--chdir\b|--directory\b|--project\b)")
_CODE = regex.lazy(
    r"\.(?:pyw?|pyz|ipynb|pth|so|dll|dylib|sh|bash|zsh|ksh|sql|j2|jar|r|jl|js|mjs|cjs|ts|rb|pl|lua"
    r"|php|awk|sed)$",
    re.IGNORECASE,
)


def starts_python(text: str) -> bool:
    """Whether a text speaks of an interpreter, or of a module that one is to run, or is `-m`."""
    if "-" in text and (_AS_MODULE.search(text) or _IS_FLAG.fullmatch(text)):
        return True
    return "py" in text and _INTERPRETER.search(text) is not None


def goes_elsewhere(text: str) -> bool:
    """Whether a command line has something start in another folder."""
    return ("cd" in text or "-" in text) and _ELSEWHERE.search(text) is not None


def is_python_line(beginning: bytes) -> bool:
    """Whether a file that begins so says by its first line (`#!`) that it is Python."""
    line = beginning.partition(b"\n")[0]
    return line.startswith(b"#!") and _INTERPRETER.search(line.decode("latin-1")) is not None


def is_module_flag(text: str) -> bool:
    """Whether a text is `-m`, behind which a module stands as a text of its own."""
    return _IS_FLAG.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether a text is `module`, `package.module` or `module:name`."""
    return _DOTTED.fullmatch(text) is not None


def is_plain(text: str) -> bool:
    """Whether a text is one word, which may mean anything."""
    return text.isidentifier()


def modules(text: str) -> Iterator[str]:
    """The modules that a command line names, its other words included."""
    yield from (found := _AS_MODULE.findall(text))
    if found or _CALL.search(text):
        yield from (word for word in re.split(r"[\s'\";]+", text) if _DOTTED.fullmatch(word))


def imports(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What the import statements in a text name: a module, and names of it."""
    for found in _IMPORT.findall(text):
        yield from ((one.split()[0], ()) for one in found.split(",") if one.split())
    for module, names in _FROM.findall(text):
        yield module, tuple(dict.fromkeys(re.findall(r"\w+|\*", names)))


def made_up(text: str) -> str:
    """What in a text is Python by a name made at run time, in words; empty for nothing."""
    filled = _PLACEHOLDER.sub(GAP, text) if "%" in text or "{" in text else text
    if ".py" in filled and _MADE_UP_FILE.search(filled):
        return "a .py file by a name made at run time"
    if GAP in filled and (_AS_MADE_UP_MODULE.search(filled) or _MADE_UP_IMPORT.search(filled)):
        return "a module by a name made at run time"
    return ""


def collects(text: str) -> str:
    """The program that a text names which looks for modules by itself, as test runners do."""
    found = _COLLECTOR.search(text) if "test" in text or "nose" in text or "disc" in text else None
    if found is None or not (starts_python(text) or found.start() == 0):
        return ""
    return found[0]


def paths(text: str) -> Iterator[str]:
    """Everything in a text that may be the path of a file."""
    if "\n" not in text and GAP not in text:
        yield text
    yield from _PATH.findall(_VARIABLE.sub("", text) if "$" in text else text)


def programs(text: str) -> Iterator[str]:
    """Those of the paths in a text that may be code: by their ends, or because they have none."""
    if "." not in text and "/" not in text:
        return
    for path in paths(text):
        name = path[path.rfind("/") + 1 :]
        if _CODE.search(name) or ("/" in path and name and "." not in name):
            yield path
