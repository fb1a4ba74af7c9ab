"""What people do to records by hand: accept what stands, forget a success, clean its targets.

All hold the claim on a task while they change its record, so that no run executes it meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pit.config.dag.dataflow import makes
from pit.engine.locks import place as places
from pit.engine.locks.claims import claimed
from pit.engine.planning.look import Look
from pit.engine.staleness import comparison
from pit.engine.staleness.provenance import Provenance
from pit.engine.target.target import Target
from pit.errors import BadArgument, Overlapping
from pit.events import TextsKept
from pit.fs.files import remove_tree
from pit.fs.patterns import ancestors
from pit.model import Record, Task, TaskRecord
from pit.project import ownership, publish, selection
from pit.project.digest import Digests
from pit.project.runners import table

if TYPE_CHECKING:
    from pit.sql.protocol import Answer
    from pit.state.store.store import Store
    from pit.state.store.tables.runs import LastSuccess


# ---------------------------------------------------------------- accept


def accept(
    look: Look,
    task: Task,
    store: Store,
    note: str,
    success: LastSuccess | None = None,
) -> TaskRecord:
    """Makes what stands at a task's targets current, as if it had been made just now.

    `look` must have been told of the tasks upstream; `success` is when it last did its work.
    BadArgument says why it cannot be accepted, Overlapping that a run is at it.
    """
    target = look.target
    _check_acceptable(target, task)
    key = target.key(task)
    with _claim(target, task.name, key) as held:
        if not held:
            raise _busy(target.dag.name, task.name)
        number = store.snapshots.draw()  # first of all: what is recorded from now on is newer
        record = _as_it_stands(look, task, store.records.of_task(target.dag.name, task.name, key))
        record = replace(record, snapshot=number)
        if success is not None and not record.run:
            record = replace(record, run=success.run, seconds=success.seconds)
        texts = look.fingerprints.texts(record.fingerprint)
        if texts:
            store.emit(TextsKept(run=record.run, at=record.at, texts=texts))
            store.barrier()
        store.records.accept(record, note)
    return record


def _check_acceptable(target: Target, task: Task) -> None:
    name = f"{target.dag.name}/{task.name}"
    if not comparison.is_tracked(task):
        why = "says always = true" if task.always else "declares no inputs"
        raise BadArgument(
            f"{name} {why}, so it always runs: there is nothing to accept",
            "Declare in its pit.toml what it reads: inputs = […]",
        )
    targets = publish.anchored(task.targets, target.config.root)
    lacking = publish.missing(target.dag.project, targets)
    if lacking:
        raise BadArgument(
            f"{name} cannot be accepted: its target {', '.join(lacking)} is not there",
            f"Make it with: pit run {name}",
        )


def _as_it_stands(look: Look, task: Task, before: TaskRecord | None) -> TaskRecord:
    at, target = time.time(), look.target
    answer = look.fingerprints.answer(task)
    if answer is not None:
        _check_answered(f"{target.dag.name}/{task.name}", task, answer)
    fingerprint = look.fingerprints.of(task, answer)
    if table.uses_environment(task, target.dag.project) and not fingerprint.environment:
        raise BadArgument(
            f"the Python environment of {target.dag.name} has not been built yet",
            "Build it with: pit sync",
        )
    products = look.fingerprints.products(task) if task.targets else {}
    return TaskRecord(
        dag=target.dag.name,
        task=task.name,
        params=target.key(task),
        run=before.run if before else "",
        at=at,
        seconds=before.seconds if before else 0.0,
        fingerprint=replace(
            fingerprint,
            products=products,
            handed=before.fingerprint.handed if before else {},
        ),
    )


def _check_answered(name: str, task: Task, answer: Answer) -> None:
    """Refuse what a database does not vouch for: that its tables are there, and how they stand."""
    if answer.failure:
        raise BadArgument(
            f"{name} cannot be accepted: its database could not be asked: {answer.failure}",
            "Try its connection with: pit sql --check",
        )
    gone = [change.subject for change in comparison.tables_gone(task.tables, answer.there)]
    if gone:
        raise BadArgument(
            f"{name} cannot be accepted: its target {', '.join(gone)} is not there",
            f"Make it with: pit run {name}",
        )


def _claim(target: Target, task: str, params: str) -> AbstractContextManager[bool]:
    """The claim on a task of the target's DAG, with parameters of this text."""
    return claimed(places.locks(target.config.runs_dir), target.dag.name, task, params)


