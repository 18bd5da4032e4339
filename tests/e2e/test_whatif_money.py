"""``ami-edge whatif rate``, ``estimate`` and ``payment`` as a program, on files that the repository does not have:
bills worked out by hand, a biller written a second time, gaps and splits of every kind.
"""

import io
import json
import sys
from contextlib import redirect_stdout
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from edge.cli import main
from tests.reference.billing import Biller, Use
from tests.reference.random_tariffs import instants, random_tariff, random_use

CONFIG = Path(__file__).parents[2] / "config"
CHICAGO = ZoneInfo("America/Chicago")


def whatif(*arguments: str) -> dict[str, Any]:
    """The program's answer, by its entry point in this process: it is asked often."""
    said = io.StringIO()
    command = ["ami-edge", "--config", str(CONFIG / "edge.toml"), "whatif", *arguments, "--json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command)
        with redirect_stdout(said), pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0
    answer: dict[str, Any] = json.loads(said.getvalue())
    return answer


def rated(tariff: str, usage: Path, rows: str) -> dict[str, Any]:
    usage.write_text(rows)
    return whatif("rate", "--tariff", tariff, "--usage", str(usage))


def daily(first: str, count: int, kwh: str) -> str:
    days = [date.fromisoformat(first) + timedelta(days=index) for index in range(count)]
    return "day,kwh\n" + "".join(f"{day},{kwh}\n" for day in days)


def hourly(first: str, count: int) -> str:
    """One kWh each hour, with the wall clock's time and offset."""
    days = [date.fromisoformat(first) + timedelta(days=index) for index in range(count)]
    starts = [start.astimezone(CHICAGO) for day in days for start in instants(day, CHICAGO, 60)]
    return "start,kwh\n" + "".join(f"{start.isoformat()},1\n" for start in starts)


OWN = """
[[versions]]
effective = 2026-01-01
energy_per_kwh = "0.10"
customer_charge_per_month = "9.00"
taxes = [{ name = "city", percent = "2", rounding = "down" }]

[[versions]]
effective = 2026-05-16
customer_charge_per_month = "15.50"
unmetered_per_day = "0.30"
seasons = [{ tiers = [{ up_to_kwh = 100, per_kwh = "0.08" }, { per_kwh = "0.14" }] }]
taxes = [{ name = "city", percent = "2", rounding = "up" }]

[[riders]]
name = "storm"
effective = 2026-05-10
until = 2026-05-20
per_kwh = "0.01"
"""

BY_HAND = [
    # 28 x 31.25 = 875 kWh at 9.75 c = 85.3125; 10.00
    ("flat", daily("2026-02-01", 28, "31.25"), "95.31"),
    # 20 x 17.3 = 346 kWh at 9.75 c = 33.735, half up 33.74; 10.00 x 20/30 = 6.67
    ("flat", daily("2026-04-11", 20, "17.3"), "40.41"),
    # 1650 kWh: 600 x 7.12 c + 800 x 8.45 c + 250 x 9.91 c = 42.72 + 67.60 + 24.775 = 135.095, half up 135.10; 13.00;
    # fuel 1650 x 2.876 c = 47.45; storm 1650 x 0.1135 c = 1.87; of 197.42: 3 % = 5.92, 4.35 % = 8.59
    ("seasonal-tiers", daily("2026-06-01", 30, "55"), "211.93"),
    # 20 kWh x 7.12 c = 1.42; 13.00 x 10/31 = 4.19; the minimum 18.00 x 10/31 = 5.81 lacks 0.20; fuel 0.58; storm 0.02;
    # of 6.41: 0.19, 0.28
    ("seasonal-tiers", daily("2026-01-22", 10, "2"), "6.88"),
    # Wednesday to Saturday, the 4th: 15 kWh x 21 c = 3.15; 81 kWh x 5.1 c = 4.13; 13.00 x 4/31 = 1.68; fuel 96 x 2.88 c
    # = 2.76; 3 % of 11.72 = 0.35. Friday the 3rd is no holiday of this tariff, and has its peak
    ("time-of-use", hourly("2026-07-01", 4), "12.07"),
    # 25 hours: 25 kWh x 6.4 c = 1.60; 13.00 / 30 = 0.43; fuel 0.72; 3 % of 2.75 = 0.08
    ("time-of-use", hourly("2026-11-01", 1), "2.83"),
    # Until the 15th: 180 kWh x 10 c = 18.00; 9.00 x 15/31 = 4.35; storm 72 kWh x 1 c; 2 % of 23.07 down: 0.46; 23.53
    # From the 16th: 192 kWh, of which 100 x 16/31 = 51.6129 x 8 c and 140.3871 x 14 c = 4.1290 + 19.6542 = 23.78;
    # 15.50 x 16/31 = 8.00; light 16 x 0.30 = 4.80; storm 48 kWh x 1 c; 2 % of 37.06 up: 0.75; 37.81
    ("own.toml", daily("2026-05-01", 31, "12"), "61.34"),
]


@pytest.mark.parametrize(("tariff", "rows", "bill"), BY_HAND)
def test_bills_worked_out_by_hand(tmp_path: Path, tariff: str, rows: str, bill: str) -> None:
    (tmp_path / "own.toml").write_text(OWN)
    found = rated(str(tmp_path / tariff) if "." in tariff else tariff, tmp_path / "use.csv", rows)
    (month,) = found["months"]
    assert (month["prepaid_total"], month["postpaid_bill"]) == (bill, bill)
    assert sum(Decimal(day["charge"]) for day in found["days"]) == Decimal(bill)


def rows_of(use: dict[date, Use], chance: Random) -> str:
    """A file of use: by day, or in intervals, told in UTC or by the territory's clock, in any order."""
    if not any(each.intervals for each in use.values()):
        rows = [f"{day},{each.wh / 1000:.3f}" for day, each in use.items()]
        return "\n".join(["day,kwh", *chance.sample(rows, len(rows))])
    rows = []
    for day, each in use.items():
        for start, wh in each.intervals or ((instants(day, CHICAGO, 60)[3], each.wh),):
            told: datetime = start if chance.random() < 0.5 else start.astimezone(CHICAGO)
            rows.append(f"{told.isoformat()},{wh / 1000:.3f}")
    return "\n".join(["start,kwh", *chance.sample(rows, len(rows))])


@pytest.mark.parametrize(("about", "forms"), [("2026-11-01", ("hours",)), ("2028-02-20", ("tiers", "flat"))])
def test_random_files_are_rated_as_the_second_biller_does(tmp_path: Path, about: str, forms: tuple[str, ...]) -> None:
    chance = Random(about)
    text = random_tariff(chance, date.fromisoformat(about), forms)
    (tmp_path / "random.toml").write_text(text)
    biller = Biller(text, CHICAGO)
    months = [random_use(chance, biller, date.fromisoformat(about) + timedelta(days=31 * index)) for index in range(5)]
    use = {day: each for month in months for day, each in month.items()}
    found = rated(str(tmp_path / "random.toml"), tmp_path / "use.csv", rows_of(use, chance))
    assert [Decimal(day["charge"]) * 100 for day in found["days"]] == [
        cents for month in months for cents in biller.charges(month)
    ]
    bills = [
        (Decimal(month["prepaid_total"]) * 100, Decimal(month["postpaid_bill"]) * 100) for month in found["months"]
    ]
    assert bills == [(biller.total(month), biller.total(month)) for month in months]


# A tenth of a Wh in every quarter of an hour is a tenth of 96 Wh, not nothing: 3 days, 28.8 Wh at 1000 $ a kWh.
DEAR = '[[versions]]\neffective = 2020-01-01\nenergy_per_kwh = "1000"\n'


def test_intervals_are_added_up_before_they_are_rounded(tmp_path: Path) -> None:
    (tmp_path / "dear.toml").write_text(DEAR)
    starts = [start for index in range(3) for start in instants(date(2026, 1, 5 + index), CHICAGO, 15)]
    rows = "start,kwh\n" + "".join(f"{start.isoformat()},0.0001\n" for start in starts)
    found = rated(str(tmp_path / "dear.toml"), tmp_path / "use.csv", rows)
    assert [day["kwh"] for day in found["days"]] == ["0.010"] * 3  # 9.6 Wh
    assert found["months"][0]["postpaid_bill"] == "30.00"


LAST_YEAR = (
    "2027-03-01,8,actual\n2027-03-02,9,actual\n2027-03-03,10,customer\n2027-03-04,11,actual\n2027-03-05,12.03,actual\n"
)
LEAP = "2028-02-25,1,actual\n2028-02-26,2,actual\n2028-02-27,3,actual\n2028-02-28,4,actual\n2028-02-29,5,actual\n"
THREE = "2028-03-01,10,actual\n2028-03-02,20,customer\n2028-03-03,30.02,actual\n"
GAPS = [
    ("the first day of a gap", THREE, "2028-03-04", "20.01", "2028-03-01 2028-03-02 2028-03-03"),
    ("the fourth rests on the same", THREE, "2028-03-07", "20.01", "2028-03-01 2028-03-02 2028-03-03"),
    (
        "estimates feed nothing",
        THREE + "2028-03-04,99,estimated\n2028-03-05,,estimated\n2028-03-06,7,actual\n",
        *("2028-03-05", "20.01", "2028-03-01 2028-03-02 2028-03-03"),
    ),
    (
        "a day that has a read is as one that has none",
        THREE + "2028-03-04,5,actual\n",
        "2028-03-04",
        "20.01",
        "",
    ),
    (
        "one of three is no actual: five of the year before",
        LAST_YEAR + "2028-03-01,10,actual\n2028-03-02,20,estimated\n2028-03-03,30,actual\n",
        *("2028-03-04", "10.01", "2027-03-01 2027-03-02 2027-03-03 2027-03-04 2027-03-05"),  # 50.03 / 5 = 10.006
    ),
    ("no history but last year's", LAST_YEAR, "2028-03-04", "10.01", ""),
    ("four of five are not enough", LAST_YEAR.replace("2027-03-05,12.03", "2027-03-06,1"), "2028-03-04", None, ""),
    ("over New Year", "2025-12-29,1,actual\n2025-12-30,1,actual\n2025-12-31,1.01,actual\n", "2026-01-02", "1.00", ""),
    ("29 February from the days before", LEAP.replace("-29,", "-24,"), "2028-02-29", "3.00", ""),
    ("29 February has no year before", LAST_YEAR.replace("2027-03-0", "2027-02-2"), "2028-02-29", None, ""),
    (
        "last year's 29 February is a day before 1 March",
        LEAP + "2028-03-01,6,actual\n2028-03-02,7,actual\n",
        *("2029-03-01", "5.00", "2028-02-27 2028-02-28 2028-02-29 2028-03-01 2028-03-02"),
    ),
    ("a history that begins two days before", THREE[THREE.index("\n") + 1 :], "2028-03-04", None, ""),
    ("a day before all history", THREE, "2028-02-20", None, ""),
    (
        "a day of 23 hours is a day",
        "2026-03-07,24,actual\n2026-03-08,23,actual\n2026-03-09,24.015,actual\n",  # 71.015 / 3 = 23.6717
        *("2026-03-10", "23.67", ""),
    ),
    (
        "a half goes up",
        "2026-03-01,1,actual\n2026-03-02,1,actual\n2026-03-03,1.015,actual\n",
        "2026-03-04",
        "1.01",
        "",
    ),
]


@pytest.mark.parametrize(("rows", "day", "kwh", "used"), [gap[1:] for gap in GAPS], ids=[gap[0] for gap in GAPS])
def test_gaps_are_estimated_by_the_procedure(tmp_path: Path, rows: str, day: str, kwh: str | None, used: str) -> None:
    (tmp_path / "history.csv").write_text("day,kwh,quality\n" + rows)
    found = whatif("estimate", "--history", str(tmp_path / "history.csv"), "--day", day)
    assert found["kwh"] == kwh
    assert (found["method"] == "manual") == (kwh is None) == (not found["days_used"])
    assert not used or found["days_used"] == used.split()


SPLITS = [
    # 30 % of 33.33 is 9.999, floored; -5.01 + 23.34
    ("default", "33.33", "-5.01", "120.00", "9.99", "23.34", "18.33", True),
    # The debt of 0.07 is all that is taken of 0.30
    ("pso-prepay", "1.00", "-0.93", "0.07", "0.07", "0.93", "0.00", False),
    ("strict", "0.03", "0.00", "50.00", "0.00", "0.03", "0.03", True),  # 0.9 cents are no cent
    ("missouri", "25.00", "-100.00", "0.00", "0.00", "25.00", "-75.00", False),  # no debt, no share
    ("oge-pay-as-you-go", "24.99", "0.02", "0.00", "0.00", "24.99", "25.01", False),  # 25.00 are asked for
    ("oge-pay-as-you-go", "25.00", "-17.50", "80.00", "7.50", "17.50", "0.00", False),  # and a balance above zero
    ("oec-prepaid", "14.29", "0.00", "80.00", "4.28", "10.01", "10.01", True),  # 30 % of 14.29 is 4.287
    ("oec-prepaid", "14.27", "0.00", "80.00", "4.28", "9.99", "9.99", False),
    ("lake-region", "10.01", "-10.00", "30.00", "0.00", "10.01", "0.01", True),  # nothing is carried, nothing taken
]


@pytest.mark.parametrize(("program", "amount", "before", "debt", "arrears", "use", "after", "reconnects"), SPLITS)
def test_payments_are_split_to_the_cent(
    program: str, amount: str, before: str, debt: str, arrears: str, use: str, after: str, reconnects: bool
) -> None:
    given = ("--amount", amount, "--balance", before, "--arrears", debt, "--program", program)
    assert whatif("payment", *given) == {
        "to_arrears": arrears,
        "to_balance": use,
        "balance": after,
        "arrears": str(Decimal(debt) - Decimal(arrears)),
        "reconnects": reconnects,
    }
