"""Notices: the seed's messages to the letter, the other texts, and the table of when each is due."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from edge.core import notices
from edge.core.arrears import split_payment
from edge.core.notices import Falls, Standing, falls
from edge.core.rating import Tariff, price_of_next_kwh
from edge.programs import load_programs
from edge.tariffs import load_tariffs

CONFIG = Path(__file__).parents[2] / "config"
TARIFFS = load_tariffs(CONFIG / "tariffs")
DAYS = (3, 1)
CHICAGO = ZoneInfo("America/Chicago")
FLAT = price_of_next_kwh(TARIFFS["flat"], date(2026, 7, 11), 0, 1)
A = Standing(25_55, FLAT, recent_cost_cents=21_00, recent_days=7, power_w=2_400, today_wh=14_000, yesterday_wh=40_000)


def test_message_a_to_the_letter() -> None:
    """Seed 002, PSO, "Prepay Messages - preliminary", page 11, left."""
    expected = "Remaining Credit\n262 kWh\n8 days\n2.4 kW\n14 kWh today\n40 kWh yesterday"
    assert notices.remaining_credit(A, DAYS) == expected


def test_message_b_to_the_letter() -> None:
    """Seed 002, PSO, "Prepay Messages - preliminary", page 11, right."""
    expected = "Remaining Credit\n56 kWh\nLess than 3 days\n2.4 kW\n14 kWh today\n40 kWh yesterday"
    assert notices.remaining_credit(replace(A, credit_cents=5_50), DAYS) == expected


def test_message_c_to_the_letter() -> None:
    """Seed 002, PSO, "Prepay Messages - preliminary", page 12: 30 % to arrears, an earlier balance of -14 kWh."""
    program, _ = load_programs(CONFIG / "programs")["pso-prepay"]
    to_arrears, to_balance = split_payment(30_00, -1_36, 100_00, program)
    text = notices.payment_received(30_00, to_arrears, date(2011, 7, 11), to_balance - 1_36, FLAT)
    assert text == (
        "$30 payment received July 11th. Thanks!\n"
        "$9 toward arrears.\n"
        "$21 = 215 kWh prepaid\n"
        "------------------------------\n"
        "201 kWh balance"
    )


def test_a_payment_without_arrears_and_with_cents() -> None:
    text = notices.payment_received(12_50, 0, date(2026, 3, 2), -1, FLAT)
    dashes = "-" * 30
    assert text == f"$12.50 payment received March 2nd. Thanks!\n$12.50 = 128 kWh prepaid\n{dashes}\n-1 kWh balance"


def test_what_is_not_known_is_left_out() -> None:
    assert notices.remaining_credit(Standing(25_55, FLAT), DAYS) == "Remaining Credit\n262 kWh"
    assert notices.remaining_credit(Standing(25_50, None), DAYS) == "Remaining Credit\n$25.50"
    assert notices.payment_received(5_00, 0, date(2026, 1, 1), 5_00, None).splitlines()[1] == "$5 prepaid"


@pytest.mark.parametrize(
    ("credit", "line"),
    [
        (9_01, "3 days"),
        (9_00, "3 days"),
        (8_99, "Less than 3 days"),
        (3_00, "Less than 3 days"),
        (2_99, "Less than 1 day"),
        (1, "Less than 1 day"),
        (0, "0 days"),
        (-5_00, "0 days"),
        (12_00, "4 days"),
    ],
)
def test_days_left_at_three_dollars_a_day(credit: int, line: str) -> None:
    assert notices.remaining_credit(replace(A, credit_cents=credit), DAYS).splitlines()[2] == line


def test_days_left_rest_on_recent_days_and_not_on_yesterday() -> None:
    """Row 79: 262 kWh at yesterday's 40 kWh would be 6 days; the seed says 8."""
    assert A.days_left == 8
    assert replace(A, recent_cost_cents=0).days_left is None
    assert replace(A, recent_days=0, recent_cost_cents=0).days_left is None


def test_the_price_of_the_next_kwh() -> None:
    assert FLAT == 97_500 * 10**6


def test_a_tier_that_is_used_up_prices_the_next_kwh_at_the_next_one() -> None:
    tariff = TARIFFS["seasonal-tiers"]
    day = date(2026, 7, 15)
    first, second = tariff.version(day).season(day).tiers[:2]
    assert first.up_to_wh is not None
    of_15_days = first.up_to_wh * 15 // 31
    below = price_of_next_kwh(tariff, day, of_15_days, 15)
    above = price_of_next_kwh(tariff, day, of_15_days + 1, 15)
    assert above - below == (second.micro_per_kwh - first.micro_per_kwh) * (10**6 + _tax_ppm(tariff, day))


def _tax_ppm(tariff: Tariff, day: date) -> int:
    return sum(tax.parts_per_million for tax in tariff.version(day).taxes)


