"""Turns at a database."""

from __future__ import annotations

from pit.work.sql.turns import Turns


def never(_seconds: float) -> bool:
    return False


def test_many_share() -> None:
    turns = Turns()
    assert turns.enter("a", False, never)
    assert turns.enter("a", False, never)
    assert not turns.enter("a", True, never)
    turns.leave("a")
    assert not turns.enter("a", True, never)
    turns.leave("a")
    assert turns.enter("a", True, never)


def test_one_is_alone_with_a_key() -> None:
    turns = Turns()
    assert turns.enter("a", True, never)
    assert not turns.enter("a", False, never)
    assert not turns.enter("a", True, never)
    assert turns.enter("b", True, never)
    turns.leave("a")
    assert turns.enter("a", False, never)


def test_who_waits_to_be_alone_goes_before_newcomers() -> None:
    turns = Turns()
    assert turns.enter("a", False, never)
    tries: list[bool] = []

    def pause(_seconds: float) -> bool:
        if not tries:
            tries.append(turns.enter("a", False, never))
            turns.leave("a")
        return True

    assert turns.enter("a", True, pause)
    assert tries == [False]


def test_giving_up_lets_the_others_in() -> None:
    turns = Turns()
    assert turns.enter("a", False, never)
    assert not turns.enter("a", True, never)
    assert turns.enter("a", False, never)
