"""The Python environments of the projects: those that stand, and those that are to be built."""

from __future__ import annotations

from collections.abc import Sequence

from pit.model import Record
from pit.project.python.environments import State, SyncReport


class EnvironmentView(Record):
    """One project in `pit sync --json`; `why` is why its environment was, or is to be, built.

    `path`, `python` and `digest` are of its environment, null if it has none. `error`, `hint` and
    `log`, the file with all that uv said, are of one that could not be built.
    """

    project: str
    state: State
    why: str
    seconds: float
    path: str | None
    python: str | None
    digest: str | None
    error: str
    hint: str
    log: str


class SyncView(Record):
    """The shape of `pit sync --json`; `ready` says that nothing is left to build."""

    ready: bool
    projects: tuple[EnvironmentView, ...]


def sync_view(reports: Sequence[SyncReport]) -> SyncView:
    """What came of the projects."""
    is_ready = not any(each.state in (State.FAILED, State.STALE) for each in reports)
    return SyncView(ready=is_ready, projects=tuple(_environment(each) for each in reports))


def _environment(report: SyncReport) -> EnvironmentView:
    made = report.environment
    return EnvironmentView(
        project=report.name,
        state=report.state,
        why=report.why,
        seconds=report.seconds,
        path=made.prefix if made else None,
        python=made.python if made else None,
        digest=made.digest if made else None,
        error=report.error,
        hint=report.hint,
        log=report.log,
    )
