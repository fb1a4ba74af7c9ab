"""Why a run or a task ended as it did, in a few words: the same on every screen."""

from __future__ import annotations

from pit.model import Reason
from pit.text.control import printable

_KNOWN = frozenset(Reason)
_SAID_BY_ERROR = (
    Reason.EXIT,
    Reason.SIGNAL,
    Reason.CANCELLED,
    Reason.SQL_ERROR,
    Reason.UPSTREAM_FAILED,
)
"""Reasons that say nothing which the error does not say better."""

_WORDS = {Reason.SINGLE_TASK: "not selected"}
"""Reasons whose words say little to people."""


def sentence(reason: str | None, error: str) -> str:
    """Why a run or a task ended so: the reason's word, and the error where it says more."""
    if reason and reason not in _KNOWN:  # of another release
        return f"{reason}: {error}" if error else reason
    first = printable(error.strip().partition("\n")[0])
    if not reason or (first and reason in _SAID_BY_ERROR) or first == reason:
        return first
    word = _WORDS.get(Reason(reason), reason)
    return f"{word}: {first}" if first else word


def of_task(reason: str | None, error: str, why: str) -> str:
    """Why a task ended so; of one that did as it should, why it ran or needed not to."""
    if why and reason in (None, Reason.CURRENT):
        return printable(why)
    return sentence(reason, error)
