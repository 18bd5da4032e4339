"""Where relays and meters really are, compared with what was last known of them: each surprise told once, met safely.

Everything here runs inside a transaction of the store. A surprise that lasts is a condition of its meter: it is told
when it begins and when it is over, and ``status`` shows it in between.
"""

import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from edge.core.decisions import decide
from edge.core.model import Action, Relay
from edge.core.orders import LATE_DELIVERY, OURS, Cause, follows_the_rules, relay_cause
from edge.core.vee import RegisterRead
from edge.gateway import Gateway
from edge.rulings import Asked, Ruling, want
from edge.store import conditions, customers, fleet, records
from edge.store.conditions import QUESTIONED
from edge.store.fleet import RelayChange, SwitchOrder
from protocols.link import RelayState

FOREIGN_DISCONNECT = "foreign_disconnect"  # opened by another hand or by itself: never ours to close
WELDED = "welded_relay"  # power flows while the switch says that it is open
GLIMPSE = timedelta(minutes=5)
FROZEN = "register_frozen"  # a connected service whose register does not move
METER_REPLACED = "meter_replaced"  # a meter answers that no exchange has brought into force
UNITS_EXCHANGED = "units_exchanged"  # two meters of ours answer for each other
RECONNECT_OVERDUE = "reconnect_overdue"  # a customer who should have power has waited too long for it


def begin(database: sqlite3.Connection, meter_id: str, condition: str, at: datetime, data: dict[str, Any]) -> None:
    """A condition of a meter: told if it was not in force."""
    if conditions.begin(database, meter_id, condition, at, data):
        records.add_event(database, condition, at, {"meter_id": meter_id, **data})


def end(database: sqlite3.Connection, meter_id: str, condition: str, at: datetime) -> None:
    """A condition of a meter is over: told if it was in force."""
    if conditions.end(database, meter_id, condition, at):
        records.add_event(database, "alarm_cleared", at, {"meter_id": meter_id, "alarm": condition})


def take_relay(database: sqlite3.Connection, gateway: Gateway, meter_id: str, relay: RelayState, at: datetime) -> None:
    """A poll has found a relay where we last knew it, or not: record by whose hand, tell, and decide again.

    A disconnect of ours that was given up and moves the relay all the same is ours, so that credit closes it; and where
    the rules do not want the relay open at this instant, it is closed whatever the balance.
    """
    last = fleet.relay_change(database, meter_id)
    if last is not None and last.relay == relay.value:
        return
    late = None
    if last is None or last.relay != RelayState.UNKNOWN:
        action = Action.DISCONNECT if relay is RelayState.DISCONNECTED else Action.RECONNECT
        late = fleet.unsettled_since(database, meter_id, action.value, at - LATE_DELIVERY)
    cause = _cause_before_a_glimpse(database, gateway, meter_id, relay, at) or _cause(last, relay, late)
    fleet.add_relay_change(database, meter_id, at, relay.value, cause, late.order_id if late else None)
    account = customers.account_served_by(database, meter_id)
    _tell(database, meter_id, account.account_id if account else None, last, relay, cause, at)
    if account is None:
        return
    ruling = gateway.rule(database, account.account_id, gateway.circumstances())
    if late is not None and relay is RelayState.DISCONNECTED and follows_the_rules(late.action, late.cause):
        _take_back(database, gateway, ruling)


