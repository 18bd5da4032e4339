"""What the head end tells the gateway besides payments and restraints: notice receipts, weather, and what is refused.

Each function runs in one transaction. A request that cannot be honoured raises RequestRefused with one sentence.
"""

import hashlib
import sqlite3
from collections.abc import Sequence
from datetime import datetime

from edge.gateway import Gateway
from edge.notices import tell_ruling
from edge.refusals import RequestRefused
from edge.store import copies, records
from edge.weather_feed import ParsedWeather


async def confirm_notice(gateway: Gateway, notice_id: str, delivered_at: datetime) -> None:
    """Record that a notice reached the customer. One delivered in the future is refused: it would shorten nothing."""

    def work(database: sqlite3.Connection) -> None:
        now = gateway.clock.now()
        if delivered_at > now:
            raise RequestRefused(f"notice {notice_id}: delivered_at {delivered_at.isoformat()} is in the future")
        account_id = records.add_notice_delivery(database, notice_id, delivered_at)
        if account_id is None:
            raise RequestRefused(f"there is no notice {notice_id}")
        decide_again(database, gateway, [account_id])

    await gateway.record(work)


def decide_again(database: sqlite3.Connection, gateway: Gateway, account_ids: Sequence[str]) -> None:
    """Decide about accounts whose facts changed, and theirs alone, such as those that a notice has reached."""
    if not account_ids:
        return
    around = gateway.circumstances()
    for ruling in gateway.rule_many(database, account_ids, around):
        tell_ruling(database, gateway, ruling, around)


async def confirm_replay(gateway: Gateway, restored_at: datetime | None, by: str, reason: str) -> None:
    """Record that all was sent again that came after the backup from which the database was put back.

    From here on disconnects are possible again. ``restored_at``: of which time of putting back that is true, so that an
    old word does not release a new one; None: an operator's word, of now. Raises RequestRefused.
    """
    if gateway.restored_at is None:
        raise RequestRefused("the database was not put back, or everything was sent again since: nothing waits")
    if restored_at is not None and restored_at != gateway.restored_at:
        raise RequestRefused(f"the database was put back at {gateway.restored_at.isoformat()}, not at that time")
    now = gateway.clock.now()
    await gateway.record(lambda database: copies.note_replayed(database, now, by, reason))
    gateway.restored_at = None
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
