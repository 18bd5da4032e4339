"""An account's tariff changed from a day on: the days before keep their prices, and each tariff bills its own days."""

import sqlite3
from dataclasses import dataclass
from datetime import date

from edge.gateway import Gateway
from edge.refusals import NotThere, RequestRefused
from edge.store import customers, records, usage
from edge.store.customers import Account


@dataclass(frozen=True, slots=True)
class TariffChange:
    """An account's tariff from ``first_day`` on; ``duplicate``: so it was before."""

    account_id: str
    tariff: str
    first_day: date
    duplicate: bool


async def change_tariff(
    gateway: Gateway, account_id: str, tariff: str, first_day: date | None, by: str
) -> TariffChange:
    """Give an account another tariff from today (None) or a later day on; never for a day that is past or closed.

    The same again changes nothing. Raises RequestRefused where the tariff is not there or has no prices by then, where
    the account has left by then, or where the program has no place left on such a rate (domain-rules R10).
    """

    def work(database: sqlite3.Connection) -> TariffChange:
        account = customers.account(database, account_id)
        if account is None:
            raise NotThere(f"there is no account {account_id}")
        around = gateway.circumstances()
        today = around.now.astimezone(around.zone).date()
        first = today if first_day is None else first_day
        _check_tariff(gateway, account, tariff, first)
        _check_day(database, account, first, today)
        if customers.tariff_of(database, account_id, first) == tariff:
            return TariffChange(account_id, tariff, first, duplicate=True)
        _check_room(database, gateway, account, tariff)
        customers.add_tariff_change(database, account_id, tariff, first, around.now, by)
        data = {"account_id": account_id, "tariff": tariff, "from": first.isoformat(), "by": by}
        records.add_event(database, "tariff_changed", around.now, data)
        return TariffChange(account_id, tariff, first, duplicate=False)

    changed = await gateway.record(work)
    gateway.facts_changed.set()
    return changed


def _check_tariff(gateway: Gateway, account: Account, name: str, first: date) -> None:
    tariff = gateway.tariffs.get(name)
    if tariff is None:
        known = ", ".join(sorted(gateway.tariffs))
        raise NotThere(f"account {account.account_id}: there is no tariff {name!r}; known are {known}")
    try:
        tariff.version(first)
    except ValueError as problem:
        raise RequestRefused(f"account {account.account_id}: {problem}") from None


def _check_day(database: sqlite3.Connection, account: Account, first: date, today: date) -> None:
    closed = usage.last_day(database, account.account_id)
    if first < today or (closed is not None and first <= closed.day):
        raise RequestRefused(
            f"account {account.account_id}: {first.isoformat()} is past: a tariff begins today or on a later day"
        )
    if account.last_day is not None and first > account.last_day:
        raise RequestRefused(
            f"account {account.account_id} left the program on {account.last_day.isoformat()}: nothing is charged after"
        )


def _check_room(database: sqlite3.Connection, gateway: Gateway, account: Account, tariff: str) -> None:
    """A program that wants half of its participants on a time-of-use rate keeps its halves."""
    program, _ = gateway.rulebook.programs[account.program]
    now_hourly, then_hourly = (
        gateway.tariffs[name].time_of_use for name in (customers.tariff_spans(database, account)[-1].tariff, tariff)
    )
    if program.max_participants is None or not program.rate_halves or now_hourly == then_hourly:
        return
    taken = sum(
        count
        for name, count in customers.participants(database, account.program).items()
        if (known := gateway.tariffs.get(name)) is not None and known.time_of_use == then_hourly
    )
    if taken >= _places(program.max_participants, then_hourly):
        kind = "time-of-use" if then_hourly else "standard"
        raise RequestRefused(
            f"account {account.account_id}: all places on a {kind} rate of {program.name} are taken"
            f" ({program.eligibility_source})"
        )


def _places(most: int, hourly: bool) -> int:
    half = most // 2
    return half if hourly else most - half
