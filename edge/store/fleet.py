"""Meters as the gateway knows them: register reads, link health, observed relay changes, switch orders."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from edge.core.model import Relay
from edge.core.orders import OURS, OrderState, step
from edge.store.base import instant_of, instant_text


@dataclass(frozen=True, slots=True)
class StoredRead:
    """A register read as it was saved; ``accepted``: it may touch money."""

    meter_id: str
    at: datetime
    energy_wh: int
    power_w: int | None
    relay: str
    accepted: bool
    flags: tuple[str, ...]


_READ = "SELECT meter_id, at, energy_wh, power_w, relay, accepted, flags FROM reading"


def _read(row: tuple[str, str, int, int | None, str, int, str]) -> StoredRead:
    meter_id, at, energy_wh, power_w, relay, accepted, flags = row
    return StoredRead(
        meter_id, instant_of(at), energy_wh, power_w, relay, bool(accepted), tuple(flags.split()) if flags else ()
    )


def save_reads(database: sqlite3.Connection, reads: Iterable[StoredRead]) -> None:
    """Insert a batch of register reads; one for an instant that is already there is dropped."""
    database.executemany(
        "INSERT OR IGNORE INTO reading VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (r.meter_id, instant_text(r.at), r.energy_wh, r.power_w, r.relay, int(r.accepted), " ".join(r.flags))
            for r in reads
        ),
    )


def last_read(database: sqlite3.Connection, meter_id: str, *, accepted_only: bool) -> StoredRead | None:
    """The newest register read of a meter, or None."""
    only = " AND accepted = 1" if accepted_only else ""
    row = database.execute(f"{_READ} WHERE meter_id = ?{only} ORDER BY at DESC LIMIT 1", (meter_id,)).fetchone()
    return _read(row) if row else None


def reads_since(database: sqlite3.Connection, meter_id: str, since: datetime) -> list[StoredRead]:
    """All reads of a meter from an instant on, the refused ones too, oldest first."""
    rows = database.execute(f"{_READ} WHERE meter_id = ? AND at >= ? ORDER BY at", (meter_id, instant_text(since)))
    return [_read(row) for row in rows]


def prune_reads(database: sqlite3.Connection, before: datetime) -> None:
    """Forget register reads older than ``before``, but for the last accepted one of each meter and those after it.

    So a gap that is still open, or whose days rest on estimates, keeps the read that it began with. One search a
    meter: this runs beside payments, and a table of two months is far too long to be read through.
    """
    database.execute(
        "WITH RECURSIVE meter(id) AS (SELECT min(meter_id) FROM reading UNION ALL"
        " SELECT (SELECT min(meter_id) FROM reading WHERE meter_id > id) FROM meter WHERE id IS NOT NULL)"
        " DELETE FROM reading WHERE meter_id IN (SELECT id FROM meter) AND at < ?1 AND (accepted = 0 OR at < (SELECT"
        " max(at) FROM reading kept WHERE kept.meter_id = reading.meter_id AND kept.accepted = 1 AND kept.at <= ?1))",
        (instant_text(before),),
    )


def refuse_reads_after(database: sqlite3.Connection, instant: datetime, flag: str) -> int:
    """Let reads stamped later than an instant count for nothing; how many there were. One search a meter."""
    before = database.total_changes
    database.execute(
        "WITH RECURSIVE meter(id) AS (SELECT min(meter_id) FROM reading UNION ALL"
        " SELECT (SELECT min(meter_id) FROM reading WHERE meter_id > id) FROM meter WHERE id IS NOT NULL)"
        " UPDATE reading SET accepted = 0, flags = trim(flags || ' ' || ?2)"
        " WHERE accepted = 1 AND meter_id IN (SELECT id FROM meter) AND at > ?1",
        (instant_text(instant), flag),
    )
    return database.total_changes - before


def save_links(database: sqlite3.Connection, links: Sequence[tuple[str, str, datetime, str]]) -> None:
    """Record link states that changed: (meter_id, state, since, last error)."""
    database.executemany(
        "INSERT INTO meter_link VALUES (?, ?, ?, ?) ON CONFLICT (meter_id)"
        " DO UPDATE SET state = excluded.state, since = excluded.since, last_error = excluded.last_error",
        ((meter_id, state, instant_text(since), error) for meter_id, state, since, error in links),
    )


def link(database: sqlite3.Connection, meter_id: str) -> tuple[str, datetime, str] | None:
    """A meter's link: state, since when, last error; None when it was never asked."""
    row = database.execute("SELECT state, since, last_error FROM meter_link WHERE meter_id = ?", (meter_id,)).fetchone()
    return (row[0], instant_of(row[1]), row[2]) if row else None


