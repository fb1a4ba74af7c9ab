"""The verdict on one tracked task: its record held against what it would read now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pit.engine.staleness import comparison
from pit.engine.staleness.comparison import Change, Kind
from pit.engine.staleness.fingerprint import Fingerprints
from pit.model import FileMark, Fingerprint, Record, Task, TaskRecord

if TYPE_CHECKING:
    from pit.sql.protocol import Answer


class Comparison(Record):
    """Every way in which a task differs from its record, and the fingerprint it would have now.

    `renewed` is the record with today's texts, where only their form has changed.
    """

    changes: tuple[Change, ...]
    record: TaskRecord | None
    fingerprint: Fingerprint
    renewed: TaskRecord | None = None


def compared(
    task: Task,
    key: str,
    record: TaskRecord | None,
    fingerprints: Fingerprints,
    text: Callable[[str], bytes | None],
    standing: Callable[[Task, TaskRecord], Mapping[str, FileMark]],
    became: Callable[[Task, str], str],
) -> Comparison:
    """Holds a task against its record, its dependencies being what `fingerprints` was told.

    `key` is the text of its parameters, `text` gives a source by its digest. `standing` tells what
    is still there of the products and of all else that a record hands on, `became` what happened
    to a task that has no record.
    """
    answer = fingerprints.answer(task)
    fingerprint = fingerprints.of(task, answer)
    if record is None:
        lacking = Change(kind=Kind.NO_RECORD, subject=became(task, key))
        return Comparison(changes=(lacking,), record=None, fingerprint=fingerprint)
    found = comparison.compare(record, fingerprint, text)
    old = record.fingerprint
    changes: Sequence[Change] = [
        *(_made_by(change, task, fingerprints) for change in found),
        *comparison.products_changed(old.products | old.handed, standing(task, record)),
    ]
    if answer is not None:
        changes = _answered(changes, task, answer)
    renewed = None
    if not changes and old.sources != fingerprint.sources:
        kept = replace(fingerprint, products=old.products, handed=old.handed)
        renewed = replace(record, fingerprint=kept)
    return Comparison(
        changes=tuple(changes), record=record, fingerprint=fingerprint, renewed=renewed
    )


def _answered(changes: Sequence[Change], task: Task, answer: Answer) -> list[Change]:
    """With what the task's database says; or that it says nothing, so that nothing is known."""
    if answer.failure:
        rest = [change for change in changes if change.kind is not Kind.WATCHED]
        return [*rest, Change(kind=Kind.UNKNOWN, subject=answer.failure)]
    return [*changes, *comparison.tables_gone(task.tables, answer.there)]


def _made_by(change: Change, task: Task, fingerprints: Fingerprints) -> Change:
    """The change of an input with the task that makes it."""
    if change.kind is not Kind.INPUT:
        return change
    return replace(change, maker=fingerprints.maker(task, change.subject))
