"""Payments that the bank did not honour: taken back at once, in whatever order payment and return arrive."""

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from edge.core import ledger
from edge.core.money import format_cents
from edge.core.payments import MOST_CENTS
from edge.facts import Circumstances
from edge.gateway import Gateway
from edge.notices import tell_balance, tell_returned
from edge.refusals import RequestRefused
from edge.store import books, customers, records, returns
from edge.store.books import StoredPayment
from edge.store.returns import ReturnedPayment


@dataclass(frozen=True, slots=True)
class Returned:
    """What became of a return. ``awaited``: its payment has not come yet, and will be taken back when it does."""

    payment_id: str
    status: Literal["returned", "duplicate", "awaited"]
    account_id: str | None
    balance_cents: int | None


async def return_payment(
    gateway: Gateway, payment_id: str, returned_at: datetime | None, fee_cents: int | None, reason: str, by: str
) -> Returned:
    """Take a payment back at once, its arrears part and the fee too, and tell the customer (domain-rules R5, R22).

    The same return again changes nothing; ``returned_at`` and ``fee_cents`` None are not told: now, and no fee. One
    that comes before its payment is kept. Raises RequestRefused when it was returned before with another time or fee.
    """
    if fee_cents is not None and not 0 <= fee_cents <= MOST_CENTS:
        what = "below zero" if fee_cents < 0 else "too large to be one fee"
        raise RequestRefused(f"payment {payment_id}: the fee {format_cents(fee_cents)} is {what}")

    def work(database: sqlite3.Connection) -> Returned:
        around = gateway.circumstances()
        paid = books.payment(database, payment_id)
        earlier = returns.returned_payment(database, payment_id) or returns.awaited_payment(database, payment_id)
        if earlier is not None:
            _check_same(payment_id, earlier, returned_at, fee_cents)
            return _outcome(database, payment_id, "awaited" if paid is None else "duplicate", paid)
        returned = ReturnedPayment(returned_at or around.now, fee_cents or 0, reason)
        if paid is None:
            returns.await_payment(database, payment_id, returned, around.now, by)
            data = {"payment_id": payment_id, "fee": format_cents(returned.fee_cents), "reason": reason, "by": by}
            records.add_event(database, "returned_payment_awaited", around.now, data)
            return _outcome(database, payment_id, "awaited", None)
        take_back(database, gateway, paid, returned, around, by)
        gateway.rule(database, paid.account_id, around)
        return _outcome(database, payment_id, "returned", paid)

    return await gateway.record(work)


def take_back(
    database: sqlite3.Connection,
    gateway: Gateway,
    paid: StoredPayment,
    returned: ReturnedPayment,
    around: Circumstances,
    by: str,
) -> books.Posted:
    """Inside a transaction: undo a payment's split, charge the fee, tell the customer. Whoever calls decides again."""
    account = customers.account(database, paid.account_id)
    assert account is not None
    today = around.now.astimezone(around.zone).date()
    of = payment_transaction(paid, around)
    transaction = ledger.returned_payment(
        of=of, transaction_id=paid.transaction_id, day=today, fee_cents=returned.fee_cents, note=returned.reason
    )
    posted = books.post(database, transaction, posted_at=around.now, received_at=around.now, by=by)
    returns.add_returned_payment(database, paid.payment_id, returned, posted)
    tell_returned(database, gateway, account, paid, returned.fee_cents, posted, around)
    tell_balance(database, gateway, account, posted, around)
    return posted


def payment_transaction(paid: StoredPayment, around: Circumstances, remark: str = "") -> ledger.Transaction:
    """The transaction of a payment, on the present civil day."""
    return ledger.payment(
        account_id=paid.account_id,
        day=around.now.astimezone(around.zone).date(),
        payment_id=paid.payment_id,
        channel=paid.channel,
        to_arrears_cents=paid.to_arrears_cents,
        to_balance_cents=paid.to_balance_cents,
        source=paid.source,
        note=remark,
    )


def _check_same(payment_id: str, earlier: ReturnedPayment, returned_at: datetime | None, fee_cents: int | None) -> None:
    differing = [
        name
        for name, before, now in (
            ("returned_at", earlier.returned_at, returned_at),
            ("fee", earlier.fee_cents, fee_cents),
        )
        if now is not None and before != now
    ]
    if differing:
        raise RequestRefused(f"payment {payment_id} was returned before with another {' and '.join(differing)}")


def _outcome(
    database: sqlite3.Connection,
    payment_id: str,
    status: Literal["returned", "duplicate", "awaited"],
    paid: StoredPayment | None,
) -> Returned:
    if paid is None:
        return Returned(payment_id, status, None, None)
    return Returned(payment_id, status, paid.account_id, books.balance_cents(database, paid.account_id))
