"""Why a task runs, in words: one sentence for each change, the most telling one first."""

from __future__ import annotations

from pit.engine.current import Change, Kind, Verdict


def verdict(found: Verdict) -> str:
    """Why a task runs, or since when it is current."""
    if found.current and found.record is not None:
        return f"current since run {found.record.run}"
    text = sentence(found.changes[0])
    more = len(found.changes) - 1
    return f"{text}, and {more} more" if more else text


def sentence(change: Change) -> str:
    """One change as a clause that completes "it runs because …"."""
    match change.kind:
        case Kind.NO_RECORD:
            return "it has not succeeded before with these parameters"
        case Kind.UNTRACKED:
            return "it declares no inputs, so it always runs"
        case Kind.ALWAYS:
            return "always = true"
        case Kind.FORCED:
            return "--force"
        case Kind.VERSION:
            return "this version of Pit takes other fingerprints than the one that recorded it"
        case Kind.ENVIRONMENT:
            return "its Python environment changed"
        case Kind.DATABASE:
            return f"its database is another one ({_difference(change)})"
        case Kind.DEFINITION:
            return f"pit.toml: {change.subject} changed ({_difference(change)})"
        case Kind.SUCCESS:
            return f"{change.subject} ran"
        case Kind.SOURCE | Kind.INPUT:
            return _file(change)
        case Kind.UPSTREAM:
            return f"{_file(change)}, made by {change.maker}"
        case Kind.PRODUCT:
            return f"its target {_file(change)}"


def _file(change: Change) -> str:
    if not change.was:
        return f"{change.subject} is new"
    if not change.now:
        return f"{change.subject} is gone"
    return f"{change.subject} changed"


def _difference(change: Change) -> str:
    return f"was {change.was or 'absent'}; now {change.now or 'absent'}"
