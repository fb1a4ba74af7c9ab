"""How long a text or list a template may make in one step, told before it is made.

A template that doubles a text in a loop, or indents it by millions, would take the machine's memory
in steps that nothing can interrupt. `Renderer` asks here before each step that joins, repeats or
pads; what a template writes in all is counted there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

import jinja2
from jinja2.compiler import CodeGenerator
from jinja2.nodes import Concat

LARGEST = 64 * 1024**2
"""How long a text may be, in characters."""


def bounded(size: int) -> None:
    """Refuse what has more than that many characters or members."""
    if size > LARGEST:
        raise jinja2.TemplateRuntimeError(
            f"this makes a text or list of more than {LARGEST // 1024**2} million characters"
        )


def joined(parts: Iterable[str]) -> str:
    """Texts as one, if that is not too long."""
    texts = parts if isinstance(parts, list | tuple) else list(parts)
    bounded(sum(map(len, texts)))
    return "".join(texts)


def added(left: Any, right: Any) -> None:
    """Refuse to add texts or lists to something too long."""
    for kind in (str, list, tuple):
        if isinstance(left, kind) and isinstance(right, kind):
            bounded(len(left) + len(right))


def called(function: Any, args: Sequence[Any]) -> None:
    """Refuse a call of a text's own method that makes one that is too long."""
    text = getattr(function, "__self__", None)
    size = _METHODS.get(getattr(function, "__name__", "")) if isinstance(text, str) else None
    if size is not None:
        _ask(size, (text, *args), {})


class Code(CodeGenerator):
    """What Jinja compiles a template to, where `~` asks first."""

    def visit_Concat(self, node: Concat, frame: Any) -> None:
        """As Jinja has it without escaping, by way of `joined`."""
        self.write("environment.concat(tuple(map(str, (")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))))")


def guarded(filters: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Jinja's filters that make something longer than what they are given, asking first."""
    return {name: _asking(filters[name], size) for name, size in _FILTERS.items()}


def _asking(filter_: Callable[..., Any], size: Callable[..., int]) -> Callable[..., Any]:
    context = 1 if hasattr(filter_, "jinja_pass_arg") else 0

    @wraps(filter_)
    def asking(*args: Any, **named: Any) -> Any:
        _ask(size, args[context:], named)
        return filter_(*args, **named)

    return asking


def _ask(size: Callable[..., int], args: Sequence[Any], named: Mapping[str, Any]) -> None:
    try:
        found = size(*args, **named)
    except (TypeError, ValueError, AttributeError, OverflowError):
        return  # the step itself says better what is wrong with it
    bounded(found)


def _indent(text: Any, width: Any = 4, first: bool = False, blank: bool = False) -> int:
    step = width if isinstance(width, int) else len(width)
    return len(str(text)) + (str(text).count("\n") + 1) * step


def _replace(text: Any, old: Any, new: Any, count: Any = None) -> int:
    found = str(text).count(str(old))
    times = found if count is None or count < 0 else min(found, count)
    return len(str(text)) + times * len(str(new))


def _wrap(
    text: Any, width: int = 79, long: bool = True, wrapstring: Any = None, hyphens: bool = True
) -> int:
    return len(str(text)) * (1 + len(wrapstring or ""))


def _join(values: Any, between: Any = "", attribute: Any = None) -> int:
    if not isinstance(values, list | tuple):
        return 0
    return sum(len(each) for each in values if isinstance(each, str)) + len(values) * len(between)


def _batch(values: Any, linecount: int, fill_with: Any = None) -> int:
    return 0 if fill_with is None else linecount


def _slice(values: Any, slices: int, fill_with: Any = None) -> int:
    return slices


_FILTERS: dict[str, Callable[..., int]] = {
    "indent": _indent,
    "replace": _replace,
    "wordwrap": _wrap,
    "join": _join,
    "batch": _batch,
    "slice": _slice,
}
_METHODS: dict[str, Callable[..., int]] = {
    "replace": _replace,
    "join": lambda between, values: _join(values, between),
}
