"""Short stories for the model test: what once went wrong, or is too rare to be left to chance.

Each is a pipeline and some turns; the model foretells how it goes, as for the random ones.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.engine.model.bench import Edit, Turn
from tests.engine.model.pipelines import (
    ALL_KINDS,
    AXES,
    BEYOND,
    CODES,
    DATABASE,
    FLIPS,
    LEARNED,
    Pipeline,
    Step,
)
from tests.engine.model.troubles import SPOILS, SPOILS_OF_FOLDERS


class Story(NamedTuple):
    """What it is about, what the model must have learned for it, and how it goes."""

    name: str
    feature: str
    pipeline: Pipeline
    turns: list[Turn]


def turn(*edits: Edit, selection: str = "all", task: int = 0, **more: object) -> Turn:
    """Some edits and a run, by default of everything."""
    return Turn(list(edits), selection, task)._replace(**more)  # type: ignore[arg-type]


def steps(*given: Step) -> Pipeline:
    """A pipeline."""
    return Pipeline(given)


REST = ("rest", 0, 0)
NOTHING_TO_DO = [turn(REST), turn(REST)]
"""Two runs without a change: the second can keep a stamp of what it has seen."""

_PLAIN = [
    ("a success without products", [turn(), turn(("salt", 3, 1))]),
    ("a sly edit during a run", [turn(trouble="edit"), turn(REST)]),
    ("a stamp, then a failure", [*NOTHING_TO_DO, turn(force=True, trouble="fail"), turn()]),
    (
        "a link to nothing",
        [turn(trouble="fail", victim=2), turn(("drop", 2, 0), selection="below", task=2)],
    ),
    (
        "untracked for a run",
        [
            turn(),
            turn(("always", 2, 1), ("write", 0, 0)),
            turn(("always", 2, 0), ("write", 0, 0)),
        ],
    ),
    (
        "a leftover that a pattern matches",
        [turn(), turn(("write", 0, 1), ("hand", 8, 0)), turn()],
    ),
]

_FOLDER = steps(Step("t0", "folder", ("s/a",)), Step("t1", "file", ("o/t0/",)))
_FOLDER_ALWAYS = steps(Step("t0", "folder", None))
_STRANGER = turn(("stranger", 0, 1))
_GONE = turn(("strangers gone", 0, 0))
_STRANGERS = [
    (
        "a stranger's file in a folder that is current",
        _FOLDER,
        [turn(), _STRANGER, turn(), _GONE, turn()],
    ),
    (
        "a stranger's folder in a folder that is current",
        _FOLDER,
        [turn(), turn(("stranger", 1, 1)), _GONE],
    ),
    (
        "a stranger's file where a folder is made anew",
        _FOLDER,
        [turn(), turn(("stranger", 0, 1), ("write", 0, 7)), _GONE],
    ),
    ("a stranger's file before the first run", _FOLDER, [_STRANGER, _GONE, turn()]),
    (
        "a stranger's file with a task that always runs",
        _FOLDER_ALWAYS,
        [turn(), turn(), _STRANGER, _GONE],
    ),
    (
        "a link to a stranger's folder before the first run",
        _FOLDER,
        [turn(("stranger leads out", 0, 0)), _GONE],
    ),
    (
        "a link to a stranger's folder in place of a folder",
        _FOLDER,
        [turn(), turn(("stranger leads out", 0, 0)), _GONE],
    ),
    ("an edited file in a folder", _FOLDER, [turn(), turn(("hand", 0, 5)), turn()]),
    (
        "an edited file in a folder that is made anew",
        _FOLDER,
        [turn(), turn(("hand", 0, 5), ("write", 0, 7)), turn()],
    ),
    (
        "a folder after a failure",
        _FOLDER,
        [turn(), turn(("write", 0, 7), trouble="fail"), turn(("write", 0, 8)), turn()],
    ),
    (
        "a folder whose task was forgotten",
        _FOLDER,
        [turn(), turn(("forget", 0, 0), ("write", 0, 7)), turn()],
    ),
    (
        "a file that the task makes no more, edited",
        _FOLDER,
        [turn(), turn(("hand", 1, 5), ("write", 0, 7)), turn(("drop", 1, 0)), turn()],
    ),
    (
        "a stranger's folder in place of a file",
        ALL_KINDS,
        [turn(), turn(("folder", 0, 0)), turn(("folder", 0, 0)), _GONE, turn()],
    ),
    (
        "a stranger's file in place of one that a pattern matches",
        ALL_KINDS,
        [turn(("stranger matches", 0, 0)), turn(), turn(("drop", 1, 0)), turn()],
    ),
    (
        "a stranger's file that a pattern matches",
        ALL_KINDS,
        [turn(), turn(("stranger matches", 0, 2)), turn(("write", 4, 8)), turn()],
    ),
    (
        "what a pattern matched before a failure",
        ALL_KINDS,
        [turn(), turn(("write", 4, 8), trouble="fail", victim=2), turn(), turn()],
    ),
    (
        "a folder for two values of a parameter",
        steps(Step("t0", "folder", ("s/a",), mode=True)),
        [turn(), turn(mode="2"), turn(), turn(mode="2")],
    ),
]

_THROUGH = steps(
    Step("t0", "file", ("l/file",)),
    Step("t1", "file", ("l/dir/x",)),
    Step("t2", "file", ("l/dir",)),
)
_BEYOND = steps(Step("t0", "file", (f"{BEYOND}ext/cur/x",)))
_LINKS = [
    *(
        (
            f"{place} leads to {to}",
            _THROUGH,
            [*NOTHING_TO_DO, turn(("flip", at, n)), turn(REST), turn(("flip", at, 0))],
        )
        for at, (place, leads) in enumerate(FLIPS.items())
        for n, to in enumerate(leads)
        if n and not place.startswith(BEYOND)
    ),
    (
        "what links lead to is edited",
        _THROUGH,
        [
            turn(("flip", 0, 2), ("flip", 1, 2)),
            turn(REST),
            *(turn(("sly kept", n, 3)) for n in range(8)),
        ],
    ),
    (
        "a link beyond the project leads elsewhere",
        _BEYOND,
        [*NOTHING_TO_DO, turn(("flip", 2, 1)), turn()],
    ),
    (
        "a link beyond the project leads elsewhere for a while",
        _BEYOND,
        [turn(trouble="there and back"), turn(), turn()],
    ),
    (
        "two sources become one file",
        steps(Step("t0", "file", ("s/b", "f"))),
        [
            *NOTHING_TO_DO,
            turn(("hard link", 0, 1)),
            turn(REST),
            turn(("sly", 0, 9)),
            turn(("hard link", 4, 0)),
            turn(("write", 0, 3)),
        ],
    ),
    (
        "an edit of a file with two names during a run",
        steps(Step("t0", "none", ()), Step("t1", "file", ("s/b",), ("t0",))),
        [turn(("hard link", 0, 1), trouble="edit"), turn(), turn()],
    ),
]

_BY_PATTERN = steps(Step("t0", "glob", ("s/a",)), Step("t1", "file", ("o/t0-*.txt",), ("t0",)))
_STRANGERS += [
    (
        f"a stranger that matches what {chosen} reads by a pattern",
        _BY_PATTERN,
        [turn(), turn(("stranger matches", 0, 8), **selected), turn(**selected), turn(), turn()],
    )
    for chosen, selected in (
        ("a task that runs alone", {"selection": "one", "task": 1}),
        ("a task that runs with all", {}),
    )
]
_HANDED = [
    (kind, steps(Step("t0", kind, ("s/a",)), Step("t1", "file", (place,))))
    for kind, place in (
        ("file", "o/t0.txt"),
        ("folder", "o/t0/"),
        ("pair", "o/deep/t0.2"),
        ("huge", "o/t0.huge"),
    )
]
_WRITTEN_OVER = [
    (
        f"{trouble} to a {kind} of a task that {was}",
        pipeline,
        [*first, turn(("salt", 1, 1), trouble=trouble, victim=1), turn(), turn()],
    )
    for kind, pipeline in _HANDED
    for trouble in ("append", "append and fail")
    for was, first in (("was skipped", [turn()]), ("ran", []))
]
_WRITTEN_OVER += [
    (
        f"a retry after an append and a failure, to a {kind} of a task that {was}",
        pipeline,
        [*first, turn(("salt", 1, 1), trouble="append and fail", victim=1), turn(again=True)],
    )
    for kind, pipeline in _HANDED
    for was, first in (("was skipped", [turn()]), ("ran", []))
]

_TWO = steps(Step("t0", "none", ()), Step("t1", "file", ("s/a",), ("t0",)))
_SWAPS = [
    (
        "a folder in place of another during a run",
        _TWO,
        [turn(REST, trouble="swap"), turn(REST), turn(), turn()],
    ),
    (
        "a folder in place of another during a run that skips",
        _TWO,
        [*NOTHING_TO_DO, turn(REST, ("salt", 0, 1), trouble="swap"), turn(REST), turn(), turn()],
    ),
    (
        "a folder in place of another between runs",
        _TWO,
        [*NOTHING_TO_DO, turn(("swap", 0, 0)), turn(), turn()],
    ),
    (
        "a folder in place of that to which a link leads",
        steps(Step("t0", "file", ("l/dir/x",))),
        [*NOTHING_TO_DO, turn(("swap", 2, 0)), turn(), turn()],
    ),
]

_ALONE = steps(Step("t0", "file", ("s/*",), always=True), Step("t1", "none", ("f",), ("t0",)))
_BASES = [
    (
        f"a snapshot spoiled in way {way}",
        _ALONE,
        [
            turn(task=way, trouble="spoil"),
            turn(("write", 0, 3), task=way + 1, trouble="spoil", victim=1),
            turn(),
            turn(force=True),
        ],
    )
    for way in range(len(SPOILS + SPOILS_OF_FOLDERS))
] + [
    (
        "a snapshot spoiled by a run that fails and is retried",
        _ALONE,
        [
            turn(),
            turn(trouble="fail", victim=1, force=True),
            turn(again=True),
            turn(force=True, trouble="spoil"),
            turn(("drop", 0, 0), force=True),
        ],
    ),
]

_ROW = ("row", 0, 0)
_JOURNALS = [
    (
        "rows in a journal",
        steps(Step("t0", "file", (DATABASE,))),
        [*NOTHING_TO_DO, turn(_ROW), turn(REST), turn(), turn(_ROW)],
    ),
    (
        "a row in a journal that is there already",
        steps(Step("t0", "file", (DATABASE,), code="lib")),
        [turn(_ROW), turn(REST), turn(_ROW), turn(REST), turn(_ROW, _ROW), turn()],
    ),
]

_MATRICES = [
    (
        f"values from a {axis}",
        steps(
            Step("t0", "file", inputs, axis=axis),
            Step("t1", "file", ("o/t0.*.out",)),
            Step("t2", "file", (), ("t0",)),
        ),
        [*NOTHING_TO_DO, *(more for edit in edits for more in (turn(edit), turn(REST), turn()))],
    )
    for at, axis in enumerate(AXES)
    for inputs, edits in [
        (
            (AXES[axis].replace("*", "{k}"),),
            [("value", at, 2), ("value gone", at, 0), ("value", at, 4), ("value", at, 3)],
        )
        if "glob" in axis
        else ((), [("list", at, 2), ("list", at, 0), ("list", at, 3), ("list", at, 1)])
    ]
]

_CODE = [
    (
        f"code by way of {code}",
        steps(Step("t0", "file", (), code=code)),
        [
            *NOTHING_TO_DO,
            turn(("comment", 0, 1)),
            turn(("salt", 0, 1)),
            turn(REST),
            turn(("salt", 0, 2)),
            turn(),
        ],
    )
    for code in (*CODES, "runner", "shell")
]

_VALUES = steps(
    Step("val0", "value", ("s/a",), code="lib"),
    Step("t1", "file", ("s/b",), ("val0",)),
    Step("t2", "file", ("o/val0.txt",)),
)
_FORGET = ("forget", 0, 0)
_SELECTIONS = [
    (
        "a value of a task that is not selected",
        _VALUES,
        [
            turn(),
            turn(selection="one", task=1),
            turn(("write", 0, 7), selection="one", task=1),
            turn(selection="below", task=1),
            turn(selection="above", task=1),
        ],
    ),
    (
        "a value of a task that was forgotten",
        _VALUES,
        [turn(), turn(_FORGET, selection="one", task=1), turn(selection="one", task=1), turn()],
    ),
    (
        "a value of a task that failed",
        _VALUES,
        [
            turn(),
            turn(("forget", 1, 0), trouble="fail", victim=1),
            turn(("write", 1, 8), again=True),
            turn(),
        ],
    ),
    (
        "a retry",
        ALL_KINDS,
        [
            turn(trouble="fail", victim=3),
            turn(("write", 0, 7), ("write", 1, 7), again=True),
            turn(),
            turn(),
        ],
    ),
    (
        "a retry of a retry",
        ALL_KINDS,
        [
            turn(trouble="fail", victim=1),
            turn(again=True, trouble="fail", victim=3),
            turn(("salt", 3, 1), again=True),
            turn(),
        ],
    ),
    (
        "a retry of a part",
        ALL_KINDS,
        [
            turn(),
            turn(("write", 0, 7), trouble="fail", victim=2, selection="above", task=2),
            turn(again=True),
            turn(),
        ],
    ),
    (
        "a retry after forced work",
        _VALUES,
        [turn(), turn(force=True, trouble="fail", victim=1), turn(again=True), turn()],
    ),
    (
        "forgotten in the middle",
        ALL_KINDS,
        [
            turn(),
            turn(("forget", 2, 0), selection="one", task=4),
            turn(selection="below", task=2),
            turn(),
        ],
    ),
    (
        "parts by force",
        ALL_KINDS,
        [
            turn(),
            turn(selection="below", task=1, force=True),
            turn(selection="one", task=3, force=True),
            turn(),
        ],
    ),
]

_BY_FEATURE = {
    "": [(name, ALL_KINDS, turns) for name, turns in _PLAIN],
    "strangers": _STRANGERS,
    "links": _LINKS,
    "written over": _WRITTEN_OVER,
    "swaps": _SWAPS,
    "bases": _BASES,
    "journals": _JOURNALS,
    "matrices": _MATRICES,
    "code": _CODE,
    "selections": _SELECTIONS,
}
STORIES = [
    Story(name, feature, pipeline, turns)
    for feature, found in _BY_FEATURE.items()
    if LEARNED.get(feature, True)
    for name, pipeline, turns in found
]
"""All of them."""