def _busy(dag: str, task: str) -> Overlapping:
    return Overlapping(
        f"{dag}/{task} is being executed by a run just now", "Wait until it has ended"
    )


# ---------------------------------------------------------------- forget


def forget(target: Target, task: str, params: Collection[str], store: Store, note: str = "") -> int:
    """Drops the records of a task for parameters of these texts; returns how many went."""
    gone = 0
    for key in params:
        with _claim(target, task, key) as held:
            if not held:
                raise _busy(target.dag.name, task)
            gone += store.records.forget(target.dag.name, task, key, note)
    return gone


# ---------------------------------------------------------------- clean


class Made(Record):
    """What `clean` would remove of a task: places in the project, and what it must leave alone."""

    task: str
    places: tuple[str, ...]
    bytes: int
    kept: dict[str, str]


def made(
    target: Target, task: Task, known: Provenance, digests: Digests, unrecorded: bool = False
) -> Made:
    """What stands at the declared targets of a task inside the project: what is as it was made
    goes, the rest only if what is `unrecorded` is to go too."""
    places: list[str] = []
    kept: dict[str, str] = {}
    project, explained = target.dag.project, known.of(task)
    for promised in task.targets:
        if os.path.isabs(promised) or promised.startswith(selection.WORKSPACE):
            kept[promised] = "it lies outside the project"
            continue
        for place in selection.matching(str(project), promised):
            if why := _why_not(target, place):
                kept[place] = why
                continue
            own, rest = ownership.divided(project, place, explained, digests)
            if unrecorded or not rest:
                places.append(place)
                continue
            places += own
            for other in rest:
                if not selection.is_placeholder(other):
                    was_made = bool(explained.digests(other))
                    kept[other] = _CHANGED if was_made else f"{task.name} did not make it"
    total = sum(_size(project / place) for place in places)
    return Made(task=task.name, places=tuple(places), bytes=total, kept=kept)


_CHANGED = "it was changed after it was made"


def clean(
    target: Target, task: Task, found: Made, store: Store, records: Iterable[TaskRecord]
) -> int:
    """Removes what a task made, and drops the records that promise it; returns how many went.

    `records` are those of the task, whatever its parameters were: with other values it may have
    made the same places.
    """
    keys = {record.params for record in records if _promises(record, found.places)}
    with ExitStack() as claims:
        for key in sorted(keys | {target.key(task)}):
            claim = _claim(target, task.name, key)
            if not claims.enter_context(claim):
                raise _busy(target.dag.name, task.name)
        gone = 0
        for key in sorted(keys | {target.key(task)}):
            gone += store.records.forget(target.dag.name, task.name, key, "pit clean")
        for place in found.places:
            if not _why_not(target, place):
                remove_tree(target.dag.project / place)
                _remove_empty(target.dag.project, task, place)
        for key in sorted(keys | {target.key(task)}):
            store.publications.forget(target.dag.name, task.name, key)
    return gone


def _remove_empty(project: Path, task: Task, place: str) -> None:
    """Removes the folders in a folder target that hold nothing any more, up to the target."""
    for folder in ancestors(place):
        if not makes(task, folder):
            return
        with suppress(OSError):  # it holds something that stays
            os.rmdir(project / folder)


def _promises(record: TaskRecord, places: Iterable[str]) -> bool:
    """Whether any of these places is among what a record says was made, above it or below it."""
    made = record.fingerprint.products
    above = {folder for product in made for folder in ancestors(product.rstrip("/"))}
    return any(
        place in made or place in above or any(folder in made for folder in ancestors(place))
        for place in places
    )


def _why_not(target: Target, place: str) -> str:
    """Why a place must not be removed; empty if it may."""
    project = os.path.realpath(target.dag.project)
    path = os.path.normpath(os.path.join(project, place))
    if path == project or not selection.lies_in(selection.located(path), project):
        return "it lies outside the project"
    for own in ("pit.toml", *(task.script for task in target.dag.tasks.values() if task.script)):
        if selection.lies_in(os.path.join(project, own), path):
            return f"{own} is part of it"
    return ""


def _size(path: Path) -> int:
    total = 0
    for each in _files(path):
        with suppress(FileNotFoundError):  # a run may be making it anew just now
            total += each.lstat().st_size
    return total


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir() and not path.is_symlink():
        below: Iterable[Path] = path.rglob("*")
        yield from (each for each in below if not each.is_dir() or each.is_symlink())
    else:
        yield path
