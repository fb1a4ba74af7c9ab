"""The verdict on one tracked task: its record held against what it would read now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from pit.engine import current
from pit.engine.current import Change, Kind, Records, Verdict
from pit.engine.fingerprint import Fingerprints
from pit.model import FileMark, Task


def verdict_of(
    task: Task,
    dag: str,
    params: Mapping[str, str],
    fingerprints: Fingerprints,
    records: Records,
    standing: Callable[[Task, Mapping[str, FileMark]], Mapping[str, FileMark]],
) -> Verdict:
    """Whether a tracked task is current, its dependencies being what `fingerprints` was told."""
    fingerprint = fingerprints.of(task)
    record = records.record(dag, task.name, current.params_key(task, params))
    if record is None:
        return Verdict(changes=(Change(kind=Kind.NO_RECORD),), record=None, fingerprint=fingerprint)

    def text(digest: str) -> bytes | None:
        return fingerprints.text(digest) or records.text(digest)

    found = current.compare(record, fingerprint, text)
    recorded = record.fingerprint.products
    changes: Sequence[Change] = [
        *(_told(change, task, fingerprints) for change in found),
        *current.products_changed(recorded, standing(task, recorded)),
    ]
    renewed = None
    if not changes and record.fingerprint.sources != fingerprint.sources:
        renewed = replace(record, fingerprint=replace(fingerprint, products=recorded))
    return Verdict(changes=tuple(changes), record=record, fingerprint=fingerprint, renewed=renewed)


def _told(change: Change, task: Task, fingerprints: Fingerprints) -> Change:
    """The change of an input with the task that makes it."""
    if change.kind is not Kind.INPUT:
        return change
    return replace(change, maker=fingerprints.maker(task, change.subject))
