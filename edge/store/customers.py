"""Accounts: who is enrolled at which meter, who has left, whose ruling or whose days are still open."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from edge.store.base import instant_of, instant_text


@dataclass(frozen=True, slots=True)
class Account:
    """An enrolled customer at a service point, with the meter that serves it.

    ``tariff``: the one it was enrolled with; ``tariff_of`` says which one a day has.
    """

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
    last_day: date | None = None  # the last civil day that is charged, once the account has left


_ACCOUNT = (
    "SELECT account_id, meter_id, name, customer_class, tariff, program, low_balance_cents, enrolled_at, first_day,"
    " email, phone, notice_channels, last_day FROM account LEFT JOIN unenrolment USING (account_id)"
)


def _account(
    row: tuple[str, str, str, str, str, str, int | None, str, str, str, str, str, str | None],
) -> Account:
    account_id, meter_id, name, customer_class, tariff, program, low, enrolled_at, first_day, *contact, last_day = row
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
        active=last_day is None,
        email=str(email),
        phone=str(phone),
        notice_channels=tuple(str(channels).split(";")),
        last_day=None if last_day is None else date.fromisoformat(last_day),
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


def accounts_of(database: sqlite3.Connection, account_ids: Sequence[str]) -> dict[str, Account]:
    """The accounts of these ids; those that there are not are left out."""
    rows = database.execute(
        f"{_ACCOUNT} WHERE account_id IN (SELECT value FROM json_each(?))", (json.dumps(account_ids),)
    )
    return {row[0]: _account(row) for row in rows}


def accounts(database: sqlite3.Connection) -> list[Account]:
    """All accounts, in the order of their ids."""
    return [_account(row) for row in database.execute(f"{_ACCOUNT} ORDER BY account_id")]


def account_of_meter(database: sqlite3.Connection, meter_id: str) -> Account | None:
    """The active account that a meter serves, or None."""
    rows = database.execute(f"{_ACCOUNT} WHERE meter_id = ?", (meter_id,))
    return next((found for found in map(_account, rows) if found.active), None)


def account_served_by(database: sqlite3.Connection, meter_id: str) -> Account | None:
    """The account whose home a meter supplies: the active one, else the last that left; None when there was none."""
    row = database.execute(
        f"{_ACCOUNT} WHERE meter_id = ? ORDER BY at IS NOT NULL, at DESC LIMIT 1", (meter_id,)
    ).fetchone()
    return _account(row) if row else None


def with_display(database: sqlite3.Connection) -> list[Account]:
    """Active accounts that want to be told on an in-home display."""
    rows = database.execute(f"{_ACCOUNT} WHERE instr(notice_channels, 'display') > 0 ORDER BY account_id")
    return [found for found in map(_account, rows) if found.active]


def add_unenrolment(
    database: sqlite3.Connection, account_id: str, at: datetime, last_day: date, reason: str, by: str
) -> None:
    """Record that an account leaves its program; its charges end with ``last_day``."""
    database.execute(
        "INSERT INTO unenrolment VALUES (?, ?, ?, ?, ?)",
        (account_id, instant_text(at), last_day.isoformat(), reason, by),
    )


@dataclass(frozen=True, slots=True)
class TariffSpan:
    """A tariff that an account has from ``first_day`` on, until the next one's."""

    tariff: str
    first_day: date


def tariff_spans(database: sqlite3.Connection, account: Account) -> list[TariffSpan]:
    """The tariffs of an account, oldest first, the planned ones too; the first is the one it was enrolled with."""
    return tariff_spans_of(database, [account])[account.account_id]


def tariff_spans_of(database: sqlite3.Connection, accounts: Iterable[Account]) -> dict[str, list[TariffSpan]]:
    """The same for any number of accounts."""
    found = {account.account_id: [TariffSpan(account.tariff, account.first_day)] for account in accounts}
    rows = database.execute(
        "SELECT account_id, tariff, first_day FROM tariff_change WHERE account_id IN (SELECT value FROM json_each(?))"
        " ORDER BY first_day, change_id",
        (json.dumps(list(found)),),
    )
    for account_id, tariff, first in rows:
        spans, first_day = found[account_id], date.fromisoformat(first)
        if spans[-1].first_day == first_day:
            spans.pop()
        if not spans or spans[-1].tariff != tariff:
            spans.append(TariffSpan(tariff, first_day))
    return found


