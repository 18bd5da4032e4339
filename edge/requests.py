"""What the head end or a person may ask of the gateway besides payments, each recorded with who and when.

Protections, holds, moratoriums, notice receipts, weather documents: each function runs in one transaction and decides
again about whoever it concerns. A request that cannot be honoured raises RequestRefused with one sentence.
"""

import hashlib
import sqlite3
from dataclasses import replace
from datetime import datetime

from edge.core.model import Hold, MoratoriumOrder, Protection
from edge.gateway import Gateway
from edge.refusals import RequestRefused
from edge.store import customers, records
from edge.store.customers import RecordedHold
from edge.weather_feed import ParsedWeather


async def set_protection(
    gateway: Gateway, account_id: str, kind: Protection, protected: bool, at: datetime, by: str
) -> None:
    """Begin or end a protection; a customer who is in the dark is reconnected at once (domain-rules R18, C8)."""

    def work(database: sqlite3.Connection) -> None:
        _need_account(database, account_id)
        around = gateway.circumstances()
        customers.add_protection(database, account_id, kind, protected, at, by)
        data = {"account_id": account_id, "protected": protected, "kind_of_protection": kind.value, "by": by}
        records.add_event(database, "protected", around.now, data)
        gateway.rule(database, account_id, around)

    await gateway.record(work)


async def add_hold(gateway: Gateway, recorded: RecordedHold, by: str) -> None:
    """Record a hold; the same hold again changes nothing, another one under its id is refused."""

    def work(database: sqlite3.Connection) -> None:
        _need_account(database, recorded.account_id)
        around = gateway.circumstances()
        if not customers.add_hold(database, recorded, around.now, by):
            earlier = customers.hold(database, recorded.hold_id)
            if earlier is not None and (earlier.account_id, earlier.hold.kind) != (
                recorded.account_id,
                recorded.hold.kind,
            ):
                raise RequestRefused(f"hold {recorded.hold_id} is already there for another account or kind")
            return
        data = {"account_id": recorded.account_id, "hold_id": recorded.hold_id, "hold": recorded.hold.kind.value}
        records.add_event(database, "hold", around.now, data)
        gateway.rule(database, recorded.account_id, around)

    await gateway.record(work)


async def release_hold(gateway: Gateway, hold_id: str, at: datetime, by: str) -> None:
    """End a hold."""

    def work(database: sqlite3.Connection) -> None:
        recorded = customers.hold(database, hold_id)
        if recorded is None:
            raise RequestRefused(f"there is no hold {hold_id}")
        around = gateway.circumstances()
        customers.release_hold(database, hold_id, at, by)
        data = {"account_id": recorded.account_id, "hold_id": hold_id, "hold": recorded.hold.kind.value}
        records.add_event(database, "hold_released", around.now, data)
        gateway.rule(database, recorded.account_id, around)

    await gateway.record(work)


def hold_of(account_id: str, hold_id: str, hold: Hold, reason: str) -> RecordedHold:
    """A hold to be recorded."""
    return RecordedHold(hold_id, account_id, replace(hold), reason)


async def set_moratorium(gateway: Gateway, order: MoratoriumOrder, by: str) -> None:
    """Record a moratorium order, or a new end of one (domain-rules R11, R17)."""

    def work(database: sqlite3.Connection) -> None:
        now = gateway.clock.now()
        customers.add_moratorium(database, order, now, by)
        active = order.starts_at <= now and (order.until is None or now < order.until)
        records.add_event(database, "moratorium", now, {"order": order.order, "active": active})

    await gateway.record(work)
    gateway.facts_changed.set()


async def confirm_notice(gateway: Gateway, notice_id: str, delivered_at: datetime) -> None:
    """Record that a notice reached the customer. One delivered in the future is refused: it would shorten nothing."""

    def work(database: sqlite3.Connection) -> None:
        now = gateway.clock.now()
        if delivered_at > now:
            raise RequestRefused(f"notice {notice_id}: delivered_at {delivered_at.isoformat()} is in the future")
        if not records.add_notice_delivery(database, notice_id, delivered_at):
            raise RequestRefused(f"there is no notice {notice_id}")

    await gateway.record(work)
    gateway.facts_changed.set()


async def take_weather(gateway: Gateway, parsed: ParsedWeather, body: bytes) -> None:
    """Let a document of the Weather Service replace the one of its kind; it is kept, so that ``why`` can show it."""
    digest = hashlib.sha256(body).hexdigest()
    kind = parsed.kind.value

    def work(database: sqlite3.Connection) -> None:
        now = gateway.clock.now()
        records.add_weather_document(database, kind, now, digest, body)
        records.add_event(database, "weather", now, {"document": kind, "sha256": digest})

    await gateway.record(work)
    gateway.weather.take(parsed)
    gateway.facts_changed.set()


async def reject(gateway: Gateway, source: str, payload: bytes, reason: str) -> None:
    """Keep a message that was refused, and tell the head end why."""
    text = payload[:4096].decode("utf-8", "replace")

    def work(database: sqlite3.Connection) -> None:
        now = gateway.clock.now()
        records.add_rejected(database, source, text, reason, now)
        records.add_event(database, "rejected", now, {"source": source, "reason": reason})

    await gateway.record(work)


def _need_account(database: sqlite3.Connection, account_id: str) -> None:
    if customers.account(database, account_id) is None:
        raise RequestRefused(f"there is no account {account_id}")
