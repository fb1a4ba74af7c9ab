"""Sealing: a proper look at a DAG, and the seal of one of which everything is current.

Whenever anything is not quite as it should be the answer is None, and a real run finds out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from pit.engine import current, seal
from pit.engine.edited import is_edited
from pit.engine.look import Action, Look, Memory, Outlook, Subject
from pit.engine.questions import asks
from pit.engine.seal import Seal
from pit.engine.select import prepared, selected
from pit.errors import PitError
from pit.fs.identity import file_identity
from pit.model import (
    Dag,
    FileMark,
    Record,
    Task,
    WorkspaceConfig,
)
from pit.project import publish, selection
from pit.project.python import environment
from pit.project.snapshot import digest
from pit.project.snapshot.databases import journals
from pit.project.snapshot.digest import Digests
from pit.spec import params
from pit.spec.patterns import fixed_folder, is_pattern

if TYPE_CHECKING:
    from pit.state.secrets import Secrets

Capture = Callable[..., tuple[int, bytes]]


class Marked(Memory, Protocol):
    """The store, and how far it has come with a DAG."""

    def mark(self, dag: str) -> tuple[int, int]:
        """Numbers that grow with every run that changes a record, and every note."""


class Question(Record):
    """What might have nothing to do; `given` are the parameters as typed.

    `began` is when, in nanoseconds of Unix time, before anything of it was read.
    """

    dag: Dag
    config: WorkspaceConfig
    selection: str | None
    given: Mapping[str, str]
    version: str
    began: int


def look(question: Question, memory: Marked, capture: Capture) -> Seal | None:
    """The seal of a DAG of which everything is current, if it can be sealed; else None.

    Right after a run its products are too young for that; waiting costs less than another run.
    """
    try:
        try:
            return _looked(question, memory, capture)
        except seal.TooYoung as young:
            time.sleep(young.seconds)
            return _looked(replace(question, began=time.time_ns()), memory, capture)
    except (PitError, OSError, ValueError, seal.TooYoung):
        return None  # whatever it is, a real run meets it again and says it properly


def _looked(question: Question, memory: Marked, capture: Capture) -> Seal | None:
    dag, config = question.dag, question.config
    mark = memory.mark(dag.name)
    values = params.resolve(dag.params, question.given, date.today())
    declared = prepared(dag, values)
    chosen = None if question.selection is None else selected(declared, question.selection)
    tasks = [task for task in declared.tasks if chosen is None or task.name in chosen]
    if not all(current.is_tracked(task) and _sealable(task, config.root) for task in tasks):
        return None
    secrets = _secrets(config)
    if secrets is None and any(task.runner == "sql" for task in tasks):
        return None
    known = memory.digests(str(dag.project), str(config.runs_dir))
    if is_edited(tasks, dag.project, known):
        return None
    digests = Asked(known)
    subject = Subject(dag=declared, config=config, params=values, secrets=secrets)
    view = Look(subject, memory, capture, digests)
    with view.asking():
        outlooks = view.outlooks(chosen, until_stale=True)
    view.save()
    if any(outlook.action is not Action.SKIP or _dangles(outlook) for outlook in outlooks):
        return None
    if not _is_frozen(view.environment, dag.project):
        return None
    databases = {
        path: file_identity(path) for task in tasks for path in view.fingerprints.files(task)
    }
    found = _sealed(question, digests, mark, tasks, values)
    asked = any(asks(task) for task in tasks)
    return None if found is None else replace(found, databases=databases, asked=asked)


def _secrets(config: WorkspaceConfig) -> Secrets | None:
    if config.secrets_file is None:
        return None
    from pit.state.secrets import Secrets  # most workspaces have none

    return Secrets.of(config)


def _is_frozen(env: environment.Environment | None, project: Path) -> bool:
    """Whether all that an environment holds is told by its lock: no live folders elsewhere."""
    if env is None or env.prefix is None:
        return True
    lock = project / "uv.lock"
    local = (b"directory = ", b'editable = ".', b"virtual = ")
    own = (b'editable = "." }', b'virtual = "." }', b'directory = "." }')
    text = lock.read_bytes() if lock.is_file() else b"directory = "
    for word in own:
        text = text.replace(word, b"")
    return not env.unfrozen and not any(word in text for word in local)


def _choosing(project: Path) -> Iterator[Path]:
    """The files by which uv chooses the Python and the packages of a project, there or not."""
    for folder in (project, *project.parents):
        for name in (".python-version", ".python-versions", "pyproject.toml", "uv.lock", "uv.toml"):
            yield folder / name


def _dangles(outlook: Outlook) -> bool:
    """Whether an input is a link to nothing, which may lead to a place that nobody watches."""
    record = outlook.record
    return record is not None and digest.dangling() in record.fingerprint.inputs.values()


def _sealable(task: Task, workspace: Path) -> bool:
    """Whether all that the task reads and makes can be told by the project's folders, or by the
    files themselves: elsewhere nothing tells of new names."""
    places = publish.anchored((*(task.inputs or ()), *task.targets), workspace)
    return all(
        os.path.isfile(path) and not is_pattern(path) for path in places if os.path.isabs(path)
    )


def _sealed(
    question: Question,
    digests: Asked,
    mark: tuple[int, int],
    tasks: Sequence[Task],
    values: dict[str, str],
) -> Seal | None:
    config, project = question.config, question.dag.project
    settings = [config.root / "pit_config.toml", *_choosing(project)]
    settings += [*(config.root / "projects").glob("*/pit.toml")]
    settings += [config.secrets_file] if config.secrets_file else []
    settings += [Path(path) for asked in digests.asked for path in journals(asked)]
    there = [str(path) for path in settings if path.exists()]
    below = [*seal.folders(str(project), selection.LEFT_OUT), str(config.root / "projects")]
    below += _left_out(tasks, project, config.root)
    # What has changed since the look began may have changed after it was looked at.
    stats = seal.settled([*there, *below, *digests.asked], digests.looks(), question.began)
    if stats is None:
        return None
    return Seal(
        format=seal.FORMAT,
        version=question.version,
        dag=question.dag.name,
        project=str(project),
        day=seal.today(),
        mark=mark,
        tasks=len(tasks),
        requires=question.dag.requires,
        params=values,
        paths=list(stats),
        stats=list(stats.values()),
        absent=[str(path) for path in settings if not path.exists()],
        databases={},
    )


def _left_out(tasks: Sequence[Task], project: Path, workspace: Path) -> Iterator[str]:
    """The folders that tasks name inside of what is not looked into, such as node_modules."""
    named = {path for task in tasks for path in (*(task.inputs or ()), *task.targets)}
    for path in publish.anchored(named, workspace):
        folder = fixed_folder(path) if is_pattern(path) else path.rstrip("/")
        if not selection.LEFT_OUT.isdisjoint(folder.split("/")):
            yield from seal.folders(str(project / folder), selection.LEFT_OUT)


class Asked(Digests):
    """Digests that remember which files were asked for."""

    def __init__(self, known: Mapping[str, tuple[int, int, int, int, int, str]]) -> None:
        super().__init__(known)
        self.asked: dict[str, None] = {}

    def of(self, path: str, info: os.stat_result | None = None) -> FileMark:
        """The mark of a file, as `Digests` has it."""
        self.asked[path] = None
        return super().of(path, info)

    def looks(self) -> dict[str, seal.Stat]:
        """How each file looked when it was asked for; young ones are missing."""
        found = ((path, self.seen(path)) for path in self.asked)
        return {path: stat for path, stat in found if stat is not None}
