"""Accounts and what protects them: enrolments, protections, holds, moratorium orders. Current state is derived."""

import sqlite3
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from edge.core.model import Hold, HoldKind, MoratoriumOrder, Protection
from edge.store.base import instant_of, instant_text


@dataclass(frozen=True, slots=True)
class Account:
    """An enrolled customer at a service point, with the meter that serves it."""

    account_id: str
    meter_id: str
    name: str
    customer_class: str
    tariff: str
    program: str
    low_balance_cents: int | None
    enrolled_at: datetime
    first_day: date
    active: bool
    email: str = ""
    phone: str = ""
    notice_channels: tuple[str, ...] = ("sms",)


@dataclass(frozen=True, slots=True)
class RecordedHold:
    """A hold with its id and the reason given."""

    hold_id: str
    account_id: str
    hold: Hold
    reason: str


_ACCOUNT = (
    "SELECT account_id, meter_id, name, customer_class, tariff, program, low_balance_cents, enrolled_at, first_day,"
    " email, phone, notice_channels,"
    " NOT EXISTS (SELECT 1 FROM unenrolment WHERE unenrolment.account_id = account.account_id) FROM account"
)


def _account(row: tuple[str, str, str, str, str, str, int | None, str, str, str, str, str, int]) -> Account:
    account_id, meter_id, name, customer_class, tariff, program, low, enrolled_at, first_day, *contact, active = row
    email, phone, channels = contact
    return Account(
        account_id=account_id,
        meter_id=meter_id,
        name=name,
        customer_class=customer_class,
        tariff=tariff,
        program=program,
        low_balance_cents=low,
        enrolled_at=instant_of(enrolled_at),
        first_day=date.fromisoformat(first_day),
        active=bool(active),
        email=str(email),
        phone=str(phone),
        notice_channels=tuple(str(channels).split(";")),
    )


def add_account(database: sqlite3.Connection, account: Account, by: str) -> None:
    """Insert an enrolled account."""
    database.execute(
        "INSERT INTO account VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            account.account_id,
            account.meter_id,
            account.name,
            account.customer_class,
            account.tariff,
            account.program,
            account.low_balance_cents,
            instant_text(account.enrolled_at),
            account.first_day.isoformat(),
            by,
            account.email,
            account.phone,
            ";".join(account.notice_channels),
        ),
    )


def account(database: sqlite3.Connection, account_id: str) -> Account | None:
    """The account of an id, or None."""
    row = database.execute(f"{_ACCOUNT} WHERE account_id = ?", (account_id,)).fetchone()
    return _account(row) if row else None


def accounts(database: sqlite3.Connection) -> list[Account]:
    """All accounts, in the order of their ids."""
    return [_account(row) for row in database.execute(f"{_ACCOUNT} ORDER BY account_id")]


def account_of_meter(database: sqlite3.Connection, meter_id: str) -> Account | None:
    """The active account that a meter serves, or None."""
    rows = database.execute(f"{_ACCOUNT} WHERE meter_id = ?", (meter_id,))
    return next((found for found in map(_account, rows) if found.active), None)


def with_display(database: sqlite3.Connection) -> list[Account]:
    """Active accounts that want to be told on an in-home display."""
    rows = database.execute(f"{_ACCOUNT} WHERE instr(notice_channels, 'display') > 0 ORDER BY account_id")
    return [found for found in map(_account, rows) if found.active]


def protections(database: sqlite3.Connection, account_id: str) -> tuple[Protection, ...]:
    """The protections in force: of each kind the last row counts."""
    last: dict[str, bool] = {}
    for kind, protected in database.execute(
        "SELECT kind, protected FROM protection WHERE account_id = ? ORDER BY rowid", (account_id,)
    ):
        last[kind] = bool(protected)
    return tuple(Protection(kind) for kind, protected in last.items() if protected)


def add_protection(
    database: sqlite3.Connection, account_id: str, kind: Protection, protected: bool, at: datetime, by: str
) -> None:
    """Record that a protection begins or ends."""
    database.execute(
        "INSERT INTO protection VALUES (?, ?, ?, ?, ?)", (account_id, kind.value, int(protected), instant_text(at), by)
    )


