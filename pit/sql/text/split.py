"""Where the statements of a script begin and end, for databases whose own parser is out of reach.

What a database is sent does not depend on it where the database takes whole scripts: there it gives
the log its titles and lines. It knows strings, quoted names, comments and what else may hold a
semicolon that ends nothing, each by the rules of the database.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from enum import Enum, auto

from pit.model import Record
from pit.sql.driver import Failure, SqlFailure, Statement
from pit.sql.text.places import point


class Grammar(Record, frozen=True):
    """What a kind of database understands beyond plain SQL.

    `brackets`, `backticks`: quoted names. `dollars`: `$tag$ … $tag$` and `E'…'`. `nested`: comments
    within comments. `blocks`: routine bodies with semicolons, from BEGIN to END.
    """

    brackets: bool = False
    backticks: bool = False
    dollars: bool = False
    nested: bool = True
    blocks: bool = True


POSTGRES = Grammar(dollars=True)
SQLITE = Grammar(brackets=True, backticks=True, nested=False)
TSQL = Grammar(brackets=True, blocks=False)
ANY = Grammar(backticks=True, nested=False)


class Kind(Enum):
    """What a token is."""

    COMMENT = auto()
    QUOTED = auto()
    WORD = auto()
    MARK = auto()


class Token(Record, frozen=True):
    """A stretch of the script; a token that is never closed goes on to the end."""

    kind: Kind
    start: int
    end: int


_START = re.compile(
    r"(?P<dash>--)|(?P<slash>/\*)|(?P<escaped>[eE]')|(?P<single>')|(?P<double>\")"
    r"|(?P<back>`)|(?P<bracket>\[)|(?P<dollar>\$(?:[^\W\d][^\W$]*|)\$)"
    r"|(?P<word>[^\W\d][\w$]*)|(?P<number>\d\w*)|(?P<mark>[^\s])"
)
_ENDS = {
    "dash": re.compile(r"$", re.MULTILINE),
    "escaped": re.compile(r"(?:[^'\\]|\\.|'')*'", re.DOTALL),
    "single": re.compile(r"(?:[^']|'')*'"),
    "double": re.compile(r'(?:[^"]|"")*"'),
    "back": re.compile(r"(?:[^`]|``)*`"),
    "bracket": re.compile(r"(?:[^\]]|\]\])*\]"),
}
_COMMENT_MARK = re.compile(r"/\*|\*/")


def tokens(text: str, grammar: Grammar) -> Iterator[Token]:
    """The tokens of a script, white space left out."""
    at = 0
    while match := _START.search(text, at):
        name = str(match.lastgroup)
        at = match.end()
        if _is_plain(name, grammar):
            # Only its first character: what follows may begin a string.
            at = match.start() + 1
            kind = Kind.WORD if name == "escaped" else Kind.MARK
        elif name in ("word", "number", "mark"):
            kind = Kind.WORD if name == "word" else Kind.MARK
        elif name == "slash":
            kind, at = Kind.COMMENT, _comment_end(text, at, grammar.nested)
        elif name == "dollar":
            close = text.find(match[0], at)
            kind, at = Kind.QUOTED, len(text) if close < 0 else close + len(match[0])
        else:
            kind = Kind.COMMENT if name == "dash" else Kind.QUOTED
            end = _ENDS[name].match(text, at) if name != "dash" else _ENDS[name].search(text, at)
            at = end.end() if end else len(text)
        yield Token(kind=kind, start=match.start(), end=at)


def _is_plain(name: str, grammar: Grammar) -> bool:
    """Whether this opening means nothing to the database."""
    return (
        (name in ("dollar", "escaped") and not grammar.dollars)
        or (name == "back" and not grammar.backticks)
        or (name == "bracket" and not grammar.brackets)
    )


def _comment_end(text: str, at: int, nested: bool) -> int:
    depth = 1
    while match := _COMMENT_MARK.search(text, at):
        at = match.end()
        if match[0] == "*/":
            depth -= 1
        elif nested:
            depth += 1
        if not depth:
            return at
    return len(text)


def statements(text: str, grammar: Grammar) -> list[Statement]:
    """The statements, without their semicolons; raises SqlFailure for a NUL character."""
    if "\0" in text:
        raise SqlFailure(_nul(text))
    found: list[Statement] = []
    lines = _Lines(text)
    current = _Current()
    for token in tokens(text, grammar):
        if token.kind is Kind.COMMENT:
            continue
        word = text[token.start : token.end]
        if word == ";" and not current.open:
            if current.start >= 0:
                found.append(lines.statement(current.start, token.start))
            current = _Current()
            continue
        current.take(word, token, grammar.blocks)
    if current.start >= 0:
        found.append(lines.statement(current.start, current.end))
    return found


def find(text: str, words: str, grammar: Grammar) -> int | None:
    """Where a name or a word stands that an error quotes; None unless it stands there just once.

    The name may have parts, `mart.t`; quotes around them do not matter, nor does case.
    """
    wanted = [part.lower() for part in words.split(".")]
    found = [
        (token.start, text[token.start : token.end].strip("\"[]`'").lower())
        for token in tokens(text, grammar)
        if token.kind is not Kind.COMMENT and text[token.start : token.end] != "."
    ]
    texts = [word for _, word in found]
    places = [
        found[i][0]
        for i in range(len(texts) - len(wanted) + 1)
        if texts[i : i + len(wanted)] == wanted
    ]
    return places[0] if len(places) == 1 else None


class _Current:
    """The statement that is being read: its parentheses, and the blocks of a routine's body."""

    def __init__(self) -> None:
        self.start = self.end = -1
        self._words: list[str] = []
        self._parentheses = self._blocks = 0

    @property
    def open(self) -> bool:
        """Whether a semicolon belongs to it."""
        return self._parentheses > 0 or self._blocks > 0

    def take(self, word: str, token: Token, blocks: bool) -> None:
        """One more token."""
        self.start = token.start if self.start < 0 else self.start
        self.end = token.end
        if word == "(":
            self._parentheses += 1
        elif word == ")":
            self._parentheses -= 1
        elif token.kind is Kind.WORD and blocks:
            self._take_word(word.lower())

    def _take_word(self, word: str) -> None:
        if len(self._words) < 4:
            self._words.append(word)
        if not (self._words[0] == "create" and _ROUTINES.intersection(self._words)):
            return
        # As psql does it: CASE ends with END as well.
        if word == "begin" or (word == "case" and self._blocks):
            self._blocks += 1
        elif word == "end" and self._blocks:
            self._blocks -= 1


