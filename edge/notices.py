"""Notices to customers: each recorded once per event, in the transaction of what it tells, and sent by the outbox."""

import sqlite3
from datetime import datetime

from edge.core import notices as texts
from edge.facts import Circumstances
from edge.store import books, records
from edge.store.books import Posted
from edge.store.customers import Account


def tell_balance(database: sqlite3.Connection, account: Account, posted: Posted, around: Circumstances) -> None:
    """Give the zero notice when the balance is zero or below and none is in force (domain-rules C3)."""
    if posted.balance_cents > 0:
        return
    last = records.notice_reached(database, account.account_id, "zero", confirmed_only=False)
    if last is not None and not books.balance_was_positive_since(database, account.account_id, last[0]):
        return
    text = texts.zero_balance(posted.balance_cents)
    key = f"zero-{account.account_id}-{posted.entry_id}"
    records.add_notice(database, records.Notice(account.account_id, "zero", text, key, posted.entry_id, around.now))


def tell_payment(
    database: sqlite3.Connection,
    account: Account,
    payment_id: str,
    amount_cents: int,
    to_arrears_cents: int,
    posted: Posted,
    around: Circumstances,
) -> None:
    """Tell that a payment was received."""
    text = texts.payment_received(amount_cents, to_arrears_cents, posted.balance_cents)
    notice = records.Notice(account.account_id, "payment", text, f"payment-{payment_id}", posted.entry_id, around.now)
    records.add_notice(database, notice)


def tell_returned(
    database: sqlite3.Connection,
    account: Account,
    payment_id: str,
    amount_cents: int,
    fee_cents: int,
    posted: Posted,
    around: Circumstances,
) -> None:
    """Tell that a payment was taken back; the customer's business day runs from this notice."""
    text = texts.payment_returned(amount_cents, fee_cents, posted.balance_cents)
    notice = records.Notice(
        account.account_id, "returned_payment", text, f"returned-{payment_id}", posted.entry_id, around.now
    )
    records.add_notice(database, notice)


def tell_disconnected(
    database: sqlite3.Connection, account_id: str, order_id: int, amount_to_reconnect: int | None, now: datetime
) -> None:
    """Tell that power was disconnected and what brings it back."""
    text = texts.disconnected(books.balance_cents(database, account_id), amount_to_reconnect)
    _add_for(database, account_id, "disconnected", text, f"disconnected-{order_id}", now)


def tell_reconnected(database: sqlite3.Connection, account_id: str, order_id: int, now: datetime) -> None:
    """Tell that power is back."""
    text = texts.reconnected(books.balance_cents(database, account_id))
    _add_for(database, account_id, "reconnected", text, f"reconnected-{order_id}", now)


def _add_for(
    database: sqlite3.Connection, account_id: str, kind: str, text: str, event_key: str, now: datetime
) -> None:
    entry_id = books.last_prepaid_entry(database, account_id)
    records.add_notice(database, records.Notice(account_id, kind, text, event_key, entry_id, now))
