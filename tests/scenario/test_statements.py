"""A customer's month: every cent has its line, and opening, payments, charges and adjustments come to the closing."""

from datetime import date
from pathlib import Path

import pytest

from edge.core.money import parse_cents
from edge.core.statements import average_price
from edge.enrolment import enroll
from edge.enrolment_file import Row
from edge.statement_views import month_bounds, recent_view, statement_view
from edge.store import books
from edge.views import account_view
from tests.scenario.gaps import Home
from tests.scenario.test_exports import FIRST, ODD, a_busy_life, ami_edge, pay

TODAY = date(2026, 10, 21)


async def test_a_busy_month_foots_to_the_cent_and_names_everything(tmp_path: Path) -> None:
    """Domain-rules R24, R38, row 71; R62: estimates and what corrected them are told."""
    home = Home(tmp_path, FIRST)
    await a_busy_life(home)
    tariffs = home.gateway.tariffs
    for account_id in ("A-1", ODD):
        told = await home.store.read(lambda d, who=account_id: statement_view(d, who, "2026-10", TODAY, tariffs))
        cents = {key: parse_cents(value) for key, value in told.items() if isinstance(value, str) and "." in value[-3:]}
        footed = cents["opening_balance"] + cents["paid_to_balance"] - cents["charged"] + cents["adjusted"]
        balance = await home.store.read(lambda d, who=account_id: books.balance_cents(d, who))
        arrears = await home.store.read(lambda d, who=account_id: books.arrears_cents(d, who))
        assert footed == cents["closing_balance"] == balance
        assert cents["closing_arrears"] == arrears
        assert sum(parse_cents(one["amount"]) for one in told["adjustments"]) == cents["adjusted"]
        assert sum(parse_cents(one["to_balance"]) for one in told["payments"]) == cents["paid_to_balance"]
        assert sum(parse_cents(one) for one in told["charges"].values()) == cents["charged"]
        assert sum(parse_cents(day["charged"]) for day in told["days"]) == cents["charged"]
    told = await home.store.read(lambda d: statement_view(d, "A-1", "2026-10", TODAY, home.gateway.tariffs))
    corrections = [one for one in told["adjustments"] if one["kind"] == "correction"]
    assert [one["corrects"] for one in corrections] == ["2026-10-17", "2026-10-18", "2026-10-19"]
    recent = await home.store.read(lambda d: recent_view(d, "A-1", TODAY))
    assert [one["amount"] for one in recent["recent_payments"]] == ["10.00", "20.00"]
    assert (recent["charges_this_month"], recent["estimated_days"]) == (told["charges"], [])
    assert {(one["kwh_before"], one["kwh_after"]) for one in corrections} == {("24.000", "40.000")}
    november = await home.store.read(
        lambda d: statement_view(d, "A-1", "2026-11", date(2026, 11, 2), home.gateway.tariffs)
    )
    assert november["opening_balance"] == told["closing_balance"] == "0.00"
    assert november["to_date"]
    home.store.close()


async def test_a_month_that_is_none_is_bad_input_and_an_unknown_account_is_refused(tmp_path: Path) -> None:
    home = await Home(tmp_path, FIRST).enrolled()
    home.store.close()
    sentence = "--month - 'October' is not a month such as 2026-10\n"
    assert ami_edge(tmp_path, "statement", "A-1", "--month", "October") == (2, "", sentence)
    assert ami_edge(tmp_path, "statement", "A-9", "--month", "2026-10")[0] == 1
    assert ami_edge(tmp_path, "statement", "A-1", "--month", "2099-01")[0] == 2
    code, out, err = ami_edge(tmp_path, "statement", "M-1", "--month", "2026-10")
    assert (code, err) == (0, "")
    assert "closing balance" in out


@pytest.mark.parametrize(("cents", "energy_wh", "price"), [(2100, 215_000, 977), (0, 1000, 0), (5, 0, None)])
def test_the_average_price_is_rounded_half_up(cents: int, energy_wh: int, price: int | None) -> None:
    assert average_price(cents, energy_wh) == price


def test_a_month_has_its_first_and_last_day() -> None:
    assert month_bounds("2028-02") == (date(2028, 2, 1), date(2028, 2, 29))


async def test_the_seeds_customer_pays_thirty_dollars_and_has_201_kwh(tmp_path: Path) -> None:
    """Seed 002, PSO, message C; domain-rules rows 78 and 79: $9 toward arrears, $21 = 215 kWh, 201 kWh balance."""
    home = Home(tmp_path, FIRST)
    cells = {"account_id": "A-1", "meter_id": "M-1", "takeover": "yes"}
    cells |= {"arrears": "100.00", "opening_balance": "-1.36", "program": "pso-prepay"}
    (outcome,) = await enroll(home.gateway, [Row("row 1", cells)], "test")
    assert outcome.accepted, outcome.reason
    await pay(home, "P-1", "A-1", 30_00)
    tables = (home.gateway.rulebook, home.gateway.switchgear, home.gateway.tariffs)
    around = home.gateway.circumstances()
    shown = await home.store.read(lambda d: account_view(d, "A-1", *tables, around, home.gateway.settings))
    assert (shown["balance"], shown["arrears"], shown["balance_kwh"]) == ("19.64", "91.00", 201)
    told = await home.store.read(lambda d: recent_view(d, "A-1", FIRST))
    (paid,) = told["recent_payments"]
    assert (paid["amount"], paid["to_arrears"], paid["to_balance"]) == ("30.00", "9.00", "21.00")
    home.store.close()
