"""What a selection leaves stale above it: told by run, plan and why in the same words.

A selected task is held against what stands above it as that last was. Whether that is current is
another question, which the selection does not ask; so what is stale there is told, with the call
that takes it as well. A task that declares no inputs, and so always runs, is never called stale.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Protocol

from pit.engine.planning import explain
from pit.engine.planning.look import Look
from pit.engine.staleness.comparison import Change, Kind, is_tracked
from pit.engine.staleness.planner import Action
from pit.engine.target.target import Target
from pit.model import Record

_NAMED = 3


class Decision(Protocol):
    """What a run would do with one task, and why."""

    @property
    def task(self) -> str:
        """Its name."""

    @property
    def action(self) -> Action:
        """Whether it would run."""

    @property
    def changes(self) -> Sequence[Change]:
        """What differs from its last success."""

    @property
    def after(self) -> Sequence[str]:
        """Those of its dependencies that would run, or may."""


class StaleUpstream(Record):
    """The sentence that says which tasks are stale, and the arguments of `pit` that take them as
    well."""

    tasks: frozenset[str]
    sentence: str
    call: str

    def hint(self, again: Callable[[str], str] = lambda call: f"pit {call}") -> str:
        """What to type."""
        return f"With it: {again(self.call)}"


def watched(target: Target) -> Target | None:
    """What has to be decided on to know what is stale above the chosen tasks: they, and those
    above them that can be stale at all. None where there are none of these."""
    if target.whole:
        return None
    needed = target.dag.upstream(*target.chosen)
    above = {name for name in needed if is_tracked(target.dag.tasks[name])}
    return target.choosing(target.chosen | above) if above else None


def looked_for(
    target: Target,
    look: Callable[[Target], Look],
    alone: Iterable[Decision] | None = None,
) -> StaleUpstream | None:
    """What is stale above the chosen tasks, by a look at all that counts.

    `alone` are the decisions on these tasks by themselves, if they are known.
    """
    wider = watched(target)
    if wider is None:
        return None
    decisions = _decided(look(wider))
    if not any(True for _ in _stale(decisions, target.chosen)):
        return None
    if alone is None:
        alone = _decided(look(target))
    return stale_upstream(target, decisions, alone)


def _decided(look: Look) -> Sequence[Decision]:
    with look.asking():
        return look.decisions()


def stale_upstream(
    target: Target, decisions: Iterable[Decision], alone: Iterable[Decision]
) -> StaleUpstream | None:
    """What is stale above the chosen tasks, None if nothing is.

    `decisions` are those on what is `watched`, `alone` those on the chosen tasks by themselves.
    """
    found = list(_stale(decisions, target.chosen))
    if not found:
        return None
    stale = [f"{each.task} {why}" for each, why in found]
    more = [f"and {len(stale) - _NAMED} more"] if len(stale) > _NAMED else []
    told = ", ".join((*stale[:_NAMED], *more))
    many = len(target.chosen) > 1
    name = _named(target)
    if all(each.action is Action.SKIP for each in alone):
        is_current = "are current by themselves" if many else "is current by itself"
        sentence = f"{name} {is_current}, but what {'they need' if many else 'it needs'} is not"
    else:
        sentence = f"what {name} {'need' if many else 'needs'} is not current"
    return StaleUpstream(
        tasks=frozenset(each.task for each, _ in found),
        sentence=f"{sentence}: {told}",
        call=_call(target),
    )


def _stale(
    decisions: Iterable[Decision], chosen: Collection[str]
) -> Iterator[tuple[Decision, str]]:
    """What is not selected and would run of its own, or would have to follow what is selected."""
    for each in decisions:
        if each.task in chosen or each.action is Action.SKIP:
            continue
        changes = [c for c in explain.ordered(each.changes) if c.kind not in _NOT_STALE]
        if each.action is Action.RUN and changes:
            why, _, _ = explain.sentence(changes[0]).partition(" (was ")
            yield each, f"would run ({why})"
        elif ahead := [name for name in each.after if name in chosen]:
            yield each, f"may run (after {', '.join(ahead[:_NAMED])})"


_NOT_STALE = (Kind.UNTRACKED, Kind.ALWAYS, Kind.FORCED, Kind.SUCCESS, Kind.UNKNOWN)
"""Why a task runs that is not stale by anything that is known."""


def _named(target: Target) -> str:
    dag, typed = target.dag.name, target.typed.selection
    if typed:
        return f"{dag}/{typed}"
    names = [task.name for task in target.tasks]
    return f"{dag}/{','.join(names[:_NAMED])}{',…' if len(names) > _NAMED else ''}"


def _call(target: Target) -> str:
    """The call that takes what is above as well; instead of `--failed`, that of the whole DAG."""
    words, typed = target.dag.name, target.typed
    if typed.selection:
        parts = typed.selection.split(",")
        words += "/" + ",".join(p if p.startswith("+") else f"+{p}" for p in parts)
    params = [word for pair in typed.params.items() for word in ("-p", "=".join(pair))]
    return shlex.join(["run", words, *params])
