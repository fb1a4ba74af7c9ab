"""Where a run stands and how long it has taken, as the listings show it."""

from __future__ import annotations

from pit.cli.terminal.console import STATE_STYLES, Cell, duration
from pit.model import RunState
from pit.views.runs import RunView


def shown_state(run: RunView) -> Cell:
    """The state of a run in its colour; a stub run never looks like a success."""
    if run.stub and run.state is not RunState.RUNNING:
        return Cell(f"{run.state} (stub)", "yellow")
    if run.ending:
        return Cell("ending", STATE_STYLES[RunState.INTERRUPTED])
    return Cell(run.state, STATE_STYLES[run.state])


def took(seconds: float | None, started_at: float | None, now: float, running: bool) -> str:
    """How long something took, or takes by now; empty if it never started."""
    if running and started_at is not None:
        return duration(now - started_at)
    return "" if seconds is None or started_at is None else duration(seconds)


def run_took(run: RunView, now: float) -> str:
    """How long a run took, or takes by now."""
    return took(run.seconds, run.started_at, now, run.state is RunState.RUNNING)
