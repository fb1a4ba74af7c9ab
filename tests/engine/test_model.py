"""Pit against a model of itself: random pipelines, edits between and during runs, failures.

After each run exactly what was stale has run, and the project is what a build from scratch makes;
what `pit plan` said just before is what was done. How the model is built, and how a case that has
failed is tried again, stands in README.md.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st

from tests.engine import edits, troubles
from tests.engine.bench import Edit, Turn, bench
from tests.engine.pipelines import ALL_KINDS, LEARNED, Pipeline, pipelines

CASES = int(os.environ.get("PIT_TEST_CASES", "0"))

turns = st.builds(
    Turn,
    edits=st.lists(
        st.tuples(st.sampled_from(edits.known(LEARNED)), st.integers(0, 9), st.integers(0, 9)),
        max_size=4,
    ),
    selection=st.sampled_from(("all", "all", "all", "all", "one", "above", "below")),
    task=st.integers(0, 4),
    mode=st.sampled_from(("1", "1", "2")),
    force=st.sampled_from((False,) * 7 + (True,)),
    trouble=st.sampled_from(troubles.known(LEARNED)),
    victim=st.integers(0, 9),
    again=st.sampled_from((False, LEARNED["selections"])),
)


def _turn(*edits: Edit, **more: object) -> Turn:
    return Turn(list(edits), **more)  # type: ignore[arg-type]


REST = ("rest", 0, 0)
SUCCESS_WITHOUT_PRODUCTS = [_turn(), _turn(("salt", 3, 1))]
SLY_EDIT_DURING_A_RUN = [_turn(trouble="edit"), _turn(REST)]
LEFTOVER_THAT_A_PATTERN_MATCHES = [_turn(), _turn(("write", 0, 1), ("hand", 8, 0)), _turn()]
UNTRACKED_FOR_A_RUN = [
    _turn(),
    _turn(("always", 2, 1), ("write", 0, 0)),
    _turn(("always", 2, 0), ("write", 0, 0)),
]
LINK_TO_NOTHING = [
    _turn(trouble="fail", victim=2),
    _turn(("drop", 2, 0), selection="below", task=2),
]
SEALED_THEN_FAILED = [_turn(), _turn(REST), _turn(force=True, trouble="fail"), _turn()]


@pytest.mark.timeout(180 + 2 * CASES)
@settings(
    max_examples=CASES or 50,
    derandomize=not CASES,
    deadline=None,
    database=None,
    print_blob=True,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@example(ALL_KINDS, SUCCESS_WITHOUT_PRODUCTS)
@example(ALL_KINDS, SLY_EDIT_DURING_A_RUN)
@example(ALL_KINDS, SEALED_THEN_FAILED)
@example(ALL_KINDS, LINK_TO_NOTHING)
@example(ALL_KINDS, UNTRACKED_FOR_A_RUN)
@example(ALL_KINDS, LEFTOVER_THAT_A_PATTERN_MATCHES)
@given(st.one_of(pipelines(), st.just(ALL_KINDS)), st.lists(turns, min_size=1, max_size=6))
def test_pit_does_what_the_model_foretells(pipeline: Pipeline, plan: list[Turn]) -> None:
    before = len(os.listdir("/dev/fd"))
    with bench(pipeline) as under_test:
        for number, turn in enumerate(plan):
            note(f"turn {number}")
            under_test.turn(turn)
    assert len(os.listdir("/dev/fd")) <= before + 2, "a run has left files open"
