"""Carrying out switch orders: decide again, journal, send once, read back, confirm.

Theory of operation. An order is found in the store, never in memory. Just before its command goes out the meter is
read, the decision is taken again on what is known at that instant, and ``sent`` is committed; only then the wire is
used, once. What the relay did is learnt by reading it back, whatever the wire said. After a restart an order that was
sent is read back first and never sent again. A relay that cannot be read back is *unknown*, with the mark that it may
be open by our hand: credit then makes a reconnect at once.
"""

import asyncio
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from edge import quarantine, reconciliation
from edge.clock import pause
from edge.core.model import Action
from edge.core.orders import Cause, OrderState, cause_while_unknown, follows_the_rules, may_send, relay_cause
from edge.gateway import Gateway
from edge.notices import tell_disconnected, tell_reconnected
from edge.rulings import journal
from edge.store import fleet
from edge.store.fleet import SwitchOrder
from edge.switch_journal import SentCommand
from protocols.link import LinkError, MeterLink, RelayState, SwitchAction

log = structlog.get_logger()

RETRY_DELAYS_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # between attempts to reconnect a meter; the last one repeats
COMMAND_LIFETIME_S = 10.0


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How a profile wants a command confirmed, in seconds."""

    first_look_s: float
    look_every_s: float
    deadline_s: float


class RelayOperator:
    """The task that carries out switch orders, several meters at a time, one order a meter."""

    def __init__(self, gateway: Gateway, confirmations: Mapping[str, Confirmation]) -> None:
        self._gateway = gateway
        self._confirmations = confirmations
        self._busy: set[int] = set()
        self._failures: dict[str, int] = {}
        self._answered: dict[str, asyncio.Event] = {}
        self._at_the_meter: dict[str, asyncio.Lock] = {}  # one order at a time

    async def run(self) -> None:
        """Carry out orders for as long as the daemon runs."""
        gateway = self._gateway
        self._busy.clear()
        async with asyncio.TaskGroup() as tasks:
            for order in await gateway.store.read(fleet.live_orders):
                if order.state == OrderState.SENT:
                    self._busy.add(order.order_id)
                    tasks.create_task(self._settle(order))
            gateway.orders_waiting.set()
            while True:
                await gateway.orders_waiting.wait()
                gateway.orders_waiting.clear()
                for order in await gateway.store.read(fleet.live_orders):
                    if order.order_id not in self._busy and order.state == OrderState.WANTED and self._may_go(order):
                        self._busy.add(order.order_id)
                        tasks.create_task(self._carry_out(order))

    def _may_go(self, order: SwitchOrder) -> bool:
        """While accounts are being decided one after the other, nobody is cut: it may turn out to be too many."""
        asked_by_rules = order.action == Action.DISCONNECT and order.cause == Cause.CREDIT
        return not (asked_by_rules and self._gateway.deciding)

    def answered(self, meter_id: str) -> None:
        """A poll has reached this meter: whoever waits to reconnect it tries again now."""
        if meter_id in self._answered:
            self._answered[meter_id].set()

    async def _carry_out(self, order: SwitchOrder) -> None:
        link = await self._link(order)
        if link is None:
            await self._end(order, OrderState.FAILED, f"there is no meter {order.meter_id} in the configuration")
            return
        if order.action == Action.RECONNECT:
            await self._back_off(order.meter_id)
        async with self._at_the_meter.setdefault(order.meter_id, asyncio.Lock()):
            try:
                with self._gateway.clock.at_wall_pace(), self._gateway.commanding(order.meter_id):
                    await self._command(order, link)
            finally:
                self._busy.discard(order.order_id)
                self._gateway.orders_waiting.set()

    async def _link(self, order: SwitchOrder) -> MeterLink | None:
        """The way to an order's meter: a reconnect goes where the meter is, when two are known to be exchanged."""
        links = self._gateway.links
        if order.action == Action.RECONNECT and order.meter_id in self._gateway.questioned:
            at = await self._gateway.store.read(lambda database: reconciliation.answers_at(database, order.meter_id))
            return links.get(at or order.meter_id)
        return links.get(order.meter_id)

    async def _back_off(self, meter_id: str) -> None:
        failures = self._failures.get(meter_id, 0)
        if not failures:
            return
        answered = self._answered.setdefault(meter_id, asyncio.Event())
        answered.clear()
        delay = timedelta(seconds=RETRY_DELAYS_S[min(failures, len(RETRY_DELAYS_S)) - 1])
        await self._gateway.clock.wait(self._gateway.clock.now() + delay, answered)

    async def _command(self, order: SwitchOrder, link: MeterLink) -> None:
        action = SwitchAction.DISCONNECT if order.action == Action.DISCONNECT else SwitchAction.CONNECT
        try:
            # A disconnect rests on the whole meter answering (its probe too); a reconnect only needs the relay.
            if action is SwitchAction.DISCONNECT:
                readout = await link.read()
                if self._gateway.is_other(order.meter_id, readout.serial):
                    await self._refuse_other(order, readout.serial)
                    return
                seen = readout.relay
            else:
                seen = await link.read_relay()
        except LinkError as problem:
            await self._end(order, OrderState.FAILED, f"the meter did not answer before the command: {problem}")
            return
        if seen is action.wanted:
            await self._found_done(order, seen)
            return
        if not await self._gateway.record(lambda database: self._send_if_still_right(database, order)):
            return
        told = await self._gateway.outlives_the_database(_sent(order, self._gateway.clock.now()))
        if not told and action is SwitchAction.DISCONNECT:
            await self._conclude(order, seen, "not sent: the switch journal could not be written")
            return
        detail = ""
        try:
            await link.command(action, expires_in_s=COMMAND_LIFETIME_S)
        except LinkError as problem:
            detail = f"the command's answer: {problem}"
        await self._confirm(order, link, action, detail)

    async def _refuse_other(self, order: SwitchOrder, serial: str | None) -> None:
        """Another meter answers: nobody is disconnected through it."""
        gateway = self._gateway
        await gateway.record(
            lambda database: reconciliation.take_serial(database, gateway, order.meter_id, serial, gateway.clock.now())
        )
        await self._end(order, OrderState.FAILED, f"another meter answered, serial number {serial}")

    def _send_if_still_right(self, database: sqlite3.Connection, order: SwitchOrder) -> bool:
        """Decide again on what is known now; journal ``sent`` only if the order still stands.

        The rules have no say in a safety disconnect, its end, and a reconnect that a person asked for.
        """
        if order.action == Action.DISCONNECT:
            quarantine.look(database, self._gateway)
        around = self._gateway.circumstances()
        ruling = self._gateway.rule(database, order.account_id, around)
        present = fleet.order(database, order.order_id)
        if present.state != OrderState.WANTED:
            return False
        if follows_the_rules(order.action, order.cause) and ruling.decision.action.value != order.action:
            # A wanted reconnect is kept only for a relay that may be open by our hand; that is settled by now.
            journal(database, present, OrderState.CANCELLED, "decided again before sending", around.now)
            return False
        if not may_send(order.action, present.not_after, around.now):
            journal(database, present, OrderState.EXPIRED, "its window has ended", around.now)
            return False
        journal(database, present, OrderState.SENT, "", around.now)
        return True

    async def _confirm(self, order: SwitchOrder, link: MeterLink, action: SwitchAction, detail: str) -> None:
        how = self._confirmations[order.meter_id]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + how.deadline_s
        wait = how.first_look_s
        seen = RelayState.UNKNOWN
        while loop.time() < deadline:
            await pause(wait)
            wait = how.look_every_s
            try:
                seen = await link.read_relay()
            except LinkError as problem:
                seen, detail = RelayState.UNKNOWN, f"the read-back: {problem}"
            if seen is action.wanted:
                break
        await self._conclude(order, seen, detail)

    async def _settle(self, order: SwitchOrder) -> None:
        """After a restart: learn what a sent order did, by reading, and never by sending again."""
        seen, detail = RelayState.UNKNOWN, "settled after a restart"
        link = self._gateway.links.get(order.meter_id)
        with self._gateway.commanding(order.meter_id):
            try:
                if link is not None:
                    seen = await link.read_relay()
            except LinkError as problem:
                detail = f"after a restart the relay could not be read: {problem}"
            await self._conclude(order, seen, detail)
        self._busy.discard(order.order_id)

    async def _conclude(self, order: SwitchOrder, seen: RelayState, detail: str) -> None:
        """Journal what the read-back showed, and decide what follows from it."""
        gateway = self._gateway
        wanted = SwitchAction.DISCONNECT if order.action == Action.DISCONNECT else SwitchAction.CONNECT
        done = seen is wanted.wanted
        self._failures[order.meter_id] = 0 if done else self._failures.get(order.meter_id, 0) + 1

        def work(database: sqlite3.Connection) -> None:
            now = gateway.clock.now()
            state = OrderState.CONFIRMED if done else OrderState.FAILED
            if done or seen is RelayState.UNKNOWN:
                # Unknown after a reconnect of our own cut is still our cut.
                cause = (relay_cause if done else cause_while_unknown)(order.action, order.cause)
                fleet.add_relay_change(database, order.meter_id, now, seen.value, cause, order.order_id)
            if done:
                reconciliation.moved(database, order.meter_id, order.account_id, seen, cause, now)
            journal(database, order, state, detail or ("" if done else f"the relay reads {seen.value}"), now)
            around = gateway.circumstances()
            if done and order.action == Action.DISCONNECT:
                ruling = gateway.rule(database, order.account_id, around)
                needed = ruling.decision.amount_to_reconnect_cents
                tell_disconnected(database, gateway, order.account_id, order.order_id, needed, now)
                return
            if done and order.action == Action.RECONNECT:
                tell_reconnected(database, gateway, order.account_id, order.order_id, now)
            gateway.rule(database, order.account_id, around)
            if not done:
                self._not_done(database, order)

        await gateway.record(work)
        log.info("order", meter=order.meter_id, action=order.action, relay=seen.value, confirmed=done, detail=detail)

    def _not_done(self, database: sqlite3.Connection, order: SwitchOrder) -> None:
        """A late disconnect of ours is taken back until it is seen to be; a reconnect that lasts too long is told."""
        if order.cause == Cause.LATE:
            reconciliation.want_late_reconnect(database, self._gateway, order.account_id)
        if order.action == Action.RECONNECT:
            reconciliation.note_overdue(database, self._gateway, order)

    async def _found_done(self, order: SwitchOrder, seen: RelayState) -> None:
        """The relay is where the order wanted it, without a command of ours."""
        gateway = self._gateway

        def work(database: sqlite3.Connection) -> None:
            now = gateway.clock.now()
            if fleet.order(database, order.order_id).state != OrderState.WANTED:
                return
            journal(database, order, OrderState.CANCELLED, f"the relay was found {seen.value}", now)
            if order.cause == Cause.SAFETY and seen is RelayState.DISCONNECTED:
                # Open already, for credit perhaps: from now on only the word that it is safe closes it.
                fleet.add_relay_change(database, order.meter_id, now, seen.value, Cause.SAFETY, order.order_id)
            else:
                reconciliation.take_relay(database, gateway, order.meter_id, seen, now)
            gateway.rule(database, order.account_id, gateway.circumstances())

        self._failures[order.meter_id] = 0
        await gateway.record(work)

    async def _end(self, order: SwitchOrder, state: OrderState, detail: str) -> None:
        gateway = self._gateway
        self._failures[order.meter_id] = self._failures.get(order.meter_id, 0) + 1

        def work(database: sqlite3.Connection) -> None:
            now = gateway.clock.now()
            if fleet.order(database, order.order_id).state == OrderState.WANTED:
                journal(database, order, state, detail, now)
            gateway.rule(database, order.account_id, gateway.circumstances())
            self._not_done(database, order)

        await gateway.record(work)
        log.warning("order", meter=order.meter_id, action=order.action, state=state.value, detail=detail)


def _sent(order: SwitchOrder, at: datetime) -> SentCommand:
    """What the switch journal keeps of an order that is about to go out."""
    cause = cause_while_unknown(order.action, order.cause)
    return SentCommand(at, order.meter_id, order.account_id, order.action, cause, order.order_id)
