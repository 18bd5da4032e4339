"""Transactions as the books have them, and the hash chain."""

from datetime import date

import pytest

from edge.core import ledger
from edge.core.ledger import Posting, Transaction

DAY = date(2026, 7, 11)


def amounts(transaction: Transaction) -> dict[str, int]:
    return {posting.ledger_account: posting.amount_cents for posting in transaction.postings}


def payment(to_arrears: int = 900, to_balance: int = 2100) -> Transaction:
    return ledger.payment(
        account_id="A1",
        day=DAY,
        payment_id="p1",
        channel="Pay Station",
        to_arrears_cents=to_arrears,
        to_balance_cents=to_balance,
    )


def test_payment_of_the_seed():
    # Seed 002, PSO, message C: $30, of which $9 toward arrears.
    found = payment()
    assert amounts(found) == {
        "assets:cash:pay-station": 3000,
        "assets:arrears:A1": -900,
        "liabilities:prepaid:A1": -2100,
    }
    assert (found.kind, found.ref) == ("payment", "payment:p1")
    assert ledger.effect_on_prepaid(found, "A1") == 2100
    assert ledger.effect_on_arrears(found, "A1") == -900


@pytest.mark.parametrize(("to_arrears", "to_balance"), [(0, 0), (-1, 2), (2, -1)])
def test_a_payment_of_nothing_is_none(to_arrears: int, to_balance: int):
    with pytest.raises(ValueError, match="make no payment"):
        payment(to_arrears, to_balance)


def test_charge_goes_to_revenue_and_taxes_are_owed_on():
    charges = {"energy": 195, "customer_charge": 32, "rider:storm": 0, "tax:city": 7, "minimum": -4}
    found = ledger.charge(account_id="A1", day=DAY, charges=charges, estimated=True)
    assert amounts(found) == {
        "liabilities:prepaid:A1": 230,
        "revenue:energy": -195,
        "revenue:customer_charge": -32,
        "liabilities:tax:city": -7,
        "revenue:minimum": 4,
    }
    assert found.ref == "charge:A1:2026-07-11"
    assert found.estimated
    assert ledger.effect_on_prepaid(found, "A1") == -230


def test_a_day_that_costs_nothing_has_no_postings():
    assert ledger.charge(account_id="A1", day=DAY, charges={}).postings == ()
    assert amounts(ledger.charge(account_id="A1", day=DAY, charges={"energy": 5, "minimum": -5})) == {
        "revenue:energy": -5,
        "revenue:minimum": 5,
    }


def test_opening():
    found = ledger.opening(account_id="A1", day=DAY, balance_cents=2500, arrears_cents=12_000)
    assert amounts(found) == {
        "liabilities:prepaid:A1": -2500,
        "assets:arrears:A1": 12_000,
        "clearing:opening": -9_500,
    }
    assert ledger.opening(account_id="A1", day=DAY, balance_cents=0, arrears_cents=0).postings == ()


def test_adjustment_and_correction():
    credit = ledger.adjustment(account_id="A1", day=DAY, amount_cents=500, ref="adjustment:1", note="goodwill")
    assert amounts(credit) == {"liabilities:prepaid:A1": -500, "revenue:adjustments": 500}
    found = ledger.correction(
        account_id="A1", day=DAY, corrects=date(2026, 7, 9), charges={"energy": -30}, ref="correction:A1:2026-07-09"
    )
    assert amounts(found) == {"liabilities:prepaid:A1": -30, "revenue:energy": 30}
    assert (found.kind, found.note) == ("adjustment", "corrects 2026-07-09")


def test_reversal_undoes_all():
    found = ledger.reversal(of=payment(), transaction_id=7, day=DAY, note="wrong account")
    assert amounts(found) == {account: -cents for account, cents in amounts(payment()).items()}
    assert (found.reverses, found.ref) == (7, "reversal:payment:p1")


def test_returned_payment_undoes_the_split_and_charges_the_fee():
    found = ledger.returned_payment(of=payment(), transaction_id=7, day=DAY, fee_cents=2500)
    assert amounts(found) == {
        "assets:cash:pay-station": -3000,
        "assets:arrears:A1": 900,
        "liabilities:prepaid:A1": 2100 + 2500,
        "revenue:returned_payment_fee": -2500,
    }
    all_to_arrears = ledger.returned_payment(of=payment(900, 0), transaction_id=7, day=DAY, fee_cents=100)
    assert ledger.effect_on_prepaid(all_to_arrears, "A1") == -100
    with pytest.raises(ValueError, match="is no payment"):
        ledger.returned_payment(of=found, transaction_id=8, day=DAY)


def test_deposit_pays_debt_first():
    found = ledger.deposit_application(
        account_id="A1", day=DAY, to_arrears_cents=900, to_balance_cents=100, ref="deposit:A1"
    )
    assert amounts(found) == {
        "liabilities:deposits:A1": 1000,
        "assets:arrears:A1": -900,
        "liabilities:prepaid:A1": -100,
    }


@pytest.mark.parametrize(
    ("postings", "said"),
    [((Posting("a", 1),), "sum to 1 cents"), ((Posting("a", 0),), "a posting of nothing")],
)
def test_a_transaction_balances(postings: tuple[Posting, ...], said: str):
    with pytest.raises(ValueError, match=said):
        Transaction("charge", "A1", DAY, "r", postings)


@pytest.mark.parametrize(
    ("channel", "account"),
    [("kiosk", "kiosk"), ("  Web; 2: x", "web-2-x"), ("", "unknown"), ("…", "unknown")],
)
def test_channels_make_plain_account_names(channel: str, account: str):
    assert ledger.cash(channel) == f"assets:cash:{account}"


def chained(*entries: tuple[str | int | None, ...]) -> list[tuple[tuple[str | int | None, ...], str]]:
    rows = []
    previous = ledger.GENESIS_HASH
    for fields in entries:
        previous = ledger.entry_hash(previous, fields)
        rows.append((fields, previous))
    return rows


def test_the_chain_holds_and_names_the_first_row_that_does_not_fit():
    rows = chained((1, "a", None), (2, "b", None), (3, "c", 4))
    assert ledger.check_chain(rows) is None
    assert ledger.check_chain([rows[0], ((2, "B", None), rows[1][1]), rows[2]]) == 1
    assert ledger.check_chain([rows[0], rows[2]]) == 1
    assert ledger.check_chain(rows[1:]) == 0


def test_fields_do_not_run_into_each_other():
    texts = [("ab", "c"), ("a", "bc"), ("a", "b", "c"), ("1",), (1,), ("",), (None,), (), ('a","b',), ("a", "b")]
    assert len({ledger.entry_hash(ledger.GENESIS_HASH, fields) for fields in texts}) == len(texts)
