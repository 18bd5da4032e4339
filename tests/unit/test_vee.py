"""Validation of register reads, registers at midnight, and estimates of days without a read."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from edge.core.vee import (
    DayRecord,
    Estimate,
    Flag,
    Limits,
    Method,
    Quality,
    RegisterRead,
    day_bounds,
    day_energy,
    estimate,
    register_at,
    register_delta,
    validate,
)

CHICAGO = ZoneInfo("America/Chicago")
T0 = datetime(2026, 1, 10, 12, tzinfo=UTC)
LIMITS = Limits(max_power_w=25_000, resolution_wh=10, slack_seconds=5, modulo_wh=1_000_000_000)


def read(energy_wh: int, minutes: int = 0) -> RegisterRead:
    return RegisterRead(T0 + timedelta(minutes=minutes), energy_wh)


@pytest.mark.parametrize(
    ("before", "after", "minutes", "flags", "accepted", "delta"),
    [
        (5_000, 5_400, 1, [], True, 400),
        (5_000, 5_000, 1, [], True, 0),
        (5_000, 5_462, 1, ["too_fast"], False, 0),  # 25 kW for 65 s are 451.4 Wh, 10 Wh of resolution on top
        (5_000, 5_461, 1, [], True, 461),
        (5_000, 4_999, 1, ["backwards"], False, 0),
        (5_000, 0, 1, ["zero"], False, 0),
        (0, 0, 1, [], True, 0),
        (999_999_900, 100, 1, ["rollover"], True, 200),
        (999_999_900, 5_000, 1, ["backwards"], False, 0),
        (999_999_900, 0, 1, ["zero"], False, 0),
        (500_000_000, 100, 60, ["backwards"], False, 0),
        (5_000, 1_000_000_000, 60, ["out_of_range"], False, 0),
        (5_000, -1, 60, ["out_of_range"], False, 0),
        (5_000, 5_000, 0, ["out_of_order"], False, 0),
        (5_000, 5_001, -5, ["out_of_order"], False, 0),
    ],
)
def test_validation(before: int, after: int, minutes: int, flags: list[str], accepted: bool, delta: int):
    found = validate(read(before), read(after, minutes), LIMITS)
    assert [flag.value for flag in found.flags] == flags
    assert (found.accepted, found.delta_wh) == (accepted, delta)


def test_every_flag_has_a_row():
    first, new = read(5_000), read(5_000, 120)
    other = {
        Flag.WRONG_SERIAL: validate(first, new, LIMITS, wrong_serial=True),
        Flag.CLOCK_UNTRUSTED: validate(first, new, LIMITS, clock_doubtful=True),
        Flag.FROM_THE_FUTURE: validate(first, new, LIMITS, now=T0),
        Flag.FROZEN: validate(first, new, Limits(frozen_seconds=3600)),
    }
    assert all(found.flags == (flag,) for flag, found in other.items())
    assert [found.accepted for found in other.values()] == [False, False, False, True]
    rows = {"too_fast", "backwards", "zero", "rollover", "out_of_range", "out_of_order", "contradicted"}
    assert rows | set(other) == set(Flag)


def test_a_first_read_is_taken_as_it_is_unless_zero_means_nothing():
    assert validate(None, read(0), LIMITS).accepted
    assert validate(None, read(0), Limits(zero_means_unknown=True)).flags == (Flag.ZERO,)


def test_after_a_spike_the_next_read_is_compared_with_the_last_good_one():
    good = read(5_000)
    assert not validate(good, read(4_000_000, 1), LIMITS).accepted
    assert validate(good, read(5_300, 2), LIMITS).delta_wh == 300


def test_elapsed_time_is_true_time_where_the_clocks_change():
    before = RegisterRead(datetime(2026, 3, 8, 1, 59, tzinfo=CHICAGO), 0)
    after = RegisterRead(datetime(2026, 3, 8, 3, 1, tzinfo=CHICAGO), 870)
    assert validate(before, after, LIMITS).flags == ()
    assert validate(before, RegisterRead(after.at, 900), LIMITS).flags == (Flag.TOO_FAST,)
    assert register_at(datetime(2026, 3, 8, 3, 0, tzinfo=CHICAGO), before, after, LIMITS) == 435


def test_register_at_midnight():
    before, after = read(1_000), read(1_100, 30)
    assert register_at(T0 + timedelta(minutes=10), before, after, LIMITS) == 1_033
    assert register_at(T0, before, after, LIMITS) == 1_000
    assert register_at(after.at, before, after, LIMITS) == 1_100
    assert register_at(T0, before, before, LIMITS) == 1_000
    for outside in (T0 - timedelta(seconds=1), after.at + timedelta(seconds=1)):
        with pytest.raises(ValueError, match="is not between"):
            register_at(outside, before, after, LIMITS)


def test_register_passes_its_last_digit_at_midnight():
    before, after = read(999_999_900), read(100, 20)
    assert register_at(T0 + timedelta(minutes=15), before, after, LIMITS) == 50
    assert register_delta(999_999_900, 50, LIMITS) == 150
    with pytest.raises(ValueError, match="backwards from 100 to 50"):
        register_delta(100, 50, LIMITS)


def test_a_day_with_a_meter_exchange_is_the_sum_of_both_meters():
    assert day_energy([(5_000, 12_000), (3, 4_003)], LIMITS) == 11_000


@pytest.mark.parametrize(("day", "hours"), [("2026-03-08", 23), ("2026-11-01", 25), ("2026-01-10", 24)])
def test_days_have_their_hours(day: str, hours: int):
    start, end = day_bounds(date.fromisoformat(day), CHICAGO)
    assert end - start == timedelta(hours=hours)


def history(text: str) -> dict[date, DayRecord]:
    """Lines of day, kWh and quality, where one day may stand for a run: ``2026-01-01 10 20 30`` are three days."""
    found: dict[date, DayRecord] = {}
    for line in text.strip().splitlines():
        first, *values = line.split()
        for offset, value in enumerate(values):
            quality = {"e": Quality.ESTIMATED, "c": Quality.CUSTOMER}.get(value[-1], Quality.ACTUAL)
            day = date.fromisoformat(first) + timedelta(days=offset)
            if value != "-":
                found[day] = DayRecord(round(float(value.rstrip("ec")) * 1000), quality)
    return found


@pytest.mark.parametrize(
    ("given", "day", "method", "first_used", "wh"),
    [
        ("2026-01-01 10 20 30", "2026-01-04", "three_prior_days", "2026-01-01", 20_000),
        ("2026-01-01 10 20 31", "2026-01-04", "three_prior_days", "2026-01-01", 20_333),
        ("2026-01-01 10 20c 30", "2026-01-04", "three_prior_days", "2026-01-01", 20_000),
        ("2026-01-01 10 20 30 25e 25e - - 90", "2026-01-07", "three_prior_days", "2026-01-01", 20_000),
        ("2026-01-01 10 20 30 25e 25e - - 90", "2026-01-04", "three_prior_days", "2026-01-01", 20_000),
        ("2026-01-01 10 20e 30", "2026-01-04", "manual", None, None),
        ("2026-01-01 10 - 30", "2026-01-04", "manual", None, None),
        ("2026-01-02 20 30", "2026-01-04", "manual", None, None),
        ("2025-01-01 10 20 30 40 50\n2026-01-02 20 30", "2026-01-04", "prior_year_five_reads", "2025-01-01", 30_000),
        ("2025-01-01 10 20 30 40e 50", "2026-01-04", "manual", None, None),
        ("2025-01-01 10 20 30 40", "2026-01-04", "manual", None, None),
        ("2023-02-24 10 20 30 40 50 60 70", "2024-02-29", "manual", None, None),
        ("2024-02-25 10 20 30 40 50", "2025-02-28", "prior_year_five_reads", "2024-02-25", 30_000),
        ("2026-01-01 10 20 30", "2026-04-18", "three_prior_days", "2026-01-01", 20_000),
        ("2026-01-01 10 20 30", "2026-04-19", "manual", None, None),  # the gap is longer than three billing periods
        ("", "2026-01-04", "manual", None, None),
    ],
)
def test_estimates(given: str, day: str, method: str, first_used: str | None, wh: int | None):
    found = estimate(history(given), date.fromisoformat(day))
    assert (found.method.value, found.energy_wh) == (method, wh)
    assert (found.days_used[0].isoformat() if found.days_used else None) == first_used


def test_kwh_is_rounded_once_from_the_exact_mean():
    used = tuple(date(2026, 1, day) for day in (1, 2, 3))
    found = Estimate(Method.THREE_PRIOR_DAYS, used, 30_014)  # 10.00466... kWh; by way of 10,005 Wh it would be 10.01
    assert (found.energy_wh, found.hundredths_kwh) == (10_005, 1000)
    assert Estimate(Method.THREE_PRIOR_DAYS, used, 30_015).hundredths_kwh == 1001  # exactly half
