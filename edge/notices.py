"""Notices to customers: each recorded once an event and channel, in the transaction of what it tells; sent afterwards.

A customer chose channels at enrolment (seed 002, OCC: "a choice of communication methods"). What is for SMS or IVR, and
for e-mail where the site has no mail server, the head end is given on ``out/notices``; e-mail and in-home displays are
the gateway's own (``mail``, ``displays``).
"""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from edge.core import notices as texts
from edge.core.arrears import payment_reaching
from edge.core.ledger import Settlement
from edge.core.model import Facts, Relay
from edge.core.programs import Program
from edge.core.vee import Limits
from edge.facts import Circumstances
from edge.gateway import Gateway
from edge.rulings import Ruling
from edge.standing import kwh_price, spending_of, standing_of, tariff_today, tariffs_today
from edge.store import books, customers, many, records
from edge.store.books import Posted
from edge.store.customers import Account

_ORDER, _WEATHER = "ban:order", "ban:weather"  # marks of who is held back by which ban
_BANS = frozenset({_ORDER, _WEATHER})
_BAN_OF = {"moratorium_order": _ORDER, "weather_cold": _WEATHER, "weather_heat": _WEATHER}
_WEATHER_NOT_KNOWN = frozenset({"weather_unknown", "weather_stale"})  # a ban by the weather may hold still


def tell_balance(
    database: sqlite3.Connection, gateway: Gateway, account: Account, posted: Posted, around: Circumstances
) -> None:
    """Give what a posting makes due: the customer's dollar level, days left, zero (domain-rules R3, R7, C3).

    Who has left the program is warned of nothing.
    """
    tell_balances(database, gateway, [(account, posted)], around)


def tell_balances(
    database: sqlite3.Connection, gateway: Gateway, posted: Sequence[tuple[Account, Posted]], around: Circumstances
) -> None:
    """The same for any number of accounts, each with one posting."""
    account_ids = [account.account_id for account, _ in posted if account.active]
    marks = many.notice_marks(database, account_ids)
    costs = many.recent_costs(database, account_ids, texts.RECENT_DAYS)
    for account, after in posted:
        if account.active:
            told = marks.get(account.account_id, frozenset())
            spent = spending_of(account, after.balance_cents, costs)
            _tell_fall(database, gateway, account, after, spent, told, around)


def _tell_fall(
    database: sqlite3.Connection,
    gateway: Gateway,
    account: Account,
    posted: Posted,
    after: texts.Standing,
    marks: frozenset[str],
    around: Circumstances,
) -> None:
    days, level_cents = program_of(gateway, account).notice_days_left, account.low_balance_cents
    due = texts.falls(posted.before_cents, after, level_cents, days, marks - _BANS)
    kept = marks & _BANS if posted.balance_cents <= 0 else frozenset()
    if due.told | kept != marks:
        records.set_notice_marks(database, account.account_id, marks, due.told | kept)
    if due.low_balance or due.days_left is not None:
        _tell_what_is_left(database, gateway, account, posted, due, around)
    if posted.balance_cents <= 0:
        _tell_zero_once(database, gateway, account, posted, around)


def _tell_what_is_left(
    database: sqlite3.Connection,
    gateway: Gateway,
    account: Account,
    posted: Posted,
    due: texts.Falls,
    around: Circumstances,
) -> None:
    tariff, register = tariff_today(database, account, gateway.tariffs, around), register_of(gateway, account)
    standing = standing_of(database, account, posted.balance_cents, tariff, register, around)
    days = program_of(gateway, account).notice_days_left
    suffix = f"{account.account_id}-{posted.entry_id}"
    if due.low_balance and account.low_balance_cents is not None:
        text = texts.low_balance(standing, account.low_balance_cents, days)
        _tell(database, gateway, account, "low_balance", text, f"low-{suffix}", posted.entry_id, around.now)
    if due.days_left is not None:
        text = texts.remaining_credit(standing, days)
        key = f"days-{due.days_left}-{suffix}"
        _tell(database, gateway, account, "days_left", text, key, posted.entry_id, around.now)


def _tell_zero_once(
    database: sqlite3.Connection, gateway: Gateway, account: Account, posted: Posted, around: Circumstances
) -> None:
    """Give the zero notice unless one is in force: only a balance above zero ends one."""
    last = records.last_notice(database, account.account_id, "zero")
    if last is None or books.balance_was_positive_since(database, account.account_id, last.entry_id):
        key = f"zero-{account.account_id}-{posted.entry_id}"
        _tell_zero(database, gateway, account, key, posted.entry_id, around)


