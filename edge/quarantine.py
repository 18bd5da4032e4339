"""The quarantine: when more accounts want a disconnect at once than can be right, nobody is disconnected.

A bulk error (a slipped decimal in a tariff, a payment feed that stopped, a clock or a forecast that is wrong) looks
from inside like many customers who do not pay. So the daemon stops, says so, and waits until one person has asked for
the release and a second one has granted it. Reconnects go on all the while.
"""

import sqlite3
from datetime import timedelta
from typing import Any

from edge.core.budget import implausible, most_plausible
from edge.gateway import Gateway
from edge.inventory import quarantine_view
from edge.refusals import RequestRefused
from edge.store import quarantines, records
from edge.store.quarantines import Quarantine

AT_ONCE = timedelta(hours=1)
NEW = timedelta(days=7)  # whoever wanted a disconnect within so long before is no news


def look(database: sqlite3.Connection, gateway: Gateway) -> None:
    """Inside a transaction, before any disconnect goes out: begin a quarantine where too many want one at once."""
    enforcement = gateway.settings.site.enforcement
    if enforcement.quarantine_share >= 1:
        return
    last = quarantines.last(database)
    if last is not None and last.released is None:
        return
    now = gateway.clock.now()
    since = now - AT_ONCE if last is None or last.released is None else max(now - AT_ONCE, last.released.at)
    wanting = quarantines.newly_wanting(database, since, NEW)
    if wanting <= enforcement.quarantine_at_least:
        return
    active = quarantines.active_accounts(database)
    share_ppm = round(enforcement.quarantine_share * 1_000_000)
    if not implausible(wanting, active, share_ppm, enforcement.quarantine_at_least):
        return
    most = most_plausible(active, share_ppm, enforcement.quarantine_at_least)
    quarantines.begin(database, now, wanting, active, most)
    data: dict[str, Any] = {"active": True, "wanting": wanting, "accounts": active, "most_plausible": most}
    records.add_event(database, "quarantine", now, data)
    gateway.facts_changed.set()


async def request_release(gateway: Gateway, reason: str, by: str) -> dict[str, Any]:
    """Ask for the release of the quarantine; a second person grants it. Raises RequestRefused where there is none."""

    def work(database: sqlite3.Connection) -> dict[str, Any]:
        present = _in_force(database)
        if present.requested is None or present.requested.by != by:
            quarantines.add_step(database, present.quarantine_id, "requested", gateway.clock.now(), by, reason)
            data = {"by": by, "reason": reason}
            records.add_event(database, "quarantine_release_requested", gateway.clock.now(), data)
        return quarantine_view(quarantines.last(database), gateway.settings)

    return await gateway.record(work)


async def release(gateway: Gateway, reason: str, by: str) -> dict[str, Any]:
    """Release the quarantine that somebody else asked to be released. Raises RequestRefused otherwise."""

    def work(database: sqlite3.Connection) -> dict[str, Any]:
        present = _in_force(database)
        if present.requested is None:
            raise RequestRefused("nobody has asked for the release: first 'ami-edge quarantine request-release'")
        if present.requested.by == by:
            raise RequestRefused(f"{by} has asked for the release: a second person has to grant it")
        now = gateway.clock.now()
        quarantines.add_step(database, present.quarantine_id, "released", now, by, reason)
        data = {"active": False, "by": by, "requested_by": present.requested.by, "reason": reason}
        records.add_event(database, "quarantine", now, data)
        return quarantine_view(quarantines.last(database), gateway.settings)

    released = await gateway.record(work)
    gateway.facts_changed.set()
    return released


def _in_force(database: sqlite3.Connection) -> Quarantine:
    present = quarantines.last(database)
    if present is None or present.released is not None:
        raise RequestRefused("there is no quarantine in force")
    return present
