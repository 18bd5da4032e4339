"""``why``: what was decided about an account and on which facts, now or at a past instant, from what is recorded."""

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from edge import inventory, views
from edge.catalog import Catalog, switchgear_of
from edge.core.money import format_cents
from edge.facts import Circumstances, Rulebook, Switchgear
from edge.rulings import answer_of, judge
from edge.settings import Settings
from edge.store import books, customers, fleet, records


def why_now(
    database: sqlite3.Connection, account_id: str, settings: Settings, catalog: Catalog, now: datetime
) -> dict[str, Any]:
    """Decide on the facts and circumstances as they were last recorded, without recording anything."""
    around = views.stored_circumstances(database, settings, now)
    return explain(database, account_id, catalog.rulebook, switchgear_of(settings, catalog), around, settings)


def explain(
    database: sqlite3.Connection,
    account_id: str,
    rulebook: Rulebook,
    switchgear: Mapping[str, Switchgear],
    around: Circumstances,
    settings: Settings,
) -> dict[str, Any]:
    """Decide about an account and show what the decision rests on. Raises LookupError for an unknown one."""
    account, facts, decision, _, _ = judge(database, account_id, rulebook, switchgear, around)
    return {
        "account_id": account_id,
        "meter_id": account.meter_id,
        "balance": format_cents(books.balance_cents(database, account_id)),
        "relay": facts.relay.value,
        "decided_at": inventory.time_text(around.now, settings),
        **answer_of(decision, settings.zone),
        "last_command": last_command(database, account.meter_id, settings, None),
    }


def why_then(database: sqlite3.Connection, account_id: str, settings: Settings, at: datetime) -> dict[str, Any]:
    """The decision that was in force at a past instant. Raises LookupError when none was recorded before it."""
    decision = records.last_decision(database, account_id, at)
    if decision is None:
        raise LookupError(f"nothing was decided about {account_id} before {at.isoformat()}")
    account = customers.account(database, account_id)
    assert account is not None
    meter_id = account.meter_id
    return {
        "account_id": account_id,
        "meter_id": meter_id,
        "balance": format_cents(books.balance_at(database, account_id, at)),
        "relay": fleet.relay_of(fleet.relay_change(database, meter_id, at)).value,
        "decided_at": inventory.time_text(decision.at, settings),
        **decision.answer,
        "last_command": last_command(database, meter_id, settings, at),
    }


def last_command(
    database: sqlite3.Connection, meter_id: str, settings: Settings, at: datetime | None
) -> list[dict[str, Any]]:
    """What happened to the last switch order of a meter, step by step."""
    return [
        {"action": action, "state": state, "at": inventory.time_text(when, settings), "detail": detail}
        for action, state, when, detail in fleet.journal(database, meter_id, at)
    ]
