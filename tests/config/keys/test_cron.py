"""Schedules: what is refused, and when the others fire, over daylight saving too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from pit.config.keys import cron

BERLIN = "Europe/Berlin"


@pytest.fixture
def machine_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Sets the machine's zone by TZ, and puts it back."""
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()


def fires(
    expression: str, start: str, count: int, zone: str | None = None, shown_in: str = BERLIN
) -> list[str]:
    """The next moments in a zone, as "25 02:30+0200"."""
    after = datetime.fromisoformat(start).timestamp()
    found = []
    for _ in range(count):
        moment = cron.next_fire([expression], zone, after)
        assert moment is not None
        assert moment > after
        found.append(datetime.fromtimestamp(moment, ZoneInfo(shown_in)).strftime("%d %H:%M%z"))
        after = moment
    return found


@pytest.mark.parametrize(
    "expression",
    [
        "0 6 * * *",
        "*/15 9-17 * * 1-5",
        "0 0 29 2 *",
        "0 0 L * *",
        "0 9 * * MON#1",
        "0 12 ? jan,feb sun",
        "@daily",
        "@Hourly",
        "@every 10m",
        "@every 1h30m",
        "CRON_TZ=Europe/Berlin 0 6 * * *",
        "TZ=UTC @daily",
        "  0   6 * * *  ",
    ],
)
def test_good_schedules(expression: str) -> None:
    assert cron.check(expression) is None
    assert cron.next_fire([expression], "UTC", 0.0) is not None


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("61 * * * *", '"61" is not a minute (0-59)'),
        ("0 24 * * *", '"24" is not an hour (0-23)'),
        ("0 0 0 * *", '"0" is not a day of the month (1-31)'),
        ("0 0 * foo *", '"FOO" is not a month (1-12 or JAN-DEC)'),
        ("0 0 * * 8", '"8" is not a day of the week (0-7 or SUN-SAT)'),
        ("0 0 * * MON#1/2", '"MON#1/2" is not a day of the week (0-7 or SUN-SAT)'),
        ("*/0 * * * *", '"*/0" is not a minute (0-59)'),
        ("0 0 31 2 *", "there is no such date, so it would never fire"),
        ("0 6 * *", "4 fields where 5 are expected (minute hour day month weekday)"),
        ("0 0 6 * * *", "6 fields where 5 are expected (minute hour day month weekday)"),
        ("", "0 fields where 5 are expected (minute hour day month weekday)"),
        ("@dayly", 'unknown word "@dayly"; did you mean "@daily"?'),
        ("@every", 'unknown word "@every"; write it like "@every 10m"'),
        ("@every 10", '"10" has no unit; did you mean "10s"?'),
        ("@every 0s", "the interval is shorter than a second"),
        ("CRON_TZ=Berlin 0 6 * * *", 'unknown time zone "Berlin"; did you mean "Europe/Berlin"?'),
        ("TZ= 0 6 * * *", 'unknown time zone ""'),
    ],
)
def test_bad_schedules_are_quoted_with_what_is_wrong(expression: str, problem: str) -> None:
    assert cron.check(expression) == f'schedule "{expression}": {problem}'


def test_time_zones() -> None:
    assert cron.check_timezone("Australia/Sydney") is None
    assert cron.check_timezone("../etc/passwd") == 'unknown time zone "../etc/passwd"'
    assert cron.check_timezone("America") is not None
    assert 'did you mean "America/New_York"?' in str(cron.check_timezone("new york"))


def test_a_job_in_the_hour_that_spring_skips_fires_once() -> None:
    assert fires("30 2 * * *", "2026-03-28T00:00+01:00", 3, BERLIN) == [
        "28 02:30+0100",
        "29 03:00+0200",
        "30 02:30+0200",
    ]


def test_a_job_in_the_hour_that_autumn_repeats_fires_once() -> None:
    assert fires("30 2 * * *", "2026-10-24T00:00+02:00", 3, BERLIN) == [
        "24 02:30+0200",
        "25 02:30+0200",
        "26 02:30+0100",
    ]


def test_an_hourly_job_fires_in_every_real_hour() -> None:
    assert fires("0 * * * *", "2026-10-25T01:10+02:00", 3, BERLIN) == [
        "25 02:00+0200",
        "25 02:00+0100",
        "25 03:00+0100",
    ]


def test_a_zone_in_front_wins_over_that_of_the_dag() -> None:
    start = "2026-01-01T00:00+00:00"
    assert fires("CRON_TZ=UTC 0 6 * * *", start, 1, BERLIN) == ["01 07:00+0100"]
    assert fires("0 6 * * *", start, 1, BERLIN) == ["01 06:00+0100"]


def test_without_a_zone_the_machine_rules(machine_in: pytest.MonkeyPatch) -> None:
    for zone in (BERLIN, "CET-1CEST,M3.5.0,M10.5.0/3"):
        machine_in.setenv("TZ", zone)
        time.tzset()
        assert fires("30 2 * * *", "2026-10-24T00:00+02:00", 3) == [
            "24 02:30+0200",
            "25 02:30+0200",
            "26 02:30+0100",
        ]
        assert fires("0 * * * *", "2026-10-25T01:10+02:00", 3) == [
            "25 02:00+0200",
            "25 02:00+0100",
            "25 03:00+0100",
        ]


def test_the_machine_zone_knows_both_of_two_equal_hours(machine_in: pytest.MonkeyPatch) -> None:
    machine_in.setenv("TZ", BERLIN)
    time.tzset()
    for moment in (datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in range(4)):
        local = moment.astimezone(cron.MachineZone())
        assert local.timestamp() == moment.timestamp()
        assert local.tzname() == moment.astimezone(ZoneInfo(BERLIN)).tzname()


def test_intervals_count_from_the_epoch_whoever_asks() -> None:
    assert cron.next_fire(["@every 10m"], None, 1_000.0) == 1_200.0
    assert cron.next_fire(["@every 10m"], None, 1_200.0) == 1_800.0
    assert cron.next_fire(["@every 1h30m"], BERLIN, 0.0) == 5_400.0


def test_the_first_of_several_schedules_fires() -> None:
    after = datetime(2026, 1, 1, 7, tzinfo=UTC).timestamp()
    fire = cron.next_fire(["0 6 * * *", "0 9 * * *", "@weekly"], "UTC", after)
    assert fire == datetime(2026, 1, 1, 9, tzinfo=UTC).timestamp()
    assert cron.next_fire([], "UTC", after) is None


def test_a_moment_that_is_just_over_is_not_given_again() -> None:
    at = datetime(2026, 1, 1, 6, tzinfo=UTC).timestamp()
    assert cron.next_fire(["0 6 * * *"], "UTC", at - 0.25) == at
    assert cron.next_fire(["0 6 * * *"], "UTC", at) == at + 86_400
    assert cron.next_fire(["0 6 * * *"], "UTC", at + 0.25) == at + 86_400
