"""What a key may hold: each kind reads a TOML value, says what is wrong with it, and describes
itself as JSON Schema.

A kind reports to the findings and still returns the best it can, so that one wrong value does
not hide the problems behind it; `UNFIT` stands for a value of which nothing can be used.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from pit.config.dag.dataflow import WORKSPACE
from pit.config.dag.placeholders import NAMED
from pit.config.keys import braces, cron, runners
from pit.config.toml.findings import Findings
from pit.config.toml.position import KeyPath
from pit.errors import nearest
from pit.fs.patterns import is_pattern
from pit.text import durations, regex

UNFIT: Final = object()
"""Returned for a value that cannot be used; its problem has been reported."""

NAME = regex.lazy(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
VARIABLE = regex.lazy(r"[A-Za-z_][A-Za-z0-9_]*")
BRACES = regex.lazy(r"[{}]")
LONGEST_NAME = 200
"""Characters; a name becomes part of a file name, which may have 255 bytes."""

_CONTROL = regex.lazy(r"[\x00-\x1f\x7f]")
_PLAIN = regex.lazy(r"(?:[A-Za-z0-9_*?-][A-Za-z0-9_*?.-]*/)*[A-Za-z0-9_*?-][A-Za-z0-9_*?.-]*/?")
"""Most paths: those that are as plain as can be at first sight."""


def shown(value: Any) -> str:
    """A value as a message quotes it: texts and numbers as written, the rest by what they are."""
    if isinstance(value, str):
        text = value if len(value) <= 60 else f"{value[:57]}..."
        return f'"{_CONTROL.sub(_escaped, text)}"'
    if isinstance(value, bool | int | float):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return f"the {'time' if isinstance(value, datetime.time) else 'date'} {value}"


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def suggestion(word: str, known: Sequence[str]) -> str:
    """`; did you mean "…"?` where a known word is near, else empty."""
    near = nearest(word, known)
    return f'; did you mean "{near}"?' if near else ""


class Kind:
    """Base: a value that must be `what`."""

    what = "a value"

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        """The value as the model holds it; problems go to the findings."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the values that `read` accepts."""
        raise NotImplementedError

    def written(self, value: Any) -> Any:
        """A value of the model as pit.toml would write it."""
        return value

    def refuse(self, value: Any, at: KeyPath, findings: Findings, hint: str = "") -> Any:
        """Report that the value is not what it must be."""
        where = _spoken(at)
        findings.add(at, f"{where} must be {self.what}, not {shown(value)}", hint)
        return UNFIT


def _spoken(at: KeyPath) -> str:
    """The key of a path for a sentence; an element of a list is named by its list."""
    if isinstance(at[-1], int) and len(at) > 1 and isinstance(at[-2], str):
        return f"each entry of {at[-2]}"
    return str(at[-1])


class Text(Kind):
    """Any text without NUL; not blank unless allowed."""

    what = "a text in quotes"

    def __init__(self, *, blank: bool = False) -> None:
        self._blank = blank

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, str):
            return self.refuse(value, at, findings)
        if "\0" in value:
            findings.add(at, f"{_spoken(at)} has a NUL character in it")
        elif not self._blank and not value.strip():
            findings.add(at, f"{_spoken(at)} is empty")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string"} if self._blank else {"type": "string", "minLength": 1}


class Name(Kind):
    """The name of a DAG or a task, safe in file names and on command lines."""

    what = "a name in quotes"

    def __init__(self, reserved: Sequence[str] = ()) -> None:
        self._reserved = reserved

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, str):
            return self.refuse(value, at, findings)
        sentence = name_problem(value, self._reserved)
        if sentence:
            findings.add(at, sentence, "" if "reserved" in sentence else NAME_HINT)
        return value

    def schema(self) -> dict[str, Any]:
        name = {"type": "string", "pattern": f"^{NAME.pattern}$", "maxLength": LONGEST_NAME}
        if not self._reserved:
            return name
        words = (("".join(f"[{c.upper()}{c}]" for c in word)) for word in self._reserved)
        return {**name, "not": {"pattern": f"^({'|'.join(words)})$"}}


