"""Payments: whose money, when it was made, once on every path, in whatever order they and their returns arrive."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from edge.gateway import Gateway
from edge.leaving import unenroll
from edge.refusals import RequestRefused
from edge.returned_payments import return_payment
from edge.store import books, fleet
from edge.upstream import HeadEnd
from protocols.link import HeadEndMessage
from tests.scenario.money_site import TUESDAY, a_gateway, advance, enrolled, events, notices, on_account, paid, standing
from tests.stand_ins import SilentHeadEnd

HOUR = timedelta(hours=1)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with a_gateway(tmp_path) as gateway:
        yield gateway


async def test_the_share_for_old_debt_is_taken_of_the_customers_own_money(gateway: Gateway) -> None:
    """Domain-rules C10; the seeds' example: of $30 paid $9 go to arrears."""
    await enrolled(gateway, arrears="100.00")
    assert (await paid(gateway, "P-1", 30_00)).to_arrears_cents == 9_00
    assert (await paid(gateway, "P-2", 50_00, source="LIHEAP", channel="agency")).to_arrears_cents == 0
    assert await standing(gateway) == (71_00, 91_00)


async def test_the_reports_find_whose_money_it_was(gateway: Gateway) -> None:
    """Seed 004, items Q, R and S: LIHEAP, and third parties under a tariff provision or not."""
    await enrolled(gateway)
    for number, source in enumerate(("Customer", "liheap", "Third party under a tariff provision", "church voucher")):
        receipt = await paid(gateway, f"P-{number}", 10_00 + number, source=source, channel="Pay Station")
        assert receipt.reason == ""
    rows = await gateway.store.read(lambda d: d.execute("SELECT source FROM payment ORDER BY payment_id").fetchall())
    assert [source for (source,) in rows] == ["customer", "LIHEAP", "third_party_tariff", "third_party"]
    assert await on_account(gateway, "assets:cash:pay-station") == 10_00
    assert await on_account(gateway, "assets:assistance:liheap") == 10_01
    assert await on_account(gateway, "assets:assistance:third-party-tariff") == 10_02
    assert await on_account(gateway, "assets:assistance:third-party") == 10_03


async def test_a_label_that_nobody_knows_is_no_reason_to_refuse_money(gateway: Gateway) -> None:
    await enrolled(gateway)
    receipt = await paid(gateway, "P-1", 10_00, source="blue")
    assert receipt.status == "posted"
    assert receipt.reason == "the source 'blue' is not known: counted as the customer's"


async def test_a_clock_that_is_wrong_loses_no_payment(gateway: Gateway) -> None:
    await enrolled(gateway)
    for number, paid_at in enumerate((TUESDAY + 2 * HOUR, TUESDAY - timedelta(days=4_000), TUESDAY - HOUR)):
        await paid(gateway, f"P-{number}", 10_00, paid_at=paid_at)
    found = [await gateway.store.read(lambda d, n=n: books.payment(d, f"P-{n}")) for n in range(3)]  # type: ignore[misc]
    assert [payment.made_at for payment in found if payment] == [TUESDAY, TUESDAY, TUESDAY - HOUR]
    again = await paid(gateway, "P-0", 10_00, paid_at=TUESDAY + 2 * HOUR)
    assert again.status == "duplicate"
    assert await standing(gateway) == (30_00, 0)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"cents": 26_00}, "amount"),
        ({"account_id": "A-2"}, "account_id"),
        ({"paid_at": TUESDAY - 2 * HOUR}, "paid_at"),
        ({"source": "LIHEAP"}, "source"),
        ({"channel": "web"}, "channel"),
    ],
)
async def test_an_id_that_comes_with_other_content_is_refused(gateway: Gateway, changed: dict[str, object], told: str):
    await enrolled(gateway)
    first = {"cents": 25_00, "paid_at": TUESDAY - HOUR, "channel": "kiosk", "source": "customer"}
    await paid(gateway, "P-1", **first)  # type: ignore[arg-type]
    receipt = await paid(gateway, "P-1", **{**first, **changed})  # type: ignore[arg-type]
    assert (receipt.status, receipt.reason) == ("conflict", f"payment P-1 was posted before with another {told}")
    assert (await paid(gateway, "P-1", 25_00)).status == "duplicate"
    assert await standing(gateway) == (25_00, 0)


