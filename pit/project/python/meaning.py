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
import re
import threading
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from pit.text import regex

_PARSING = threading.Lock()
_BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)
_METADATA = regex.lazy(r"(?m)^# /// [a-zA-Z0-9-]+$\n(?:^#(?:| .*)$\n)+^# ///$")


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


_TOKEN = regex.lazy(
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

# What Postgres, DuckDB and SQLite reserve, so that it names nothing but after AS or a dot, or where
# something says that it is a name, as in `f(select := 1)` and `{select: 1}`.
_RESERVED = frozenset(
    """
    all and as case create distinct else except from group having in intersect into limit not null
    on or order primary select table then union unique using when where
    """.split()  # noqa: SIM905
)
# What one of them lets be a name, whose case may be that of a column. What stands around it says
# for certain that it is none, or it counts.
_JOINING = frozenset(("cross", "full", "inner", "left", "natural", "outer", "right"))
_BEFORE_JOIN = _JOINING | {"anti", "asof", "positional", "semi"}
_AFTER_IS = frozenset(("distinct", "false", "not", "null", "true"))
_CLAUSES = frozenset(("from", "group", "having", "limit", "order", "select", "where"))


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
    return list(_folded(tokens))


def _token(before: list[_Token], kind: str, found: re.Match[str], gap: str) -> Iterator[_Token]:
    text = found[0]
    if kind == "quoted" and before and before[-1].kind == "quoted":
        # Two strings are one if a line ends between them.
        yield _Token("gap", "\n" if "\n" in gap else gap[:1])
    elif kind == "word" and text.lower() == "go":
        text = _line_around(found)  # alone on its line it ends a batch of SQL Server
    yield _Token(kind, text)


class _Inside:
    """What is known inside of one pair of parentheses: the clause, and how many CASE are open."""

    def __init__(self) -> None:
        self.clause = ""
        self.cases = 0

    def see(self, word: str) -> None:
        """A word that is a keyword for certain."""
        if word in _CLAUSES:
            self.clause = word
        elif word in ("case", "end"):
            self.cases += 1 if word == "case" else -1


def _folded(tokens: list[_Token]) -> Iterator[_Token]:
    """The tokens with the words in small letters that are keywords and nothing else."""
    levels = [_Inside()]
    for at, token in enumerate(tokens):
        if token.kind == "mark":
            for mark in token.text:
                if mark == "(":
                    levels.append(_Inside())
                elif mark == ")" and len(levels) > 1:
                    levels.pop()
                elif mark == ";":
                    levels = [_Inside()]
        word = token.text.lower()
        if token.kind == "word" and _is_keyword(word, tokens, at, levels[-1]):
            levels[-1].see(word)
            token = _Token("word", word)
        yield token


_NOTHING = _Token("", "")


def _is_keyword(word: str, tokens: list[_Token], at: int, inside: _Inside) -> bool:
    """Whether a word cannot be a name, whose case would be that of a column."""
    previous = tokens[at - 1] if at else _NOTHING
    following = tokens[at + 1] if at + 1 < len(tokens) else _NOTHING
    before, after = previous.text.lower(), following.text.lower()
    if before == "as" or before.endswith((".", ":", "{")):
        return False
    match word:
        case "by":
            return before in ("group", "order")
        case "end":
            return inside.cases > 0
        case "asc" | "desc":
            return inside.clause == "order"
        case "with":
            return before in ("", ";", "(") and following.kind in ("word", "quoted")
        case "is":
            return after in _AFTER_IS
        case "like":
            return before == "not" or following.kind == "quoted"
        case "join":
            names = previous.kind in ("word", "quoted", "exact") or before == ")"
            return names and (following.kind in ("word", "quoted", "exact") or after == "(")
    if word in _JOINING:
        return _leads_to_join(tokens, at)
    is_named = after.startswith(("=", ":")) and not after.startswith("::")
    return word in _RESERVED and not is_named


def _leads_to_join(tokens: list[_Token], at: int) -> bool:
    """Whether only words that say which join it is stand before JOIN."""
    while at < len(tokens) and tokens[at].text.lower() in _BEFORE_JOIN:
        at += 1
    return at < len(tokens) and tokens[at].text.lower() == "join"


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
    import difflib

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
