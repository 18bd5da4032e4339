"""What interfaces show of accounts and meters: plain dictionaries in the contract's words, from recorded facts."""

import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from edge.core.money import format_cents
from edge.core.notices import whole_kwh
from edge.core.rating import Tariff
from edge.core.vee import Limits
from edge.facts import Circumstances, Rulebook, Switchgear
from edge.gateway import stored_weather
from edge.inventory import time_text
from edge.rulings import judge
from edge.settings import Settings
from edge.standing import not_yet_posted, standing_of, tariff_today
from edge.store import books, customers, records


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
    register = gear.register if gear else Limits()
    tariff = tariff_today(database, account, tariffs, around)
    unposted_wh, unposted_cents = not_yet_posted(database, account, tariff, register, around)
    standing = standing_of(database, account, balance - unposted_cents, tariff, register, around)
    amount = decision.amount_to_reconnect_cents
    return {
        "account_id": account_id,
        "meter_id": account.meter_id,
        "name": account.name,
        "program": account.program,
        "tariff": tariff.name,
        "planned_tariffs": [
            {"tariff": span.tariff, "from": span.first_day.isoformat()}
            for span in customers.tariff_spans(database, account)
            if span.first_day > around.now.astimezone(around.zone).date()
        ],
        "balance": format_cents(balance),
        "arrears": format_cents(books.arrears_cents(database, account_id)),
        "available": format_cents(balance - unposted_cents),
        "use_not_posted_wh": unposted_wh,
        "balance_kwh": whole_kwh(balance, standing.kwh_price),
        "available_kwh": standing.credit_kwh,
        "days_left": standing.days_left,
        "power_w": standing.power_w,
        "today_wh": standing.today_wh,
        "yesterday_wh": standing.yesterday_wh,
        "enrolled": account.active,
        "last_day": None if account.last_day is None else account.last_day.isoformat(),
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
    if not active and relay != "disconnected":
        return "protected" if protected else "closed"
    if relay in ("disconnected", "disconnected_other"):
        return "disconnected"
    if protected:
        return "protected"
    return "negative" if balance_cents < 0 else "zero" if balance_cents == 0 else "good"


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
        limits=limits.limits,
        forecast=weather.forecast,
        observed=weather.observed,
        alerts=weather.alerts(now, settings.zone),
    )
