"""What interfaces show of the inventory, the postings and the gateway itself: quick to import, plain dictionaries."""

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from edge.core.money import format_cents
from edge.core.restraints import in_force, is_over
from edge.settings import Meter, Settings
from edge.store import books, conditions, customers, fleet, quarantines, records
from edge.store.books import StatementLine
from edge.store.quarantines import Quarantine, Step
from edge.store.restraints import RecordedHold, RecordedMoratorium


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
        "alarms": _alarms(database, settings),
    }


def quarantine_view(quarantine: Quarantine | None, settings: Settings) -> dict[str, Any]:
    """The newest quarantine, in force or over (``quarantine show``)."""
    if quarantine is None:
        return {"in_force": False, "tripped_at": None}
    return {
        "in_force": quarantine.released is None,
        "tripped_at": time_text(quarantine.tripped_at, settings),
        "wanting": quarantine.wanting,
        "accounts": quarantine.active,
        "most_plausible": quarantine.most,
        "release_requested": _step_view(quarantine.requested, settings),
        "released": _step_view(quarantine.released, settings),
    }


def _step_view(step: Step | None, settings: Settings) -> dict[str, Any] | None:
    return None if step is None else {"at": time_text(step.at, settings), "by": step.by, "reason": step.reason}


def _alarms(database: sqlite3.Connection, settings: Settings) -> list[dict[str, Any]]:
    """What somebody should look at: first what lasts, then the newest events."""
    lasting: list[dict[str, Any]] = []
    quarantine = quarantines.last(database)
    if quarantine is not None and quarantine.released is None:
        view = quarantine_view(quarantine, settings)
        lasting.append({"at": view["tripped_at"], "kind": "quarantine", "lasts": True, **view})
    for found in conditions.in_force(database):
        told = {"at": time_text(found.since, settings), "kind": found.condition, "lasts": True}
        lasting.append({**told, "meter_id": found.meter_id, **found.data})
    return lasting + records.alarms(database)


def _told_time(known: Mapping[str, tuple[str, datetime]], fact: str, settings: Settings) -> str | None:
    """An instant that the daemon wrote down of itself; it writes nothing where there is none."""
    told = known[fact][0] if fact in known else ""
    return time_text(datetime.fromisoformat(told), settings) if told else None


def hold_view(recorded: RecordedHold, settings: Settings, now: datetime) -> dict[str, Any]:
    """One hold with who recorded it, and who released it (contract section 3, ``holds``)."""
    hold, release = recorded.hold, recorded.release
    return {
        "hold_id": recorded.hold_id,
        "account_id": recorded.account_id,
        "kind": hold.kind.value,
        "state": _state(hold.starts_at, hold.until, now),
        "from": time_text(hold.starts_at, settings),
        "until": time_text(recorded.ends_at, settings),
        "reason": recorded.reason,
        "registered_late": recorded.registered_late,
        "recorded_at": time_text(recorded.recorded_at, settings),
        "by": recorded.by,
        "released_at": time_text(release.released_at, settings) if release else None,
        "outcome": release.outcome if release else None,
        "release_reason": release.reason if release else None,
        "released_by": release.by if release else None,
    }


def moratorium_view(recorded: RecordedMoratorium, settings: Settings, now: datetime) -> dict[str, Any]:
    """One moratorium order with who ordered and who recorded it (contract section 3, ``moratoriums``)."""
    order = recorded.order
    return {
        "order": order.order,
        "state": _state(order.starts_at, order.until, now),
        "from": time_text(order.starts_at, settings),
        "until": time_text(order.until, settings),
        "reason": recorded.reason,
        "ordered_by": recorded.ordered_by,
        "recorded_at": time_text(recorded.recorded_at, settings),
        "by": recorded.by,
    }


def _state(starts_at: datetime, until: datetime | None, now: datetime) -> str:
    if in_force(starts_at, until, now):
        return "in force"
    return "over" if is_over(starts_at, until, now) else "to come"