def _tell_zero(
    database: sqlite3.Connection, gateway: Gateway, account: Account, key: str, entry_id: int, around: Circumstances
) -> None:
    balance = books.balance_cents(database, account.account_id)
    text = texts.zero_balance(balance, _to_pay(database, gateway, account))
    _tell(database, gateway, account, "zero", text, key, entry_id, around.now)


def _to_pay(database: sqlite3.Connection, gateway: Gateway, account: Account) -> int | None:
    """The smallest payment that makes a credit balance, the arrears' share included."""
    balance = books.balance_cents(database, account.account_id)
    debt = books.arrears_cents(database, account.account_id)
    return payment_reaching(balance, debt, 1, program_of(gateway, account))


def tell_ruling(database: sqlite3.Connection, gateway: Gateway, ruling: Ruling, around: Circumstances) -> None:
    """Give what a ruling about somebody at or below zero makes due: a disconnect to come, the end of a ban on them."""
    facts, decision, account = ruling.facts, ruling.decision, ruling.account
    concerned = facts.enrolled and facts.relay is Relay.CONNECTED and facts.protected == ()
    if not concerned or facts.balance_cents is None or facts.balance_cents > 0:
        return
    codes = {block.code for block in decision.blocks}
    following = decision.next_possible_disconnect
    _tell_ban_ended(database, gateway, account, codes, following, around)
    if program_of(gateway, account).notice_after_moratorium and "moratorium_order" not in codes:
        _renew_zero(database, gateway, account, facts, around)
    if following is not None and following > around.now:
        _tell_pending(database, gateway, account, following, around)


def _tell_ban_ended(
    database: sqlite3.Connection,
    gateway: Gateway,
    account: Account,
    codes: set[str],
    following: datetime | None,
    around: Circumstances,
) -> None:
    """Once for each time that an order or the weather held the account back (domain-rules R11, C7)."""
    marks = records.notice_marks(database, account.account_id)
    held = {_BAN_OF[code] for code in codes if code in _BAN_OF}
    if _WEATHER in marks and codes & _WEATHER_NOT_KNOWN:
        held.add(_WEATHER)
    records.set_notice_marks(database, account.account_id, marks, marks - _BANS | held)
    if marks & _BANS and not held:
        balance = books.balance_cents(database, account.account_id)
        to_pay = _to_pay(database, gateway, account)
        text = texts.moratorium_ended(balance, to_pay, following, around.zone)
        key = f"moratorium-{account.account_id}-{around.now.isoformat()}"
        entry_id = books.last_prepaid_entry(database, account.account_id)
        _tell(database, gateway, account, "moratorium_ended", text, key, entry_id, around.now)


def _renew_zero(
    database: sqlite3.Connection, gateway: Gateway, account: Account, facts: Facts, around: Circumstances
) -> None:
    """A fresh zero notice where an order has ended since the last one and the program asks for it (C7, ``strict``)."""
    ended = [o.until for o in facts.moratoriums or () if o.until is not None and o.until <= around.now]
    last = records.last_notice(database, account.account_id, "zero")
    if last is not None and ended and last.created_at < max(ended):
        key = f"zero-{account.account_id}-{last.entry_id}-after-{max(ended).isoformat()}"
        _tell_zero(database, gateway, account, key, last.entry_id, around)


def _tell_pending(
    database: sqlite3.Connection, gateway: Gateway, account: Account, at: datetime, around: Circumstances
) -> None:
    """Once a zero notice: when power may be disconnected, and what keeps it on (domain-rules R43)."""
    zero = records.last_notice(database, account.account_id, "zero")
    if zero is None or records.was_told(database, key := f"pending-{zero.event_key}"):
        return
    balance = books.balance_cents(database, account.account_id)
    text = texts.pending_disconnect(balance, _to_pay(database, gateway, account), at, around.zone)
    _tell(database, gateway, account, "pending_disconnect", text, key, zero.entry_id, around.now)


def tell_payments(
    database: sqlite3.Connection,
    gateway: Gateway,
    received: Sequence[tuple[Account, books.StoredPayment, Posted]],
    around: Circumstances,
) -> None:
    """Tell that payments were received: on the day each was made, where that is known and not still to come."""
    today = around.now.astimezone(around.zone).date()
    tariffs = tariffs_today(database, [account for account, _, _ in received], gateway.tariffs, around)
    told = []
    for account, paid, posted in received:
        made_at = paid.paid_at if paid.paid_at is not None and paid.paid_at <= around.now else around.now
        text = texts.payment_received(
            paid.amount_cents,
            paid.to_arrears_cents,
            made_at.astimezone(around.zone).date(),
            posted.balance_cents,
            kwh_price(database, account, tariffs[account.account_id], today),
        )
        told += _notices(gateway, account, "payment", text, f"payment-{paid.payment_id}", posted.entry_id, around.now)
    _record(database, gateway, told)


