"""What use costs, by hand: each form of tariff, partial months, changes inside a month, rounding."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from edge.core.rating import DayUsage, bill, by_period, charges_for_last_day, estimate_use_cents
from edge.core.tariffs import (
    Band,
    DayType,
    Rider,
    Rounding,
    Season,
    Tariff,
    Tax,
    Tier,
    Version,
    is_holiday,
    period_spans,
)

CHICAGO = ZoneInfo("America/Chicago")
ALWAYS = date(2000, 1, 1)


def flat(price: int = 97_500, customer: int = 0, **more: object) -> Tariff:
    season = Season("all", (1, 1), (Tier(None, price),))
    return Tariff("t", (Version(ALWAYS, (season,), customer_charge_micro=customer, **more),))


def tiers(*found: tuple[int | None, int]) -> Tariff:
    season = Season("all", (1, 1), tuple(Tier(None if kwh is None else kwh * 1000, price) for kwh, price in found))
    return Tariff("t", (Version(ALWAYS, (season,)),))


def days(first: str, count: int, kwh: int) -> list[DayUsage]:
    start = date.fromisoformat(first)
    return [DayUsage(start + timedelta(days=index), kwh * 1000) for index in range(count)]


def lines(tariff: Tariff, usage: list[DayUsage]) -> dict[str, int]:
    return dict(bill(tariff, usage).lines)


def test_flat_month():
    tariff = flat(97_500, 10_000_000)
    whole = bill(tariff, days("2026-01-01", 31, 20))  # 620 kWh x 9.75 c
    assert dict(whole.lines) == {"energy": 6045, "customer_charge": 1000}
    assert whole.total_cents == 7045


def test_days_are_the_bill_to_date_less_what_was_charged():
    tariff = flat(97_500, 10_000_000)
    usage = days("2026-01-01", 31, 20)
    assert charges_for_last_day(tariff, usage[:1], {}) == {"energy": 195, "customer_charge": 32}  # 10.00 / 31
    assert charges_for_last_day(tariff, usage[:2], {"energy": 195, "customer_charge": 32}) == {
        "energy": 195,
        "customer_charge": 33,  # 2 x 10.00 / 31 = 0.645
    }


def test_the_display_of_the_seed():
    # Seed 002, PSO, message C: "$21 = 215 kWh prepaid".
    assert bill(flat(), days("2026-07-11", 1, 215)).total_cents <= 2100
    assert bill(flat(), days("2026-07-11", 1, 216)).total_cents > 2100


@pytest.mark.parametrize(
    ("first", "count", "expected"),
    [
        ("2026-06-01", 30, 13_000),  # 600 x 8 c + 800 x 9 c + 100 x 10 c
        ("2026-06-16", 15, 6_500),  # half the days, half the limits: 300 x 8 c + 400 x 9 c + 50 x 10 c
    ],
)
def test_rising_tiers(first: str, count: int, expected: int):
    tariff = tiers((600, 80_000), (1400, 90_000), (None, 100_000))
    assert bill(tariff, days(first, count, 50)).total_cents == expected


def test_falling_tiers():
    tariff = tiers((600, 71_200), (None, 43_800))
    assert bill(tariff, days("2026-01-01", 31, 30)).total_cents == 4272 + 1445  # 600 x 7.12 c + 330 x 4.38 c = 57.174


def test_a_frugal_day_after_a_lavish_one_may_earn_a_credit_and_the_sum_still_fits():
    tariff = tiers((30, 100_000), (None, 300_000))
    usage = [DayUsage(date(2026, 6, 1), 10_000), DayUsage(date(2026, 6, 2), 0)]
    first = charges_for_last_day(tariff, usage[:1], {})
    assert first == {"energy": 280}  # 1 kWh x 10 c + 9 kWh x 30 c
    assert charges_for_last_day(tariff, usage, first) == {"energy": -20}  # 2 x 10 c + 8 x 30 c = 260


SUMMER = Season(
    "summer",
    (6, 1),
    periods=(("on_peak", 210_000), ("off_peak", 51_000)),
    bands=(Band((DayType.WEEKDAY,), 14 * 60, 19 * 60, "on_peak"),),
    otherwise="off_peak",
)
WINTER = Season("winter", (10, 1), (Tier(None, 64_000),))
TIME_OF_USE = Tariff("tou", (Version(ALWAYS, (SUMMER, WINTER), holidays=("independence_day", date(2026, 7, 3))),))


def test_time_of_use():
    usage = [DayUsage(date(2026, 7, 1), 30_000, (("on_peak", 10_000), ("off_peak", 20_000)))]
    assert lines(TIME_OF_USE, usage) == {"energy:on_peak": 210, "energy:off_peak": 102}
    assert lines(TIME_OF_USE, [DayUsage(date(2026, 12, 1), 30_000)]) == {"energy": 192}


@pytest.mark.parametrize(
    ("day", "on_peak_kwh"),
    [("2026-07-01", 5), ("2026-07-04", 0), ("2026-07-03", 0), ("2026-07-05", 0), ("2026-07-06", 5)],
)
def test_hours_fall_into_their_periods(day: str, on_peak_kwh: int):
    start = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=CHICAGO).astimezone(UTC)
    intervals = [(start + timedelta(hours=hour), 1000) for hour in range(24)]
    found = dict(by_period(TIME_OF_USE, date.fromisoformat(day), intervals, CHICAGO))
    assert found == {
        name: kwh * 1000 for name, kwh in (("off_peak", 24 - on_peak_kwh), ("on_peak", on_peak_kwh)) if kwh
    }


@pytest.mark.parametrize(
    ("day", "hours", "night_minutes"),
    [
        ("2026-03-08", 23, [30]),  # 01:30-02:00, and what follows is 03:00
        ("2026-11-01", 25, [30, 60]),  # 01:30-02:00, back to 01:00, 01:30-02:30
        ("2026-07-01", 24, [60]),
    ],
)
def test_spans_cover_the_day_without_gap_by_what_the_wall_clock_shows(day: str, hours: int, night_minutes: list[int]):
    night = Band((DayType.WEEKDAY, DayType.WEEKEND), 90, 150, "night")  # 01:30-02:30, where the clocks change
    season = Season("all", (1, 1), periods=(("night", 1), ("day", 2)), bands=(night,), otherwise="day")
    spans = period_spans(Tariff("t", (Version(ALWAYS, (season,)),)), date.fromisoformat(day), CHICAGO)
    assert spans[-1].end - spans[0].start == timedelta(hours=hours)
    assert all(one.end == two.start for one, two in pairwise(spans))
    nights = [span.end - span.start for span in spans if span.period == "night"]
    assert nights == [timedelta(minutes=minutes) for minutes in night_minutes]


def test_fuel_that_changes_inside_a_month_is_one_line():
    fuel = Rider("fuel", ((ALWAYS, 30_000), (date(2026, 1, 16), 40_000)))
    tariff = Tariff("t", flat(0).versions, (fuel,))
    assert lines(tariff, days("2026-01-01", 31, 10)) == {"fuel": 1090}  # 150 kWh x 3 c + 160 kWh x 4 c


def test_fuel_that_changes_inside_a_month_leaves_the_tiers_whole():
    fuel = Rider("fuel", ((ALWAYS, 30_000), (date(2026, 6, 16), 40_000)))
    tariff = Tariff("t", tiers((600, 100_000), (None, 200_000)).versions, (fuel,))
    usage = days("2026-06-01", 15, 40) + days("2026-06-16", 15, 0)
    # 600 kWh, all within the month's 600 at 10 c, though they were used in its first half
    assert lines(tariff, usage) == {"energy": 6000, "fuel": 1800}


def test_a_season_that_begins_inside_a_month_has_its_share_of_the_limits():
    spring = Season("spring", (1, 1), (Tier(None, 100_000),))
    summer = Season("summer", (6, 16), (Tier(300_000, 100_000), Tier(None, 200_000)))
    tariff = Tariff("t", (Version(ALWAYS, (spring, summer)),))
    # 15 days x 20 kWh at 10 c; 15 days: limit 150 kWh, so 150 at 10 c and 150 at 20 c
    assert lines(tariff, days("2026-06-01", 30, 20)) == {"energy": 3000 + 1500 + 3000}


def test_a_new_version_inside_a_month_makes_two_parts():
    old = flat(100_000, 9_000_000).versions[0]
    tax = Tax("city", 100_000)
    new = Version(date(2026, 1, 16), (Season("all", (1, 1), (Tier(None, 120_000),)),), 12_400_000, taxes=(tax,))
    found = lines(Tariff("t", (old, new)), days("2026-01-01", 31, 10))
    # 15 days: 15.00 + 9.00 x 15/31 = 4.35; 16 days: 19.20 + 12.40 x 16/31 = 6.40, and 10 % of 25.60
    assert found == {"energy": 3420, "customer_charge": 435 + 640, "tax:city": 256}


@pytest.mark.parametrize(
    ("rounding", "at_50_kwh", "at_49_kwh"),
    [(Rounding.HALF_UP, 15, 15), (Rounding.DOWN, 15, 14), (Rounding.UP, 15, 15)],
)
def test_taxes_round_as_they_say(rounding: Rounding, at_50_kwh: int, at_49_kwh: int):
    tariff = flat(100_000, taxes=(Tax("franchise", 30_000, rounding),))
    assert lines(tariff, days("2026-01-01", 1, 50))["tax:franchise"] == at_50_kwh  # 3 % of 5.00
    assert lines(tariff, days("2026-01-01", 1, 49))["tax:franchise"] == at_49_kwh  # 3 % of 4.90 = 0.147


def test_taxes_are_on_everything_before_taxes_and_not_on_each_other():
    tariff = flat(
        100_000, 6_200_000, unmetered_micro_per_day=250_000, taxes=(Tax("city", 30_000), Tax("sales", 50_000))
    )
    found = lines(tariff, days("2026-01-01", 5, 10))  # 5.00 + 1.00 + 1.25 = 7.25
    assert found == {"energy": 500, "customer_charge": 100, "unmetered": 125, "tax:city": 22, "tax:sales": 36}


@pytest.mark.parametrize(
    ("count", "kwh", "missing"),
    [(30, 1, 286), (10, 1, 96), (30, 50, None)],  # 18.00 - 13.00 - 2.14; 6.00 - 4.33 - 0.71; enough
)
def test_a_minimum_makes_up_what_lacks(count: int, kwh: int, missing: int | None):
    tariff = flat(71_200, 13_000_000, minimum_micro=18_000_000)
    assert lines(tariff, days("2026-06-01", count, kwh)).get("minimum") == missing


@pytest.mark.parametrize(("price", "cents"), [(5_000, 1), (4_999, 0), (-5_000, -1), (-4_999, 0), (15_000, 2)])
def test_half_a_cent_goes_away_from_zero(price: int, cents: int):
    assert bill(flat(price), days("2026-01-01", 1, 1)).total_cents == cents


def test_days_added_up_cost_the_same_as_days_one_by_one():
    tariff = Tariff("t", flat(97_512, 9_990_000).versions, (Rider("fuel", ((ALWAYS, 28_761),)),))
    usage = days("2026-02-01", 28, 23)
    assert bill(tariff, [DayUsage(date(2026, 2, 1), 27 * 23_000, days=27), usage[-1]]) == bill(tariff, usage)


def test_a_corrected_day_is_settled_by_the_difference():
    tariff = flat(100_000)
    estimated, actual = days("2026-01-01", 3, 10), days("2026-01-01", 3, 10)
    actual[1] = DayUsage(date(2026, 1, 2), 7_000)
    assert charges_for_last_day(tariff, actual, dict(bill(tariff, estimated).lines)) == {"energy": -30}


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        ([DayUsage(date(2026, 1, 2), 1), DayUsage(date(2026, 1, 2), 1)], "comes twice or out of order"),
        ([DayUsage(date(2026, 1, 31), 1), DayUsage(date(2026, 2, 1), 1)], "not of one month"),
        ([DayUsage(date(1999, 12, 31), 1)], "no prices for 1999-12-31"),
        ([DayUsage(date(2026, 1, 1), -1)], "below zero"),
        ([DayUsage(date(2026, 1, 30), 1, days=3)], "do not all have the same prices"),
    ],
)
def test_use_that_makes_no_bill(usage: list[DayUsage], said: str):
    with pytest.raises(ValueError, match=said):
        bill(flat(), usage)


@pytest.mark.parametrize("parts", [(), (("on_peak", 1),), (("night", 2),)])
def test_time_of_use_needs_use_by_period(parts: tuple[tuple[str, int], ...]):
    with pytest.raises(ValueError, match="period"):
        bill(TIME_OF_USE, [DayUsage(date(2026, 7, 1), 2, parts)])


def test_no_use_no_bill():
    assert bill(flat(), []).total_cents == 0


def test_estimate_for_display():
    tariff = Tariff("t", flat(100_000, 31_000_000, taxes=(Tax("city", 100_000),)).versions)
    assert estimate_use_cents(tariff, date(2026, 1, 5), 10_000, 2) == 330  # (1.00 + 2 x 1.00) x 1.1
    mean = (5 * 210_000 + 19 * 51_000) // 24  # per kWh, by the hours of a weekday
    assert estimate_use_cents(TIME_OF_USE, date(2026, 7, 1), 100_000, 0) == round(mean / 100)


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("memorial_day", "2026-05-25"),
        ("labor_day", "2026-09-07"),
        ("thanksgiving", "2026-11-26"),
        ("christmas_day", "2026-12-25"),
    ],
)
def test_holidays(name: str, day: str):
    found = date.fromisoformat(day)
    assert is_holiday(name, found)
    assert not is_holiday(name, found + timedelta(days=7))
    assert not is_holiday(name, found - timedelta(days=7))
