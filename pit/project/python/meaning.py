"""Whether two versions of a source mean the same, and how they differ, for people.

Both versions are parsed by today's parser, so that a new Python never makes the world stale.
What cannot be told apart for certain counts as different: the price is a task that runs once
too often, never one that is skipped wrongly.

* Python: the syntax trees, without positions, and the blocks of inline metadata (PEP 723), which
  are comments with a meaning. Docstrings count.
* SQL: the tokens, without comments and without the case of words that are keywords everywhere.
  The text alone does not tell which database it is for, so something is only called a comment
  or mere spacing where Postgres, DuckDB, SQLite, SQL Server and their like agree. General SQL
  tokenizers guess there: sqlglot's takes the rest of `E'it\\'s -- '`, of `$$ -- $$` or of
  `[a--b]` for a comment, and so would miss an edit.

What is neither to whoever runs it is compared by its bytes, see `pit.project.runners`.
"""

from __future__ import annotations

import ast
import difflib
import re
import threading
import warnings
from collections.abc import Iterator
from typing import NamedTuple

_PARSING = threading.Lock()
_BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)
_METADATA = re.compile(r"(?m)^# /// [a-zA-Z0-9-]+$\n(?:^#(?:| .*)$\n)+^# ///$")


# ---------------------------------------------------------------- Python


def parse(text: bytes) -> ast.Module | None:
    """The syntax tree of a Python file; None if today's Python cannot read it.

    Quiet about what Python would warn of, which is the script's own business.
    """
    with _PARSING, warnings.catch_warnings():  # the filters belong to the whole process
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except _BROKEN:
            return None


def same_python(old: bytes, new: bytes) -> bool:
    """Whether two texts of Python do the same."""
    if old == new:
        return True
    before, after = _python_meaning(old), _python_meaning(new)
    return before is not None and before == after


def _python_meaning(text: bytes) -> tuple[str, list[str]] | None:
    tree = parse(text)
    if tree is None:
        return None
    try:
        return ast.dump(tree), _metadata(text)
    except _BROKEN:
        return None


def _metadata(text: bytes) -> list[str]:
    lines = text.decode("utf-8", "surrogateescape").splitlines()
    return _METADATA.findall("\n".join(lines))


# ---------------------------------------------------------------- SQL


_PLAIN = r"""[^][\\'"`/$-]|-(?!-)|/(?!\*)"""
"""A character that begins no text of its own in any dialect."""

# What stands right before a quote belongs to it, as in E'…'. Oracle's q'[…]' is beyond us.
_NOT_ORACLE = r"(?![nN]?[qQ]')"
_PREFIX = _NOT_ORACLE + r"(?:[\w@#][\w.$@#]*+)?"


def _bracketed(depth: int) -> str:
    """A pattern for `[…]`, a list or a quoted name, whose end is the same in both readings."""
    inside = rf"""{_PLAIN}|'[^][\\']*+'|"[^][\\"]*+\""""
    if depth:
        inside += f"|{_bracketed(depth - 1)}"
    return rf"\[(?:{inside})*+\]"


_TOKEN = re.compile(
    rf"""
      (?P<space>  [ \t\r\n\f\v]++ | --++(?![+\d(@.])[^\r\n]*+
                | /\*(?![+!])(?:(?!/\*|\*/).)*+\*/ )
    | (?P<exact>  /\*[+!](?:(?!/\*|\*/).)*+\*/ | --\+[^\r\n]*+ | {_bracketed(3)} )
    | (?P<quoted> {_PREFIX}' (?:[^'\\]|''|\\[^'])*+ '
                | {_PREFIX}" (?:[^"\\]|""|\\[^"])*+ "
                | `(?:{_PLAIN})*+`
                | (?P<tag>\$(?:[A-Za-z_]\w*+)?\$) .*? (?P=tag) )
    | (?P<word>   {_NOT_ORACLE} (?:\#++(?=\w))? [\w.@] [\w.$@#]*+ | \$\w++ | (?<!:):\w++ )
    | (?P<mark>   [(),;{{}}] | (?: (?!--|/\*|(?<!:):\w) [-+*/<>=~!%^&|?:] | \#(?=[>=-]) )++ )
    """,
    re.VERBOSE | re.DOTALL,
)

# What both Postgres and DuckDB reserve, so that it names nothing unless it follows AS or a dot.
_KEYWORDS = frozenset(
    """
    all and as asc case create cross desc distinct else end except from full group having in inner
    intersect into is join left like limit natural not null on or order outer primary right select
    table then union unique using when where with
    """.split()  # noqa: SIM905
)


class _Token(NamedTuple):
    kind: str
    text: str


def same_sql(old: bytes, new: bytes) -> bool:
    """Whether two scripts of SQL do the same, whatever database they are for."""
    if old == new:
        return True
    before, after = _sql_tokens(old), _sql_tokens(new)
    return before is not None and before == after


def _sql_tokens(data: bytes) -> list[_Token] | None:
    """What a database reads of a script; None where dialects disagree about that."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    tokens: list[_Token] = []
    gap = ""
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            return None
        at = found.end()
        kind = found.lastgroup or ""
        if kind == "space":
            gap += found[0]
            continue
        tokens.extend(_token(tokens, kind, found, gap))
        gap = ""
    return tokens


def _token(before: list[_Token], kind: str, found: re.Match[str], gap: str) -> Iterator[_Token]:
    previous = before[-1] if before else _Token("", "")
    text = found[0]
    if kind == "quoted" and previous.kind == "quoted":
        # Two strings are one if a line ends between them.
        yield _Token("gap", "\n" if "\n" in gap else gap[:1])
    elif kind == "word" and _is_keyword(text.lower(), previous):
        text = text.lower()
    elif kind == "word" and text.lower() == "go":
        text = _line_around(found)  # alone on its line it ends a batch of SQL Server
    yield _Token(kind, text)


def _is_keyword(word: str, previous: _Token) -> bool:
    """Whether a word cannot be a name, whose case would be that of a column."""
    if word == "by":
        return previous.text in ("group", "order")
    may_name = previous.text.lower() == "as" or previous.text.endswith((".", ":", "{"))
    return word in _KEYWORDS and not may_name


def _line_around(found: re.Match[str]) -> str:
    start = found.string.rfind("\n", 0, found.start()) + 1
    end = found.string.find("\n", found.end())
    return found.string[start : end if end >= 0 else None].strip()


# ---------------------------------------------------------------- differences

_MOST_LINES = 4000
_WIDTH = 160


def diff(old: bytes, new: bytes, path: str, lines: int = 12) -> str:
    """A short unified diff, at most `lines` long and one more that says what was left out."""
    if b"\0" in old + new:
        return f"{path}: binary, {len(old):,} bytes before, {len(new):,} bytes now"
    before, after = _lines(old), _lines(new)
    if len(before) + len(after) > _MOST_LINES:
        return f"{path}: {len(before):,} lines before, {len(after):,} lines now"
    found = [
        line[:_WIDTH] for line in list(difflib.unified_diff(before, after, n=1, lineterm=""))[2:]
    ]
    if len(found) > lines:
        found[lines:] = [f"… and {len(found) - lines} more lines"]
    return "\n".join([path, *found])


def _lines(text: bytes) -> list[str]:
    return text.decode("utf-8", "replace").splitlines()