_ROUTINES = frozenset(("function", "procedure", "trigger"))


class _Lines:
    """Counts lines going forward, so that a long script is read once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at, self._line = 0, 1

    def statement(self, start: int, end: int) -> Statement:
        """The statement in this stretch."""
        self._line += self._text.count("\n", self._at, start)
        self._at = start
        return Statement(line=self._line, above=self._line, text=self._text[start:end].rstrip())


def _nul(text: str) -> Failure:
    line, snippet = point(text, text.index("\0"))
    return Failure(
        message="the script contains a NUL character",
        line=line,
        kind="syntax",
        retryable=False,
        snippet=snippet,
    )


# ---------------------------------------------------------------- COPY

_NO_COPY = (
    "COPY to or from the client is not for a script: "
    "let a task with type = load or type = save move the rows"
)


def refuse_copy(script: Sequence[Statement]) -> None:
    """SqlFailure if a statement is a COPY that wants rows from the client, or sends it some."""
    for statement in script:
        if _copies(statement.text):
            raise SqlFailure(refused_copy(statement.line))


def _copies(text: str) -> bool:
    if text[:4].lower() != "copy":
        return False
    words = [
        text[token.start : token.end].lower()
        for token in tokens(text, POSTGRES)
        if token.kind is Kind.WORD
    ]
    pairs = set(itertools.pairwise(words))
    return words[0] == "copy" and bool(pairs & {("from", "stdin"), ("to", "stdout")})


def refused_copy(line: int) -> Failure:
    """Why such a COPY is not carried out."""
    return Failure(message=_NO_COPY, line=line, kind="unsupported", retryable=False)


# ---------------------------------------------------------------- GO

_GO = re.compile(r"[ \t]*go(?=[\s;]|--|/\*|$)(?P<rest>[^\n]*)", re.IGNORECASE)
_COUNT = re.compile(r"\s*(?P<count>\d{0,9})\s*;?\s*(--.*|/\*.*\*/\s*)?")


class Batch(Record, frozen=True):
    """What goes to SQL Server at once: its text, the line it begins on, how often it is sent."""

    text: str
    line: int
    times: int = 1


def batches(text: str) -> list[Batch]:
    """The batches of a T-SQL script: lines that say GO, alone or with a count, stand in between.

    GO within a string or a comment is none. Raises SqlFailure for a NUL character, or a GO that
    says anything else.
    """
    if "\0" in text:
        raise SqlFailure(_nul(text))
    found: list[Batch] = []
    start, line = 0, 1
    for begin, match in _separators(text):
        number = line + text.count("\n", start, begin)
        count = _COUNT.fullmatch(match["rest"])
        if count is None or count["count"].strip("0") == "" != count["count"]:
            raise SqlFailure(_wrong_go(text, begin, number))
        found.append(Batch(text=text[start:begin], line=line, times=int(count["count"] or 1)))
        start, line = min(match.end() + 1, len(text)), number + 1
    found.append(Batch(text=text[start:], line=line))
    return [batch for batch in found if _says_something(batch.text)]


def _separators(text: str) -> Iterator[tuple[int, re.Match[str]]]:
    """Each GO line outside of strings and comments, and where it begins."""
    closed = 0
    for begin, end in (*_inside(text), (len(text), len(text))):
        for at in _line_starts(text, closed, begin):
            match = _GO.match(text, at)
            if match and match.end() >= at:
                yield at, match
        closed = end


def _inside(text: str) -> Iterator[tuple[int, int]]:
    """The stretches of strings, quoted names and comments that go over a line's end."""
    for token in tokens(text, TSQL):
        if token.kind in (Kind.QUOTED, Kind.COMMENT) and "\n" in text[token.start : token.end]:
            yield token.start, token.end


def _line_starts(text: str, start: int, end: int) -> Iterator[int]:
    at = 0 if start == 0 else text.find("\n", start) + 1
    while (at > 0 or start == 0) and at <= end and at < len(text):
        yield at
        at = text.find("\n", at) + 1
        if at == 0:
            return


def _says_something(text: str) -> bool:
    return any(token.kind is not Kind.COMMENT for token in tokens(text, TSQL))


def _wrong_go(text: str, offset: int, line: int) -> Failure:
    return Failure(
        message="GO stands alone on its line, or with how often to send the batch: GO 5",
        line=line,
        kind="syntax",
        retryable=False,
        snippet=point(text, offset)[1],
    )
