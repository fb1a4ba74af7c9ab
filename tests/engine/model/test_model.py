"""Pit against a model of itself: random pipelines, edits between and during runs, failures.

After each run exactly what was stale has run, and the project is what a build from scratch makes;
what `pit plan` said just before is what was done. How the model is built, and how a case that has
failed is tried again, stands in README.md.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.engine.model import edits, troubles
from tests.engine.model.bench import Turn, bench
from tests.engine.model.edits import tell
from tests.engine.model.pipelines import ALL_KINDS, LEARNED, Pipeline, pipelines
from tests.engine.model.stories import STORIES, Story

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


@pytest.mark.timeout(600 + 4 * CASES)  # making a failure small takes up to five minutes
@settings(
    max_examples=CASES or 40,
    derandomize=not CASES,
    deadline=None,
    database=None,
    print_blob=True,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(
    st.one_of(pipelines(), st.just(ALL_KINDS)),
    st.lists(turns, min_size=1, max_size=6),
    st.sampled_from((False, LEARNED["bases"])),
)
def test_pit_does_what_the_model_foretells(
    pipeline: Pipeline, plan: list[Turn], warm: bool
) -> None:
    before = len(os.listdir("/dev/fd"))
    play(pipeline, plan, warm)
    assert len(os.listdir("/dev/fd")) <= before + 2, "a run has left files open"


@pytest.mark.parametrize("story", STORIES, ids=[story.name for story in STORIES])
def test_a_story_goes_as_the_model_foretells(story: Story) -> None:
    bases = play(story.pipeline, story.turns, warm=story.feature == "bases")
    assert bases or story.feature != "bases"


def play(pipeline: Pipeline, plan: list[Turn], warm: bool) -> int:
    """Turn by turn, in a workspace of its own; what is done is printed if it fails.

    Returns how many snapshots were made of a base.
    """
    with bench(pipeline, warm) as under_test:
        for number, turn in enumerate(plan):
            tell(f"turn {number}")
            under_test.turn(turn)
        return under_test.bases
