"""Where an account stands, for people: use and cost since the last closed day, what recent days cost, a kWh's price."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from edge.core import vee
from edge.core.notices import RECENT_DAYS, Standing
from edge.core.rating import DayUsage, Tariff, bill, price_of_next_kwh
from edge.facts import Circumstances, month_so_far, register_line
from edge.store import customers, fleet, many, usage
from edge.store.customers import Account

DEMAND_AGE = timedelta(minutes=15)  # an older power reading is no demand of now


def tariff_today(
    database: sqlite3.Connection, account: Account, tariffs: Mapping[str, Tariff], around: Circumstances
) -> Tariff:
    """The prices that an account has today. Raises LookupError when their file is gone."""
    return tariffs_today(database, [account], tariffs, around)[account.account_id]


def tariffs_today(
    database: sqlite3.Connection, accounts: Sequence[Account], tariffs: Mapping[str, Tariff], around: Circumstances
) -> dict[str, Tariff]:
    """The same for any number of accounts."""
    names = customers.tariffs_of(database, accounts, around.now.astimezone(around.zone).date())
    for account_id, name in names.items():
        if name not in tariffs:
            raise LookupError(f"account {account_id} has the tariff {name}, of which there is no file any more")
    return {account_id: tariffs[name] for account_id, name in names.items()}


def spending(database: sqlite3.Connection, account: Account, credit_cents: int) -> Standing:
    """A credit beside what the recent days cost; the day of enrolment, a part of a day, only where it is the one."""
    return spending_of(account, credit_cents, many.recent_costs(database, [account.account_id], RECENT_DAYS))


def spending_of(account: Account, credit_cents: int, recent: Mapping[str, Sequence[tuple[date, int]]]) -> Standing:
    """The same from what is on record of the account's recent days (``many.recent_costs``)."""
    days = recent.get(account.account_id)
    if not days:
        return Standing(credit_cents, None)
    whole = [cents for day, cents in days if day != account.first_day] or [cents for _, cents in days]
    return Standing(credit_cents, None, sum(whole), len(whole))


def standing_of(
    database: sqlite3.Connection,
    account: Account,
    credit_cents: int,
    tariff: Tariff,
    register: vee.Limits,
    around: Circumstances,
) -> Standing:
    """All that an in-home display shows of an account that has this credit."""
    today = around.now.astimezone(around.zone).date()
    closed = usage.last_day(database, account.account_id)
    read = fleet.last_read(database, account.meter_id, accepted_only=True)
    fresh = read is not None and timedelta() <= around.now - read.at <= DEMAND_AGE
    yesterday = closed if closed is not None and closed.day == today - timedelta(days=1) else None
    return replace(
        spending(database, account, credit_cents),
        kwh_price=kwh_price(database, account, tariff, today),
        power_w=None if read is None or read.power_w is None or not fresh else read.power_w * register.multiplier,
        today_wh=_used_today(database, account, read, register, around),
        yesterday_wh=None if yesterday is None else yesterday.energy_wh,
    )


def _bill_start(database: sqlite3.Connection, account: Account, today: date) -> date:
    """From when today's bill runs: the first of the month, or when the tariff changed in it."""
    return max(today.replace(day=1), customers.tariff_span(database, account, today).first_day)


def kwh_price(database: sqlite3.Connection, account: Account, tariff: Tariff, today: date) -> int | None:
    """What the next kWh costs the account, in 10^-12 dollars; None where the tariff has no prices yet."""
    try:
        if len(tariff.version(today).season(today).tiers) <= 1:
            return price_of_next_kwh(tariff, today, 0, 1)
        month = usage.days(database, account.account_id, _bill_start(database, account, today), today)
        return price_of_next_kwh(tariff, today, sum(day.energy_wh for day in month), len(month))
    except ValueError:
        return None


def _used_today(
    database: sqlite3.Connection,
    account: Account,
    read: fleet.StoredRead | None,
    register: vee.Limits,
    around: Circumstances,
) -> int | None:
    """Wh since midnight, or since enrolment; None while no read of today has come."""
    midnight, _ = vee.day_bounds(around.now.astimezone(around.zone).date(), around.zone)
    since = max(midnight, account.enrolled_at)
    if read is None or read.at < midnight:
        return None
    return _used(database, account.meter_id, since, read.at, register)


def _used(database: sqlite3.Connection, meter_id: str, since: datetime, until: datetime, register: vee.Limits) -> int:
    """Wh from an instant until a read."""
    return register_line(database, meter_id, (since, until), register).used(since, until) or 0


def not_yet_posted(
    database: sqlite3.Connection, account: Account, tariff: Tariff, register: vee.Limits, around: Circumstances
) -> tuple[int, int]:
    """Use since the last closed day, in Wh, and about what it will cost, in cents."""
    read = fleet.last_read(database, account.meter_id, accepted_only=True)
    closed = usage.last_day(database, account.account_id)
    if read is None:
        return 0, 0
    first = account.first_day if closed is None else closed.day + timedelta(days=1)
    since = account.enrolled_at if closed is None else vee.day_bounds(closed.day, around.zone)[1]
    used_wh = _used(database, account.meter_id, since, read.at, register) if since < read.at else 0
    today = around.now.astimezone(around.zone).date()
    return used_wh, _cost_of_use(database, account, tariff, first, today, used_wh)


def _cost_of_use(
    database: sqlite3.Connection, account: Account, tariff: Tariff, first: date, today: date, used_wh: int
) -> int:
    """What use since ``first`` adds to the bill of today's month, in cents; a time-of-use tariff at its day's mean."""
    start = _bill_start(database, account, today)
    so_far, _ = month_so_far(usage.days(database, account.account_id, start, today))
    gap = max(0, (today - max(first, start)).days)
    so_far += [DayUsage(today - timedelta(days=back), 0) for back in range(gap, 0, -1)]
    if tariff.time_of_use:
        total_wh = sum(day.energy_wh for day in so_far)
        total_cents = bill(tariff, so_far).total_cents if so_far else 0
        return used_wh * total_cents // total_wh if total_wh else 0
    without = bill(tariff, [*so_far, DayUsage(today, 0)]).total_cents
    return bill(tariff, [*so_far, DayUsage(today, used_wh)]).total_cents - without