def _cause_before_a_glimpse(
    database: sqlite3.Connection, gateway: Gateway, meter_id: str, relay: RelayState, at: datetime
) -> str | None:
    """Why a relay is open that we opened and that was seen closed for no longer than a poll or two; else None.

    Such a glimpse may be another meter's answer, or a wrong one: it must not turn our disconnect into somebody else's,
    which nobody would ever undo.
    """
    changes = fleet.last_relay_changes(database, meter_id, 2)
    if relay is not RelayState.DISCONNECTED or len(changes) < 2:
        return None
    glimpse, before = changes
    ours = before.relay != RelayState.CONNECTED and before.cause in (*OURS, Cause.SAFETY)
    seen_closed = glimpse.relay == RelayState.CONNECTED and glimpse.cause == "foreign"
    brief = at - glimpse.at <= max(GLIMPSE, gateway.settings.site.polled_every(meter_id) * 5 // 2)
    return before.cause if ours and seen_closed and brief else None


def _cause(last: RelayChange | None, relay: RelayState, late: SwitchOrder | None) -> str:
    """Who moved a relay that a poll finds moved: we did, if a command of ours may still have been under way."""
    if late is not None:
        return relay_cause(late.action, late.cause)
    if last is None:
        return "first seen"
    if last.relay == RelayState.UNKNOWN and (last.cause in OURS or last.cause == Cause.SAFETY):
        return last.cause if relay is RelayState.DISCONNECTED else "reconnect"
    return "foreign"


def _tell(
    database: sqlite3.Connection,
    meter_id: str,
    account_id: str | None,
    last: RelayChange | None,
    relay: RelayState,
    cause: str,
    at: datetime,
) -> None:
    if last is None:
        return
    data = {"meter_id": meter_id, "account_id": account_id}
    moved(database, meter_id, account_id, relay, cause, at)
    if cause == "foreign" and relay is RelayState.DISCONNECTED:
        begin(database, meter_id, FOREIGN_DISCONNECT, at, {"account_id": account_id})
    elif cause == "foreign" and last.relay == RelayState.DISCONNECTED and last.cause not in ("foreign", "first seen"):
        records.add_event(database, "reconnected_by_hand", at, {**data, "disconnected_for": last.cause})


def moved(
    database: sqlite3.Connection, meter_id: str, account_id: str | None, relay: RelayState, cause: str, at: datetime
) -> None:
    """Tell the head end that a relay moved, in the words of contract section 5; a safety disconnect is a manual one."""
    if relay is RelayState.CONNECTED:
        end(database, meter_id, FOREIGN_DISCONNECT, at)
        end(database, meter_id, RECONNECT_OVERDUE, at)
        end(database, meter_id, WELDED, at)
    told = "manual" if cause == Cause.SAFETY else cause
    data: dict[str, Any] = {"meter_id": meter_id, "account_id": account_id, "relay": relay.value, "cause": told}
    if cause == Cause.SAFETY:
        data["safety"] = True
    records.add_event(database, "relay", at, data)


def note_overdue(database: sqlite3.Connection, gateway: Gateway, order: SwitchOrder) -> None:
    """An attempt to reconnect has failed: tell it once the attempts have gone on for too long."""
    now = gateway.clock.now()
    since = fleet.reconnect_wanted_since(database, order.meter_id)
    patience = timedelta(minutes=gateway.settings.site.enforcement.reconnect_alarm_minutes)
    if since is not None and now - since >= patience:
        data = {"account_id": order.account_id, "wanted_since": since.isoformat()}
        begin(database, order.meter_id, RECONNECT_OVERDUE, now, data)


def take_power(database: sqlite3.Connection, meter_id: str, power_w: int | None, at: datetime) -> None:
    """Power flows through an open switch, or (None) does so no more. Nothing is commanded: the home has its power."""
    if power_w is None:
        end(database, meter_id, WELDED, at)
        return
    account = customers.account_served_by(database, meter_id)
    begin(database, meter_id, WELDED, at, {"account_id": account.account_id if account else None, "power_w": power_w})


def take_frozen(database: sqlite3.Connection, meter_id: str, read: RegisterRead, *, frozen: bool) -> None:
    """A connected service's register has not moved for as long as ``meters.frozen_after_hours`` says, or moves again.

    Its reads count, since a home may be empty; somebody should look at the meter.
    """
    if frozen:
        begin(database, meter_id, FROZEN, read.at, {"energy_wh": read.energy_wh})
    else:
        end(database, meter_id, FROZEN, read.at)


def take_serial(
    database: sqlite3.Connection, gateway: Gateway, meter_id: str, serial: str | None, at: datetime
) -> None:
    """A meter told the serial number of another one, or its own again after that.

    Until it is its own, or an exchange is recorded, nobody is disconnected through it: it may be another home's switch.
    """
    if not gateway.is_other(meter_id, serial):
        for condition in QUESTIONED:
            end(database, meter_id, condition, at)
        gateway.questioned.discard(meter_id)
        _decide(database, gateway, meter_id)
        return
    other = next((owner for owner, known in gateway.serials.items() if known == serial and owner != meter_id), None)
    if other is None:
        _question(database, gateway, meter_id, METER_REPLACED, at, {"serial": serial})
    else:
        end(database, meter_id, METER_REPLACED, at)
        _question(database, gateway, meter_id, UNITS_EXCHANGED, at, {"other": other, "serial": serial})
        _question(database, gateway, other, UNITS_EXCHANGED, at, {"other": meter_id})


def _question(
    database: sqlite3.Connection,
    gateway: Gateway,
    meter_id: str,
    condition: str,
    at: datetime,
    data: dict[str, Any],
) -> None:
    known = conditions.of_meter(database, meter_id).get(condition)
    data = {**data, "expected": gateway.serials.get(meter_id)}
    if known is not None and "serial" in data and "serial" not in known.data:  # now it was heard itself
        conditions.end(database, meter_id, condition, at)
        conditions.begin(database, meter_id, condition, at, data)
    else:
        begin(database, meter_id, condition, at, data)
    gateway.questioned.add(meter_id)
    _decide(database, gateway, meter_id)


def _decide(database: sqlite3.Connection, gateway: Gateway, meter_id: str) -> None:
    account = customers.account_served_by(database, meter_id)
    if account is not None:
        gateway.rule(database, account.account_id, gateway.circumstances())


def bring_into_force(database: sqlite3.Connection, gateway: Gateway, meter_id: str, serial: str) -> None:
    """An exchange is recorded: the meter of this id is from now on the one with this serial number.

    Only where ``edge.toml`` names one: a site that does not, does not check them. The last thing in its transaction,
    since the gateway and the meter's link learn of it at once.
    """
    if meter_id in gateway.serials:
        gateway.expect_serial(meter_id, serial)
        take_serial(database, gateway, meter_id, serial, gateway.clock.now())


def answers_at(database: sqlite3.Connection, meter_id: str) -> str | None:
    """The meter whose address this one answers at, where each of the two was heard to answer for the other."""
    found = conditions.of_meter(database, meter_id).get(UNITS_EXCHANGED)
    if found is None:
        return None
    other = str(found.data["other"])
    there = conditions.of_meter(database, other).get(UNITS_EXCHANGED)
    if there is None or there.data.get("other") != meter_id:
        return None
    return other if "serial" in found.data and "serial" in there.data else None


def _take_back(database: sqlite3.Connection, gateway: Gateway, ruling: Ruling) -> None:
    """Close a relay that came open late, unless the rules would have it open now or credit closes it anyway."""
    account = ruling.account
    if ruling.decision.action is Action.RECONNECT:
        return
    program, holiday = gateway.rulebook.programs[account.program]
    if decide(replace(ruling.facts, relay=Relay.CONNECTED), program, holiday).action is Action.DISCONNECT:
        return
    want_late_reconnect(database, gateway, account.account_id)


def want_late_reconnect(database: sqlite3.Connection, gateway: Gateway, account_id: str) -> None:
    """Want a reconnect that takes a late disconnect back, unless an order is under way."""
    account = customers.account(database, account_id)
    assert account is not None
    last = fleet.last_order(database, account.meter_id)
    decision = records.last_decision(database, account_id)
    if decision is None or (last is not None and last.state in ("wanted", "sent")):
        return
    why = "a disconnect of ours came late"
    now = gateway.clock.now()
    want(database, account, Action.RECONNECT, None, decision.decision_id, now, Asked(why, "gateway"), Cause.LATE)
