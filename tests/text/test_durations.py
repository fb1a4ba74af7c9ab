"""Durations: the syntax of Go, read and written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pit.text import durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("15m", 900.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("300ms", 0.3),
        ("20us", 20e-6),
        ("20µs", 20e-6),
        ("20μs", 20e-6),
        ("5ns", 5e-9),
        ("0", 0.0),
        ("+5s", 5.0),
        (".5m", 30.0),
        ("1.s", 1.0),
        ("1m1m", 120.0),
    ],
)
def test_reads_the_syntax_of_go(text: str, seconds: float) -> None:
    assert durations.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("30", '"30" has no unit; did you mean "30s"?'),
        ("-5s", '"-5s" is negative; a duration is never negative'),
        ("1 day", '"1 day" is not a duration; did you mean "24h"?'),
        ("2w", '"2w" is not a duration; did you mean "336h"?'),
        ("10 minutes", '"10 minutes" is not a duration; did you mean "10m"?'),
        ("1h 30m", '"1h 30m" is not a duration; did you mean "1h30m"?'),
        ("10S", '"10S" is not a duration; did you mean "10s"?'),
        ("nope", '"nope" is not a duration; write it like "90s", "15m" or "1h30m"'),
        ("", '"" is not a duration; write it like "90s", "15m" or "1h30m"'),
        ("9999999999h", '"9999999999h" is longer than 292 years'),
        ("5s\n", '"5s\n" is not a duration; did you mean "5s"?'),
        ("٣s", '"٣s" is not a duration; write it like "90s", "15m" or "1h30m"'),
    ],
)
def test_says_what_was_probably_meant(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        durations.parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.35, "350ms"),
        (0.00002, "20µs"),
        (0.0009999, "1ms"),
        (0.9996, "1s"),
        (1, "1s"),
        (75.5, "1m15.5s"),
        (5400, "1h30m"),
        (3600, "1h"),
        (59.9999, "1m"),
        (100_000.0, "27h46m40s"),
        (float("inf"), "forever"),
        (-90, "-1m30s"),
    ],
)
def test_writes_the_shortest_form(seconds: float, text: str) -> None:
    assert durations.format(seconds) == text


@given(st.floats(min_value=0, max_value=durations.LONGEST))
def test_what_is_written_is_read_back_to_the_millisecond(seconds: float) -> None:
    assert durations.parse(durations.format(seconds)) == pytest.approx(seconds, abs=6e-4)


def read(text: str) -> float | str:
    """The seconds, or the sentence that says why there are none."""
    try:
        return durations.parse(text)
    except ValueError as error:
        return str(error)


numbers = st.integers(0, 10**6).map(str) | st.sampled_from(["1.5", ".5", "2."])
written = st.lists(st.tuples(numbers, st.sampled_from([*durations.UNITS])), min_size=1).map(
    lambda parts: "".join(number + unit for number, unit in parts)
)


@given(st.text(max_size=12) | written)
def test_every_text_is_a_duration_or_a_sentence(text: str) -> None:
    found = read(text)
    assert text in found if isinstance(found, str) else found >= 0
