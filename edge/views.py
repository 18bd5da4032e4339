"""What interfaces show of accounts and meters: plain dictionaries in the contract's words, from recorded facts."""

import sqlite3
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from edge.core import vee
from edge.core.money import format_cents
from edge.core.rating import DayUsage, Tariff, bill
from edge.facts import Circumstances, Rulebook, Switchgear, month_so_far
from edge.gateway import stored_weather
from edge.inventory import time_text
from edge.rulings import judge
from edge.settings import Settings
from edge.store import books, customers, fleet, records
from edge.store.customers import Account

DAYS_LEFT_WINDOW = 7  # days left rest on the average of so many recent days, not on yesterday alone


def account_view(
    database: sqlite3.Connection,
    account_id: str,
    rulebook: Rulebook,
    switchgear: Mapping[str, Switchgear],
    tariffs: Mapping[str, Tariff],
    around: Circumstances,
    settings: Settings,
) -> dict[str, Any]:
    """One account (contract section 3, ``account show``). Raises LookupError for an unknown one."""
    account, facts, decision, _, _ = judge(database, account_id, rulebook, switchgear, around)
    balance = books.balance_cents(database, account_id)
    gear = switchgear.get(account.meter_id)
    modulo_wh = gear.register_modulo_wh if gear else None
    unposted_wh, unposted_cents = _not_yet_posted(database, account_id, modulo_wh, tariffs, around)
    amount = decision.amount_to_reconnect_cents
    return {
        "account_id": account_id,
        "meter_id": account.meter_id,
        "name": account.name,
        "program": account.program,
        "tariff": account.tariff,
        "balance": format_cents(balance),
        "arrears": format_cents(books.arrears_cents(database, account_id)),
        "available": format_cents(balance - unposted_cents),
        "use_not_posted_wh": unposted_wh,
        "days_left": _days_left(database, account_id, balance - unposted_cents),
        "state": state_of(account.active, facts.relay.value, bool(facts.protected), balance),
        "relay": facts.relay.value,
        "protected": [kind.value for kind in facts.protected or ()],
        "holds": [
            {
                "kind": hold.kind.value,
                "from": time_text(hold.starts_at, settings),
                "until": time_text(hold.until, settings),
            }
            for hold in facts.holds or ()
        ],
        "last_closed_day": facts.last_closed_day.isoformat() if facts.last_closed_day else None,
        "blocks": [block.code for block in decision.blocks],
        "amount_to_reconnect": None if amount is None else format_cents(amount),
    }


def state_of(active: bool, relay: str, protected: bool, balance_cents: int) -> str:
    """One word for where an account stands: closed, disconnected, protected, negative, zero or good."""
    if not active:
        return "closed"
    if relay in ("disconnected", "disconnected_other"):
        return "disconnected"
    if protected:
        return "protected"
    return "negative" if balance_cents < 0 else "zero" if balance_cents == 0 else "good"


def _counted(start_wh: int, end_wh: int, modulo_wh: int | None) -> int:
    """Wh between two counts; nothing where the register ran back, which the day's close will settle."""
    try:
        return vee.register_delta(start_wh, end_wh, vee.Limits(modulo_wh=modulo_wh))
    except ValueError:
        return 0


def _not_yet_posted(
    database: sqlite3.Connection,
    account_id: str,
    modulo_wh: int | None,
    tariffs: Mapping[str, Tariff],
    around: Circumstances,
) -> tuple[int, int]:
    """Use since the last closed day, in Wh, and about what it will cost, in cents."""
    account = customers.account(database, account_id)
    assert account is not None
    read = fleet.last_read(database, account.meter_id, accepted_only=True)
    closed = books.last_day(database, account_id)
    if read is None:
        return 0, 0
    if closed is not None:
        start_wh, first = closed.end_register_wh, closed.day + timedelta(days=1)
    else:
        before, after = fleet.reads_around(database, account.meter_id, account.enrolled_at)
        start = before or after
        start_wh, first = (start.energy_wh if start else read.energy_wh), account.first_day
    used_wh = _counted(start_wh, read.energy_wh, modulo_wh)
    today = around.now.astimezone(around.zone).date()
    return used_wh, _cost_of_use(database, account, tariffs[account.tariff], first, today, used_wh)


def _cost_of_use(
    database: sqlite3.Connection, account: Account, tariff: Tariff, first: date, today: date, used_wh: int
) -> int:
    """What use since ``first`` adds to the bill of today's month, in cents; a time-of-use tariff at its day's mean."""
    month_start = today.replace(day=1)
    usage, _ = month_so_far(books.days(database, account.account_id, month_start, today))
    gap = max(0, (today - max(first, month_start)).days)
    usage += [DayUsage(today - timedelta(days=back), 0) for back in range(gap, 0, -1)]
    if tariff.time_of_use:
        total_wh = sum(day.energy_wh for day in usage)
        total_cents = bill(tariff, usage).total_cents if usage else 0
        return used_wh * total_cents // total_wh if total_wh else 0
    without = bill(tariff, [*usage, DayUsage(today, 0)]).total_cents
    return bill(tariff, [*usage, DayUsage(today, used_wh)]).total_cents - without


def _days_left(database: sqlite3.Connection, account_id: str, available_cents: int) -> int | None:
    """Whole days that the available balance lasts at the average cost of recent days; None without history."""
    closed = books.last_day(database, account_id)
    if closed is None:
        return None
    recent = books.days(database, account_id, closed.day - timedelta(days=DAYS_LEFT_WINDOW - 1), closed.day)
    total = sum(day.charge_cents for day in recent)
    if total <= 0:
        return None
    return max(0, available_cents * len(recent) // total)


def stored_circumstances(database: sqlite3.Connection, settings: Settings, now: datetime) -> Circumstances:
    """The circumstances as the daemon last recorded them, for readers while it is away or in another process."""
    known = records.state(database)
    feed = known.get("payments_feed_seen_at")
    limits = settings.site.enforcement
    weather = stored_weather(database)
    fresh = "heartbeat" in known and now - known["heartbeat"][1] < timedelta(minutes=5)
    return Circumstances(
        now=now,
        zone=settings.zone,
        clock_trusted=fresh and known.get("clock_trusted", ("no", now))[0] == "yes",
        payments_feed_seen_at=datetime.fromisoformat(feed[0]) if feed and feed[0] else None,
        shadow_mode=limits.shadow_mode,
        disconnects_per_hour=limits.disconnects_per_hour,
        disconnects_per_day=limits.disconnects_per_day,
        forecast=weather.forecast,
        observed=weather.observed,
        alerts=weather.alerts(now, settings.zone),
    )