NAME_HINT = 'Names are made of A-Z a-z 0-9 "_" "." "-" and begin with a letter, digit or "_"'


def name_problem(name: str, reserved: Sequence[str] = ()) -> str:
    """What is wrong with a name, as a sentence; empty for a good one."""
    if name.lower() in reserved:
        return f'the name "{name}" is reserved'
    if not name:
        return "the name is empty"
    if len(name) > LONGEST_NAME:
        return f"the name {shown(name)} has more than {LONGEST_NAME} characters"
    if NAME.fullmatch(name):
        return ""
    near = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip(".-").strip("_")
    meant = f'; did you mean "{near}"?' if NAME.fullmatch(near) else ""
    return f"{shown(name)} is not a valid name{meant}"


class Duration(Kind):
    """A duration in seconds; with `none_if_zero`, "0s" stands for no limit."""

    what = 'a duration such as "90s", "15m" or "1h30m"'

    def __init__(self, *, none_if_zero: bool = False) -> None:
        self._none_if_zero = none_if_zero

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, str):
            number = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
            hint = f'In seconds: {at[-1]} = "{value}s"' if number else ""
            return self.refuse(value, at, findings, hint)
        try:
            seconds = durations.parse(value)
        except ValueError as error:
            findings.add(at, f"{_spoken(at)}: {error}")
            return UNFIT
        return None if self._none_if_zero and not seconds else seconds

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^({durations.PATTERN})$"}

    def written(self, value: Any) -> Any:
        return durations.format(value)


class Whole(Kind):
    """A whole number of at least `minimum`, and at most `maximum` if there is one."""

    def __init__(self, minimum: int, maximum: int | None = None) -> None:
        self._minimum, self._maximum = minimum, maximum
        self.what = f"a whole number of at least {minimum}"
        if maximum is not None:
            self.what = f"a whole number from {minimum} to {maximum}"

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            return self.refuse(value, at, findings)
        most = value if self._maximum is None else self._maximum
        return value if self._minimum <= value <= most else self.refuse(value, at, findings)

    def schema(self) -> dict[str, Any]:
        most = {} if self._maximum is None else {"maximum": self._maximum}
        return {"type": "integer", "minimum": self._minimum, **most}


class Number(Kind):
    """A finite number of at least `minimum`, whole or not."""

    def __init__(self, minimum: float) -> None:
        self._minimum = minimum
        self.what = f"a number of at least {minimum:g}"

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.refuse(value, at, findings)
        fits = self._minimum <= value <= 1e9
        return float(value) if fits else self.refuse(value, at, findings)

    def schema(self) -> dict[str, Any]:
        return {"type": "number", "minimum": self._minimum}


class Truth(Kind):
    """`true` or `false`."""

    what = "true or false"

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if isinstance(value, bool):
            return value
        hint = f"Write {at[-1]} = {value.lower()}" if value in ("true", "false") else ""
        return self.refuse(value, at, findings, hint)

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


class OneOf(Kind):
    """One of a few words; `aliases` are accepted for other words."""

    def __init__(
        self,
        words: Sequence[str],
        aliases: dict[str, str] | None = None,
        make: Callable[[str], Any] = str,
    ) -> None:
        self._words, self._aliases, self._make = tuple(words), aliases or {}, make
        quoted = [f'"{word}"' for word in self._words]
        self.what = f"{', '.join(quoted[:-1])} or {quoted[-1]}"

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        word = self._aliases.get(value, value) if isinstance(value, str) else value
        if word in self._words:
            return self._make(word)
        meant = suggestion(word, self._words) if isinstance(word, str) else ""
        findings.add(at, f"{_spoken(at)} must be {self.what}, not {shown(value)}{meant}")
        return UNFIT

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": [*self._words, *self._aliases]}

    def written(self, value: Any) -> Any:
        return str(value)


