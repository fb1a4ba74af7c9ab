"""Lines that say the same."""

from __future__ import annotations

from pit.cli.terminal.folding import SCREEN, Line, folded


def test_what_fits_on_a_screen_stays_as_it_is() -> None:
    tasks = [(f"report:{n}", "same") for n in range(SCREEN)]
    assert folded(tasks) == [Line(name, (at,)) for at, (name, _) in enumerate(tasks)]


def test_only_instances_of_one_task_with_one_thing_to_say_are_folded() -> None:
    tasks: list[tuple[str, str | None]] = [("clean", "same")]
    tasks += [(f"a:{n}", "same" if n % 2 else "other") for n in range(20)]
    tasks += [(f"b:{n}", "same") for n in range(3)]
    tasks += [(f"c:{n}", None) for n in range(5)]
    lines = folded(tasks, "x")
    assert [line.name for line in lines] == [
        "clean",
        "a x10",
        "a x10",
        *(f"b:{n}" for n in range(3)),
        *(f"c:{n}" for n in range(5)),
    ]
    assert lines[1].of == tuple(range(1, 21, 2))
    assert sorted(at for line in lines for at in line.of) == list(range(len(tasks)))
