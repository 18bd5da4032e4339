"""Payments: taken from any interface, posted exactly once, answered only when durable."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, NamedTuple

from edge.core.arrears import split_payment
from edge.core.money import format_cents
from edge.core.payments import MOST_CENTS, Source, paid_when, source_of
from edge.facts import Circumstances
from edge.gateway import Gateway
from edge.notices import tell_balances, tell_payments
from edge.returned_payments import payment_transaction, take_back
from edge.store import books, customers, fleet, many, records, returns
from edge.store.books import StoredPayment
from edge.store.customers import Account
from edge.store.posting import post_many

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
    return await gateway.record(lambda database: post_payments(database, gateway, requests, around, by))


def post_payment(
    database: sqlite3.Connection, gateway: Gateway, request: PaymentRequest, around: Circumstances, by: str
) -> Receipt:
    """Inside a transaction: the receipt of a payment, posted, found again or refused."""
    return post_payments(database, gateway, [request], around, by)[0]


def post_payments(
    database: sqlite3.Connection,
    gateway: Gateway,
    requests: Sequence[PaymentRequest],
    around: Circumstances,
    by: str,
) -> list[Receipt]:
    """Inside a transaction: the receipts of payments, as if they had been posted one after the other."""
    receipts: list[Receipt] = []
    start = 0
    seen: set[str] = set()
    for index, request in enumerate(requests):
        names = {f"account {request.account_id}", f"payment {request.payment_id}"}
        if seen & names:  # a second payment sees what the first one has done
            receipts += _post_apart(database, gateway, requests[start:index], around, by)
            start, seen = index, set()
        seen |= names
    return receipts + _post_apart(database, gateway, requests[start:], around, by)


def _post_apart(
    database: sqlite3.Connection,
    gateway: Gateway,
    requests: Sequence[PaymentRequest],
    around: Circumstances,
    by: str,
) -> list[Receipt]:
    """Payments that have neither an id nor an account in common."""
    earlier = books.payments(database, [request.payment_id for request in requests])
    accounts = customers.accounts_of(database, [request.account_id for request in requests])
    balances = many.balances(database, list(accounts))
    receipts: dict[str, Receipt] = {}
    fresh: list[_Fresh] = []
    for request in requests:
        before, account = earlier.get(request.payment_id), accounts.get(request.account_id)
        if before is not None:
            receipts[request.payment_id] = _answer_again(database, before, request)
        elif account is None or (why := _wrong_amount(request.amount_cents)):
            why = why if account else f"there is no account {request.account_id}"
            receipts[request.payment_id] = _refuse(database, request, why, around.now, by)
        else:
            fresh.append(_fresh(gateway, request, account, balances[account.account_id], around))
    if fresh:
        receipts |= _post(database, gateway, fresh, around, by)
    return [receipts[request.payment_id] for request in requests]


def _wrong_amount(amount_cents: int) -> str:
    if amount_cents <= 0:
        return f"the amount {format_cents(amount_cents)} is not above zero"
    if amount_cents > MOST_CENTS:
        return f"the amount {format_cents(amount_cents)} is too large to be one payment"
    return ""


class _Fresh(NamedTuple):
    """A payment to be posted, split as the program says, and what is to be said of it."""

    account: Account
    paid: StoredPayment
    remark: str


def _fresh(
    gateway: Gateway, request: PaymentRequest, account: Account, balances: tuple[int, int], around: Circumstances
) -> _Fresh:
    program, _ = gateway.rulebook.programs[account.program]
    source = source_of(request.source)
    unknown = "" if source else f"the source {request.source!r} is not known: counted as the customer's"
    source = source or Source.CUSTOMER
    made_at, wrong_clock = paid_when(request.paid_at, around.now)
    to_arrears, to_balance = split_payment(request.amount_cents, *balances, program, source)
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
    return _Fresh(account, paid, "; ".join(filter(None, [unknown, wrong_clock])))


def _post(
    database: sqlite3.Connection, gateway: Gateway, fresh: list[_Fresh], around: Circumstances, by: str
) -> dict[str, Receipt]:
    transactions = [(payment_transaction(one.paid, around, one.remark), one.paid.made_at) for one in fresh]
    entered = post_many(database, transactions, posted_at=around.now, by=by)
    stored = [
        replace(one.paid, transaction_id=posted.transaction_id) for one, posted in zip(fresh, entered, strict=True)
    ]
    books.add_payments(database, stored)
    told = [(one.account, paid, posted) for one, paid, posted in zip(fresh, stored, entered, strict=True)]
    for account, paid, posted in told:
        if posted.before_cents < 0 and paid.made_at < around.now:
            _tell_paid_before_the_cut(database, account, paid, around)
    tell_payments(database, gateway, told, around)
    tell_balances(database, gateway, [(account, posted) for account, _, posted in told], around)
    returned = returns.awaited_payments(database, [paid.payment_id for paid in stored])
    receipts = {}
    for one, paid, posted in zip(fresh, stored, entered, strict=True):
        remark, after = one.remark, posted
        if (awaited := returned.get(paid.payment_id)) is not None:
            after = take_back(database, gateway, paid, awaited, around, by)
            remark = "; ".join(filter(None, [remark, "the bank had returned it before it came: taken back at once"]))
        parts = paid.to_arrears_cents, paid.to_balance_cents
        receipts[paid.payment_id] = Receipt(paid.payment_id, "posted", remark, *parts, after.balance_cents)
    gateway.rule_many(database, [one.account.account_id for one in fresh], around)
    return receipts


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
