"""Windows, days without one, the day before a holiday, graces and business days, across changes of the clocks."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from edge.core import calendar
from edge.programs import find_program
from tests.cases import CHICAGO

MINUTE = timedelta(minutes=1)


def rules(**overrides: Any) -> Any:
    return find_program("default", {key.replace("__", "."): value for key, value in overrides.items()})


def civil(instant: datetime | None, zone: Any = CHICAGO) -> str | None:
    return None if instant is None else instant.astimezone(zone).isoformat()


@pytest.mark.parametrize(
    ("day", "overrides", "start", "end"),
    [
        ("2026-10-14", {}, "2026-10-14T08:00:00-05:00", "2026-10-14T14:30:00-05:00"),
        ("2026-10-16", {}, "2026-10-16T08:00:00-05:00", "2026-10-16T12:00:00-05:00"),
        ("2026-12-16", {}, "2026-12-16T08:00:00-06:00", "2026-12-16T14:30:00-06:00"),
        ("2026-10-17", {}, None, None),
        ("2026-07-03", {}, None, None),
        ("2026-11-25", {}, "2026-11-25T08:00:00-06:00", "2026-11-25T14:30:00-06:00"),
        (
            "2026-11-25",
            {"disconnect__day_before_holiday": "noon"},
            "2026-11-25T08:00:00-06:00",
            "2026-11-25T12:00:00-06:00",
        ),
        ("2026-11-25", {"disconnect__day_before_holiday": "block"}, None, None),
        (
            "2026-12-23",
            {"holidays__half_days": ["2026-12-23 11:15"], "disconnect__day_before_holiday": "noon"},
            "2026-12-23T08:00:00-06:00",
            "2026-12-23T11:15:00-06:00",
        ),
        (
            "2026-12-23",
            {"holidays__half_days": ["2026-12-23 20:00"]},
            "2026-12-23T08:00:00-06:00",
            "2026-12-23T14:30:00-06:00",
        ),
        ("2026-12-23", {"holidays__half_days": ["2026-12-23 08:00"]}, None, None),
        (
            "2026-10-17",
            {"disconnect__windows": "Fri-Sat 09:00-24:00"},
            "2026-10-17T09:00:00-05:00",
            "2026-10-18T00:00:00-05:00",
        ),
        # Clocks go forward over 02:00 to 03:00, and back over 01:00 to 02:00: the narrower reading counts.
        (
            "2026-03-08",
            {"disconnect__windows": "Sun 02:30-05:00"},
            "2026-03-08T03:00:00-05:00",
            "2026-03-08T05:00:00-05:00",
        ),
        (
            "2026-03-08",
            {"disconnect__windows": "Sun 01:00-02:30"},
            "2026-03-08T01:00:00-06:00",
            "2026-03-08T03:00:00-05:00",
        ),
        ("2026-03-08", {"disconnect__windows": "Sun 02:10-02:50"}, None, None),
        (
            "2026-11-01",
            {"disconnect__windows": "Sun 01:30-05:00"},
            "2026-11-01T01:30:00-06:00",
            "2026-11-01T05:00:00-06:00",
        ),
        (
            "2026-11-01",
            {"disconnect__windows": "Sun 00:00-01:30"},
            "2026-11-01T00:00:00-05:00",
            "2026-11-01T01:30:00-05:00",
        ),
        (
            "2026-11-01",
            {"disconnect__windows": "Sun 00:00-24:00"},
            "2026-11-01T00:00:00-05:00",
            "2026-11-02T00:00:00-06:00",
        ),
    ],
)
def test_a_days_window(day: str, overrides: dict[str, Any], start: str | None, end: str | None) -> None:
    program, holiday = rules(**overrides)
    span = calendar.window(date.fromisoformat(day), CHICAGO, program, holiday)
    assert (civil(span[0]), civil(span[1])) == (start, end) if span else (start, end) == (None, None)


def test_a_day_tells_every_reason_why_it_has_no_window() -> None:
    program, holiday = rules()
    reasons = calendar.closed_because(date(2026, 7, 4), program, holiday)
    assert [reason.value for reason, _ in reasons] == ["weekend", "holiday"]
    assert reasons[1][1] == "2026-07-04 is a holiday: Independence Day"
    assert calendar.closed_because(date(2026, 7, 6), program, holiday) == ()
    assert calendar.day_before(date(2026, 7, 2), program, holiday) is None
    strict, _ = rules(disconnect__day_before_holiday="block")
    assert calendar.day_before(date(2026, 7, 2), strict, holiday) == "Independence Day (observed)"


def test_a_day_that_a_zone_left_out_has_no_window() -> None:
    """Samoa went from 29 to 31 December 2011."""
    program, holiday = rules(disconnect__windows="Mon-Sun 08:00-14:30")
    apia = ZoneInfo("Pacific/Apia")
    assert calendar.window(date(2011, 12, 30), apia, program, holiday) is None
    span = calendar.window(date(2011, 12, 29), apia, program, holiday)
    assert span is not None
    assert civil(span[0], apia) == "2011-12-29T08:00:00-10:00"


def test_the_end_of_a_day_whose_midnight_is_skipped() -> None:
    havana = ZoneInfo("America/Havana")
    assert civil(calendar.ends(date(2026, 3, 7), time.max, havana), havana) == "2026-03-08T01:00:00-04:00"
    assert civil(calendar.ends(date(2026, 10, 31), time.max, havana), havana) == "2026-11-01T00:00:00-04:00"


@pytest.mark.parametrize("day", [date(2026, 3, 8), date(2026, 11, 1), date(2026, 6, 3)])
@pytest.mark.parametrize("hours", ["00:10-03:50", "01:20-01:40", "02:20-02:40", "01:30-02:30", "23:00-24:00"])
def test_no_minute_of_a_window_lies_outside_it_by_the_wall_clock(day: date, hours: str) -> None:
    program, holiday = rules(disconnect__windows=f"Mon-Sun {hours}")
    start, end = program.windows[0]
    span = calendar.window(day, CHICAGO, program, holiday)
    midnight = datetime.combine(day, time(), CHICAGO).astimezone(UTC)
    for minute in range(26 * 60):
        instant = midnight + minute * MINUTE
        local = instant.astimezone(CHICAGO)
        inside = local.date() == day and start <= local.time() < end
        if span is not None and span[0] <= instant < span[1]:
            assert inside
        elif inside:
            assert day.month == 11  # where a civil time comes twice, one of them may be left out


@pytest.mark.parametrize(
    ("notice", "overrides", "end"),
    [
        ("2026-10-12T07:30:00-05:00", {}, "2026-10-13T08:00:00-05:00"),
        ("2026-10-12T08:00:01-05:00", {}, "2026-10-13T08:00:01-05:00"),
        ("2026-10-12T23:59:59-05:00", {}, "2026-10-13T23:59:59-05:00"),
        ("2026-10-31T07:30:00-05:00", {}, "2026-11-01T08:00:00-06:00"),
        ("2026-10-31T09:00:00-05:00", {}, "2026-11-01T08:00:00-06:00"),  # 24 h elapsed, 23 by the wall clock
        ("2026-10-31T09:00:01-05:00", {}, "2026-11-01T08:00:01-06:00"),
        ("2026-03-07T07:30:00-06:00", {}, "2026-03-08T08:30:00-05:00"),  # 24 h elapsed, 25 by the wall clock
        ("2026-12-31T22:00:00-06:00", {}, "2027-01-01T22:00:00-06:00"),
        ("2026-10-12T23:59:59-05:00", {"disconnect__grace": "next_day"}, "2026-10-13T08:00:00-05:00"),
        ("2026-10-13T00:00:00-05:00", {"disconnect__grace": "next_day"}, "2026-10-14T08:00:00-05:00"),
        ("2026-10-12T23:59:59-05:00", {"disconnect__grace": "hours"}, "2026-10-13T23:59:59-05:00"),
        (
            "2026-10-12T23:00:00-05:00",
            {"disconnect__grace": "hours", "disconnect__grace_hours": 3},
            "2026-10-13T02:00:00-05:00",
        ),
    ],
)
def test_the_end_of_a_grace(notice: str, overrides: dict[str, Any], end: str) -> None:
    program, _ = rules(**overrides)
    assert civil(calendar.grace_end(datetime.fromisoformat(notice), CHICAGO, program)) == end


@pytest.mark.parametrize(
    ("told", "end"),
    [
        ("2026-10-13T00:00:00-05:00", "2026-10-15T00:00:00-05:00"),
        ("2026-10-13T23:59:59-05:00", "2026-10-15T00:00:00-05:00"),
        ("2026-10-16T09:00:00-05:00", "2026-10-20T00:00:00-05:00"),  # Friday: all of Monday
        ("2026-10-09T09:00:00-05:00", "2026-10-14T00:00:00-05:00"),  # Friday before Columbus Day
        ("2026-10-30T09:00:00-05:00", "2026-11-03T00:00:00-06:00"),
        ("2027-12-30T09:00:00-06:00", "2028-01-04T00:00:00-06:00"),
    ],
)
def test_a_returned_payment_leaves_a_whole_business_day(told: str, end: str) -> None:
    _, holiday = rules()
    assert civil(calendar.returned_payment_end(datetime.fromisoformat(told), CHICAGO, holiday)) == end


def test_the_search_for_a_window_ends() -> None:
    now = datetime(2026, 10, 14, 14, 0, tzinfo=UTC)
    program, holiday = rules(disconnect__windows="")
    assert calendar.first_opening(now, MINUTE, CHICAGO, program, holiday) is None
    program, holiday = rules()
    assert calendar.first_opening(now, timedelta(hours=6, minutes=30), CHICAGO, program, holiday) is None
    assert calendar.first_opening(now, MINUTE, CHICAGO, program, lambda day: "closed for good") is None
    fits = calendar.first_opening(now, timedelta(hours=6, minutes=29), CHICAGO, program, holiday)
    assert civil(fits) == "2026-10-15T08:00:00-05:00"


def test_a_fixed_offset_is_a_zone_too() -> None:
    program, holiday = rules()
    central = timezone(timedelta(hours=-6))
    opening = calendar.first_opening(datetime(2026, 7, 6, tzinfo=UTC), MINUTE, central, program, holiday)
    assert opening == datetime(2026, 7, 6, 14, 0, tzinfo=UTC)