@pytest.mark.parametrize("amount", ["0.00", "-5.00", "99999999999.00"])
async def test_an_amount_that_cannot_be_is_refused_by_the_payments_name(gateway: Gateway, amount: str) -> None:
    await enrolled(gateway)
    body = f'{{"payment_id": "P-1", "account_id": "A-1", "amount": "{amount}"}}'.encode()
    await HeadEnd(gateway, SilentHeadEnd([HeadEndMessage("payments", body, False, 1)])).receive()
    (receipt,) = await gateway.store.read(
        lambda d: d.execute("SELECT payload FROM outbox WHERE kind = 'receipts'").fetchall()
    )
    assert '"status": "refused"' in receipt[0]
    assert f"payment P-1: the amount {amount}" in receipt[0]
    assert await standing(gateway) == (0, 0)


async def cut(gateway: Gateway) -> None:
    await gateway.store.write(
        lambda d: fleet.add_relay_change(d, "M-1", gateway.clock.now(), "disconnected", "credit", 1)
    )


async def reconnect_wanted(gateway: Gateway) -> bool:
    return any(order.action == "reconnect" for order in await gateway.store.read(fleet.live_orders))


async def test_what_an_agent_took_before_the_cut_brings_power_back(gateway: Gateway) -> None:
    """R64: no discontinuance on a payment made to a payment agent in time; OG&E's 25.00 are not asked for then."""
    await enrolled(gateway, program="oge-pay-as-you-go", opening_balance="-3.00")
    await cut(gateway)
    advance(gateway, HOUR)
    await paid(gateway, "P-1", 10_00, paid_at=TUESDAY - HOUR)
    assert await reconnect_wanted(gateway)
    (told,) = await events(gateway, "paid_before_disconnect")
    assert (told["payment_id"], told["disconnected_at"]) == ("P-1", TUESDAY.isoformat())


