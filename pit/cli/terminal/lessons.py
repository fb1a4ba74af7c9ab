"""What `pit run --learn` has found, task by task: the lines that pit.toml lacks."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pit.cli.terminal.console import Console
from pit.events import Event, Learned
from pit.text.control import printable

_WIDTH = 96


class Lessons:
    """A sink that says nothing until `close()`, and then only what was learned."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._found: list[Learned] = []

    def emit(self, event: Event) -> None:
        """Remember what was learned."""
        if isinstance(event, Learned):
            self._found.append(event)

    def close(self) -> None:
        """Write the lines that pit.toml lacks."""
        if not self._found:
            return
        out = self._console.out
        try:
            out("\nWhat the tasks opened, as pit.toml should have it:")
            for lesson in self._found:
                out(f"\n  {self._console.paint(lesson.task, 'bold')}")
                for line in told(lesson):
                    out(f"    {printable(line)}")
        except OSError:
            return  # the reader has gone


def told(lesson: Learned) -> Iterator[str]:
    """The lines about one task: first what to put into pit.toml."""
    for key in ("inputs", "targets"):
        places = getattr(lesson, key)
        if places is not None:
            yield from written(key, places)
    for place in lesson.unread:
        by = " by Python itself" if lesson.by == "python" else ""
        yield f'# input "{place}" was never opened{by}'
    for remark in lesson.remarks:
        yield f"# {remark}"
    if not lesson.by:
        yield "# not watched"
    elif lesson.inputs is None and lesson.targets is None:
        yield "# nothing is missing"


def written(key: str, places: tuple[str, ...]) -> Iterator[str]:
    """`key = [...]` as TOML: in one line, or one for each place where that would be long."""
    words = [json.dumps(place, ensure_ascii=False) for place in places]
    line = f"{key} = [{', '.join(words)}]"
    if len(line) <= _WIDTH:
        yield line
        return
    yield f"{key} = ["
    yield from (f"  {word}," for word in words)
    yield "]"