@pytest.mark.parametrize(
    ("day", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"), (21, "21st"),
     (22, "22nd"), (23, "23rd"), (30, "30th"), (31, "31st")],
)  # fmt: skip
def test_ordinals(day: int, text: str) -> None:
    assert notices.civil_day(date(2026, 10, day)) == f"October {text}"


@pytest.mark.parametrize(
    ("cents", "text"),
    [(30_00, "$30"), (0, "$0"), (5, "$0.05"), (-4_20, "-$4.20"), (-4_00, "-$4"), (1234_56, "$1234.56")],
)
def test_dollars(cents: int, text: str) -> None:
    assert notices.dollars(cents) == text


def test_texts_that_no_seed_gives_say_amount_and_time() -> None:
    at = datetime(2026, 10, 15, 13, 0, tzinfo=UTC)
    when = "Thursday, October 15th, 8:00 a.m."
    assert notices.pending_disconnect(-4_20, 6_02, at, CHICAGO) == (
        f"Your power may be disconnected from {when} on. A payment of $6.02 keeps your power on. Balance -$4.20."
    )
    assert notices.moratorium_ended(-4_20, 6_02, at, CHICAGO) == (
        f"The ban on disconnections has ended. Your power may be disconnected from {when} on."
        " A payment of $6.02 keeps your power on. Balance -$4.20."
    )
    assert notices.moratorium_ended(-4_20, None, None, CHICAGO) == (
        "The ban on disconnections has ended. Balance -$4.20."
    )
    assert "$6.02 keeps your power on" in notices.zero_balance(-4_20, 6_02)
    assert "$6.02 reconnects you" in notices.disconnected(-4_20, 6_02)
    assert notices.low_balance(A, 30_00, DAYS).startswith(
        "Your balance of $25.55 has reached your level of $30.\nRemaining Credit\n262 kWh\n"
    )
    assert notices.civil_time(datetime(2026, 1, 1, 6, 5, tzinfo=UTC), CHICAGO) == "Thursday, January 1st, 12:05 a.m."
    assert notices.civil_time(datetime(2026, 1, 1, 18, 0, tzinfo=UTC), CHICAGO) == "Thursday, January 1st, 12:00 p.m."


def told(*levels: str) -> frozenset[str]:
    return frozenset(levels)


@pytest.mark.parametrize(
    ("before", "after", "level", "told_before", "low", "days", "told_after"),
    [
        # three dollars a day: 3 days are 9.00, 1 day is 3.00
        (12_00, 9_01, None, told(), False, None, told()),
        (12_00, 9_00, None, told(), False, 3, told("days_left:3")),
        (9_00, 6_00, None, told("days_left:3"), False, None, told("days_left:3")),
        (6_00, 3_00, None, told("days_left:3"), False, 1, told("days_left:3", "days_left:1")),
        (12_00, 2_00, None, told(), False, 1, told("days_left:3", "days_left:1")),  # the lowest says it all
        (12_00, -1_00, None, told(), False, None, told("days_left:3", "days_left:1")),  # the zero notice says more
        (2_00, 5_00, None, told("days_left:3", "days_left:1"), False, None, told("days_left:3")),  # armed by a payment
        (5_00, 2_00, None, told("days_left:3"), False, 1, told("days_left:3", "days_left:1")),
        (2_00, 30_00, None, told("days_left:3", "days_left:1"), False, None, told()),
        (0, 2_00, None, told(), False, 1, told("days_left:3", "days_left:1")),  # enrolled with little
        (12_00, 10_00, 10_00, told(), True, None, told("low_balance")),
        (10_00, 9_50, 10_00, told("low_balance"), False, None, told("low_balance")),
        (9_50, 25_00, 10_00, told("low_balance"), False, None, told()),
        (12_00, -2_00, 10_00, told(), True, None, told("low_balance", "days_left:3", "days_left:1")),
        (-9_00, -1_00, 10_00, told("low_balance"), False, None, told("low_balance", "days_left:3", "days_left:1")),
    ],
)
def test_when_a_level_is_told(
    before: int,
    after: int,
    level: int | None,
    told_before: frozenset[str],
    low: bool,
    days: int | None,
    told_after: frozenset[str],
) -> None:
    assert falls(before, replace(A, credit_cents=after), level, DAYS, told_before) == Falls(low, days, told_after)


def test_a_cheaper_average_does_not_arm_a_level_again() -> None:
    cheap = replace(A, credit_cents=8_00, recent_cost_cents=7_00)  # eight days, after a charge
    assert falls(9_00, cheap, None, DAYS, told("days_left:3")).told == told("days_left:3")


def test_without_history_only_the_level_in_dollars_is_told() -> None:
    assert falls(12_00, Standing(1_00, FLAT), 10_00, DAYS, told()) == Falls(True, None, told("low_balance"))
