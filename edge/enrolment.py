"""Enrolment: each row of a file is accepted or refused with the reason; a refused row costs no other row anything."""

import csv
import io
import re
import sqlite3
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge.core import ledger
from edge.core.model import Protection
from edge.core.money import format_cents, parse_cents
from edge.facts import Circumstances
from edge.gateway import Gateway
from edge.notices import tell_balance
from edge.store import books, customers, fleet, records
from edge.store.customers import Account

COLUMNS = (
    "account_id",
    "meter_id",
    "name",
    "customer_class",
    "tariff",
    "program",
    "opening_balance",
    "arrears",
    "protected",
    "low_balance_level",
    "disconnected_for_credit",
    "email",
    "phone",
    "notice_channels",
)
NEEDED = ("account_id", "meter_id")
CHANNELS = ("display", "email", "sms", "ivr")
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_PHONE = re.compile(r"\+?[0-9][0-9 ().-]{4,24}")


class EnrolmentError(Exception):
    """An enrolment file cannot be read at all; one sentence naming file and line or key."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of an enrolment file, as it stands there."""

    where: str
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row: accepted, already enrolled alike, or refused with the reason."""

    where: str
    account_id: str
    accepted: bool
    reason: str


def read_rows(text: str, name: str) -> list[Row]:
    """The rows of a CSV file with a header, or of a TOML file with ``[[accounts]]``. Raises EnrolmentError."""
    return _toml_rows(text, name) if name.endswith(".toml") else _csv_rows(text, name)


def _csv_rows(text: str, name: str) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text), restkey="", skipinitialspace=True)
    header = [column.strip() for column in reader.fieldnames or []]
    _check_keys(header, f"{name} line 1")
    if missing := [column for column in NEEDED if column not in header]:
        raise EnrolmentError(f"{name} line 1: the column {missing[0]} is missing")
    reader.fieldnames = header
    rows = []
    for cells in reader:
        where = f"{name} line {reader.line_num}"
        if "" in cells:
            raise EnrolmentError(f"{where}: has more cells than the header has columns")
        rows.append(Row(where, {key: (value or "").strip() for key, value in cells.items()}))
    return rows


def _toml_rows(text: str, name: str) -> list[Row]:
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise EnrolmentError(f"{name}: {problem}") from None
    accounts = tables.pop("accounts", None)
    if not isinstance(accounts, list) or tables:
        raise EnrolmentError(f"{name}: must hold [[accounts]] tables and nothing else")
    rows = []
    for index, account in enumerate(accounts):
        where = f"{name} accounts.{index}"
        if not isinstance(account, dict):
            raise EnrolmentError(f"{where}: is not a table")
        _check_keys(account, where)
        rows.append(Row(where, {key: _cell(value) for key, value in account.items()}))
    return rows


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ";".join(map(str, value)) if isinstance(value, list) else str(value)


def _check_keys(keys: Any, where: str) -> None:
    for key in keys:
        if key not in COLUMNS:
            raise EnrolmentError(f"{where}: {key!r} is not a known column; known are {', '.join(COLUMNS)}")


async def enroll(gateway: Gateway, rows: list[Row], by: str) -> list[Outcome]:
    """Enrol each row in a transaction of its own."""
    outcomes = []
    for row in rows:
        around = gateway.circumstances()
        outcomes.append(await gateway.record(lambda database, row=row: _enroll(database, gateway, row, around, by)))  # type: ignore[misc]  # noqa: B023
    gateway.facts_changed.set()
    return outcomes


@dataclass(frozen=True, slots=True)
class _Application:
    account: Account
    opening_cents: int
    arrears_cents: int
    protected: tuple[Protection, ...]
    disconnected_for_credit: bool


def _enroll(database: sqlite3.Connection, gateway: Gateway, row: Row, around: Circumstances, by: str) -> Outcome:
    account_id = row.cells.get("account_id", "")
    try:
        application = _read_application(gateway, row, around.now)
        _check(database, gateway, application)
    except ValueError as problem:
        return Outcome(row.where, account_id, accepted=False, reason=f"{row.where}: {problem}")
    account = application.account
    customers.add_account(database, account, by)
    for kind in application.protected:
        customers.add_protection(database, account_id, kind, protected=True, at=around.now, by=by)
    if application.disconnected_for_credit:
        fleet.add_relay_change(database, account.meter_id, around.now, "disconnected", "credit", None)
    transaction = ledger.opening(
        account_id=account_id,
        day=account.first_day,
        balance_cents=application.opening_cents,
        arrears_cents=application.arrears_cents,
    )
    posted = books.post(database, transaction, posted_at=around.now, received_at=around.now, by=by)
    balance = format_cents(posted.balance_cents)
    records.add_event(
        database, "enrolled", around.now, {"account_id": account_id, "meter_id": account.meter_id, "balance": balance}
    )
    tell_balance(database, gateway, account, posted, around)
    gateway.rule(database, account_id, around)
    return Outcome(row.where, account_id, accepted=True, reason="")


def _read_application(gateway: Gateway, row: Row, now: datetime) -> _Application:
    cells = row.cells
    defaults = gateway.settings.site.defaults
    level = cells.get("low_balance_level", "")
    account = Account(
        account_id=_identifier(cells.get("account_id", ""), "account_id"),
        meter_id=_identifier(cells.get("meter_id", ""), "meter_id"),
        name=cells.get("name", ""),
        customer_class=cells.get("customer_class") or "residential",
        tariff=cells.get("tariff") or defaults.tariff,
        program=cells.get("program") or defaults.program,
        low_balance_cents=_money(level, "low_balance_level") if level else None,
        enrolled_at=now,
        first_day=now.astimezone(gateway.settings.zone).date(),
        active=True,
        email=_email(cells.get("email", "")),
        phone=_phone(cells.get("phone", "")),
        notice_channels=_channels(cells.get("notice_channels", ""), cells.get("email", "")),
    )
    return _Application(
        account,
        _money(cells.get("opening_balance") or "0.00", "opening_balance"),
        _money(cells.get("arrears") or "0.00", "arrears"),
        _protections(cells.get("protected", "")),
        _yes_or_no(cells.get("disconnected_for_credit", ""), "disconnected_for_credit"),
    )


def _check(database: sqlite3.Connection, gateway: Gateway, application: _Application) -> None:
    account = application.account
    if customers.account(database, account.account_id) is not None:
        raise ValueError(f"account {account.account_id} is already enrolled")
    if account.meter_id not in gateway.switchgear:
        raise ValueError(f"there is no meter {account.meter_id} in edge.toml")
    other = customers.account_of_meter(database, account.meter_id)
    if other is not None:
        raise ValueError(f"meter {account.meter_id} already serves account {other.account_id}")
    if account.program not in gateway.rulebook.programs:
        raise ValueError(f"program - there is no program {account.program!r}")
    if account.tariff not in gateway.tariffs:
        raise ValueError(f"tariff - there is no tariff {account.tariff!r}")
    if application.arrears_cents < 0:
        raise ValueError("arrears - a debt is not below zero")


def _identifier(text: str, key: str) -> str:
    if not text or len(text) > 64 or not text.isprintable() or any(c.isspace() or c in "/#+:" for c in text):
        raise ValueError(f"{key} - {text!r} is not an id (1 to 64 characters, no spaces, none of / # + :)")
    return text


def _money(text: str, key: str) -> int:
    try:
        return parse_cents(text)
    except ValueError as problem:
        raise ValueError(f"{key} - {problem}") from None


def _protections(text: str) -> tuple[Protection, ...]:
    names = [name.strip() for name in text.replace(",", ";").split(";") if name.strip()]
    try:
        return tuple(Protection(name) for name in names if name != "no")
    except ValueError:
        known = ", ".join(Protection)
        raise ValueError(f"protected - {text!r} is not a kind of protection ({known})") from None


def _email(text: str) -> str:
    if text and not _EMAIL.fullmatch(text):
        raise ValueError(f"email - {text!r} is not an e-mail address")
    return text


def _phone(text: str) -> str:
    if text and not _PHONE.fullmatch(text):
        raise ValueError(f"phone - {text!r} is not a telephone number")
    return text


def _channels(text: str, email: str) -> tuple[str, ...]:
    """The channels by which a customer wants to be told (seed 002, OCC: the customer's choice); SMS where none is."""
    names = tuple(dict.fromkeys(name.strip() for name in text.replace(",", ";").split(";") if name.strip()))
    for name in names:
        if name not in CHANNELS:
            raise ValueError(f"notice_channels - {name!r} is not a channel ({', '.join(CHANNELS)})")
    if "email" in names and not email:
        raise ValueError("notice_channels - email needs an address in the column email")
    return names or ("sms",)


def _yes_or_no(text: str, key: str) -> bool:
    if text.lower() not in ("", "yes", "no", "true", "false"):
        raise ValueError(f"{key} - {text!r} is neither yes nor no")
    return text.lower() in ("yes", "true")