class ListOf(Kind):
    """A list of values of one kind, none of them twice."""

    def __init__(self, kind: Kind, what: str = "a list") -> None:
        self._kind = kind
        self.what = what

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, list):
            hint = f"Write {at[-1]} = [{shown(value)}]" if isinstance(value, str) else ""
            return self.refuse(value, at, findings, hint)
        read = [self._kind.read(item, (*at, index), findings) for index, item in enumerate(value)]
        return self._without_repeats(read, at, findings)

    def _without_repeats(self, read: list[Any], at: KeyPath, findings: Findings) -> Any:
        if len(read) > 1 and len(set(read)) < len(read):
            seen = {UNFIT}
            for index, item in enumerate(read):
                if item in seen and item is not UNFIT:
                    findings.add((*at, index), f"{shown(item)} is listed twice in {at[-1]}")
                seen.add(item)
        if UNFIT not in read:
            return tuple(read)
        findings.shorten(at, [index for index, item in enumerate(read) if item is not UNFIT])
        return tuple(item for item in read if item is not UNFIT)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self._kind.schema(), "uniqueItems": True}

    def written(self, value: Any) -> Any:
        return [self._kind.written(item) for item in value]


class Schedules(Kind):
    """A cron expression, or a list of them."""

    what = "a cron expression in quotes, or a list of them"

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if isinstance(value, list):
            read = [self._one(item, (*at, index), findings) for index, item in enumerate(value)]
            return tuple(item for item in read if item is not UNFIT)
        one = self._one(value, at, findings)
        return UNFIT if one is UNFIT else (one,)

    def _one(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, str):
            return self.refuse(value, at, findings)
        sentence = cron.check(value)
        if sentence:
            findings.add(at, sentence)
        return value

    def schema(self) -> dict[str, Any]:
        one = {"type": "string", "minLength": 1}
        return {"anyOf": [one, {"type": "array", "items": one}]}


class Timezone(Kind):
    """The name of a time zone such as "Europe/Berlin"."""

    what = 'a time zone such as "Europe/Berlin"'

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, str):
            return self.refuse(value, at, findings)
        sentence = cron.check_timezone(value)
        if sentence:
            findings.add(at, sentence)
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


class Runner(Kind):
    """`python`, `bash`, `sql`, or `$ ` and a command to which the script is added."""

    what = '"python", "bash", "sql" or "$ command"'

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, str):
            return self.refuse(value, at, findings)
        sentence = "" if value in runners.NAMES else self._problem(value)
        if sentence:
            findings.add(at, sentence)
        return value

    def _problem(self, value: str) -> str:
        if value in runners.LATER:
            return f"runner {shown(value)} is not yet supported by this version of Pit"
        if not value.startswith("$"):
            meant = suggestion(value, runners.NAMES) or f'; for a command write "$ {value}"'
            return f"unknown runner {shown(value)}{meant}"
        if not value.startswith("$ "):
            return f'unknown runner {shown(value)}; did you mean "$ {value[1:].strip()}"?'
        return self._command_problem(value)

    def _command_problem(self, value: str) -> str:
        import shlex

        try:
            words = shlex.split(value[2:])
        except ValueError as error:
            return f"the command of runner {shown(value)} cannot be split: {str(error).lower()}"
        return "" if words and words[0] else f"runner {shown(value)} has no command"

    def schema(self) -> dict[str, Any]:
        return {
            "anyOf": [{"enum": list(runners.NAMES)}, {"type": "string", "pattern": r"^\$ .*\S"}]
        }


