"""Whom the scheduler works with: each does for it what it cannot do without waiting or writing."""

from __future__ import annotations

from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any, Protocol

from pit.engine.scheduling.clock import Clock
from pit.engine.scheduling.jobs import Job, Refusal
from pit.events import Event
from pit.model import Reason, Record
from pit.order import Order


class OrderMaker(Protocol):
    """Knows what each task is told to do."""

    def order(self, task: str, attempt: int) -> Order | Refusal:
        """What a task has to do in an attempt, or why it cannot."""


class Checker(Protocol):
    """Looks whether tasks are current, and answers in any order, into the mailbox."""

    def ask(self, task: str) -> None:
        """Take one question; never blocks."""


class Executor(Protocol):
    """Performs orders, and answers in any order, into the mailbox."""

    def submit(self, order: Order, *, settled: bool) -> None:
        """Take one order; never blocks. `settled`: only once all told so far is durable."""


class TaskClaims(Protocol):
    """Keeps other runs from executing the same task with the same values of its parameters."""

    def claim(self, task: str, params: str) -> bool:
        """Take the claim on a stale task; False if it has to be looked at again."""

    def claimant(self, task: str) -> str:
        """Which other run is at the task; empty where none says so."""

    def release(self, task: str) -> None:
        """Let go of the claim, if there is one."""


class Reservations(Protocol):
    """Keeps the database file of an order from other runs."""

    def reserve(self, order: Order) -> str:
        """Keep it, or say what the order has to wait for; never waits."""

    def dismiss(self, order: Order) -> None:
        """The order has ended, or need not begin any more."""


class RunLog(Protocol):
    """Where a run says what happens in it: events, and lines in the logs of tasks."""

    def emit(self, kind: type[Any], /, **facts: Any) -> Any:
        """Tell an event of this kind now, and return it."""

    def tell(self, event: Event) -> None:
        """Pass an event on."""

    def barrier(self) -> None:
        """Wait until all facts so far are durable."""

    def show_stub(self, job: Job) -> None:
        """A script is shown instead of being executed."""

    def show_wait(self, order: Order, what: str) -> None:
        """An attempt waits before it begins."""

    def show_ending(self, tasks: Sequence[str]) -> None:
        """Running tasks have been asked to end."""


class Cancellation(Protocol):
    """A run's cancel switch."""

    @property
    def level(self) -> int:
        """0 no, 1 gracefully, 2 at once."""

    @property
    def reason(self) -> Reason | None:
        """Why, once the level is above 0."""

    def request(self, level: int, reason: Reason) -> None:
        """Raise the level."""


class Ports(Record):
    """All of them, and the mailbox in which they answer."""

    orders: OrderMaker
    checker: Checker
    executor: Executor
    claims: TaskClaims
    reservations: Reservations
    log: RunLog
    cancel: Cancellation
    mailbox: SimpleQueue[Any]
    clock: Clock