_HOLD = (
    "SELECT hold.hold_id, account_id, kind, starts_at, until, released_at, reason FROM hold"
    " LEFT JOIN hold_release USING (hold_id)"
)


def _hold(row: tuple[str, ...]) -> RecordedHold:
    hold_id, account_id, kind, starts_at, until, released_at, reason = row
    ends = [instant_of(text) for text in (until, released_at) if text is not None]
    hold = Hold(HoldKind(kind), instant_of(starts_at), min(ends) if ends else None)
    return RecordedHold(hold_id, account_id, hold, reason)


def holds(database: sqlite3.Connection, account_id: str) -> tuple[Hold, ...]:
    """All holds of an account, past ones too; a release ends a hold at its instant."""
    return tuple(_hold(row).hold for row in database.execute(f"{_HOLD} WHERE account_id = ?", (account_id,)))


def hold(database: sqlite3.Connection, hold_id: str) -> RecordedHold | None:
    """The hold of an id, or None."""
    row = database.execute(f"{_HOLD} WHERE hold.hold_id = ?", (hold_id,)).fetchone()
    return _hold(row) if row else None


def add_hold(database: sqlite3.Connection, recorded: RecordedHold, at: datetime, by: str) -> bool:
    """Record a hold; False when its id is already there."""
    hold = recorded.hold
    until = None if hold.until is None else instant_text(hold.until)
    cursor = database.execute(
        "INSERT OR IGNORE INTO hold VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            recorded.hold_id,
            recorded.account_id,
            hold.kind.value,
            instant_text(hold.starts_at),
            until,
            recorded.reason,
            instant_text(at),
            by,
        ),
    )
    return cursor.rowcount == 1


def release_hold(database: sqlite3.Connection, hold_id: str, at: datetime, by: str) -> None:
    """End a hold at ``at``; a second release changes nothing."""
    database.execute("INSERT OR IGNORE INTO hold_release VALUES (?, ?, ?)", (hold_id, instant_text(at), by))


def moratoriums(database: sqlite3.Connection) -> tuple[MoratoriumOrder, ...]:
    """The ordered moratoriums; of each order the last row counts, so that a new end replaces the old one."""
    last: dict[str, MoratoriumOrder] = {}
    for order, starts_at, until in database.execute(
        "SELECT order_name, starts_at, until FROM moratorium ORDER BY moratorium_id"
    ):
        last[order] = MoratoriumOrder(order, instant_of(starts_at), None if until is None else instant_of(until))
    return tuple(last.values())


def add_moratorium(database: sqlite3.Connection, order: MoratoriumOrder, at: datetime, by: str) -> None:
    """Record a moratorium order, or a new end of one."""
    until = None if order.until is None else instant_text(order.until)
    database.execute(
        "INSERT INTO moratorium (order_name, starts_at, until, recorded_at, by) VALUES (?, ?, ?, ?, ?)",
        (order.order, instant_text(order.starts_at), until, instant_text(at), by),
    )


def accounts_to_watch(database: sqlite3.Connection) -> list[str]:
    """Accounts whose ruling can change by itself: balance at or below zero, or a relay not known to be connected."""
    rows = database.execute(
        "SELECT account_id FROM account a WHERE"
        " coalesce((SELECT cents FROM balance WHERE ledger_account = 'liabilities:prepaid:' || a.account_id), 0) >= 0"
        " OR coalesce((SELECT relay FROM relay_change r WHERE r.meter_id = a.meter_id"
        " ORDER BY change_id DESC LIMIT 1), 'connected') <> 'connected' ORDER BY account_id"
    )
    return [account_id for (account_id,) in rows]


def accounts_open_before(database: sqlite3.Connection, today: date) -> list[str]:
    """Active accounts that have a civil day before ``today`` which is not on the books."""
    yesterday = (today - timedelta(days=1)).isoformat()
    rows = database.execute(
        "SELECT account_id FROM account a WHERE first_day <= ?"
        " AND NOT EXISTS (SELECT 1 FROM day d WHERE d.account_id = a.account_id AND d.day = ?)"
        " AND NOT EXISTS (SELECT 1 FROM unenrolment u WHERE u.account_id = a.account_id) ORDER BY account_id",
        (yesterday, yesterday),
    )
    return [account_id for (account_id,) in rows]
