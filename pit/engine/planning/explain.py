"""Why a task runs, in words: one clause for each change, the most telling one first.

A clause completes "it runs because …" and tells the actual difference. What `text` answers is the
source behind a digest; without it a clause says that something changed, and not what.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pit.engine.staleness import earlier
from pit.engine.staleness.comparison import Change, Kind
from pit.model import Reason, TaskRecord
from pit.text.sizes import size

if TYPE_CHECKING:
    from pit.engine.staleness.planner import Decision

Text = Callable[[str], bytes | None]
"""A source by its digest, None if it is not kept."""

# What somebody did comes before what follows from it.
_ORDER = (
    Kind.FORCED,
    Kind.ALWAYS,
    Kind.UNTRACKED,
    Kind.NO_RECORD,
    Kind.VERSION,
    Kind.SOURCE,
    Kind.DEFINITION,
    Kind.ENVIRONMENT,
    Kind.DATABASE,
    Kind.WATCHED,
    Kind.INPUT,
    Kind.UPSTREAM,
    Kind.SUCCESS,
    Kind.PRODUCT,
    Kind.UNKNOWN,
)
_LONGEST_VALUE = 60
_PACKAGES = 3
_REASONS = 3


def decision(found: Decision, text: Text = lambda digest: None) -> str:
    """Why a task runs, or since when it is current."""
    if found.current and found.record is not None:
        return since(found.record)
    return listed([_told(change, found, text) for change in ordered(found.changes)])


def since(record: TaskRecord) -> str:
    """Since when the task of a record is current."""
    accepted = f"accepted: {record.note}" if record.note else ""
    return accepted or f"current since run {record.run}"


def listed(reasons: Sequence[str]) -> str:
    """The first reasons in one line, the others counted."""
    more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
    return "; ".join(reasons[:_REASONS]) + more


def _told(change: Change, found: Decision, text: Text) -> str:
    if found.fingerprint is None:
        return sentence(change)
    if change.kind is Kind.NO_RECORD:
        return no_record(found.fingerprint.definition.get("params", ""), change.subject)
    if change.kind is Kind.ENVIRONMENT and found.record is not None:
        was, now = found.record.fingerprint.packages, found.fingerprint.packages
        return environment(change, packages(text(was), text(now)))
    return sentence(change)


def ordered(changes: Iterable[Change]) -> list[Change]:
    """Changes, the most telling first; a file that is told of twice, as input and as somebody's
    target, once."""
    found = list(changes)
    made = {change.subject for change in found if change.kind is Kind.UPSTREAM}
    unbuilt = any(change.kind is Kind.ENVIRONMENT and not change.now for change in found)
    kept = [
        change
        for change in found
        if not (change.kind is Kind.INPUT and change.subject in made)
        # Without its environment nobody knows what a script imports: those files are not gone.
        and not (unbuilt and change.kind is Kind.SOURCE and not change.now)
    ]
    return sorted(kept, key=lambda change: _ORDER.index(change.kind))


def sentence(change: Change) -> str:
    """One change as a clause that completes "it runs because …"."""
    match change.kind:
        case Kind.NO_RECORD:
            return no_record("", change.subject)
        case Kind.UNTRACKED:
            return "it declares no inputs, so it always runs"
        case Kind.ALWAYS:
            return "it always runs (always = true)"
        case Kind.FORCED:
            return f"{change.subject or '--force'} asks for it"
        case Kind.VERSION:
            return "this version of Pit compares more than the one that recorded it"
        case Kind.ENVIRONMENT:
            return environment(change, ())
        case Kind.DATABASE:
            which = f"the database {change.subject}" if change.subject else "its database"
            return f"{which} is a different one ({_values(change.was, change.now)})"
        case Kind.WATCHED:
            values = _values(change.was[:8], change.now[:8])
            return f"what its fingerprint query returns changed ({values})"
        case Kind.UNKNOWN:
            return f"its database could not be asked: {change.subject}"
        case Kind.DEFINITION:
            return _definition(change)
        case Kind.SUCCESS:
            return f"{change.subject} ran" if change.now else f"{change.subject} would run"
        case Kind.UPSTREAM | Kind.INPUT if change.maker:
            return _file(f"{change.subject}, made by {change.maker},", change)
        case Kind.SOURCE | Kind.INPUT | Kind.UPSTREAM:
            return _file(change.subject, change)
        case Kind.PRODUCT:
            return _product(change)


_BECAME: Mapping[str, str] = {
    earlier.FAILED: "it failed the last time",
    earlier.FORGOTTEN: "its record was dropped",
    Reason.TIMEOUT: "it timed out the last time",
    Reason.CANCELLED: "it was cancelled the last time",
    Reason.INTERRUPTED: "it was cut off the last time",
    Reason.INPUT_CHANGED: "an input changed while it ran the last time",
    Reason.WARNED: "it came with a warning the last time",
}


def no_record(params: str, became: str = "") -> str:
    """Why a task without a record runs; `params` are its parameters as JSON, if it has any.

    `became` is what `Earlier` knows of it.
    """
    if became in _BECAME:
        return _BECAME[became]
    values = json.loads(params) if params else {}
    pairs = ", ".join(f"{name}={value}" for name, value in sorted(values.items()))
    if became == earlier.FIRST:
        return f"first run with {pairs}" if pairs else "first run"
    return f"no success {f'with {pairs}' if pairs else 'of it'} is on record"


def environment(change: Change, moved: Sequence[str]) -> str:
    """Why another Python environment is another; `moved` are the packages that changed."""
    more = f", and {len(moved) - _PACKAGES} more" if len(moved) > _PACKAGES else ""
    packages = f"uv.lock: {', '.join(moved[:_PACKAGES])}{more}" if moved else ""
    if not change.now:
        unbuilt = "its Python environment has not been built yet"
        return f"{unbuilt} ({packages})" if packages else unbuilt
    return packages or "its Python environment changed"


def absent(inputs: Sequence[str], meant: str = "") -> str:
    """What a task that failed had been promised, and did not find; `meant` if one is like it."""
    more = f" and {len(inputs) - _REASONS} more" if len(inputs) > _REASONS else ""
    noun, verb = ("input", "is") if len(inputs) == 1 else ("inputs", "are")
    near = f'; did you mean "{meant}"?' if meant else ""
    return f"its {noun} {', '.join(inputs[:_REASONS])}{more} {verb} not there{near}"


# ---------------------------------------------------------------- files


def _file(name: str, change: Change) -> str:
    if not change.was:
        return f"{name} is new"
    if not change.now:
        return f"{name} is gone"
    sizes = _values(mark(change.was), mark(change.now)) if " " in change.was else ""
    return f"{name} changed ({sizes})" if sizes else f"{name} changed"


def _product(change: Change) -> str:
    if change.subject.startswith("table:"):
        return f"its table {change.subject.removeprefix('table:')} is gone"
    if not change.now:
        return f"its target {change.subject} is gone"
    if not change.was:
        return f"{change.subject} is in its target, and it did not make that"
    values = _values(mark(change.was), mark(change.now))
    return f"its target {change.subject} is not what it made ({values})"


def mark(shown: str) -> str:
    """A file's content for people: `3f2a91bc, 120.0 kB`."""
    digest, _, count = shown.partition(" ")
    return f"{digest}, {size(int(count))}" if count else digest


