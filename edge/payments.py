"""Payments: taken from any interface, posted exactly once, answered only when durable."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from edge.core.arrears import split_payment
from edge.core.money import format_cents
from edge.core.payments import MOST_CENTS, Source, paid_when, source_of
from edge.facts import Circumstances
from edge.gateway import Gateway
from edge.notices import tell_balance, tell_payment
from edge.returned_payments import payment_transaction, take_back
from edge.store import books, customers, fleet, records, returns
from edge.store.books import StoredPayment
from edge.store.customers import Account

UNTOLD_CHANNELS = frozenset({"field", "head end", "enrolment"})  # what a channel is called where none is told


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """A payment as somebody reports it. ``channel`` and ``source`` empty, ``paid_at`` None: not told."""

    payment_id: str
    account_id: str
    amount_cents: int
    paid_at: datetime | None
    channel: str
    source: str
    usual_channel: str = "field"  # of whoever reports it, where no channel is told


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a payment. ``conflict``: the id was used for another payment; it counts as refused.

    ``reason``: why it was refused, or what is to be said of one that was posted.
    """

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


async def take_payments(gateway: Gateway, requests: Sequence[PaymentRequest], by: str) -> list[Receipt]:
    """Post payments that came together in one durable transaction; each has its receipt, a bad one is refused alone."""
    around = gateway.circumstances()
    return await gateway.record(
        lambda database: [post_payment(database, gateway, request, around, by) for request in requests]
    )


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
    return _post(database, gateway, request, account, around, by)


def _post(
    database: sqlite3.Connection,
    gateway: Gateway,
    request: PaymentRequest,
    account: Account,
    around: Circumstances,
    by: str,
) -> Receipt:
    paid, remark = _payment_of(database, gateway, request, account, around)
    transaction = payment_transaction(paid, around, remark)
    posted = books.post(database, transaction, posted_at=around.now, received_at=paid.made_at, by=by)
    paid = replace(paid, transaction_id=posted.transaction_id)
    books.add_payment(database, paid)
    if posted.before_cents < 0 and paid.made_at < around.now:
        _tell_paid_before_the_cut(database, account, paid, around)
    tell_payment(database, gateway, account, paid, posted, around)
    tell_balance(database, gateway, account, posted, around)
    if (returned := returns.awaited_payment(database, paid.payment_id)) is not None:
        posted = take_back(database, gateway, paid, returned, around, by)
        remark = "; ".join(filter(None, [remark, "the bank had returned it before it came: taken back at once"]))
    gateway.rule(database, account.account_id, around)
    parts = paid.to_arrears_cents, paid.to_balance_cents
    return Receipt(request.payment_id, "posted", remark, *parts, posted.balance_cents)


def _payment_of(
    database: sqlite3.Connection,
    gateway: Gateway,
    request: PaymentRequest,
    account: Account,
    around: Circumstances,
) -> tuple[StoredPayment, str]:
    """A payment, split as the program says, and what is to be said of it: a source nobody knows, a wrong clock."""
    program, _ = gateway.rulebook.programs[account.program]
    balance = books.balance_cents(database, account.account_id)
    debt = books.arrears_cents(database, account.account_id)
    source = source_of(request.source)
    unknown = "" if source else f"the source {request.source!r} is not known: counted as the customer's"
    source = source or Source.CUSTOMER
    made_at, wrong_clock = paid_when(request.paid_at, around.now)
    to_arrears, to_balance = split_payment(request.amount_cents, balance, debt, program, source)
    paid = StoredPayment(
        request.payment_id,
        account.account_id,
        request.amount_cents,
        to_arrears,
        to_balance,
        request.paid_at,
        request.channel or request.usual_channel,
        source,
        around.now,
        0,
        made_at,
    )
    return paid, "; ".join(filter(None, [unknown, wrong_clock]))


def _tell_paid_before_the_cut(
    database: sqlite3.Connection, account: Account, paid: StoredPayment, around: Circumstances
) -> None:
    """Tell the head end of a payment that an agent had taken before the disconnect and that came after it (R64)."""
    change = fleet.relay_change(database, account.meter_id)
    if change is None or change.relay != "disconnected" or change.cause != "credit" or paid.made_at > change.at:
        return
    data = {
        "account_id": account.account_id,
        "payment_id": paid.payment_id,
        "paid_at": paid.made_at.isoformat(),
        "disconnected_at": change.at.isoformat(),
    }
    records.add_event(database, "paid_before_disconnect", around.now, data)


def _answer_again(database: sqlite3.Connection, earlier: StoredPayment, request: PaymentRequest) -> Receipt:
    differing = [
        name
        for name, before, now in (
            ("account_id", earlier.account_id, request.account_id),
            ("amount", earlier.amount_cents, request.amount_cents),
            ("paid_at", earlier.paid_at, request.paid_at),
            ("channel", None if earlier.channel in UNTOLD_CHANNELS else earlier.channel, request.channel or None),
            ("source", earlier.source, (source_of(request.source) or Source.CUSTOMER) if request.source else None),
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
