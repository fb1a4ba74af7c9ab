"""What makes a tracked task current: its fingerprint now against that of its last success.

`compare` compares, `Change` is one reason why a task is stale. The digests come from `project`;
nobody else compares them. Nothing here imports doit, so that "nothing to do" is answered without
it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pit.model import Dag, FileMark, Fingerprint, Load, Record, Task, TaskRecord

if TYPE_CHECKING:
    from pit.project.runners.runner import Runner

VERSION = 2
"""The version of the fingerprint; a release that changes what it covers counts it up."""


class Kind(StrEnum):
    """What sort of thing changed."""

    NO_RECORD = "no_record"
    UNTRACKED = "untracked"
    ALWAYS = "always"
    FORCED = "forced"
    VERSION = "version"
    SOURCE = "source"
    DEFINITION = "definition"
    ENVIRONMENT = "environment"
    INPUT = "input"
    UPSTREAM = "upstream"
    SUCCESS = "success"
    DATABASE = "database"
    WATCHED = "watched"
    PRODUCT = "product"
    UNKNOWN = "unknown"


class Change(Record):
    """One reason why a task is not current.

    `subject` is the file, key or upstream task, of `no_record` what became of the task before;
    `was` and `now` are digests, values or marks as text, empty where there was or is nothing.
    """

    kind: Kind
    subject: str = ""
    was: str = ""
    now: str = ""
    maker: str = ""


_canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode


def is_tracked(task: Task) -> bool:
    """Whether Pit may skip the task: it declares what it reads, and not that it always runs."""
    return task.inputs is not None and not task.always


def definition(dag: Dag, task: Task, values: Mapping[str, str]) -> dict[str, str]:
    """The keys of pit.toml that matter to what a task does, each as canonical JSON."""
    wanted = values if task.params is None else task.params
    facts = {
        "script": task.script,
        "runner": task.runner,
        "env": dag.env | task.env,
        "params": {name: values[name] for name in wanted},
        "inputs": sorted(task.inputs or ()),
        "targets": sorted((*task.targets, *(f"table:{table}" for table in task.tables))),
        "connection": task.connection or dag.connection,
        "matrix": task.values,
        "type": task.type,
        "query": task.query,
        "expect": msgspec.to_builtins(task.expect) if task.expect else None,
        "fingerprint": task.fingerprint,
        "load": _load_said(task.load) if task.load else None,
        "output": task.save.output if task.save else "",
    }
    return {key: _canonical(value) for key, value in facts.items() if value}


def _load_said(load: Load) -> dict[str, Any]:
    """What a load says; a key that is younger than records counts where it is used.

    Else each load that has been done before would be done again.
    """
    said: dict[str, Any] = msgspec.to_builtins(load)
    if not load.csv.max_line_size:
        del said["csv"]["max_line_size"]
    return said


def compare(old: TaskRecord, new: Fingerprint, text: Callable[[str], bytes | None]) -> list[Change]:
    """Every way in which `new` differs from what the last success read; products aside."""
    was = old.fingerprint
    if was.version != new.version:
        return [Change(kind=Kind.VERSION, was=str(was.version), now=str(new.version))]
    return [
        *_sources(was, new, text),
        *_values(Kind.DEFINITION, was.definition, new.definition),
        *_one(Kind.ENVIRONMENT, was.environment, new.environment),
        *_marks(Kind.INPUT, was.inputs, new.inputs),
        *_upstream(was, new),
        *_values(Kind.SUCCESS, was.successes, new.successes),
        *_databases({"": was.database}, {"": new.database}),
        *_databases(was.databases, new.databases),
        *_one(Kind.WATCHED, was.watched, new.watched),
    ]


def products_changed(
    recorded: Mapping[str, FileMark], present: Mapping[str, FileMark]
) -> list[Change]:
    """The products of the last success that are not what it made."""
    return list(_marks(Kind.PRODUCT, recorded, present))


def shown(mark: FileMark | None) -> str:
    """A mark as people see it: the digest's beginning and the size in bytes; empty for none."""
    return "" if mark is None else f"{mark.digest[:8]} {mark.size}"


def tables_gone(tables: Sequence[str], there: Sequence[str]) -> list[Change]:
    """The tables among a task's targets that are not there."""
    return [
        Change(kind=Kind.PRODUCT, subject=f"table:{table}", was="table")
        for table in tables
        if table not in there
    ]


def compares(fingerprint: Fingerprint, place: str) -> bool:
    """Whether a source is compared in its meaning: what the task's runner makes of it."""
    script = fingerprint.definition.get("script")
    return script is not None and _runner(fingerprint).compares(json.loads(script), place)


def _runner(fingerprint: Fingerprint) -> Runner:
    from pit.project.runners import table  # most sources are the same

    return table.named(json.loads(fingerprint.definition.get("runner", '""')))


def _sources(
    was: Fingerprint, now: Fingerprint, text: Callable[[str], bytes | None]
) -> Iterable[Change]:
    if was.sources == now.sources:
        return
    for path in _all(was.sources, now.sources):
        one, other = was.sources.get(path, ""), now.sources.get(path, "")
        if one != other and not (compares(now, path) and _same_meaning(now, one, other, text)):
            yield Change(kind=Kind.SOURCE, subject=path, was=one, now=other)


def _same_meaning(
    fingerprint: Fingerprint, one: str, other: str, text: Callable[[str], bytes | None]
) -> bool:
    old, new = (text(digest) if digest else None for digest in (one, other))
    if old is None or new is None:
        return False
    return _runner(fingerprint).same_meaning(old, new)


def _values(kind: Kind, was: Mapping[str, str], now: Mapping[str, str]) -> Iterable[Change]:
    for key in _all(was, now):
        if was.get(key) != now.get(key):
            yield Change(kind=kind, subject=key, was=was.get(key, ""), now=now.get(key, ""))


def _databases(was: Mapping[str, str], now: Mapping[str, str]) -> Iterable[Change]:
    for change in _values(Kind.DATABASE, was, now):
        from pit.sql.connection.urls import same_identity  # most tasks have the very same databases

        if not same_identity(change.was, change.now):
            yield change


def _one(kind: Kind, was: str, now: str) -> Iterable[Change]:
    if was != now:
        yield Change(kind=kind, was=was, now=now)


def _marks(
    kind: Kind, was: Mapping[str, FileMark], now: Mapping[str, FileMark], maker: str = ""
) -> Iterable[Change]:
    if was == now:
        return
    for place in _all(was, now):
        old, new = was.get(place), now.get(place)
        if old != new:
            yield Change(kind=kind, subject=place, was=shown(old), now=shown(new), maker=maker)


def _upstream(was: Fingerprint, now: Fingerprint) -> Iterable[Change]:
    for task in _all(was.upstream, now.upstream):
        yield from _marks(
            Kind.UPSTREAM, was.upstream.get(task, {}), now.upstream.get(task, {}), maker=task
        )


def _all(was: Mapping[str, object], now: Mapping[str, object]) -> Sequence[str]:
    return sorted(was.keys() | now.keys())


def relative(path: Path, root: Path) -> str:
    """A path below `root` as a place, any other as it is."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return str(path)
