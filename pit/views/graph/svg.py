"""A picture of a DAG as SVG: one file, no script, light or dark as the reader's screen is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from xml.sax.saxutils import escape

from pit.views.graph.layout import Bend, Layered, Node, layered, reduced
from pit.views.graph.picture import COLOURS, Colours, Picture, Shape, Standing

# Pixels. Names are set in a fixed-width face, so that their width is known without a browser.
_CHAR, _SMALL_CHAR = 7.83, 6.0
_PADDING = 14
_HEIGHT = 46
_GAP = 18
_BETWEEN_LAYERS = 64
_MARGIN = 24
_TITLE = 40
_BEND = 12
_UNKNOWN = "unknown"

_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_INK, _DARK_INK, _FAINT, _DARK_FAINT = "#1f2328", "#e6edf3", "#5b6570", "#9aa5b1"
_PAPER, _DARK_PAPER, _LINE, _DARK_LINE = "#ffffff", "#15191e", "#8b95a3", "#6b7683"


class _Box(NamedTuple):
    x: float
    y: float
    width: float


def svg(picture: Picture) -> str:
    """The picture, from left to right; lines that follow from others are left out."""
    shapes = {shape.name: shape for shape in picture.shapes}
    drawn = layered(
        reduced(picture.edges), lambda n: _BEND if isinstance(n, Bend) else _HEIGHT, _GAP
    )
    boxes = _boxes(drawn, shapes)
    width = max((box.x + box.width for box in boxes.values()), default=0) + _MARGIN
    width = max(width, _title_width(picture) + 2 * _MARGIN)
    height = max((box.y for box in boxes.values()), default=0) + _HEIGHT / 2 + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" font-family="{_FONT}">',
        f"<title>{escape(picture.title)}</title>",
        f"<style>{_style()}</style>",
        '<rect class="paper" width="100%" height="100%"/>',
        _title(picture),
        '<g class="lines">',
        *_lines(drawn, boxes),
        "</g>",
        *(_shape(shapes[name], box) for name, box in boxes.items() if isinstance(name, str)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _boxes(drawn: Layered, shapes: Mapping[str, Shape]) -> dict[Node, _Box]:
    """Where each node is: its left side, its middle line, its width; bends as wide as can be."""
    boxes: dict[Node, _Box] = {}
    x = float(_MARGIN)
    for layer in drawn.layers:
        widths = {node: _width(shapes[node]) for node in layer if isinstance(node, str)}
        widest = max(widths.values(), default=0.0)
        for node in layer:
            y = _MARGIN + _TITLE + drawn.centres[node]
            boxes[node] = _Box(x, y, widths[node] if isinstance(node, str) else widest)
        x += widest + _BETWEEN_LAYERS
    return boxes


def _width(shape: Shape) -> float:
    below = len(_below(shape)) * _SMALL_CHAR
    return round(max(len(shape.label) * _CHAR, below) + 2 * _PADDING)


def _below(shape: Shape) -> str:
    """What stands below the name."""
    return " · ".join(filter(None, (shape.runner, shape.word)))


# ---------------------------------------------------------------- parts


def _title(picture: Picture) -> str:
    about = f'  <tspan class="faint">{escape(picture.description)}</tspan>'
    text = escape(picture.title) + (about if picture.description else "")
    return (
        f'<text class="title" x="{_MARGIN}" y="{_MARGIN + 12}" xml:space="preserve">{text}</text>'
    )


def _title_width(picture: Picture) -> float:
    return len(picture.title) * 9.1 + (len(picture.description) + 2) * 7.3


def _shape(shape: Shape, box: _Box) -> str:
    """A box with the name, how the task stands below it, and why where the mouse rests on it."""
    below = _below(shape)
    tip = "\n".join(filter(None, (shape.name, ": ".join(filter(None, (shape.word, shape.why))))))
    parts = [
        f'<g class="task {shape.standing or _UNKNOWN}"><title>{escape(tip)}</title>',
        _rect(box, 4) if shape.matrix else "",
        _rect(box, 0),
        _text(shape.label, "name", box, -2.0 if below else 4.5),
        _text(below, "faint", box, 14.0) if below else "",
        "</g>",
    ]
    return "".join(parts)


def _rect(box: _Box, shifted: float) -> str:
    left, top = box.x + shifted, box.y - _HEIGHT / 2 + shifted
    return f'<rect x="{left:g}" y="{top:g}" width="{box.width:g}" height="{_HEIGHT}" rx="8"/>'


def _text(text: str, look: str, box: _Box, down: float) -> str:
    middle = box.x + box.width / 2
    return f'<text class="{look}" x="{middle:g}" y="{box.y + down:g}">{escape(text)}</text>'


def _lines(drawn: Layered, boxes: Mapping[Node, _Box]) -> Iterator[str]:
    """One path for each line to the next layer; the last piece ends in an arrowhead."""
    for layer in drawn.layers:
        end = max((boxes[node].x + boxes[node].width for node in layer), default=0.0)
        for node in layer:
            box = boxes[node]
            start = box.x if isinstance(node, Bend) else box.x + box.width
            for target in drawn.lines[node]:
                yield _line(start, end, box.y, boxes[target], isinstance(target, str))


def _line(start: float, bend: float, y: float, to: _Box, arrives: bool) -> str:
    """Level to the end of its layer, then a curve to the next, level again at both ends."""
    tip = to.x - (1.5 if arrives else 0)
    neck = tip - (7 if arrives else 0)
    middle = (bend + neck) / 2
    path = f"M{start:g} {y:g}H{bend:g}C{middle:g} {y:g} {middle:g} {to.y:g} {neck:g} {to.y:g}"
    head = f'<path class="head" d="M{tip:g} {to.y:g}l-8 -4v8z"/>' if arrives else ""
    return f'<path d="{path}"/>{head}'


def _style() -> str:
    light = _sheet(lambda c: (c.fill, c.line), (_PAPER, _INK, _FAINT, _LINE))
    dark = _sheet(
        lambda c: (c.dark_fill, c.dark_line), (_DARK_PAPER, _DARK_INK, _DARK_FAINT, _DARK_LINE)
    )
    return (
        ".name{font-size:13px;font-weight:600}.faint{font-size:10px}"
        ".title{font-size:15px;font-weight:700}.title .faint{font-size:12px;font-weight:400}"
        ".task text{text-anchor:middle}.task rect{stroke-width:1.4}"
        f".{Standing.DEFERRED} rect{{stroke-dasharray:5 3}}"
        ".lines path{fill:none;stroke-width:1.4}"
        f"{light}@media (prefers-color-scheme:dark){{{dark}}}"
    )


def _sheet(pick: Callable[[Colours], tuple[str, str]], page: tuple[str, str, str, str]) -> str:
    """The rules that differ between a light and a dark page."""
    paper, ink, faint, line = page
    rules = [
        f".paper{{fill:{paper}}}text{{fill:{ink}}}.faint{{fill:{faint}}}",
        f".lines path{{stroke:{line}}}.lines .head{{fill:{line};stroke:none}}",
    ]
    for standing, colours in COLOURS.items():
        fill, edge = pick(colours)
        rules.append(f".{standing or _UNKNOWN} rect{{fill:{fill};stroke:{edge}}}")
    return "".join(rules)
