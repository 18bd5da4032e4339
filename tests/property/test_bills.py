"""Prepaid days, the postpaid bill and a biller written a second time (`tests/reference`) agree to the cent, always."""

import os
import tomllib
from datetime import date, timedelta
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest

from edge import rate_whatif
from edge.core import rating
from edge.core.arrears import split_payment
from edge.core.rating import DayUsage
from edge.core.reconnects import pays_enough
from edge.core.tariffs import Tariff
from edge.core.usage import DayQuality, DayUse
from edge.corrections import BillToDate
from edge.programs import find_program
from edge.tariffs import parse_tariff
from tests.reference.billing import Biller, Use
from tests.reference.estimation import estimated
from tests.reference.programs import PROGRAMMES
from tests.reference.random_tariffs import random_tariff, random_use

PROGRAMS = Path(__file__).parents[2] / "config" / "programs"
CHICAGO = ZoneInfo("America/Chicago")
MONTHS = int(os.environ.get("AMI_EDGE_SOAK", "1")) * 15
ABOUT = (  # 28 to 31 days, both days on which the clocks change, holidays
    *(date(2026, 2, 10), date(2028, 2, 20), date(2026, 3, 8), date(2026, 4, 15), date(2026, 5, 25), date(2026, 7, 3)),
    *(date(2026, 9, 7), date(2026, 11, 1), date(2026, 11, 26), date(2026, 12, 25), date(2027, 1, 1)),
)


def engine_usage(tariff: Tariff, use: dict[date, Use]) -> list[DayUsage]:
    """The use as the engine takes it, sorted into periods by the engine itself."""
    return [
        DayUsage(day, each.wh, rating.by_period(tariff, day, each.intervals, CHICAGO) if each.intervals else ())
        for day, each in use.items()
    ]


def prepaid(tariff: Tariff, usage: list[DayUsage]) -> tuple[list[int], dict[str, int]]:
    """Each day's charge in cents, and what was charged in all by kind, no zeros."""
    days: list[int] = []
    charged: dict[str, int] = {}
    for count in range(1, len(usage) + 1):
        charges = rating.charges_for_last_day(tariff, usage[:count], charged)
        days.append(sum(charges.values()))
        charged = {kind: charged.get(kind, 0) + charges.get(kind, 0) for kind in charged | charges}
    return days, {kind: cents for kind, cents in charged.items() if cents}


@pytest.mark.parametrize("about", ABOUT, ids=str)
def test_prepaid_days_and_the_postpaid_bill_are_the_second_billers(about: date) -> None:
    for number in range(MONTHS):
        chance = Random(f"{about}/{number}")
        text = random_tariff(chance, about)
        biller = Biller(text, CHICAGO)
        use = random_use(chance, biller, about)
        tariff = parse_tariff(tomllib.loads(text), "random.toml")
        usage = engine_usage(tariff, use)
        days, charged = prepaid(tariff, usage)
        where = f"{about}/{number}\n{text}"
        assert dict(rating.bill(tariff, usage).lines) == biller.lines(use) == charged, where
        assert days == biller.charges(use), where
        assert sum(days) == rating.bill(tariff, usage).total_cents == biller.total(use), where


@pytest.mark.parametrize("about", ABOUT, ids=str)
def test_a_bill_kept_in_runs_of_days_and_taken_up_again_charges_the_same(about: date) -> None:
    for number in range(MONTHS):
        chance = Random(f"{about}/{number}")
        text = random_tariff(chance, about)
        tariff = parse_tariff(tomllib.loads(text), "random.toml")
        usage = engine_usage(tariff, random_use(chance, Biller(text, CHICAGO), about))
        days, _ = prepaid(tariff, usage)
        kept = BillToDate(tariff, usage[0].day)
        for used, cents in zip(usage, days, strict=True):
            if chance.random() < 0.5:
                day_before = used.day - timedelta(days=1)
                kept = BillToDate.resumed(tariff, usage[0].day, day_before, kept.kept(day_before)) or kept
            use = DayUse(used.day, 0, 0, used.energy_wh, DayQuality.ACTUAL, used.by_period)
            assert sum(kept.charge(use).values()) == cents, f"{about}/{number} {used.day}\n{text}"


@pytest.mark.parametrize("seed", range(4))
def test_estimates_are_the_second_estimators(tmp_path: Path, seed: int) -> None:
    """Histories full of holes, around New Year and 29 February, with the year before; every day asked for."""
    for number in range(MONTHS):
        chance = Random(f"{seed}/{number}")
        first = date(chance.choice((2026, 2028)), chance.choice((1, 2, 3)), 1) - timedelta(days=5)
        days = [first + timedelta(days=index) for index in range(chance.choice((4, 12, 40)))]
        days += [day - timedelta(days=365 + leap) for leap in (0, 1) for day in days if chance.random() < 0.9]
        holes = chance.choice((0.02, 0.2, 0.5))
        qualities = [chance.choice(("actual", "actual", "customer")) for _ in days]
        history = {
            day: (Decimal(chance.randrange(90_000)) / 1000, quality if chance.random() > holes else "estimated")
            for day, quality in zip(days, qualities, strict=True)
            if chance.random() > holes
        }
        file = tmp_path / "history.csv"
        rows = [f"{day},{kwh},{quality}" for day, (kwh, quality) in history.items()]
        file.write_text("\n".join(["day,kwh,quality", *rows, "2020-01-01,1,actual"]))
        for ahead in range(-1, 45, 3):
            day = first + timedelta(days=ahead)
            assert rate_whatif.estimate(file, day) == estimated(history, day), (rows, day)
        long_after = first + timedelta(days=chance.randrange(95, 160))
        assert rate_whatif.estimate(file, long_after) == estimated(history, long_after), (rows, long_after)


SPLITS = {name: (program, find_program(name, {}, PROGRAMS)[0]) for name, program in PROGRAMMES.items()}


@pytest.mark.parametrize("name", SPLITS)
def test_payments_are_split_as_the_programme_says(name: str) -> None:
    """The share of the payment, floored, at most the debt; the rest to the balance; nothing is lost."""
    programme, rules = SPLITS[name]
    chance = Random(name)
    for _ in range(20 * MONTHS):
        amount, debt = chance.randrange(1, 20_000), chance.choice((0, 1, chance.randrange(60_000)))
        before = chance.randrange(-9_000, 9_000)
        to_arrears, to_balance = split_payment(amount, before, debt, rules)
        share = int((amount * programme.share).to_integral_value(ROUND_FLOOR))
        assert (to_arrears, to_balance) == (min(share, debt), amount - min(share, debt))
        after = before + to_balance
        enough = after >= programme.reconnect_at_least and amount >= programme.payments_at_least
        assert pays_enough(amount, after, rules) == enough
