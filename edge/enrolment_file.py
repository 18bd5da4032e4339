"""The enrolment file: its rows, and what their cells may say. Every fault is one sentence with line or key."""

import csv
import io
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.core.model import Protection
from edge.core.money import format_cents, parse_cents

COLUMNS = (
    "account_id",
    "meter_id",
    "name",
    "customer_class",
    "tariff",
    "program",
    "opening_balance",
    "arrears",
    "unbilled",
    "deposit",
    "first_payment",
    "first_payment_id",
    "takeover",
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


# What a cell says. Each raises ValueError with a sentence that begins with the column.


def identifier(text: str, key: str) -> str:
    """An account's, a meter's or a payment's id."""
    if not text or len(text) > 64 or not text.isprintable() or any(c.isspace() or c in "/#+:" for c in text):
        raise ValueError(f"{key} - {text!r} is not an id (1 to 64 characters, no spaces, none of / # + :)")
    return text


def money(text: str, key: str) -> int:
    """Dollars and cents, as cents."""
    try:
        return parse_cents(text)
    except ValueError as problem:
        raise ValueError(f"{key} - {problem}") from None


def protections(text: str) -> tuple[Protection, ...]:
    """Kinds of protection, several with a semicolon."""
    names = [name.strip() for name in text.replace(",", ";").split(";") if name.strip()]
    try:
        return tuple(Protection(name) for name in names if name != "no")
    except ValueError:
        known = ", ".join(Protection)
        raise ValueError(f"protected - {text!r} is not a kind of protection ({known})") from None


def email(text: str) -> str:
    """An e-mail address, or nothing."""
    if text and not _EMAIL.fullmatch(text):
        raise ValueError(f"email - {text!r} is not an e-mail address")
    return text


def phone(text: str) -> str:
    """A telephone number, or nothing."""
    if text and not _PHONE.fullmatch(text):
        raise ValueError(f"phone - {text!r} is not a telephone number")
    return text


def channels(text: str, email: str) -> tuple[str, ...]:
    """The channels by which a customer wants to be told (seed 002, OCC: the customer's choice); SMS where none is."""
    names = tuple(dict.fromkeys(name.strip() for name in text.replace(",", ";").split(";") if name.strip()))
    for name in names:
        if name not in CHANNELS:
            raise ValueError(f"notice_channels - {name!r} is not a channel ({', '.join(CHANNELS)})")
    if "email" in names and not email:
        raise ValueError("notice_channels - email needs an address in the column email")
    return names or ("sms",)


def yes_or_no(text: str, key: str) -> bool:
    """Yes or no; nothing is no."""
    if text.lower() not in ("", "yes", "no", "true", "false"):
        raise ValueError(f"{key} - {text!r} is neither yes nor no")
    return text.lower() in ("yes", "true")


def amount(cells: Mapping[str, str], key: str) -> int:
    """Dollars and cents that are not below zero, as cents; nothing is none."""
    cents = money(cells.get(key) or "0.00", key)
    if cents < 0:
        raise ValueError(f"{key} - {format_cents(cents)} is below zero")
    return cents
