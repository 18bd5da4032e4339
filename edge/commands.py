"""What a person asks of a meter's switch: manual commands within the rules, and safety disconnects apart from them.

A manual disconnect obeys every rule, as the daemon's own do: the same decision, taken again just before it is sent, the
same windows and limits, shadow mode too. A manual connect is never against the rules, but only closes what we opened.
A safety disconnect (domain-rules R23: safety hazard, essential repair, tampering) is a recorded word of a person that
binds no window, protection or moratorium; credit never closes it, only the word that it is safe again. Nothing in the
daemon asks for one by itself.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from edge.clock import pause
from edge.core.model import Action
from edge.core.orders import OURS, Cause, OrderState
from edge.gateway import Gateway
from edge.inventory import time_text
from edge.refusals import NotThere, RequestRefused
from edge.rulings import Asked, journal, want
from edge.store import customers, fleet, records
from edge.store.customers import Account
from edge.store.fleet import RelayChange, SwitchOrder

SAFETY_LIFETIME = timedelta(minutes=10)  # a safety disconnect that could not be sent by then is asked for again
OUTCOME_S = 20.0  # so long does a person wait for the outcome
LOOK_EVERY_S = 0.1
LIVE = (OrderState.WANTED, OrderState.SENT)


async def disconnect(gateway: Gateway, meter_id: str, reason: str, by: str, *, safety: bool = False) -> dict[str, Any]:
    """Disconnect a meter's supply now; the command's record once it is over, or as far as it has come in 20 s.

    Raises RequestRefused with every reason of the rules, unless ``safety``; NotThere where there is no such meter.
    """

    def work(database: sqlite3.Connection) -> int:
        account = _account(database, gateway, meter_id)
        if safety:
            return _disconnect_for_safety(database, gateway, account, reason, by)
        return _disconnect(database, gateway, account, reason, by)

    return await _carried_out(gateway, work)


async def connect(
    gateway: Gateway, meter_id: str, reason: str, by: str, *, safety_cleared: bool = False
) -> dict[str, Any]:
    """Reconnect a meter that we opened; the command's record once it is over, or as far as it has come in 20 s.

    Afterwards the rules apply as for any connected home. Raises RequestRefused where the switch was opened by someone
    else or by itself, or for safety and nobody says that this is over (``safety_cleared``).
    """

    def work(database: sqlite3.Connection) -> int:
        return _connect(database, gateway, _account(database, gateway, meter_id), reason, by, safety_cleared)

    return await _carried_out(gateway, work)


async def _carried_out(gateway: Gateway, work: Callable[[sqlite3.Connection], int]) -> dict[str, Any]:
    order_id = await gateway.record(work)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + OUTCOME_S
    while True:
        view = await gateway.store.read(lambda database: order_view(database, gateway, order_id))
        if view["state"] not in LIVE or loop.time() >= deadline:
            return view
        await pause(LOOK_EVERY_S)


def order_view(database: sqlite3.Connection, gateway: Gateway, order_id: int) -> dict[str, Any]:
    """A switch order with every step that it took."""
    order = fleet.order(database, order_id)
    return {
        "order_id": order_id,
        "meter_id": order.meter_id,
        "account_id": order.account_id,
        "action": order.action,
        "cause": order.cause,
        "reason": order.reason,
        "by": order.by,
        "not_after": time_text(order.not_after, gateway.settings),
        "state": order.state,
        "at": time_text(order.state_at, gateway.settings),
        "detail": order.detail,
        "steps": [
            {"state": state, "at": time_text(at, gateway.settings), "detail": detail}
            for state, at, detail in fleet.steps(database, order_id)
        ],
    }


def _account(database: sqlite3.Connection, gateway: Gateway, meter_id: str) -> Account:
    if meter_id not in gateway.switchgear:
        raise NotThere(f"there is no meter {meter_id}; 'ami-edge meters' lists them")
    account = customers.account_served_by(database, meter_id)
    if account is None:
        raise RequestRefused(f"meter {meter_id} serves no account: enrol one before its switch is commanded")
    return account


def _disconnect(database: sqlite3.Connection, gateway: Gateway, account: Account, reason: str, by: str) -> int:
    ruling = gateway.rule(database, account.account_id, gateway.circumstances(), Asked(reason, by))
    if ruling.decision.action is not Action.DISCONNECT:
        reasons = "; ".join(f"{block.code} - {block.text}" for block in ruling.decision.blocks)
        raise RequestRefused(f"meter {account.meter_id} is not disconnected: {reasons}")
    if ruling.order_id is not None:
        return ruling.order_id
    last = fleet.last_order(database, account.meter_id)
    assert last is not None
    if last.action == Action.DISCONNECT:
        return last.order_id  # what is asked for is under way
    raise _under_way(last)


def _disconnect_for_safety(
    database: sqlite3.Connection, gateway: Gateway, account: Account, reason: str, by: str
) -> int:
    change = fleet.relay_change(database, account.meter_id)
    if change is not None and (change.relay, change.cause) == ("disconnected", Cause.SAFETY):
        raise RequestRefused(f"meter {account.meter_id} is disconnected for safety already")
    _make_way(database, gateway, account, "a safety disconnect goes first")
    return _want(database, gateway, account, Action.DISCONNECT, Cause.SAFETY, reason, by)


def _connect(
    database: sqlite3.Connection, gateway: Gateway, account: Account, reason: str, by: str, safety_cleared: bool
) -> int:
    _check_ours(account.meter_id, fleet.relay_change(database, account.meter_id), safety_cleared)
    last = fleet.last_order(database, account.meter_id)
    if last is not None and last.state in LIVE and last.action == Action.RECONNECT:
        return last.order_id  # what is asked for is under way
    _make_way(database, gateway, account, "a person asks to connect")
    cause = Cause.SAFETY if safety_cleared else Cause.MANUAL
    return _want(database, gateway, account, Action.RECONNECT, cause, reason, by)


def _check_ours(meter_id: str, change: RelayChange | None, safety_cleared: bool) -> None:
    """Whether a relay is a person's to close through us. Raises RequestRefused."""
    if change is None:
        raise RequestRefused(f"the switch of meter {meter_id} has never been read: 'ami-edge meter read {meter_id}'")
    if change.relay == "connected":
        raise RequestRefused(f"meter {meter_id} is connected already")
    if change.cause == Cause.SAFETY and not safety_cleared:
        raise RequestRefused(
            f"meter {meter_id} was disconnected for safety: only --safety-cleared, with a reason, connects it again"
        )
    if change.cause != Cause.SAFETY and safety_cleared:
        raise RequestRefused(f"meter {meter_id} was not disconnected for safety: connect it without --safety-cleared")
    if change.cause not in (*OURS, Cause.SAFETY):
        raise RequestRefused(
            f"meter {meter_id} was opened by someone else or by itself: it is not ours to close, close it at the meter"
        )


def _want(
    database: sqlite3.Connection,
    gateway: Gateway,
    account: Account,
    action: Action,
    cause: Cause,
    reason: str,
    by: str,
) -> int:
    """Want a person's order beside the decision in force; every account has one from its enrolment on."""
    now = gateway.clock.now()
    not_after = now + SAFETY_LIFETIME if action is Action.DISCONNECT else None
    decision = records.last_decision(database, account.account_id)
    assert decision is not None
    return want(database, account, action, not_after, decision.decision_id, now, Asked(reason, by), cause)


def _make_way(database: sqlite3.Connection, gateway: Gateway, account: Account, why: str) -> None:
    """End an order that has not been sent. Raises RequestRefused while one is on the wire."""
    last = fleet.last_order(database, account.meter_id)
    if last is None or last.state not in LIVE:
        return
    if last.state == OrderState.SENT:
        raise _under_way(last)
    journal(database, last, OrderState.CANCELLED, why, gateway.clock.now())


def _under_way(order: SwitchOrder) -> RequestRefused:
    return RequestRefused(
        f"a {order.action} of meter {order.meter_id} is under way: ask again when it is over, in some seconds"
    )
