"""When a disconnect may be sent: windows in civil time, holidays, the day before them, and how long a grace lasts.

Windows include their start and exclude their end (domain-rules C2). They are civil times, so a day of 23 or 25 hours
has the same window; a grace of hours is elapsed time.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

from edge.core.programs import DayBefore, Grace, Program

HolidayLookup = Callable[[date], str | None]
NOON = time(12)
MORNING = time(8)
LOOK_AHEAD_DAYS = 800  # no calendar that ships is closed for longer


class Closed(StrEnum):
    """Why a civil day has no disconnect window."""

    WEEKEND = "weekend"
    HOLIDAY = "holiday"
    DAY_BEFORE_HOLIDAY = "day_before_holiday"


def closed_because(day: date, program: Program, holiday: HolidayLookup) -> tuple[tuple[Closed, str], ...]:
    """Every reason why there is no window on a day, each with words; empty when there is one."""
    reasons: list[tuple[Closed, str]] = []
    if program.windows[day.weekday()] is None:
        reasons.append((Closed.WEEKEND, f"{day:%A} has no disconnect window"))
    if name := holiday(day):
        reasons.append((Closed.HOLIDAY, f"{day.isoformat()} is a holiday: {name}"))
    if program.day_before_holiday is DayBefore.BLOCK and (name := holiday(day + timedelta(days=1))):
        reasons.append((Closed.DAY_BEFORE_HOLIDAY, f"tomorrow is a holiday: {name}"))
    return tuple(reasons)


def window(day: date, zone: tzinfo, program: Program, holiday: HolidayLookup) -> tuple[datetime, datetime] | None:
    """The window of a civil day as instants in UTC, start included, end excluded; None when there is none."""
    hours = program.windows[day.weekday()]
    if hours is None or closed_because(day, program, holiday):
        return None
    start, end = hours
    ends = [end]
    if day in program.half_days:
        ends.append(program.half_days[day])
    if program.day_before_holiday is DayBefore.NOON and holiday(day + timedelta(days=1)):
        ends.append(NOON)
    start_at = instant(day, start, zone)
    end_at = min(instant(day, limit, zone) for limit in ends)
    return (start_at, end_at) if start_at < end_at else None


def instant(day: date, clock: time, zone: tzinfo) -> datetime:
    """A civil time of a day as an instant in UTC; ``time.max`` stands for the end of the day."""
    if clock == time.max:
        return datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
    return datetime.combine(day, clock, zone).astimezone(UTC)


def first_opening(
    not_before: datetime, guard: timedelta, zone: tzinfo, program: Program, holiday: HolidayLookup
) -> datetime | None:
    """The first instant from ``not_before`` on that lies in a window with room for the guard; None in 800 days."""
    not_before = not_before.astimezone(UTC)
    first = not_before.astimezone(zone).date()
    for ahead in range(LOOK_AHEAD_DAYS):
        span = window(first + timedelta(days=ahead), zone, program, holiday)
        if span is None:
            continue
        start = max(span[0], not_before)
        if start + guard < span[1]:
            return start
    return None


def grace_end(notice_at: datetime, zone: tzinfo, program: Program) -> datetime:
    """The first instant at which the zero notice has been out for long enough (domain-rules R3, C4)."""
    notice_at = notice_at.astimezone(UTC)
    elapsed = notice_at + timedelta(hours=program.grace_hours)
    if program.grace is Grace.HOURS:
        return elapsed
    morning = instant(notice_at.astimezone(zone).date() + timedelta(days=1), MORNING, zone)
    return morning if program.grace is Grace.NEXT_DAY else max(morning, elapsed)


def returned_payment_end(told_at: datetime, zone: tzinfo, holiday: HolidayLookup) -> datetime:
    """The end of the first whole business day after the day on which the customer was told (domain-rules R22)."""
    day = told_at.astimezone(zone).date() + timedelta(days=1)
    while day.weekday() >= 5 or holiday(day):
        day += timedelta(days=1)
    return instant(day, time.max, zone)
