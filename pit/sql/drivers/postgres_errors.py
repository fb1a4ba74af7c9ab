"""What Postgres's errors say: the sentence, the line in the script, whether trying again helps."""

from __future__ import annotations

import re

import psycopg

from pit.sql.driver import CANCELLED, Failure
from pit.sql.drivers.transient import LOST, by_sqlstate, by_words
from pit.sql.text.places import point

_LONGEST = 4000
_CANCELLED = "57014"
_DENIED = re.compile(
    r"authentication failed|no pg_hba\.conf entry|no password supplied"
    r"|(database|role) .* does not exist|permission denied for database|not permitted to log in",
    re.IGNORECASE,
)
"""What a server says that is there but lets nobody in; asking often may lock the account."""
_QUESTION = re.compile(r" Is the server running [^?]*\?")
"""What libpq asks behind each refused connection."""


def told(error: psycopg.Error, script: str = "", ahead: int = 0, first: int = 1) -> Failure:
    """An error as a Failure.

    `script` is the text that was sent behind `ahead` characters that are none of the script's;
    `first` is the number of its first line.
    """
    diag = error.diag
    state = error.sqlstate or ""
    line, snippet = 0, ""
    position = diag.statement_position or ""
    if position.isdecimal() and 0 <= (at := int(position) - 1 - ahead) <= len(script):
        line, snippet = point(script, at, first)
    return Failure(
        message=_sentence(error)[:_LONGEST],
        line=line,
        kind=_kind(error),
        retryable=by_sqlstate(state, str(error)) if state else by_words(str(error)),
        snippet=snippet,
    )


def _kind(error: psycopg.Error) -> str:
    """The SQLSTATE; a statement time-out has the same one as a cancel, and is none."""
    state = error.sqlstate or ""
    text = error.diag.message_primary or ""
    if state == _CANCELLED and "user request" in text:
        return CANCELLED
    return state


def _sentence(error: psycopg.Error) -> str:
    diag = error.diag
    if not diag.message_primary:
        return str(error).strip() or type(error).__name__
    parts = [f"{diag.severity or 'ERROR'}: {diag.message_primary}"]
    if diag.message_detail:
        parts.append(f"DETAIL: {diag.message_detail}")
    if diag.message_hint:
        parts.append(f"HINT: {diag.message_hint}")
    if diag.context:
        parts.append(f"CONTEXT: {diag.context}")
    return "\n".join(parts)


def lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone with it."""
    state = error.sqlstate or ""
    return state[:2] == "08" or state[:3] == "57P" or (not state and bool(LOST.search(str(error))))


def unreached(error: psycopg.Error, display: str) -> Failure:
    """A connection that could not be made."""
    return unreachable(str(error), error.sqlstate or "", display)


def unreachable(text: str, state: str, display: str) -> Failure:
    """What libpq says of a connection that could not be made."""
    words = _QUESTION.sub("", " ".join(text.split()))
    # Of several addresses one may refuse the connection and another one the password.
    denied = _DENIED.search(words) is not None
    return Failure(
        message=f"cannot connect to {display}: {words}"[:_LONGEST],
        kind=state or "08001",
        retryable=by_sqlstate(state) if state else by_words(words) and not denied,
    )
