"""Payments: taken from any interface, posted exactly once, answered only when durable."""

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from edge.core import ledger
from edge.core.arrears import split_payment
from edge.core.money import format_cents
from edge.facts import Circumstances
from edge.gateway import Gateway
from edge.notices import tell_balance, tell_payment, tell_returned
from edge.refusals import RequestRefused
from edge.store import books, customers, records
from edge.store.books import StoredPayment

MOST_CENTS = 10_000_000_00  # one payment above this is a slipped decimal point


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """A payment as somebody reports it."""

    payment_id: str
    account_id: str
    amount_cents: int
    paid_at: datetime | None
    channel: str
    source: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a payment. ``conflict``: the id was used for another payment; it counts as refused."""

    payment_id: str
    status: Literal["posted", "duplicate", "conflict", "refused"]
    reason: str
    to_arrears_cents: int = 0
    to_balance_cents: int = 0
    balance_cents: int = 0


async def take_payment(gateway: Gateway, request: PaymentRequest, by: str) -> Receipt:
    """Post a payment and whatever it sets in motion in one durable transaction; the same id again changes nothing."""
    around = gateway.circumstances()
    return await gateway.record(lambda database: post_payment(database, gateway, request, around, by))


def post_payment(
    database: sqlite3.Connection, gateway: Gateway, request: PaymentRequest, around: Circumstances, by: str
) -> Receipt:
    """Inside a transaction: the receipt of a payment, posted, found again or refused."""
    earlier = books.payment(database, request.payment_id)
    if earlier is not None:
        return _answer_again(database, earlier, request)
    account = customers.account(database, request.account_id)
    if account is None:
        return _refuse(database, request, f"there is no account {request.account_id}", around.now, by)
    if request.amount_cents <= 0:
        amount = format_cents(request.amount_cents)
        return _refuse(database, request, f"the amount {amount} is not above zero", around.now, by)
    if request.amount_cents > MOST_CENTS:
        amount = format_cents(request.amount_cents)
        return _refuse(database, request, f"the amount {amount} is too large to be one payment", around.now, by)
    program, _ = gateway.rulebook.programs[account.program]
    balance = books.balance_cents(database, account.account_id)
    debt = books.arrears_cents(database, account.account_id)
    to_arrears, to_balance = split_payment(request.amount_cents, balance, debt, program)
    transaction = ledger.payment(
        account_id=account.account_id,
        day=around.now.astimezone(around.zone).date(),
        payment_id=request.payment_id,
        channel=request.channel,
        to_arrears_cents=to_arrears,
        to_balance_cents=to_balance,
    )
    posted = books.post(database, transaction, posted_at=around.now, received_at=around.now, by=by)
    paid = StoredPayment(
        request.payment_id,
        account.account_id,
        request.amount_cents,
        to_arrears,
        to_balance,
        request.paid_at,
        request.channel,
        request.source,
        around.now,
        posted.transaction_id,
    )
    books.add_payment(database, paid)
    tell_payment(database, gateway, account, paid, posted, around)
    tell_balance(database, gateway, account, posted, around)
    gateway.rule(database, account.account_id, around)
    return Receipt(request.payment_id, "posted", "", to_arrears, to_balance, posted.balance_cents)


def _answer_again(database: sqlite3.Connection, earlier: StoredPayment, request: PaymentRequest) -> Receipt:
    differing = [
        name
        for name, before, now in (
            ("account_id", earlier.account_id, request.account_id),
            ("amount", earlier.amount_cents, request.amount_cents),
            ("paid_at", earlier.paid_at, request.paid_at),
        )
        if before != now and None not in (before, now)
    ]
    balance = books.balance_cents(database, earlier.account_id)
    if differing:
        reason = f"payment {request.payment_id} was posted before with another {' and '.join(differing)}"
        return Receipt(request.payment_id, "conflict", reason)
    return Receipt(request.payment_id, "duplicate", "", earlier.to_arrears_cents, earlier.to_balance_cents, balance)


def _refuse(database: sqlite3.Connection, request: PaymentRequest, reason: str, now: datetime, by: str) -> Receipt:
    what = f"{request.payment_id} {request.account_id} {format_cents(request.amount_cents)}"
    records.add_rejected(database, by, what, f"payment {request.payment_id}: {reason}", now)
    return Receipt(request.payment_id, "refused", f"payment {request.payment_id}: {reason}")


async def return_payment(
    gateway: Gateway, payment_id: str, returned_at: datetime, fee_cents: int, reason: str, by: str
) -> None:
    """Take a payment back at once, its arrears part and the fee too, and tell the customer (domain-rules R5, R22).

    A second return of the same payment changes nothing. Raises RequestRefused for a payment that was never posted.
    """

    def work(database: sqlite3.Connection) -> None:
        paid = books.payment(database, payment_id)
        if paid is None:
            raise RequestRefused(f"payment {payment_id} was never posted, so it cannot be returned")
        if fee_cents < 0:
            raise RequestRefused(f"payment {payment_id}: the fee {format_cents(fee_cents)} is below zero")
        if books.is_returned(database, payment_id):
            return
        around = gateway.circumstances()
        account = customers.account(database, paid.account_id)
        assert account is not None
        today = around.now.astimezone(around.zone).date()
        transaction = ledger.returned_payment(
            of=ledger.payment(
                account_id=paid.account_id,
                day=today,
                payment_id=payment_id,
                channel=paid.channel,
                to_arrears_cents=paid.to_arrears_cents,
                to_balance_cents=paid.to_balance_cents,
            ),
            transaction_id=paid.transaction_id,
            day=today,
            fee_cents=fee_cents,
            note=reason,
        )
        posted = books.post(database, transaction, posted_at=around.now, received_at=around.now, by=by)
        books.add_returned_payment(database, payment_id, returned_at, fee_cents, reason, posted)
        tell_returned(database, gateway, account, paid, fee_cents, posted, around)
        tell_balance(database, gateway, account, posted, around)
        gateway.rule(database, paid.account_id, around)

    await gateway.record(work)