def tariff_span(database: sqlite3.Connection, account: Account, day: date) -> TariffSpan:
    """The tariff of an account on a day, and since when it has had it."""
    spans = tariff_spans(database, account)
    return next((span for span in reversed(spans) if span.first_day <= day), spans[0])


def tariffs_of(database: sqlite3.Connection, accounts: Sequence[Account], day: date) -> dict[str, str]:
    """The name of the tariff that each account has on a day; before its first day, its first one."""
    return {
        account_id: next((span.tariff for span in reversed(spans) if span.first_day <= day), spans[0].tariff)
        for account_id, spans in tariff_spans_of(database, accounts).items()
    }


def tariff_of(database: sqlite3.Connection, account_id: str, day: date) -> str:
    """The name of the tariff that an account has on a day. Raises LookupError for an unknown account."""
    row = database.execute(
        "SELECT coalesce((SELECT c.tariff FROM tariff_change c WHERE c.account_id = a.account_id AND first_day <= ?2"
        " ORDER BY first_day DESC, change_id DESC LIMIT 1), a.tariff) FROM account a WHERE account_id = ?1",
        (account_id, day.isoformat()),
    ).fetchone()
    if row is None:
        raise LookupError(f"there is no account {account_id}")
    return str(row[0])


def names_in_use(database: sqlite3.Connection) -> Iterator[tuple[str, str, str]]:
    """What accounts need of the configuration: ``program``, ``tariff`` or ``meter``, its name, and who has it."""
    rows = database.execute(
        "SELECT 'program', program, min(account_id) FROM account GROUP BY program"
        " UNION SELECT 'tariff', tariff, min(account_id) FROM account GROUP BY tariff"
        " UNION SELECT 'tariff', tariff, min(account_id) FROM tariff_change GROUP BY tariff"
        " UNION SELECT 'meter', meter_id, account_id FROM account a"
        " WHERE NOT EXISTS (SELECT 1 FROM unenrolment u WHERE u.account_id = a.account_id)"
    )
    yield from rows


def add_tariff_change(
    database: sqlite3.Connection, account_id: str, tariff: str, first_day: date, recorded_at: datetime, by: str
) -> None:
    """Record that an account has another tariff from a day on."""
    database.execute(
        "INSERT INTO tariff_change (account_id, tariff, first_day, recorded_at, by) VALUES (?, ?, ?, ?, ?)",
        (account_id, tariff, first_day.isoformat(), instant_text(recorded_at), by),
    )


def participants(database: sqlite3.Connection, program: str) -> dict[str, int]:
    """How many accounts are enrolled in a program, by their tariff: the one they have last, planned ones count."""
    rows = database.execute(
        "SELECT coalesce((SELECT c.tariff FROM tariff_change c WHERE c.account_id = a.account_id"
        " ORDER BY first_day DESC, change_id DESC LIMIT 1), tariff) AS latest, count(*) FROM account a"
        " WHERE program = ? AND NOT EXISTS"
        " (SELECT 1 FROM unenrolment u WHERE u.account_id = a.account_id) GROUP BY latest",
        (program,),
    )
    return dict(rows.fetchall())


def accounts_to_watch(database: sqlite3.Connection) -> list[str]:
    """Accounts whose ruling can change by itself: enrolled and at or below zero, or a relay not known as connected."""
    rows = database.execute(
        "SELECT account_id FROM account a WHERE"
        " (coalesce((SELECT cents FROM balance WHERE ledger_account = 'liabilities:prepaid:' || a.account_id), 0) >= 0"
        " AND NOT EXISTS (SELECT 1 FROM unenrolment u WHERE u.account_id = a.account_id))"
        " OR coalesce((SELECT relay FROM relay_change r WHERE r.meter_id = a.meter_id"
        " ORDER BY change_id DESC LIMIT 1), 'connected') <> 'connected' ORDER BY account_id"
    )
    return [account_id for (account_id,) in rows]


def accounts_open_before(database: sqlite3.Connection, today: date) -> list[str]:
    """Accounts that have a civil day before ``today`` which is not on the books; one that left, up to its last day."""
    yesterday = (today - timedelta(days=1)).isoformat()
    rows = database.execute(
        "SELECT a.account_id FROM account a LEFT JOIN unenrolment u USING (account_id) WHERE first_day <= ?1"
        " AND NOT EXISTS (SELECT 1 FROM day d WHERE d.account_id = a.account_id"
        " AND d.day = min(?1, coalesce(u.last_day, ?1))) ORDER BY a.account_id",
        (yesterday,),
    )
    return [account_id for (account_id,) in rows]