async def test_what_is_paid_after_the_cut_reaches_the_programs_sum_first(gateway: Gateway) -> None:
    await enrolled(gateway, program="oge-pay-as-you-go", opening_balance="-3.00")
    await cut(gateway)
    advance(gateway, HOUR)
    await paid(gateway, "P-1", 10_00, paid_at=TUESDAY + HOUR // 2)
    assert not await reconnect_wanted(gateway)
    await paid(gateway, "P-2", 15_00)
    assert await reconnect_wanted(gateway)


async def test_a_payment_that_was_returned_is_none_towards_a_reconnect(gateway: Gateway) -> None:
    """Domain-rules R22: a payment that is later dishonoured is not payment."""
    await enrolled(gateway, program="oge-pay-as-you-go", opening_balance="-3.00")
    await cut(gateway)
    advance(gateway, HOUR)
    await paid(gateway, "P-1", 24_00)
    await return_payment(gateway, "P-1", None, None, "no funds", "test")
    await paid(gateway, "P-2", 24_00)
    assert await standing(gateway) == (21_00, 0)
    assert not await reconnect_wanted(gateway)


async def test_a_return_takes_the_arrears_part_and_the_fee_at_once_and_once(gateway: Gateway) -> None:
    """Domain-rules R5, R22; also after the debt that it had paid is gone, and twice."""
    await enrolled(gateway, arrears="9.00")
    await paid(gateway, "P-1", 30_00)
    assert await standing(gateway) == (21_00, 0)
    first = await return_payment(gateway, "P-1", TUESDAY, 15_00, "no funds", "test")
    again = await return_payment(gateway, "P-1", TUESDAY, 15_00, "no funds", "test")
    assert (first.status, again.status) == ("returned", "duplicate")
    assert await standing(gateway) == (-15_00, 9_00)
    assert await on_account(gateway, "assets:cash:field") == 0
    with pytest.raises(RequestRefused, match="payment P-1 was returned before with another fee"):
        await return_payment(gateway, "P-1", TUESDAY, 20_00, "no funds", "test")


async def test_a_return_with_a_stamp_from_the_future_is_the_same_when_it_comes_again(gateway: Gateway) -> None:
    await enrolled(gateway)
    await paid(gateway, "P-1", 30_00)
    told = [await return_payment(gateway, "P-1", TUESDAY + HOUR, 5_00, "no funds", "test") for _ in range(2)]
    assert [returned.status for returned in told] == ["returned", "duplicate"]
    assert await standing(gateway) == (-5_00, 0)


async def test_aid_that_is_returned_leaves_the_account_of_its_source(gateway: Gateway) -> None:
    await enrolled(gateway)
    await paid(gateway, "P-1", 30_00, source="LIHEAP")
    await return_payment(gateway, "P-1", None, None, "not granted", "test")
    assert await on_account(gateway, "assets:assistance:liheap") == 0
    assert await standing(gateway) == (0, 0)


async def test_a_return_that_comes_before_its_payment_waits_for_it(gateway: Gateway) -> None:
    await enrolled(gateway, arrears="100.00", opening_balance="5.00")
    early = await return_payment(gateway, "P-1", TUESDAY, 15_00, "no funds", "test")
    assert (early.status, early.account_id) == ("awaited", None)
    assert (await return_payment(gateway, "P-1", TUESDAY, 15_00, "no funds", "test")).status == "awaited"
    assert len(await events(gateway, "returned_payment_awaited")) == 1
    receipt = await paid(gateway, "P-1", 30_00)
    assert receipt.status == "posted"
    assert receipt.reason == "the bank had returned it before it came: taken back at once"
    assert await standing(gateway) == (-10_00, 100_00)
    assert (await return_payment(gateway, "P-1", TUESDAY, 15_00, "no funds", "test")).status == "duplicate"
    assert set(await notices(gateway)) >= {"payment", "returned_payment", "zero"}


async def test_payments_and_returns_count_after_the_account_has_left(gateway: Gateway) -> None:
    await enrolled(gateway, arrears="10.00")
    await paid(gateway, "P-1", 20_00)
    await unenroll(gateway, "A-1", "moved", "test")
    await paid(gateway, "P-2", 10_00, paid_at=TUESDAY - HOUR)
    await return_payment(gateway, "P-1", None, 5_00, "no funds", "test")
    assert await standing(gateway) == (2_00, 7_00)


async def test_what_the_head_end_says_again_with_another_fee_is_told(gateway: Gateway) -> None:
    await enrolled(gateway)
    await paid(gateway, "P-1", 20_00)
    said = '{"payment_id": "P-1", "returned_at": "2026-10-13T10:00:00-05:00", "fee": "5"}'
    bodies = [said.encode(), said.replace('"5"', '"6"').encode()]
    messages = [HeadEndMessage("returned-payments", body, False, n) for n, body in enumerate(bodies)]
    await HeadEnd(gateway, SilentHeadEnd(messages)).receive()
    assert await standing(gateway) == (-5_00, 0)
    (told,) = await events(gateway, "rejected")
    assert told["reason"] == "payment P-1 was returned before with another fee"


async def test_a_payment_that_two_paths_report_counts_once(gateway: Gateway) -> None:
    """Where no channel was told, the head end may tell it later."""
    await enrolled(gateway, first_payment="30.00", first_payment_id="P-1", takeover="no")
    again = await paid(gateway, "P-1", 30_00, paid_at=TUESDAY - HOUR, channel="kiosk", source="customer")
    assert again.status == "duplicate"
    assert await standing(gateway) == (30_00, 0)


@pytest.mark.parametrize("table", ["ledger_entry", "ledger_transaction", "payment"])
async def test_no_shell_replaces_a_row_of_the_books(tmp_path: Path, table: str) -> None:
    """INSERT OR REPLACE deletes without asking the triggers for deletion, on a connection as any shell opens it."""
    with a_gateway(tmp_path) as gateway:
        await enrolled(gateway)
        await paid(gateway, "P-1", 30_00)
        with (
            closing(sqlite3.connect(gateway.settings.database)) as shell,
            pytest.raises(sqlite3.IntegrityError, match=f"{table} is insert-only"),
        ):
            shell.execute(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} LIMIT 1")


async def test_the_audit_names_a_payment_that_is_not_what_was_posted(tmp_path: Path) -> None:
    with a_gateway(tmp_path) as gateway:
        await enrolled(gateway, arrears="50.00")
        await paid(gateway, "P-1", 30_00)
        database = gateway.store._database
        database.execute("BEGIN")
        database.execute("DROP TRIGGER payment_no_update")
        database.execute("UPDATE payment SET to_arrears_cents = 800, to_balance_cents = 2200")
        assert list(books.audit(database)) == [
            "payment P-1: its seal does not fit what it says",
            "payment P-1: the ledger posted something else",
        ]
        database.execute("ROLLBACK")