class Script(Kind):
    """The path of a script inside the project."""

    what = "the path of a script in quotes"

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, str):
            return self.refuse(value, at, findings)
        path, sentence = relative(value)
        if not sentence and (path.startswith(("/", WORKSPACE)) or path == "."):
            sentence = f"script {shown(value)} is not inside the project"
        if BRACES.search(value) and not is_command(value):
            unreplaced, hint = braces.told("script", value)
            if unreplaced:
                findings.add(at, unreplaced, hint)
                return ""
        if sentence and is_command(value):
            findings.add(at, *command_told(value))
            return ""
        if sentence:
            hint = "A run executes a frozen copy of the project, so its scripts must lie in it"
            findings.add(at, sentence, hint if "project" in sentence else "")
            return ""
        return path

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


_COMMAND = regex.lazy(r"[\s|;&<>]")


def is_command(script: str) -> bool:
    """Whether the text for a script looks like a line for a shell: it has a blank, a pipe, …"""
    return _COMMAND.search(script.strip()) is not None


def command_told(script: str, files: Sequence[str] = ()) -> tuple[str, str]:
    """A sentence about a command in the place of a script, and what to write instead.

    One of its words may be the script that was meant, if it is among the project's `files`.
    """
    sentence = f"script is one file, not a command: {shown(script)}"
    words = script.split()
    meant = next((word for word in words if word in files and "." in word), None)
    if meant is None or _COMMAND.search(script.strip().replace(" ", "")):
        return sentence, 'Put the line into tasks/x.sh, and write script = "tasks/x.sh"'
    line = " ".join("$0" if word == meant else word for word in words)
    hint = f'Write script = "{meant}"'
    if words.index(meant) < len(words) - 1 and "'" not in line and '"' not in line:
        hint += f", and for its arguments runner = \"$ sh -c '{line}'\""
    return sentence, hint


class DataPath(Kind):
    """An input or target: inside the project, absolute, or in the workspace; may be a pattern.

    With `named`, names in braces may stand in it; which of them are known, the whole DAG tells.
    """

    what = "a path in quotes"

    def __init__(self, *, named: bool = False) -> None:
        self._named = named

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, str):
            return self.refuse(value, at, findings)
        path, sentence = data_path(value, named=self._named)
        if sentence:
            hint = f"Use an absolute path, or one that begins with {WORKSPACE}"
            findings.add(at, sentence, hint if "leaves" in sentence else "")
            return UNFIT
        return path

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


def data_path(written: str, *, named: bool = False) -> tuple[str, str]:
    """The path of an input or target in its plainest spelling; and what is wrong with it, or ""."""
    path, sentence = relative(written, named=named)
    if sentence:
        return path, sentence
    if path == ".":
        sentence = f'{shown(written)} is the whole project; name the files, such as "**/*.csv"'
    if ".pit-" in path and any(name.startswith(".pit-") for name in path.split("/")):
        sentence = f'{shown(written)} names a temporary file of Pit (".pit-…")'
    return path, sentence


def relative(written: str, *, named: bool = False) -> tuple[str, str]:
    """A path in its plainest spelling, its last slash kept; and what is wrong with it, or "".

    With `named`, names in braces may stand in it.
    """
    if _PLAIN.fullmatch(written):
        return written, ""
    prefix = WORKSPACE if written.startswith(WORKSPACE) else ""
    bare = written[len(prefix) :]
    sentence = _path_problem(written, bare, named)
    if sentence:
        return written, sentence
    path = _plain(bare)
    if path == ".." or path.startswith("../"):
        of = "workspace" if prefix else "project"
        return written, f"{shown(written)} leaves the {of}"
    return prefix + path, ""


def _plain(path: str) -> str:
    if "./" not in path and "//" not in path and not path.endswith("/."):
        return path if path != "" else "."
    absolute = path.startswith("/")
    plain = os.path.normpath(path)
    plain = f"/{plain.lstrip('/')}" if absolute else plain
    return f"{plain}/" if path.endswith("/") and plain != "/" else plain


