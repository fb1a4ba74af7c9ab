"""The pages of the manual as tests read them: sections, tables, code blocks, links."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_HEADING = re.compile(r"(#+) +(.*)")


def sections(page: Path) -> dict[str, str]:
    """The text under each heading, up to the next heading of any level; code is left as it is."""
    found: dict[str, str] = {}
    heading, in_code = "", False
    for line in page.read_text().splitlines(keepends=True):
        in_code ^= line.startswith("```")
        matched = None if in_code else _HEADING.match(line)
        if matched:
            heading = matched[2].replace("`", "").strip()
            assert heading not in found, f"{page.name} has two sections called {heading}"
        found[heading] = found.get(heading, "") + ("" if matched else line)
    return found


def first_cells(section: str) -> list[str]:
    """The first cell of each row of a section's tables, without heading and ruler."""
    cells = []
    lines = section.splitlines()
    for above, line in itertools.pairwise(lines):
        is_row = line.startswith("|") and not line.startswith("|-") and above.startswith("|")
        if is_row:
            cells.append(line.split("|")[1].strip())
    return cells


def code(text: str) -> list[str]:
    """What stands in code quotes."""
    return re.findall(r"`([^`]+)`", text)


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The names by which a page's headings are linked to."""
    plain = (heading.lower() for heading in sections(page))
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}