@dataclass(frozen=True, slots=True)
class RelayChange:
    """A change of a relay's state as the gateway saw it.

    ``cause``: credit, manual or safety, by an order of ours; reconnect; foreign, by another hand or by itself; first
    seen.
    """

    at: datetime
    relay: str
    cause: str
    order_id: int | None


def relay_change(database: sqlite3.Connection, meter_id: str, at: datetime | None = None) -> RelayChange | None:
    """The last observed change of a meter's relay, now or at a past instant; None when it was never seen."""
    until = "" if at is None else " AND at <= ?"
    row = database.execute(
        "SELECT at, relay, cause, order_id FROM relay_change"
        f" WHERE meter_id = ?{until} ORDER BY change_id DESC LIMIT 1",
        (meter_id,) if at is None else (meter_id, instant_text(at)),
    ).fetchone()
    return RelayChange(instant_of(row[0]), row[1], row[2], row[3]) if row else None


def last_relay_changes(database: sqlite3.Connection, meter_id: str, count: int) -> list[RelayChange]:
    """The last observed changes of a meter's relay, the newest first."""
    rows = database.execute(
        "SELECT at, relay, cause, order_id FROM relay_change WHERE meter_id = ? ORDER BY change_id DESC LIMIT ?",
        (meter_id, count),
    )
    return [RelayChange(instant_of(at), relay, cause, order_id) for at, relay, cause, order_id in rows]


def dark_since(database: sqlite3.Connection, meter_id: str) -> datetime | None:
    """When a relay that is not known to be connected ceased to be so, however often it was looked at since.

    None where it is connected, or was never seen.
    """
    row = database.execute(
        "SELECT at FROM relay_change WHERE meter_id = ?1 AND change_id > coalesce((SELECT max(change_id)"
        " FROM relay_change WHERE meter_id = ?1 AND relay = 'connected'), 0) ORDER BY change_id LIMIT 1",
        (meter_id,),
    ).fetchone()
    return instant_of(row[0]) if row else None


def add_relay_change(
    database: sqlite3.Connection, meter_id: str, at: datetime, relay: str, cause: str, order_id: int | None
) -> None:
    """Record that a relay was seen in a new state."""
    database.execute(
        "INSERT INTO relay_change (meter_id, at, relay, cause, order_id) VALUES (?, ?, ?, ?, ?)",
        (meter_id, instant_text(at), relay, cause, order_id),
    )


def relay_of(change: RelayChange | None) -> Relay:
    """The relay as a decision sees it: only a cut of ours within the rules is ours to close; not one for safety."""
    if change is None or change.relay == "unknown":
        return Relay.UNKNOWN
    if change.relay == "connected":
        return Relay.CONNECTED
    return Relay.DISCONNECTED if change.cause in OURS else Relay.DISCONNECTED_OTHER


@dataclass(frozen=True, slots=True)
class SwitchOrder:
    """A stored intention to move a relay, with the state that its last event gives it."""

    order_id: int
    meter_id: str
    account_id: str
    action: str
    not_after: datetime | None
    decision_id: int
    state: str
    state_at: datetime
    detail: str
    cause: str = "credit"
    reason: str = ""
    by: str = ""


_ORDER = (
    "SELECT o.order_id, o.meter_id, o.account_id, o.action, o.not_after, o.decision_id, e.state, e.at, e.detail,"
    " o.cause, o.reason, o.by"
    " FROM switch_order o JOIN switch_event e ON e.event_id ="
    " (SELECT max(event_id) FROM switch_event WHERE order_id = o.order_id)"
)


def _order(row: tuple[int, str, str, str, str | None, int, str, str, str, str, str, str]) -> SwitchOrder:
    order_id, meter_id, account_id, action, not_after, decision_id, state, at, *rest = row
    until = None if not_after is None else instant_of(not_after)
    return SwitchOrder(order_id, meter_id, account_id, action, until, decision_id, state, instant_of(at), *rest)


def add_order(
    database: sqlite3.Connection,
    *,
    meter_id: str,
    account_id: str,
    action: str,
    not_after: datetime | None,
    decision_id: int,
    at: datetime,
    cause: str = "credit",
    reason: str = "",
    by: str = "",
) -> int:
    """Journal a new order in the state ``wanted``; its id. ``reason``, ``by``: of a person's, in words, and who."""
    until = None if not_after is None else instant_text(not_after)
    order_id = database.execute(
        "INSERT INTO switch_order (meter_id, account_id, action, not_after, decision_id, cause, reason, by)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (meter_id, account_id, action, until, decision_id, cause, reason, by),
    ).lastrowid
    assert order_id is not None
    add_order_event(database, order_id, at, "wanted", "")
    return order_id


