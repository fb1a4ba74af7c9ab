"""The files of the project that a SQL template is made of: itself and what it includes."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from pit.config.keys.runners import TEMPLATE
from pit.project.files import Files
from pit.project.selection import lies_in

_SUFFIXES = (".j2", ".sql")
"""What a template may include whose name it makes up while it is rendered."""


def sources(files: Files, script: str) -> tuple[str, ...]:
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
        for name in _referenced(files, place):
            if name is None:
                found |= dict.fromkeys(_all(files))
            elif name not in found and _is_within(files, name):
                found[name] = None
                waiting.append(name)
    return tuple(found)


def _referenced(files: Files, place: str) -> Iterator[str | None]:
    """The names that a template includes, None for one that it computes."""
    import jinja2
    import jinja2.meta

    environment = jinja2.Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])
    try:
        tree = environment.parse(files.read(place).decode("utf-8-sig"))
    except (jinja2.TemplateError, OSError, ValueError, RecursionError):
        return
    for name in jinja2.meta.find_referenced_templates(tree):
        if name is None or not name.startswith(("./", "../")):
            yield name if name is None else posixpath.normpath(name.lstrip("/"))
        else:
            yield posixpath.normpath(posixpath.join(posixpath.dirname(place), name))


def _is_within(files: Files, name: str) -> bool:
    folder, own = posixpath.split(name)
    inside = lies_in(files.real(name), files.real(""))
    return inside and not name.startswith("..") and own in files.names(folder).files


def _all(files: Files) -> Iterator[str]:
    folders = [""]
    while folders:
        folder = folders.pop()
        names = files.names(folder)
        places = (f"{folder}/{name}" if folder else name for name in sorted(names.files))
        yield from (place for place in places if place.endswith(_SUFFIXES))
        inner = (f"{folder}/{name}" if folder else name for name in sorted(names.folders))
        folders += (each for each in inner if files.real(each).endswith(f"/{each}"))