def _path_problem(written: str, bare: str, named: bool) -> str:
    if not bare.strip():
        return "the path is empty"
    if bare[0] == "~":
        return f'{shown(written)}: "~" is not expanded here; write the absolute path'
    if _CONTROL.search(bare):
        return f"{shown(written)} has a control character in it"
    if BRACES.search(NAMED.sub("", bare) if named else bare):
        also = " and names such as {date}" if named else ""
        return f'{shown(written)}: braces are only for a leading "{WORKSPACE}"{also}'
    if ".." in bare and ".." in bare.split("/") and is_pattern(bare):
        return f'{shown(written)} has both wildcards and ".."; write it without ".."'
    return ""


class ConfigPath(Kind):
    """A path in pit_config.toml; `~` is expanded, a relative one is relative to the workspace."""

    what = "a path in quotes"

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, str):
            return self.refuse(value, at, findings)
        path = os.path.expanduser(value)
        if not path.strip() or _CONTROL.search(path):
            findings.add(at, f"{_spoken(at)} is empty" if not path.strip() else "not a path")
            return UNFIT
        if path.startswith("~"):
            findings.add(at, f"{shown(value)}: no such home folder")
            return UNFIT
        return path

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


class MatrixValue(Kind):
    """One value of a matrix key, as text; numbers and dates are taken as they are written."""

    what = "a text in quotes, a whole number or a date"

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        number = isinstance(value, int) and not isinstance(value, bool)
        if not (number or isinstance(value, str) or type(value) is datetime.date):
            return self.refuse(value, at, findings)
        text = str(value)
        sentence = value_problem(text)
        if sentence:
            findings.add(at, sentence)
            return UNFIT
        return text

    def schema(self) -> dict[str, Any]:
        text = {"type": "string", "minLength": 1, "pattern": "^[^{}]*$", "maxLength": LONGEST_NAME}
        return {"anyOf": [text, {"type": "integer"}]}


def value_problem(text: str) -> str:
    """What keeps a text from being a value of a matrix key, as a sentence; empty if nothing."""
    if not text.strip():
        return "a matrix value is empty"
    if len(text) > LONGEST_NAME:
        return f"the matrix value {shown(text)} has more than {LONGEST_NAME} characters"
    if _CONTROL.search(text):
        return f"the matrix value {shown(text)} has a control character in it"
    if BRACES.search(text):
        return f"the matrix value {shown(text)} has a brace in it"
    if not text.isprintable() and any("\ud800" <= c <= "\udfff" for c in text):
        return f"the matrix value {shown(text.encode(errors='replace').decode())} is not UTF-8"
    return ""


class Environment(Kind):
    """A table of environment variables, all of them texts."""

    what = "a table of texts"

    def read(self, value: Any, at: KeyPath, findings: Findings) -> Any:
        if not isinstance(value, dict):
            return self.refuse(value, at, findings)
        return {name: text for name, text in value.items() if self._fits(name, text, at, findings)}

    def _fits(self, name: str, text: Any, at: KeyPath, findings: Findings) -> bool:
        sentence = _variable_problem(name)
        if sentence:
            findings.add((*at, name), sentence, on_key=True)
        if isinstance(text, str):
            if "\0" in text:
                findings.add((*at, name), f"{name} has a NUL character in it")
            return True
        quotable = isinstance(text, bool | int | float | datetime.date)
        hint = f'Quote it: {name} = "{str(text).lower() if isinstance(text, bool) else text}"'
        sentence = f"{name} must be a text in quotes, not {shown(text)}"
        findings.add((*at, name), sentence, hint if quotable else "")
        return False

    def schema(self) -> dict[str, Any]:
        names = f"^(?!PIT_){VARIABLE.pattern}$"
        return {
            "type": "object",
            "propertyNames": {"pattern": names},
            "additionalProperties": {"type": "string"},
        }


def _variable_problem(name: str) -> str:
    if name.startswith("PIT_"):
        return f'"{name}" is reserved: variables that begin with PIT_ are set by Pit'
    if VARIABLE.fullmatch(name):
        return ""
    return f"{shown(name)} is not the name of an environment variable"
