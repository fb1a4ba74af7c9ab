"""Judging in threads: every question is answered once, together where that is quick."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

from pit.engine.scheduling.checker import Judged, Many, StalenessChecker


def answers(mailbox: SimpleQueue[Any], count: int) -> list[str]:
    """So many answers, in the order in which they came."""
    found: list[str] = []
    while len(found) < count:
        message = mailbox.get(timeout=30)
        for each in message.messages if isinstance(message, Many) else [message]:
            assert isinstance(each, Judged)
            assert each.why == f"{each.task}!"
            found.append(each.task)
    return found


def test_each_is_answered_once_and_recalled_before() -> None:
    mailbox: SimpleQueue[Any] = SimpleQueue()
    recalled: set[str] = set()

    def recall(tasks: Sequence[str]) -> None:
        recalled.update(tasks)

    def judge(task: str) -> Any:
        assert task in recalled
        return None, f"{task}!"

    judging = StalenessChecker(judge, mailbox, 4, recall)
    names = [f"t{n}" for n in range(2000)]
    for name in names:
        judging.ask(name)
    assert sorted(answers(mailbox, len(names))) == sorted(names)
    judging.ask("last")
    assert answers(mailbox, 1) == ["last"]
    judging.close()
    assert mailbox.empty()


def test_a_slow_one_holds_up_neither_the_others_nor_what_is_known() -> None:
    mailbox: SimpleQueue[Any] = SimpleQueue()
    gate = threading.Event()

    def judge(task: str) -> Any:
        if task == "slow":
            assert gate.wait(30)
        return None, f"{task}!"

    judging = StalenessChecker(judge, mailbox, 2)
    for name in ("a", "slow", "b", "c"):
        judging.ask(name)
    assert sorted(answers(mailbox, 3)) == ["a", "b", "c"]
    gate.set()
    assert answers(mailbox, 1) == ["slow"]
    gate.clear()  # and again, when those that helped have gone
    for name in ("slow", "d"):
        judging.ask(name)
    assert answers(mailbox, 1) == ["d"]
    gate.set()
    assert answers(mailbox, 1) == ["slow"]
    judging.close()


def test_a_look_without_end_does_not_hold_up_the_end() -> None:
    mailbox: SimpleQueue[Any] = SimpleQueue()
    gate, begun = threading.Event(), threading.Event()

    def judge(task: str) -> Any:
        begun.set()
        gate.wait(30)
        return None, f"{task}!"

    judging = StalenessChecker(judge, mailbox, 1)
    judging.ask("huge")
    assert begun.wait(30)
    judging.close()
    assert not gate.is_set()
    assert mailbox.empty()
    gate.set()


def test_what_was_not_begun_is_dropped_at_the_end() -> None:
    mailbox: SimpleQueue[Any] = SimpleQueue()
    gate, begun = threading.Event(), threading.Event()

    def judge(task: str) -> Any:
        begun.set()
        assert gate.wait(30)
        return None, f"{task}!"

    judging = StalenessChecker(judge, mailbox, 1)
    for name in ("a", "b", "c"):
        judging.ask(name)
    assert begun.wait(30)
    closing = threading.Thread(target=judging.close)
    closing.start()
    while judging._pending():
        closing.join(0.01)
    gate.set()
    closing.join(30)
    assert answers(mailbox, 1) == ["a"]
    assert mailbox.empty()
