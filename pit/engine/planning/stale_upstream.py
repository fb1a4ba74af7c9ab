"""What a selection leaves stale above it: told by run, plan and why in the same words.

A selected task is held against what stands above it as that last was. Whether that is current is
another question, which the selection does not ask; so what is stale there is told, with the call
that takes it as well. A task that declares no inputs, and so always runs, is never called stale.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from pit.config.dag import graph
from pit.engine.planning import explain
from pit.engine.planning.look import Look
from pit.engine.staleness.comparison import Change, Kind, is_tracked
from pit.engine.staleness.planner import Action
from pit.model import Dag, Record

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


class Selection(Record):
    """What a command selects of a DAG: as `typed` after the slash, empty for `--failed`, with the
    parameters as `given`; `chosen` are the names of the tasks."""

    dag: Dag
    chosen: frozenset[str]
    typed: str = ""
    given: Mapping[str, str] = {}


class StaleUpstream(Record):
    """The sentence that says which tasks are stale, and the arguments of `pit` that take them as
    well."""

    tasks: frozenset[str]
    sentence: str
    call: str

    def hint(self, again: Callable[[str], str] = lambda call: f"pit {call}") -> str:
        """What to type."""
        return f"With it: {again(self.call)}"


def watched(selection: Selection) -> frozenset[str]:
    """The tasks that have to be decided on to know what is stale above a selection: it, and those
    above it that can be stale at all. Empty where there are none of these."""
    if len(selection.chosen) == len(selection.dag.tasks):
        return frozenset()
    implied = graph.implied(selection.dag)
    needed = graph.above(implied, selection.chosen) - selection.chosen
    above = {t.name for t in implied.tasks if t.name in needed and is_tracked(t)}
    return selection.chosen | above if above else frozenset()


def looked_for(
    selection: Selection,
    look: Callable[[frozenset[str]], Look],
    alone: Iterable[Decision] | None = None,
) -> StaleUpstream | None:
    """What is stale above a selection, by a look at all that counts.

    `look` gives one at some tasks. `alone` are the decisions on the selection by itself, if they
    are known.
    """
    names = watched(selection)
    if not names:
        return None
    decisions = _decided(look(names))
    if not any(True for _ in _stale(decisions, selection.chosen)):
        return None
    if alone is None:
        alone = _decided(look(selection.chosen))
    return stale_upstream(selection, decisions, alone)


def _decided(look: Look) -> Sequence[Decision]:
    with look.asking():
        return look.decisions()


def stale_upstream(
    selection: Selection, decisions: Iterable[Decision], alone: Iterable[Decision]
) -> StaleUpstream | None:
    """What is stale above a selection, None if nothing is.

    `decisions` are those on the tasks that `watched` names, `alone` those on the selection by
    itself.
    """
    found = list(_stale(decisions, selection.chosen))
    if not found:
        return None
    stale = [f"{each.task} {why}" for each, why in found]
    more = [f"and {len(stale) - _NAMED} more"] if len(stale) > _NAMED else []
    told = ", ".join((*stale[:_NAMED], *more))
    many = len(selection.chosen) > 1
    name = _named(selection)
    if all(each.action is Action.SKIP for each in alone):
        is_current = "are current by themselves" if many else "is current by itself"
        sentence = f"{name} {is_current}, but what {'they need' if many else 'it needs'} is not"
    else:
        sentence = f"what {name} {'need' if many else 'needs'} is not current"
    return StaleUpstream(
        tasks=frozenset(each.task for each, _ in found),
        sentence=f"{sentence}: {told}",
        call=_call(selection),
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


def _named(selection: Selection) -> str:
    dag, typed = selection.dag.name, selection.typed
    if typed:
        return f"{dag}/{typed}"
    names = [task.name for task in selection.dag.tasks if task.name in selection.chosen]
    return f"{dag}/{','.join(names[:_NAMED])}{',…' if len(names) > _NAMED else ''}"


def _call(selection: Selection) -> str:
    """The call that takes what is above as well; instead of `--failed`, that of the whole DAG."""
    target = selection.dag.name
    if selection.typed:
        parts = selection.typed.split(",")
        target += "/" + ",".join(p if p.startswith("+") else f"+{p}" for p in parts)
    params = [word for pair in selection.given.items() for word in ("-p", "=".join(pair))]
    return shlex.join(["run", target, *params])
