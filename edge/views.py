"""What interfaces show of accounts and meters: plain dictionaries in the contract's words, from recorded facts."""

import sqlite3
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from edge.core.money import format_cents
from edge.core.rating import DayUsage, Tariff, bill
from edge.facts import Circumstances, Rulebook, Switchgear, month_so_far
from edge.gateway import stored_weather
from edge.rulings import judge
from edge.settings import Meter, Settings
from edge.store import books, customers, fleet, records
from edge.store.books import StatementLine
from edge.store.customers import Account

DAYS_LEFT_WINDOW = 7  # days left rest on the average of so many recent days, not on yesterday alone


def time_text(instant: datetime | None, settings: Settings) -> str | None:
    """An instant in the territory's zone, RFC 3339; None stays None."""
    return None if instant is None else instant.astimezone(settings.zone).isoformat(timespec="seconds")


def meter_view(database: sqlite3.Connection, meter: Meter, settings: Settings) -> dict[str, Any]:
    """One meter of the inventory with what is known of it (contract section 3, ``meter show``)."""
    read = fleet.last_read(database, meter.id, accepted_only=False)
    change = fleet.relay_change(database, meter.id)
    link = fleet.link(database, meter.id)
    account = customers.account_of_meter(database, meter.id)
    return {
        "meter_id": meter.id,
        "profile": meter.profile,
        "account_id": account.account_id if account else None,
        "relay": change.relay if change else "unknown",
        "relay_since": time_text(change.at if change else None, settings),
        "relay_cause": change.cause if change else None,
        "last_read_at": time_text(read.at if read else None, settings),
        "energy_import_wh": read.energy_wh if read else None,
        "power_w": read.power_w if read else None,
        "link": link[0] if link else "unknown",
        "link_since": time_text(link[1] if link else None, settings),
        "link_error": (link[2] or None) if link else None,
        "address": meter.topic or f"{meter.line} unit {meter.unit}",
    }


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
    unposted_wh, unposted_cents = _not_yet_posted(database, account_id, tariffs, around)
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


def _not_yet_posted(
    database: sqlite3.Connection, account_id: str, tariffs: Mapping[str, Tariff], around: Circumstances
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
    used_wh = max(0, read.energy_wh - start_wh)
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


def ledger_view(lines: list[StatementLine], settings: Settings) -> list[dict[str, Any]]:
    """An account's postings (contract section 3, ``ledger``)."""
    return [
        {
            "entry_id": line.entry_id,
            "posted_at": time_text(line.posted_at, settings),
            "day": line.day.isoformat(),
            "kind": line.kind,
            "amount": format_cents(line.amount_cents),
            "balance": format_cents(line.balance_cents),
            "ref": line.ref,
            "estimated": line.estimated,
        }
        for line in lines
    ]


def status_view(database: sqlite3.Connection, settings: Settings) -> dict[str, Any]:
    """The gateway as it last described itself (contract section 3, ``status``), without whether it runs now."""
    known = records.state(database)
    meters = settings.site.meters
    changes = [fleet.relay_change(database, meter.id) for meter in meters]
    links = [fleet.link(database, meter.id) for meter in meters]
    heartbeat = known.get("heartbeat")
    return {
        "gateway_id": settings.site.gateway_id,
        "last_heartbeat_at": time_text(heartbeat[1] if heartbeat else None, settings),
        "clock_trusted": known["clock_trusted"][0] == "yes" if "clock_trusted" in known else False,
        "broker_connected": known["broker_connected"][0] == "yes" if "broker_connected" in known else False,
        "payments_feed_seen_at": _told_time(known, "payments_feed_seen_at", settings),
        "forecast_fetched_at": _told_time(known, "forecast_fetched_at", settings),
        "meters": len(meters),
        "meters_failing": sum(1 for link in links if link and link[0] == "failing"),
        "accounts": books.counts(database)[0],
        "disconnected": sum(1 for change in changes if change and change.relay == "disconnected"),
        "pending_commands": len(fleet.live_orders(database)),
        "alarms": records.alarms(database),
    }


def _told_time(known: Mapping[str, tuple[str, datetime]], fact: str, settings: Settings) -> str | None:
    """An instant that the daemon wrote down of itself; it writes nothing where there is none."""
    told = known[fact][0] if fact in known else ""
    return time_text(datetime.fromisoformat(told), settings) if told else None


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
