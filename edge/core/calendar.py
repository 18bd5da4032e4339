"""When a disconnect may be sent: windows in civil time, holidays, the day before them, and how long a grace lasts.

Windows include their start and exclude their end (domain-rules C2). They are civil times, so a day of 23 or 25 hours
has the same window; a grace of hours is elapsed time. Where a change of the clocks makes a civil time ambiguous, the
reading that keeps power on for longer counts.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache

from edge.core.programs import DayBefore, Grace, Program

HolidayLookup = Callable[[date], str | None]
NOON = time(12)
MORNING = time(8)
FORECAST_FROM = time(6)  # a forecast fetched earlier in the day does not count (domain-rules R16)
LOOK_AHEAD_DAYS = 800  # no calendar that ships is closed for longer
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


class Closed(StrEnum):
    """Why a civil day has no disconnect window."""

    WEEKEND = "weekend"
    HOLIDAY = "holiday"


def closed_because(day: date, program: Program, holiday: HolidayLookup) -> tuple[tuple[Closed, str], ...]:
    """Every reason why a day has no window, each with words; empty when it has one (domain-rules R1, C17).

    ``weekend`` is any weekday without hours of its own, such as a Wednesday in a program that disconnects on Mondays.
    """
    reasons: list[tuple[Closed, str]] = []
    if program.windows[day.weekday()] is None:
        reasons.append((Closed.WEEKEND, f"{WEEKDAYS[day.weekday()]} has no disconnect window"))
    if name := holiday(day):
        reasons.append((Closed.HOLIDAY, f"{day.isoformat()} is a holiday: {name}"))
    return tuple(reasons)


def day_before(day: date, program: Program, holiday: HolidayLookup) -> str | None:
    """The name of tomorrow's holiday where the program minds the day before one (domain-rules R57, C18)."""
    return None if program.day_before_holiday is DayBefore.NORMAL else holiday(day + DAY)


def hours(day: date, zone: tzinfo, program: Program, holiday: HolidayLookup) -> tuple[datetime, datetime] | None:
    """A day's window as instants in UTC, start included, end excluded; None on a weekend or holiday.

    A half day ends it earlier, and so does ``noon`` before a holiday; it is empty when it would end before it starts.
    A ``block`` of the day before a holiday is not looked at: see :func:`window`.
    """
    weekly = program.windows[day.weekday()]
    if weekly is None or holiday(day):
        return None
    start, end = weekly
    if program.half_days:
        end = min(end, program.half_days.get(day, end))
    if program.day_before_holiday is DayBefore.NOON and day_before(day, program, holiday):
        end = min(end, NOON)
    return begins(day, start, zone), ends(day, end, zone)


def window(day: date, zone: tzinfo, program: Program, holiday: HolidayLookup) -> tuple[datetime, datetime] | None:
    """The instants of a day between which a disconnect may be sent, in UTC; None where there are none."""
    span = hours(day, zone, program, holiday)
    if span is None or span[0] >= span[1]:
        return None
    blocked = program.day_before_holiday is DayBefore.BLOCK and day_before(day, program, holiday)
    return None if blocked else span


def begins(day: date, clock: time, zone: tzinfo) -> datetime:
    """The instant, in UTC, from which on the wall clock has passed a civil time for good."""
    return _instants(day, clock, zone)[1]


def ends(day: date, clock: time, zone: tzinfo) -> datetime:
    """The first instant, in UTC, at which the wall clock has reached a civil time; ``time.max``: the day's end."""
    return _instants(day, clock, zone)[0]


@lru_cache(maxsize=16_384)
def _instants(day: date, clock: time, zone: tzinfo) -> tuple[datetime, datetime]:
    """First and last instant of a civil time: two when clocks go back over it, the jump when they go over it."""
    if clock == time.max:
        day, clock = day + DAY, time()
    first = datetime.combine(day, clock, zone).astimezone(UTC)
    last = datetime.combine(day, clock.replace(fold=1), zone).astimezone(UTC)
    if last >= first:
        return first, last
    before, after = last, first  # the civil time is skipped: find the jump between the two ways to count it
    offset = before.astimezone(zone).utcoffset()
    while after - before > SECOND:
        middle = before + (after - before) // (2 * SECOND) * SECOND
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after, after


def first_opening(
    not_before: datetime, guard: timedelta, zone: tzinfo, program: Program, holiday: HolidayLookup
) -> datetime | None:
    """The first instant, in UTC, from ``not_before`` on that lies in a window with room for the guard.

    None when there is none within 800 days. Under a weather rule no disconnect can be sent before 06:00, when the
    first forecast that counts can have been fetched.
    """
    if not any(program.windows):
        return None
    not_before = not_before.astimezone(UTC)
    first = not_before.astimezone(zone).date()
    for ahead in range(LOOK_AHEAD_DAYS):
        day = first + timedelta(days=ahead)
        span = window(day, zone, program, holiday)
        if span is None:
            continue
        start = max(span[0], not_before)
        if program.cold is not None or program.heat is not None:
            start = max(start, begins(day, FORECAST_FROM, zone))
        if start + guard < span[1]:
            return start
    return None


def grace_end(notice_at: datetime, zone: tzinfo, program: Program) -> datetime:
    """The first instant at which the zero notice has been out for long enough (domain-rules R3, C4)."""
    notice_at = notice_at.astimezone(UTC)
    elapsed = notice_at + timedelta(hours=program.grace_hours)
    if program.grace is Grace.HOURS:
        return elapsed
    morning = begins(notice_at.astimezone(zone).date() + DAY, MORNING, zone)
    return morning if program.grace is Grace.NEXT_DAY else max(morning, elapsed)


def returned_payment_end(told_at: datetime, zone: tzinfo, holiday: HolidayLookup) -> datetime:
    """The end of the first whole business day after the day on which the customer was told (domain-rules R22).

    A business day is Monday to Friday and no holiday; a half day is one.
    """
    day = told_at.astimezone(zone).date() + DAY
    while day.weekday() >= 5 or holiday(day):
        day += DAY
    return ends(day, time.max, zone)
