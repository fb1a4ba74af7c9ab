"""What ADBC's errors say: the database's own sentence, its SQLSTATE, whether trying again helps.

ADBC wraps what Postgres says in words of its own ("IO: [libpq] Failed to execute query '…': ERROR:
…"). The parts of an error stand beside it where the server answered a statement; where libpq
speaks, or rows were being read, there is the text alone.
"""

from __future__ import annotations

import re
from typing import Any

from pit.sql.driver import CANCELLED, Failure, SqlFailure
from pit.sql.drivers.postgres_errors import unreachable
from pit.sql.drivers.transient import LOST, by_sqlstate, by_words

_LONGEST = 4000
ABORTED = "25P02"
"""The SQLSTATE of a transaction in which something has failed before."""
_FURTHER = (
    ("DETAIL", "PG_DIAG_MESSAGE_DETAIL"),
    ("HINT", "PG_DIAG_MESSAGE_HINT"),
    ("CONTEXT", "PG_DIAG_CONTEXT"),
)
_STATUS = re.compile(r"\A(?:[A-Z][A-Z_]+: )?(?:\[libpq\] )?")
_QUERY = re.compile(r"\n\nQuery was: .*\Z|\. SQLSTATE: \w{5}\Z", re.DOTALL)
_STATE = re.compile(r"SQLSTATE: (\w{5})\Z")
_QUOTING = re.compile(r"\AFailed to execute query '.*?': (?=\w+:  )", re.DOTALL)
_SAID = re.compile(r"(?:\A|[\s:\]])(?P<severity>\w+):  (?P<sentence>.*)", re.DOTALL)
"""How libpq puts an error of the server's, in any language: a word, a colon, two spaces."""
_PLACE = re.compile(r"^(?:\w+ \d+: .*\n *\^|CONTEXT:  unnamed portal .*)$\n?", re.MULTILINE)
_LABEL = re.compile(r"^(\w+):  ", re.MULTILINE)
_PYTHON = re.compile(r"\.? Detail: Python exception: .*\Z", re.DOTALL)
_NOTHING_MORE = re.compile(r"\n\tThis probably means .*\Z", re.DOTALL)
_SPOILT = "connection is in an error state"
_STATES = (
    (_SPOILT, ABORTED),
    ("current transaction is aborted", ABORTED),
    ("deadlock detected", "40P01"),
    ("could not serialize", "40001"),
    ("conflict with recovery", "40001"),
    ("due to lock timeout", "55P03"),
    ("due to statement timeout", "57014"),
    ("due to user request", CANCELLED),
    ("due to administrator command", "57P01"),
)
"""The SQLSTATE of errors that come without one."""


def told(error: Any) -> SqlFailure:
    """An error of ADBC's."""
    details = {_name(key): bytes(value).decode(errors="replace") for key, value in _details(error)}
    text = str(error)
    primary = details.get("PG_DIAG_MESSAGE_PRIMARY")
    if not primary:
        return _of_text(text, error.sqlstate or "")
    parts = [f"{details.get('PG_DIAG_SEVERITY_NONLOCALIZED', 'ERROR')}: {primary}"]
    parts += [f"{word}: {details[key]}" for word, key in _FURTHER if details.get(key)]
    state = error.sqlstate or details.get("PG_DIAG_SQLSTATE", "")
    return _failure("\n".join(parts), state or _state(text))


def _details(error: Any) -> Any:
    return error.details or ()


def _name(key: str | bytes) -> str:
    """The key of a detail, which is bytes in newer versions."""
    return key.decode() if isinstance(key, bytes) else key


def ended(error: Exception) -> SqlFailure:
    """What ends a result in its middle: an error of Arrow's, with the text of ADBC's."""
    return _of_text(str(error), "")


def unreached(error: Any, display: str) -> SqlFailure:
    """A connection that could not be made."""
    words = _STATUS.sub("", str(error)).removeprefix("Failed to connect: ")
    return SqlFailure(unreachable(words, error.sqlstate or "", display))


def _of_text(text: str, state: str) -> SqlFailure:
    """What can be told by the text alone."""
    return _failure(_sentence(text), state or _state(text))


def _state(text: str) -> str:
    found = _STATE.search(text)
    return found[1] if found else next((state for words, state in _STATES if words in text), "")


def _sentence(text: str) -> str:
    """What the server says, in the form in which it is told by the parts; else ADBC's words."""
    bare = _QUERY.sub("", _QUERY.sub("", _STATUS.sub("", text.strip(), count=1)))
    bare = _NOTHING_MORE.sub("", _PYTHON.sub("", bare))
    if _SPOILT in bare:
        return "the transaction was aborted by an error before"
    said = _SAID.search(_QUOTING.sub("", bare))
    if said is None:
        return bare.strip()
    sentence = _PLACE.sub("", f"{said['sentence'].rstrip()}\n").strip()
    return f"{said['severity']}: {_LABEL.sub(_labelled, sentence)}"


def _labelled(found: re.Match[str]) -> str:
    return f"{found[1]}: "


def _failure(message: str, state: str) -> SqlFailure:
    lost = not state and LOST.search(message) is not None
    cancelled = state == "57014" and "user request" in message
    return SqlFailure(
        Failure(
            message=message[:_LONGEST].strip(),
            kind=CANCELLED if cancelled else "08006" if lost else state,
            retryable=by_sqlstate(state, message) if state else lost or by_words(message),
        )
    )