def _values(was: str, now: str) -> str:
    return f"was {was or 'absent'}; now {now or 'absent'}"


# ---------------------------------------------------------------- pit.toml


def _definition(change: Change) -> str:
    if change.subject == "inline metadata":
        return "the dependencies that its script brings itself changed"
    was, now = _value(change.was), _value(change.now)
    if isinstance(was, list) or isinstance(now, list):
        return f"pit.toml: {change.subject}: {_list_difference(was or [], now or [])}"
    if isinstance(was, dict) or isinstance(now, dict):
        return f"pit.toml: {_table_difference(change.subject, was or {}, now or {})}"
    return f"pit.toml: {change.subject} changed ({_values(_short(was), _short(now))})"


def plain(text: str) -> str:
    """A value of a definition as text, without JSON around it."""
    value = _value(text)
    return value if isinstance(value, str) else text


def _value(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def _list_difference(was: Sequence[Any], now: Sequence[Any]) -> str:
    added = [f"{_short(item)} added" for item in now if item not in was]
    removed = [f"{_short(item)} removed" for item in was if item not in now]
    return ", ".join([*added, *removed]) or "their order changed"


def _table_difference(name: str, was: dict[str, Any], now: dict[str, Any]) -> str:
    moved = [key for key in sorted(was.keys() | now.keys()) if was.get(key) != now.get(key)]
    told = [
        f"{name} {key} changed ({_values(_short(was.get(key)), _short(now.get(key)))})"
        for key in moved[:_PACKAGES]
    ]
    more = [f"{len(moved) - _PACKAGES} more"] if len(moved) > _PACKAGES else []
    return ", ".join([*told, *more])


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


# ---------------------------------------------------------------- packages


def packages(was: bytes | None, now: bytes | None) -> list[str]:
    """The packages of two uv.lock files that differ: `pandas 2.2.3 → 2.3.0`."""
    if was is None or now is None or was == now:
        return []
    before, after = _locked(was), _locked(now)
    names = sorted(before.keys() | after.keys())
    return [
        _moved(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    ]


def _moved(name: str, was: str | None, now: str | None) -> str:
    if was is None:
        return f"{name} {now} added"
    return f"{name} {was} removed" if now is None else f"{name} {was} → {now}"


def _locked(lock: bytes) -> dict[str, str]:
    """The versions in a uv.lock by package; several of one package are joined."""
    import tomli  # only where a lock has changed

    try:
        found = tomli.loads(lock.decode("utf-8")).get("package", [])
    except ValueError:
        return {}
    versions: dict[str, set[str]] = {}
    for package in found if isinstance(found, list) else ():
        if isinstance(package, dict) and "version" in package:
            versions.setdefault(str(package.get("name")), set()).add(str(package["version"]))
    return {name: " and ".join(sorted(of)) for name, of in versions.items()}


def environment_parts(was: dict[str, str], now: dict[str, str]) -> list[str]:
    """What of an environment changed but its packages, by the hashes that runs keep."""
    files = {"pyproject": "pyproject.toml", "uv_lock": "uv.lock"}
    known = [kind for kind in files if kind in was and kind in now]
    moved = [f"{files[kind]} changed" for kind in known if was[kind] != now[kind]]
    if not moved and len(known) == len(files):
        return ["the Python interpreter, or a local package, is a different one"]
    return moved
