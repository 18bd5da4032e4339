"""The demonstration's own reading of the default program, apart from the gateway's, so that one checks the other.

Contract section 4: windows Monday to Thursday 08:00-14:30 and Friday 08:00-12:00, none on weekends and holidays; a
grace until the later of 08:00 next day and 24 hours after the notice; no disconnect while an hour of the coming 24 is
forecast below 32 F. A window includes its start and excludes its end.
"""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

from meter_sim.demo_site import ZONE

HOLIDAYS = {date(2026, 10, 12): "Columbus Day"}
FREEZING_F = 32.0
_OPENS = time(8)
_CLOSES = (time(14, 30), time(14, 30), time(14, 30), time(14, 30), time(12))
_HORIZON = timedelta(hours=24)
_HOUR = timedelta(hours=1)


def hours_on(day: date) -> tuple[time, time] | None:
    """When disconnects may be carried out on a civil day; None on a day without a window."""
    if day in HOLIDAYS or day.weekday() >= len(_CLOSES):
        return None
    return _OPENS, _CLOSES[day.weekday()]


def permitted(at: datetime) -> bool:
    """Whether an instant lies inside a window."""
    local = at.astimezone(ZONE)
    hours = hours_on(local.date())
    return hours is not None and hours[0] <= local.time() < hours[1]


def window_words(at: datetime) -> str:
    """Whether the window is open at an instant, and why not or how long."""
    local = at.astimezone(ZONE)
    hours = hours_on(local.date())
    if local.date() in HOLIDAYS:
        return f"closed: a holiday ({HOLIDAYS[local.date()]})"
    if hours is None:
        return "closed: the weekend"
    if local.time() < hours[0]:
        return f"closed: it opens at {hours[0]:%H:%M}"
    if local.time() >= hours[1]:
        return f"closed: it ended at {hours[1]:%H:%M}"
    return f"open until {hours[1]:%H:%M}"


def grace_ends(delivered: datetime) -> datetime:
    """The first instant at which the grace after a zero notice does not hold any more."""
    local = delivered.astimezone(ZONE)
    next_morning = datetime.combine(local.date() + timedelta(days=1), _OPENS, ZONE)
    return max(next_morning, delivered + _HORIZON)


def frost_within_a_day(at: datetime, first_hour: datetime, temperatures_f: Sequence[float]) -> bool:
    """Whether a forecast has frost in an hour that overlaps the coming 24 hours."""
    hours = ((first_hour + n * _HOUR, temperature) for n, temperature in enumerate(temperatures_f))
    return any(temperature < FREEZING_F for start, temperature in hours if start < at + _HORIZON and start + _HOUR > at)
