"""Charges, credits, instalments, refunds and another tariff: at once, once, and no further than the rules allow."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.adjustments import ItemRequest, charge, credit, defer
from edge.core import ledger
from edge.core.rating import DayUsage, bill
from edge.gateway import Gateway
from edge.leaving import unenroll
from edge.refusals import NotThere, RequestRefused
from edge.returned_payments import return_payment
from edge.settlement import refund
from edge.store import books, customers, usage
from edge.terms import change_tariff
from edge.views import account_view
from tests.scenario.money_site import (
    a_gateway,
    advance,
    days_closed,
    enrolled,
    events,
    metered,
    notices,
    on_account,
    paid,
    standing,
)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with a_gateway(tmp_path) as gateway:
        yield gateway


def seal(charge_id: str = "C-1", cents: int = 12_00, kind: str = "cut seal", account_id: str = "A-1") -> ItemRequest:
    return ItemRequest(charge_id, account_id, cents, "seal found cut", kind=kind)


# Charges and credits.


async def test_a_cut_seal_is_charged_at_once_and_the_notices_follow(gateway: Gateway) -> None:
    """Domain-rules R5: misc. charges (returned check, cut seal) are applied immediately."""
    await enrolled(gateway, opening_balance="10.00")
    posted = await charge(gateway, seal(), "test")
    assert (posted.balance_cents, posted.duplicate) == (-2_00, False)
    assert await on_account(gateway, "revenue:cut_seal") == -12_00
    assert sorted(await notices(gateway)) == ["adjustment", "zero"]
    again = await charge(gateway, seal(), "test")
    assert (again.balance_cents, again.duplicate) == (-2_00, True)
    (told,) = await events(gateway, "miscellaneous_charge")
    assert (told["name"], told["amount"], told["by"]) == ("cut_seal", "12.00", "test")


@pytest.mark.parametrize(
    "kind", ["reconnect fee", "Disconnection", "re-connection", "switch-on", "turn on", "restoration"]
)
async def test_no_fee_is_ever_charged_for_a_disconnect_or_a_reconnect(gateway: Gateway, kind: str) -> None:
    """Domain-rules R4, row 5; seed 002: no program charges one."""
    await enrolled(gateway)
    with pytest.raises(RequestRefused, match="no fee is ever charged for a disconnect or a reconnect"):
        await charge(gateway, seal(kind=kind), "test")
    assert await standing(gateway) == (0, 0)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (seal(kind="late fee"), "charge C-1: kind - 'late fee': a prepaid customer is never charged for being late"),
        (seal(kind="energy"), "charge C-1: kind - 'energy' is what the tariff charges, day by day"),
        (seal(kind="!"), "charge C-1: kind - '!' names no kind of charge such as cut_seal"),
        (seal(cents=0), "charge C-1: the amount 0.00 is not above zero"),
        (seal(cents=-5_00), "charge C-1: the amount -5.00 is not above zero"),
        (seal(cents=10_000_01), "charge C-1: the amount 10000.01 is above 10000.00"),
        (seal(account_id="A-9"), "charge C-1: there is no account A-9"),
        (ItemRequest("C-1", "A-1", 5_00, " ", kind="seal"), "charge C-1: reason - say in words what it is for"),
    ],
)
async def test_a_charge_that_cannot_be_is_refused_by_its_name(gateway: Gateway, wanted: ItemRequest, sentence: str):
    await enrolled(gateway)
    with pytest.raises(RequestRefused) as refused:
        await charge(gateway, wanted, "test")
    assert str(refused.value) == sentence


async def test_a_credit_takes_a_charge_back_and_names_it_but_no_more_than_is_left(gateway: Gateway) -> None:
    await enrolled(gateway, opening_balance="20.00")
    await charge(gateway, seal(), "test")
    part = ItemRequest("D-1", "A-1", 5_00, "half of it was ours", reverses="C-1")
    assert (await credit(gateway, part, "test")).balance_cents == 13_00
    assert (await credit(gateway, part, "test")).duplicate
    too_much = ItemRequest("D-2", "A-1", 7_01, "all of it", reverses="C-1")
    with pytest.raises(RequestRefused, match=r"credit D-2: of charge C-1 7\.00 is left to take back"):
        await credit(gateway, too_much, "test")
    await credit(gateway, ItemRequest("D-2", "A-1", 7_00, "all of it", reverses="C-1"), "test")
    assert await on_account(gateway, "revenue:cut_seal") == 0
    rows = await gateway.store.read(
        lambda d: d.execute(
            "SELECT r.ref FROM ledger_transaction t JOIN ledger_transaction r"
            " ON r.transaction_id = t.reverses WHERE t.kind = 'credit'"
        ).fetchall()
    )
    assert rows == [("misc:C-1",), ("misc:C-1",)]


async def test_an_id_of_a_charge_or_credit_means_one_thing(gateway: Gateway) -> None:
    await enrolled(gateway)
    await enrolled(gateway, 2)
    await charge(gateway, seal(), "test")
    with pytest.raises(RequestRefused, match="charge C-1: the id was used before, for a charge of other content"):
        await charge(gateway, seal(cents=13_00), "test")
    with pytest.raises(RequestRefused, match="credit C-1: the id was used before, for a charge of other content"):
        await credit(gateway, ItemRequest("C-1", "A-1", 12_00, "kindness"), "test")
    with pytest.raises(NotThere, match="credit D-1: account A-2 has no charge C-1"):
        await credit(gateway, ItemRequest("D-1", "A-2", 12_00, "kindness", reverses="C-1"), "test")


# Instalments.


async def corrected(gateway: Gateway, cents: int, day: int) -> None:
    """A true-up of an estimated day that costs so much more."""
    now = gateway.clock.now()
    correction = ledger.correction(
        account_id="A-1",
        day=now.date(),
        corrects=date(2026, 10, day),
        charges={"energy": cents},
        ref=f"correction:{day}",
    )
    await gateway.store.write(lambda d: books.post(d, correction, posted_at=now, received_at=now, by="day close"))


async def test_an_under_estimate_is_paid_by_the_share_of_later_payments(gateway: Gateway) -> None:
    """Seed 003, 6.04; domain-rules R62: underestimate -> instalments on request."""
    await enrolled(gateway, opening_balance="5.00")
    await corrected(gateway, 30_00, 5)
    await corrected(gateway, -6_00, 6)
    with pytest.raises(RequestRefused, match=r"agreement I-1: corrections .* have cost 24\.00, less than 24\.01"):
        await defer(gateway, "A-1", "I-1", 24_01, "asked by phone", "test")
    agreed = await defer(gateway, "A-1", "I-1", 20_00, "asked by phone", "test")
    assert (agreed.balance_cents, agreed.arrears_cents) == (1_00, 20_00)
    assert (await defer(gateway, "A-1", "I-1", 20_00, "asked by phone", "test")).duplicate
    with pytest.raises(RequestRefused, match=r"have cost 4\.00, less than 5\.00"):
        await defer(gateway, "A-1", "I-2", 5_00, "asked again", "test")
    await paid(gateway, "P-1", 30_00)
    assert await standing(gateway) == (22_00, 11_00)


async def test_a_program_without_carried_debt_defers_nothing(gateway: Gateway) -> None:
    await enrolled(gateway, program="lake-region")
    await corrected(gateway, 30_00, 5)
    with pytest.raises(RequestRefused, match="the program lake-region carries no debt, so nothing can be deferred"):
        await defer(gateway, "A-1", "I-1", 10_00, "asked by phone", "test")


# Leaving.


async def test_credit_pays_old_debt_and_the_rest_is_refunded_after_the_final_bill(gateway: Gateway) -> None:
    await enrolled(gateway, opening_balance="40.00", arrears="10.00")
    await metered(gateway, 100)
    with pytest.raises(RequestRefused, match="account A-1 has not left the program"):
        await refund(gateway, "A-1", "R-1", "check", "test")
    await unenroll(gateway, "A-1", "moved", "test")
    with pytest.raises(RequestRefused, match="waits for the close of 2026-10-13"):
        await refund(gateway, "A-1", "R-1", "check", "test")
    await days_closed(gateway, 1)
    balance, _ = await standing(gateway)
    settled = await refund(gateway, "A-1", "R-1", "check", "test")
    assert settled.refund.settlement.to_arrears_cents == 10_00
    assert settled.refund.settlement.refunded_cents == balance - 10_00 > 0
    assert await standing(gateway) == (0, 0)
    assert await on_account(gateway, "assets:cash:check") == 10_00 - balance
    assert (await refund(gateway, "A-1", "R-1", "check", "test")).duplicate
    with pytest.raises(RequestRefused, match="refund R-2: nothing is left to settle"):
        await refund(gateway, "A-1", "R-2", "check", "test")
    assert "refund" in await notices(gateway)


async def test_what_a_customer_who_left_still_owes_is_billed_outside(gateway: Gateway) -> None:
    await enrolled(gateway, opening_balance="-4.00")
    await metered(gateway, 100, wh_an_hour=0)
    await unenroll(gateway, "A-1", "moved", "test")
    await days_closed(gateway, 1)
    balance, _ = await standing(gateway)
    settled = await refund(gateway, "A-1", "R-1", "check", "test")
    assert settled.refund.settlement.billed_cents == -balance
    assert await standing(gateway) == (0, -balance)


async def test_a_payment_that_is_returned_after_the_refund_is_owed(gateway: Gateway) -> None:
    await enrolled(gateway)
    await paid(gateway, "P-1", 40_00)
    await metered(gateway, 100)
    await unenroll(gateway, "A-1", "moved", "test")
    await days_closed(gateway, 1)
    await refund(gateway, "A-1", "R-1", "check", "test")
    await return_payment(gateway, "P-1", None, 5_00, "no funds", "test")
    assert (await refund(gateway, "A-1", "R-2", "check", "test")).refund.settlement.billed_cents == 45_00
    assert await standing(gateway) == (0, 45_00)


# Another tariff.


async def test_each_tariff_bills_its_own_days_of_the_month(gateway: Gateway) -> None:
    """To the cent what the postpaid customer would pay: 18 days by the one tariff, the rest by the other."""
    await enrolled(gateway, opening_balance="400.00")
    await metered(gateway, 24 * 25)
    changed = await change_tariff(gateway, "A-1", "seasonal-tiers", date(2026, 10, 20), "test")
    assert not changed.duplicate
    assert (await change_tariff(gateway, "A-1", "seasonal-tiers", date(2026, 10, 20), "test")).duplicate
    await days_closed(gateway, 20)
    days = await gateway.store.read(lambda d: usage.days(d, "A-1", date(2026, 10, 1), date(2026, 10, 31)))
    assert len(days) == 19
    for name, part in (("flat", days[:7]), ("seasonal-tiers", days[7:])):
        postpaid = bill(gateway.tariffs[name], [DayUsage(day.day, day.energy_wh) for day in part])
        assert sum(day.charge_cents for day in part) == postpaid.total_cents
    assert days[7].day == date(2026, 10, 20)


async def test_no_tariff_begins_in_the_past_or_without_prices(gateway: Gateway) -> None:
    await enrolled(gateway)
    with pytest.raises(RequestRefused, match="2026-10-12 is past: a tariff begins today or on a later day"):
        await change_tariff(gateway, "A-1", "seasonal-tiers", date(2026, 10, 12), "test")
    with pytest.raises(NotThere, match="there is no tariff 'none'"):
        await change_tariff(gateway, "A-1", "none", None, "test")
    await unenroll(gateway, "A-1", "moved", "test")
    advance(gateway, timedelta(days=1))
    with pytest.raises(RequestRefused, match="account A-1 left the program on 2026-10-13"):
        await change_tariff(gateway, "A-1", "seasonal-tiers", None, "test")


async def test_a_planned_tariff_can_be_planned_otherwise(gateway: Gateway) -> None:
    await enrolled(gateway)
    await change_tariff(gateway, "A-1", "seasonal-tiers", date(2026, 10, 20), "test")
    await change_tariff(gateway, "A-1", "flat", date(2026, 10, 20), "test")
    await change_tariff(gateway, "A-1", "time-of-use", date(2026, 11, 1), "test")
    on = [date(2026, 10, 13), date(2026, 10, 20), date(2026, 10, 31), date(2026, 11, 1)]
    names = [await gateway.store.read(lambda d, day=day: customers.tariff_of(d, "A-1", day)) for day in on]  # type: ignore[misc]
    assert names == ["flat", "flat", "flat", "time-of-use"]


async def test_a_tariff_by_the_hour_begins_on_its_day(gateway: Gateway) -> None:
    await enrolled(gateway, opening_balance="400.00")
    await metered(gateway, 24 * 10)
    await change_tariff(gateway, "A-1", "time-of-use", date(2026, 10, 15), "test")
    view = await shown(gateway)
    assert (view["tariff"], view["planned_tariffs"]) == ("flat", [{"tariff": "time-of-use", "from": "2026-10-15"}])
    await days_closed(gateway, 5)
    rows = await gateway.store.read(
        lambda d: d.execute(
            "SELECT t.day, e.ledger_account FROM ledger_entry e JOIN ledger_transaction t USING (transaction_id)"
            " WHERE e.ledger_account LIKE 'revenue:energy%' ORDER BY 1"
        ).fetchall()
    )
    assert [account for _, account in rows] == ["revenue:energy"] * 2 + ["revenue:energy:off_peak"] * 3
    view = await shown(gateway)
    assert (view["tariff"], view["planned_tariffs"]) == ("time-of-use", [])


async def shown(gateway: Gateway) -> dict[str, Any]:
    """``account show``."""
    around = gateway.circumstances()
    tables = (gateway.rulebook, gateway.switchgear, gateway.tariffs)
    return await gateway.store.read(lambda d: account_view(d, "A-1", *tables, around, gateway.settings))


async def test_a_pilot_keeps_its_halves_when_tariffs_change(gateway: Gateway) -> None:
    """Domain-rules R10; seed 002, OG&E: half of the participants on a standard rate, half by the hour."""
    program, holidays = gateway.rulebook.programs["oge-pay-as-you-go"]
    pilot = replace(program, max_participants=3)
    programs = {**gateway.rulebook.programs, "oge-pay-as-you-go": (pilot, holidays)}
    gateway.rulebook = replace(gateway.rulebook, programs=programs)
    for number, name in ((1, "flat"), (2, "time-of-use")):
        await enrolled(gateway, number, program="oge-pay-as-you-go", tariff=name)
    with pytest.raises(RequestRefused, match="all places on a time-of-use rate of oge-pay-as-you-go are taken"):
        await change_tariff(gateway, "A-1", "time-of-use", None, "test")
    assert not (await change_tariff(gateway, "A-1", "seasonal-tiers", None, "test")).duplicate
    assert not (await change_tariff(gateway, "A-2", "flat", None, "test")).duplicate
    assert not (await change_tariff(gateway, "A-1", "time-of-use", None, "test")).duplicate
