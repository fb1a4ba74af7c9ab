"""The files of the project that a SQL template is made of: itself and what it includes."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path

from pit.spec.sqltasks import TEMPLATE

_SUFFIXES = (".j2", ".sql")
"""What a template may include whose name it makes up while it is rendered."""


def sources(root: Path, script: str) -> tuple[str, ...]:
    """The places of a script and, if it is a template, of all that it may include.

    Where a template computes the name of what it includes, that is every `.j2` and `.sql` file of
    the project. What is not there counts as nothing: rendering will say it.
    """
    if not script.endswith(TEMPLATE):
        return (script,)
    found: dict[str, None] = {script: None}
    waiting = [script]
    while waiting:
        place = waiting.pop()
        for name in _referenced(root, place):
            if name is None:
                found |= dict.fromkeys(_all(root))
            elif name not in found and _is_within(root, name):
                found[name] = None
                waiting.append(name)
    return tuple(found)


def _referenced(root: Path, place: str) -> Iterator[str | None]:
    """The names that a template includes, None for one that it computes."""
    import jinja2
    import jinja2.meta

    environment = jinja2.Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])
    try:
        tree = environment.parse((root / place).read_text("utf-8-sig"))
    except (jinja2.TemplateError, OSError, ValueError, RecursionError):
        return
    for name in jinja2.meta.find_referenced_templates(tree):
        if name is None or not name.startswith(("./", "../")):
            yield name if name is None else posixpath.normpath(name.lstrip("/"))
        else:
            yield posixpath.normpath(posixpath.join(posixpath.dirname(place), name))


def _is_within(root: Path, name: str) -> bool:
    path = (root / name).resolve()
    return path.is_relative_to(root.resolve()) and path.is_file()


def _all(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob("*")):
        if path.name.endswith(_SUFFIXES) and path.is_file():
            yield path.relative_to(root).as_posix()