def add_order_event(database: sqlite3.Connection, order_id: int, at: datetime, state: str, detail: str) -> None:
    """Journal an order's next state. Raises IllegalStep, and nothing is journalled, when its life has no such step."""
    row = database.execute(
        "SELECT state FROM switch_event WHERE order_id = ? ORDER BY event_id DESC LIMIT 1", (order_id,)
    ).fetchone()
    if row is not None:
        step(OrderState(row[0]), OrderState(state))
    database.execute(
        "INSERT INTO switch_event (order_id, at, state, detail) VALUES (?, ?, ?, ?)",
        (order_id, instant_text(at), state, detail),
    )
    if state in ("wanted", "sent"):
        database.execute("INSERT OR REPLACE INTO live_order VALUES (?, ?)", (order_id, state))
    else:
        database.execute("DELETE FROM live_order WHERE order_id = ?", (order_id,))


def order(database: sqlite3.Connection, order_id: int) -> SwitchOrder:
    """The order of an id."""
    return _order(database.execute(f"{_ORDER} WHERE o.order_id = ?", (order_id,)).fetchone())


def live_orders(database: sqlite3.Connection) -> list[SwitchOrder]:
    """Orders that are wanted or sent, reconnects first, then in the order of their ids."""
    rows = database.execute(
        f"{_ORDER} WHERE o.order_id IN (SELECT order_id FROM live_order) ORDER BY o.action DESC, o.order_id"
    )
    return [_order(row) for row in rows]


def last_order(database: sqlite3.Connection, meter_id: str) -> SwitchOrder | None:
    """The newest order for a meter, or None."""
    row = database.execute(f"{_ORDER} WHERE o.meter_id = ? ORDER BY o.order_id DESC LIMIT 1", (meter_id,)).fetchone()
    return _order(row) if row else None


def disconnects_sent_since(database: sqlite3.Connection, since: datetime) -> list[tuple[str, datetime]]:
    """The disconnects that were sent since an instant, as the budget counts them: (meter, when)."""
    rows = database.execute(
        "SELECT o.meter_id, e.at FROM switch_event e JOIN switch_order o USING (order_id)"
        " WHERE e.state = 'sent' AND o.action = 'disconnect' AND o.cause <> 'safety' AND e.at >= ?",
        (instant_text(since),),
    )
    return [(meter_id, instant_of(at)) for meter_id, at in rows]


def unsettled_since(database: sqlite3.Connection, meter_id: str, action: str, since: datetime) -> SwitchOrder | None:
    """The newest order of a meter that was sent since an instant and is not confirmed: it may yet move the relay."""
    row = database.execute(
        f"{_ORDER} JOIN switch_event s ON s.order_id = o.order_id AND s.state = 'sent' AND s.at >= ?"
        " WHERE o.meter_id = ? AND o.action = ? AND e.state IN ('sent', 'failed') ORDER BY o.order_id DESC LIMIT 1",
        (instant_text(since), meter_id, action),
    ).fetchone()
    return _order(row) if row else None


def reconnect_wanted_since(database: sqlite3.Connection, meter_id: str) -> datetime | None:
    """Since when attempts to reconnect a meter have gone on without success; None where there was none."""
    row = database.execute(
        "SELECT min(e.at) FROM switch_order o JOIN switch_event e USING (order_id)"
        " WHERE o.meter_id = ?1 AND o.action = 'reconnect' AND e.state = 'wanted' AND o.order_id >"
        " coalesce((SELECT max(l.order_id) FROM switch_order l JOIN switch_event s USING (order_id)"
        " WHERE l.meter_id = ?1 AND (l.action = 'disconnect' OR s.state IN ('confirmed', 'cancelled'))), 0)",
        (meter_id,),
    ).fetchone()
    return None if row[0] is None else instant_of(row[0])


def steps(database: sqlite3.Connection, order_id: int) -> list[tuple[str, datetime, str]]:
    """The steps of an order: (state, when, detail)."""
    rows = database.execute(
        "SELECT state, at, detail FROM switch_event WHERE order_id = ? ORDER BY event_id", (order_id,)
    )
    return [(state, instant_of(at), detail) for state, at, detail in rows]


def journal(database: sqlite3.Connection, meter_id: str) -> list[tuple[str, str, datetime, str]]:
    """The steps of a meter's newest order: (action, state, when, detail)."""
    rows = database.execute(
        "SELECT o.action, e.state, e.at, e.detail FROM switch_event e JOIN switch_order o USING (order_id)"
        " WHERE o.order_id = (SELECT max(order_id) FROM switch_order JOIN switch_event USING (order_id)"
        " WHERE meter_id = ?) ORDER BY e.event_id",
        (meter_id,),
    )
    return [(action, state, instant_of(when), detail) for action, state, when, detail in rows]
