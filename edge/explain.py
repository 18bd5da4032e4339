"""``why``: what was decided about an account and on which facts, now or at a past instant, from what is recorded."""

import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from edge import inventory, views
from edge.catalog import Catalog, rulebook_of, switchgear_of
from edge.core.budget import Limits
from edge.core.decisions import decide
from edge.core.model import Decision, Facts
from edge.core.money import format_cents
from edge.facts import Circumstances, Rulebook, Switchgear, gather
from edge.gateway import stored_weather
from edge.rulings import answer_of, judge
from edge.settings import ConfigError, Settings
from edge.store import books, customers, fleet, past, records
from edge.store.customers import Account
from edge.store.records import RecordedDecision

WITHOUT_A_SIGN = timedelta(minutes=5)  # after so long without a heartbeat the daemon was not running


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
        "known": _known(facts, settings),
        "last_command": last_command(database, account.meter_id, settings),
    }


def why_then(
    database: sqlite3.Connection, account_id: str, settings: Settings, catalog: Catalog, at: datetime
) -> dict[str, Any]:
    """What held at a past instant, from what was on record then. Raises LookupError when nothing was decided before.

    Decisions are recorded when action or codes change. In between, the facts of the instant are gathered again and
    judged by the rules of then, so that its sentences and its times are those of the instant: ``decided_at`` is since
    when these codes stood, or the instant itself where time alone has moved codes and nobody needed to decide. Where
    the daemon acted otherwise, or the facts cannot be had again, the answer is the recorded decision. ``recorded`` is
    that decision in any case.
    """
    with past.as_of(database, at):
        recorded = records.last_decision(database, account_id)
        account = customers.account(database, account_id)
        if recorded is None or account is None:
            raise LookupError(f"nothing was decided about {account_id} before {at.isoformat()}")
        facts, decision, running = _judged_again(database, account, settings, catalog, recorded, at)
        answer, decided_at = recorded.answer, recorded.at
        if decision is not None and decision.action.value == recorded.action:
            answer = answer_of(decision, settings.zone)
            if tuple(block.code for block in decision.blocks) != recorded.codes:
                decided_at = at
        return {
            "account_id": account_id,
            "meter_id": account.meter_id,
            "balance": format_cents(books.balance_cents(database, account_id)),
            "relay": fleet.relay_of(fleet.relay_change(database, account.meter_id)).value,
            "decided_at": inventory.time_text(decided_at, settings),
            **answer,
            "known": None if facts is None else _known(facts, settings),
            "daemon_running": running,
            "recorded": {
                "decided_at": inventory.time_text(recorded.at, settings),
                "action": recorded.action,
                "codes": list(recorded.codes),
                "rules_digest": recorded.rules_digest,
            },
            "last_command": last_command(database, account.meter_id, settings),
        }


def _judged_again(
    database: sqlite3.Connection,
    account: Account,
    settings: Settings,
    catalog: Catalog,
    recorded: RecordedDecision,
    at: datetime,
) -> tuple[Facts | None, Decision | None, bool]:
    """Facts and decision of a past instant, and whether the daemon ran; None, None where too little was recorded."""
    noted = past.circumstances(database)
    switchgear = switchgear_of(settings, catalog).get(account.meter_id)
    if noted is None or switchgear is None:
        return None, None, noted is not None and noted.running
    heartbeat = records.state(database).get("heartbeat")
    if heartbeat is not None and at > heartbeat[1] + WITHOUT_A_SIGN:
        noted = past.stopped(noted, heartbeat[1])
    try:
        rulebook = _rulebook_then(database, noted.rules_digest, catalog)
        program, holiday = rulebook.programs[account.program]
    except (ConfigError, LookupError):
        return None, None, noted.running
    facts = gather(database, account, program, switchgear, _around_then(database, settings, noted, at))
    judged = facts
    if facts.last_actual_read_at is None and "read_stale" not in recorded.codes:
        judged = replace(facts, last_actual_read_at=at)  # reads of then were pruned since; the decision knew them
    return facts, decide(judged, program, holiday), noted.running


def _rulebook_then(database: sqlite3.Connection, digest: str, catalog: Catalog) -> Rulebook:
    """The rules of a digest. Raises LookupError where they were not kept, ConfigError where they cannot be read."""
    if digest == catalog.rulebook.digest:
        return catalog.rulebook
    texts = past.rules(database, digest)
    if texts is None:
        raise LookupError(digest)
    return rulebook_of(texts, digest)


def _around_then(
    database: sqlite3.Connection, settings: Settings, noted: past.RecordedCircumstances, at: datetime
) -> Circumstances:
    feed = None
    if noted.feed:
        feed = at if noted.feed == past.FEED_ALIVE else datetime.fromisoformat(noted.feed)
    weather = stored_weather(database)
    return Circumstances(
        now=at,
        zone=settings.zone,
        clock_trusted=noted.clock_trusted,
        payments_feed_seen_at=feed,
        shadow_mode=noted.shadow_mode,
        limits=Limits(
            noted.disconnects_per_hour, noted.disconnects_per_day, noted.disconnects_per_meter, noted.share_of_line_ppm
        ),
        forecast=weather.forecast,
        observed=weather.observed,
        alerts=weather.alerts(at, settings.zone),
    )


def _known(facts: Facts, settings: Settings) -> dict[str, Any]:
    """The facts that a decision rested on, in the words of a ``whatif`` case (contract section 4)."""

    def time(instant: datetime | None) -> str | None:
        return inventory.time_text(instant, settings)

    def money(cents: int | None) -> str | None:
        return None if cents is None else format_cents(cents)

    return {
        "enrolled": facts.enrolled,
        "balance": money(facts.balance_cents),
        "arrears": money(facts.arrears_cents),
        "protected": [kind.value for kind in facts.protected or ()],
        "holds": [
            {"kind": hold.kind.value, "from": time(hold.starts_at), "until": time(hold.until)}
            for hold in facts.holds or ()
        ],
        "moratoriums": [
            {"order": order.order, "from": time(order.starts_at), "until": time(order.until)}
            for order in facts.moratoriums or ()
        ],
        "zero_notice_delivered_at": time(facts.zero_notice_delivered_at),
        "returned_payment_notice_at": time(facts.returned_payment_notice_at),
        "payments_since_disconnect": money(facts.payments_since_disconnect_cents),
        "last_actual_read_at": time(facts.last_actual_read_at),
        "last_closed_day": facts.last_closed_day.isoformat() if facts.last_closed_day else None,
        "forecast_fetched_at": time(facts.forecast.fetched_at) if facts.forecast else None,
        "observed_at": time(facts.observed.at) if facts.observed else None,
        "alerts": None if facts.alerts is None else list(facts.alerts),
        "clock_trusted": facts.clock_trusted,
        "payments_feed_seen_at": time(facts.payments_feed_seen_at),
        "disconnects_left": facts.disconnects_left,
        "shadow_mode": facts.shadow_mode,
    }


def last_command(database: sqlite3.Connection, meter_id: str, settings: Settings) -> list[dict[str, Any]]:
    """What happened to the last switch order of a meter, step by step."""
    return [
        {"action": action, "state": state, "at": inventory.time_text(when, settings), "detail": detail}
        for action, state, when, detail in fleet.journal(database, meter_id)
    ]
