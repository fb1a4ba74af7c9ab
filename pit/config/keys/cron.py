"""Schedules: cron expressions of five fields, @daily and its like, `@every 10m`, time zones.

cronsim follows Debian's cron over daylight saving; it is loaded only where there is a schedule.
A zone may be given in front (`CRON_TZ=Europe/Berlin 0 6 * * *`), else `[dag] timezone` rules,
else the machine's. `@every` counts from the Unix epoch, so every process agrees on its moments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from pit.errors import nearest
from pit.text import durations, regex

if TYPE_CHECKING:
    from cronsim import CronSim

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FIELDS = (
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of the month", "1-31"),
    ("month", "1-12 or JAN-DEC"),
    ("day of the week", "0-7 or SUN-SAT"),
)
_PREFIX = regex.lazy(r"(?:CRON_TZ|TZ)=(\S*)\s+(.*)", re.DOTALL)
_EVERY = regex.lazy(r"@every\s+(.*)", re.DOTALL | re.IGNORECASE)
_CHARACTERS = regex.lazy(r"[0-9A-Z*/,#-]+")


def check(expression: str) -> str | None:
    """What is wrong with a schedule, as a sentence that quotes it; None for a good one."""
    zone, bare = _split(expression)
    problem = (check_timezone(zone) if zone is not None else None) or _problem(bare)
    return f'schedule "{expression}": {problem}' if problem else None


def check_timezone(name: str) -> str | None:
    """What is wrong with the name of a time zone; None for a good one."""
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return _unknown_timezone(name, zoneinfo.available_timezones())
    return None


def _unknown_timezone(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    if not names:
        return f'time zone "{name}" cannot be looked up: this machine has no tzdata'
    cities = {zone.rpartition("/")[2].lower(): zone for zone in names}
    near = cities.get(name.strip().replace(" ", "_").lower()) or nearest(name, names)
    return f'unknown time zone "{name}"' + (f'; did you mean "{near}"?' if near else "")


def next_fire(schedules: Iterable[str], timezone: str | None, after: float) -> float | None:
    """The first moment after `after` at which any of the schedules fires; None if none ever does.

    Times are Unix seconds. The schedules must have passed `check`.
    """
    moments = (_next(expression, timezone, after) for expression in schedules)
    return min((moment for moment in moments if moment is not None), default=None)


def _next(expression: str, timezone: str | None, after: float) -> float | None:
    zone, bare = _split(expression)
    every = _EVERY.fullmatch(bare)
    if every:
        interval = durations.parse(every[1].strip())
        return (after // interval + 1) * interval
    start = datetime.fromtimestamp(after, _zone(zone or timezone))
    fires = next(_simulation(_fields(bare), start), None)
    return fires.timestamp() if fires else None


def _split(expression: str) -> tuple[str | None, str]:
    """The zone in front of an expression, if there is one, and the rest."""
    found = _PREFIX.fullmatch(expression.strip())
    return (found[1], found[2].strip()) if found else (None, expression.strip())


def _fields(bare: str) -> list[str]:
    fields = ALIASES.get(bare.lower(), bare).upper().split()
    return ["*" if field == "?" and at in (2, 4) else field for at, field in enumerate(fields)]


def _problem(bare: str) -> str | None:
    every = _EVERY.fullmatch(bare)
    if every:
        return _interval_problem(every[1].strip())
    if bare.startswith("@") and bare.lower() not in ALIASES:
        if bare.lower().startswith("@every"):
            return f'unknown word "{bare}"; write it like "@every 10m"'
        near = nearest(bare, ALIASES)
        known = f'did you mean "{near}"?' if near else f"known are {', '.join(ALIASES)}, @every 10m"
        return f'unknown word "{bare}"; {known}'
    fields = _fields(bare)
    if len(fields) != 5:
        return f"{len(fields)} fields where 5 are expected (minute hour day month weekday)"
    return _field_problem(fields) or _never(fields)


def _interval_problem(text: str) -> str | None:
    try:
        seconds = durations.parse(text)
    except ValueError as error:
        return str(error)
    return None if seconds >= 1 else "the interval is shorter than a second"


def _field_problem(fields: list[str]) -> str | None:
    """The sentence for the first field that is wrong by itself."""
    for place, (field, (name, values)) in enumerate(zip(fields, FIELDS, strict=True)):
        alone = ["*"] * 5
        alone[place] = field
        if not _CHARACTERS.fullmatch(field) or not _accepted(alone):
            a = "an" if name == "hour" else "a"
            return f'"{field}" is not {a} {name} ({values})'
    return None


def _never(fields: list[str]) -> str | None:
    """The sentence for good fields that no date satisfies, such as 31 February."""
    if _accepted(fields) and next(_simulation(fields, datetime(2000, 1, 1, tzinfo=UTC)), None):
        return None
    return "there is no such date, so it would never fire"


def _accepted(fields: list[str]) -> bool:
    from cronsim import CronSimError

    try:
        _simulation(fields, datetime(2000, 1, 1, tzinfo=UTC))
    except (CronSimError, AssertionError):  # it asserts where an nth weekday is given a step
        return False
    return True


def _simulation(fields: list[str], start: datetime) -> CronSim:
    from cronsim import CronSim

    return CronSim(" ".join(fields), start)


def _zone(name: str | None) -> tzinfo:
    if name is None:
        return MachineZone()
    import zoneinfo

    return zoneinfo.ZoneInfo(name)


class MachineZone(tzinfo):
    """The machine's own time zone, with its past and future changes between summer and winter."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        """What local clocks were ahead of UTC at a local time."""
        return when.replace(tzinfo=None).astimezone().utcoffset() if when else None

    def dst(self, when: datetime | None) -> timedelta | None:
        """Unknown, and not needed to convert."""
        return None

    def tzname(self, when: datetime | None) -> str | None:
        """The abbreviation in use at a local time."""
        return when.replace(tzinfo=None).astimezone().tzname() if when else None

    def fromutc(self, when: datetime) -> datetime:
        """Local time, with `fold` set in the second of two equal hours."""
        local = when.replace(tzinfo=UTC).astimezone()
        first = local.replace(tzinfo=self, fold=0)
        return first if first.utcoffset() == local.utcoffset() else first.replace(fold=1)
