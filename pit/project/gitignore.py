"""The rules of a `.pitignore` file, in the syntax of git, at a cost that cannot explode.

`pathspec` reads the rules and knows what git makes of them. Its regular expressions try every
division of a path among the wildcards of a rule, one after another: a rule with six stars takes
minutes for one long name. Here the same expressions look for each text between two wildcards once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_HEAD = re.compile(r"\^(\(\?:\.\+/\)\?)?")
_TAIL = re.compile(r"(?:\(\?:)?\(\?P<\w+>/\).*\Z", re.DOTALL)
_ANYWHERE = "(?:/.+)?/"
_TOKEN = re.compile(
    r"""(?P<star>\[\^/\]\*) | (?P<whole>\[\^/\]\+) | (?P<one>\[\^/\])
      | (?P<set>\[\^?\]?(?:[^\]\\/]|\\.)*\]) | (?P<plain>\\.|[^][\\/^$.|?*+(){}])""",
    re.VERBOSE | re.DOTALL,
)
_FOLDER = "(?:[^/]+/)"


def read(lines: Iterable[str]) -> GitIgnoreSpec:
    """The rules in these lines; ValueError if one makes no sense."""
    from pathspec import GitIgnoreSpec

    rules = GitIgnoreSpec.from_lines(lines)
    for rule in rules.patterns:
        expression = rule.regex
        if expression is not None and isinstance(expression.pattern, str):
            rule.regex = re.compile(bounded(expression.pattern), expression.flags)
    return rules


def bounded(expression: str) -> str:
    """A rule's regular expression, so written that it never tries again what cannot help.

    The first place where the names between two `**` are found is kept; the names after the last
    one are found as far down as they are there, as before, since the rest of the path decides what
    a rule for a folder means. An expression of another form than pathspec's stays as it is.
    """
    head, tail = _HEAD.match(expression), _TAIL.search(expression)
    if head is None:
        return expression
    end = tail.start() if tail else len(expression)
    blocks = [_block(text) for text in expression[head.end() : end].split(_ANYWHERE)]
    if None in blocks:
        return expression
    *before, last = (block for block in blocks if block is not None)
    found, passing = "^", head[1] is not None
    for block in before:
        found += f"(?>{f'{_FOLDER}*?' if passing else ''}{block}/)"
        passing = True
    return found + (f"{_FOLDER}*" if passing else "") + last + expression[end:]


def _block(text: str) -> str | None:
    """Names with slashes between them; None for what is not made of what rules are made of."""
    names = [_name(name) for name in re.split(r"(?<!\[\^)/", text)]
    return None if None in names else "/".join(name for name in names if name is not None)


def _name(text: str) -> str | None:
    texts, at = [""], 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            return None
        at = token.end()
        if token.lastgroup == "star":
            texts.append("")
        elif token.lastgroup == "set":
            texts[-1] += f"(?!/){token[0]}"  # to git, no set has a slash in it
        else:
            texts[-1] += token[0]
    first, *others = texts
    if not others:
        return first
    *middle, last = others
    between = "".join(f"(?>[^/]*?{each})" for each in middle if each)
    return f"{first}{between}(?>[^/]*{last})"