def tell_returned(
    database: sqlite3.Connection,
    gateway: Gateway,
    account: Account,
    paid: books.StoredPayment,
    fee_cents: int,
    posted: Posted,
    around: Circumstances,
) -> None:
    """Tell that a payment was taken back; the customer's business day runs from this notice (domain-rules R22)."""
    text = texts.payment_returned(paid.amount_cents, fee_cents, posted.balance_cents)
    key = f"returned-{paid.payment_id}"
    _tell(database, gateway, account, "returned_payment", text, key, posted.entry_id, around.now)


def tell_adjustment(
    database: sqlite3.Connection,
    gateway: Gateway,
    account: Account,
    amount_cents: int,
    reason: str,
    posted: Posted,
    around: Circumstances,
) -> None:
    """Tell of a charge (below zero) or a credit beside the tariff."""
    text = texts.adjusted(amount_cents, reason, posted.balance_cents)
    key = f"adjustment-{account.account_id}-{posted.entry_id}"
    _tell(database, gateway, account, "adjustment", text, key, posted.entry_id, around.now)


def tell_settled(
    database: sqlite3.Connection,
    gateway: Gateway,
    account: Account,
    settled: Settlement,
    posted: Posted,
    around: Circumstances,
) -> None:
    """Tell that the final bill is settled, with what is refunded or still owed."""
    text = texts.refunded(settled.refunded_cents, settled.billed_cents)
    key = f"refund-{account.account_id}-{posted.entry_id}"
    _tell(database, gateway, account, "refund", text, key, posted.entry_id, around.now)


def tell_disconnected(
    database: sqlite3.Connection,
    gateway: Gateway,
    account_id: str,
    order_id: int,
    amount_to_reconnect: int | None,
    now: datetime,
) -> None:
    """Tell that power was disconnected and what brings it back."""
    text = texts.disconnected(books.balance_cents(database, account_id), amount_to_reconnect)
    _tell_of_order(database, gateway, account_id, "disconnected", text, order_id, now)


def tell_reconnected(
    database: sqlite3.Connection, gateway: Gateway, account_id: str, order_id: int, now: datetime
) -> None:
    """Tell that power is back."""
    text = texts.reconnected(books.balance_cents(database, account_id))
    _tell_of_order(database, gateway, account_id, "reconnected", text, order_id, now)


def _tell_of_order(
    database: sqlite3.Connection,
    gateway: Gateway,
    account_id: str,
    kind: str,
    text: str,
    order_id: int,
    now: datetime,
) -> None:
    account = customers.account(database, account_id)
    assert account is not None
    entry_id = books.last_prepaid_entry(database, account_id)
    _tell(database, gateway, account, kind, text, f"{kind}-{order_id}", entry_id, now)


def _tell(
    database: sqlite3.Connection,
    gateway: Gateway,
    account: Account,
    kind: str,
    text: str,
    event_key: str,
    entry_id: int,
    now: datetime,
) -> None:
    """Record a notice for each of the customer's channels, and leave it where that channel is looked after."""
    _record(database, gateway, _notices(gateway, account, kind, text, event_key, entry_id, now))


def _notices(
    gateway: Gateway, account: Account, kind: str, text: str, event_key: str, entry_id: int, now: datetime
) -> list[tuple[records.Notice, str | None]]:
    """A notice for each of the customer's channels, with the queue in which it waits; None: for a display."""
    found = []
    for channel in account.notice_channels:
        own = channel == "display" or (channel == "email" and gateway.settings.site.email is not None)
        queue = "notices" if not own else "email" if channel == "email" else None
        phone = account.phone if channel in ("sms", "ivr") else ""
        found.append((records.Notice(account.account_id, kind, text, event_key, entry_id, now, channel, phone), queue))
    return found


def _record(
    database: sqlite3.Connection, gateway: Gateway, notices: Sequence[tuple[records.Notice, str | None]]
) -> None:
    queues = {notice.channel: queue for notice, queue in notices}
    for notice in records.add_notices(database, notices):
        if queues[notice.channel] != "notices":
            gateway.notices_for.add(notice.channel)


def program_of(gateway: Gateway, account: Account) -> Program:
    """The rules under which an account is enrolled."""
    return gateway.rulebook.programs[account.program][0]


def register_of(gateway: Gateway, account: Account) -> Limits:
    """How the register of an account's meter counts."""
    gear = gateway.switchgear.get(account.meter_id)
    return gear.register if gear else Limits()
