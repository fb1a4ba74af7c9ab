"""Reading one TOML file, whatever lies in its place: a broken one gives problems, never a raise."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

import tomli

from pit.config.toml.findings import Findings
from pit.config.toml.position import KeyPath, repeated
from pit.text import regex

LARGEST = 64 * 1024 * 1024
"""Bytes; a larger file is no configuration, and is not read."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_TAIL = regex.lazy(r" \(at (line \d+, column \d+|end of document)\)$")
_SENTENCES = (
    (r"Expected '=' after a key", 'a key needs "=" and a value after it'),
    (r"Invalid value", "this is not a TOML value; a text needs quotes"),
    (r"Invalid statement", 'this is neither a key nor a [table]; write key = "value"'),
    (r"Unclosed array", 'the array is not closed, or a "," is missing in it'),
    (r"Unclosed inline table", 'the inline table is not closed, or a "," is missing in it'),
    (r"Unterminated string", "the text is not closed by a quote"),
    (r"Illegal character '\\n'", "the line ends before the text is closed by a quote"),
    (r"Unescaped '\\' in a string", "write a backslash as \\\\, or the text in single quotes"),
    (r"Expected newline or end of document", "this does not belong after the value"),
    (r"Expected '\]' at the end of a table", 'the table header is not closed by "]"'),
    (r"Expected '\]\]' at the end of an array", 'the table header is not closed by "]]"'),
    (r"Expected \"'\"", "the text is not closed by a quote"),
)


def read(path: Path, findings: Findings, lists: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """The tables of a TOML file, or None with the reason among the findings.

    `lists` are the tables at the top that may come several times, as in `[[tasks]]`.
    """
    try:
        raw = _bytes(path, findings)
    except OSError as error:
        findings.add_at(None, *_unreadable(path, error))
        return None
    if raw is None:
        return None
    text = _text(raw, findings)
    return None if text is None else _parsed(text, findings, lists)


def _bytes(path: Path, findings: Findings) -> bytes | None:
    """The content of a regular file; anything else is reported without being opened."""
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        kind = _KINDS.get(stat.S_IFMT(facts.st_mode), "not a file")
        findings.add_at(None, f"this is {kind}, not a file")
        return None
    if facts.st_size > LARGEST:
        findings.add_at(None, f"this file is too large to be a {path.name}")
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        return file.read(LARGEST)


def _unreadable(path: Path, error: OSError) -> tuple[str, str]:
    if path.is_symlink() and not path.exists():
        return f"this link leads nowhere ({os.readlink(path)})", ""
    hint = f"Make it readable: chmod u+r {path}" if isinstance(error, PermissionError) else ""
    return f"cannot be read: {error.strerror or error}", hint


def _text(raw: bytes, findings: Findings) -> str | None:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        findings.add_at((1, 1), "this file is UTF-16; TOML is UTF-8", "Save it as UTF-8")
        return None
    if raw.startswith(b"\xef\xbb\xbf"):
        sentence = "this file begins with a byte order mark, which TOML does not allow"
        findings.add_at((1, 1), sentence, "Save it as UTF-8 without BOM")
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        findings.text = raw.decode(errors="replace")
        before = raw[: error.start].decode().split("\n")
        sentence = f"byte 0x{raw[error.start]:02x} is not UTF-8, which TOML requires"
        findings.add_at((len(before), len(before[-1]) + 1), sentence, "Save it as UTF-8")
        return None


def _parsed(text: str, findings: Findings, lists: tuple[str, ...] = ()) -> dict[str, Any] | None:
    findings.text = text
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        _add_syntax_error(error, findings, lists)
    except RecursionError:
        findings.add_at(None, "arrays or tables are nested too deeply")
    except ValueError as error:  # a number with more digits than Python converts
        findings.add_at(None, f"not TOML: {error}")
    return None


def _add_syntax_error(
    error: tomli.TOMLDecodeError, findings: Findings, lists: tuple[str, ...]
) -> None:
    line, column = error.lineno, error.colno
    if re.match(r"Cannot (overwrite|mutate|declare)", error.msg):
        if _add_single_brackets(findings, lists):
            return
        again = repeated(findings.text, line)
        if again:
            path, earlier, later = again
            sentence = f"{_named(path)} is set already, in line {earlier.key[0]}"
            findings.add_at(later.key, sentence, "Keep one of the two")
            return
    findings.add_at(_shown(findings.text, line, column), f"not TOML: {_said(error.msg)}")


def _add_single_brackets(findings: Findings, lists: tuple[str, ...]) -> bool:
    """Whether a table that may come several times is written with one pair of brackets."""
    for name in lists:
        header = rf"^[ \t]*\[[ \t]*({name}|{name.removesuffix('s')})[ \t]*(\.[^\]\n]+)?\]"
        found = re.search(header, findings.text, re.MULTILINE)
        whole = re.search(rf"^[ \t]*\[\[[ \t]*{name}[ \t]*\]\]", findings.text, re.MULTILINE)
        if not found or (found[2] and (whole is None or whole.start() < found.start())):
            continue
        line = findings.text.count("\n", 0, found.start()) + 1
        spot = (line, found.start(1) - findings.text.rfind("\n", 0, found.start(1)))
        if found[2]:
            hint = f"Write it below the [[{name}]] that it is for"
            findings.add_at(spot, f"[{found[1]}{found[2]}] comes before any [[{name}]]", hint)
        else:
            what = name.removesuffix("s")
            sentence = f"write [[{name}]], with two brackets, before each {what}"
            findings.add_at(spot, f"[{found[1]}] is one table: {sentence}")
        return True
    return False


def _named(path: KeyPath) -> str:
    words = ".".join(str(word) for word in path if isinstance(word, str))
    return f'"{words}"'


def _shown(text: str, line: int, column: int) -> tuple[int, int]:
    """The position, moved from an empty place at the end of the file to the last line with text."""
    lines = text.split("\n")
    while line > 1 and not "".join(lines[line - 1 :]).strip():
        line -= 1
        column = len(lines[line - 1]) + 1
    return line, column


def _said(message: str) -> str:
    for pattern, sentence in _SENTENCES:
        if re.match(pattern, message):
            return sentence
    message = _TAIL.sub("", message)
    return message[:1].lower() + message[1:]
