"""Protections, holds and moratorium orders, whoever asks for them: recorded with who and when, decided upon at once.

A beginning and an end are told to the head end when they happen, not when they are written down: ``tell_changes`` finds
what has begun or run out, and each is told once.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from edge.core import restraints as dated
from edge.core.model import Hold, HoldKind, MoratoriumOrder, Protection
from edge.gateway import Gateway
from edge.leaving import leave
from edge.refusals import NotThere, RequestRefused
from edge.rulings import judge
from edge.store import customers, records
from edge.store import restraints as store
from edge.store.customers import Account
from edge.store.restraints import HOLD, MORATORIUM, RecordedHold, RecordedMoratorium, Release

SLACK = timedelta(minutes=5)  # by how much another's clock may be ahead of ours


# Protections.


async def set_protection(
    gateway: Gateway, account_id: str, kinds: Iterable[Protection], protected: bool, at: datetime, by: str
) -> tuple[Protection, ...]:
    """Begin or end protections of an account; those in force afterwards.

    Where one begins, the account leaves the program, and a home in the dark is reconnected at once (domain-rules R18,
    C8). Telling what is so already changes nothing else. An end that lies in the future is refused: it comes too early.
    """

    def work(database: sqlite3.Connection) -> tuple[Protection, ...]:
        account = _need_account(database, account_id)
        around = gateway.circumstances()
        if not protected and at > around.now + SLACK:
            raise RequestRefused(f"account {account_id}: a protection cannot end in the future, at {at.isoformat()}")
        before = store.protections(database, account_id)
        for kind in kinds:
            if (kind in before) == protected:
                continue
            store.add_protection(database, account_id, kind, protected, at, by)
            after = store.protections(database, account_id)
            data = {"account_id": account_id, "protected": bool(after), "changed": kind.value, "by": by}
            records.add_event(database, "protected", around.now, data)
        in_force = store.protections(database, account_id)
        if protected and account.active and in_force:
            leave(database, account, f"protected: {', '.join(in_force)}", around, by)
        gateway.rule(database, account_id, around)
        return in_force

    in_force = await gateway.record(work)
    gateway.facts_changed.set()
    return in_force


# Holds.


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """A hold that somebody asks for. ``starts_at`` None: now; ``until`` None: no end; ``hold_id`` None: one of ours."""

    account_id: str
    kind: HoldKind
    starts_at: datetime | None
    until: datetime | None
    reason: str
    hold_id: str | None = None


async def add_hold(gateway: Gateway, wanted: HoldRequest, by: str) -> RecordedHold:
    """Record a hold, or a new end of the one with this id; the same again changes nothing.

    Raises RequestRefused when its end is not after its beginning, when its id belongs to another account or kind, or
    when it was released already.
    """

    def work(database: sqlite3.Connection) -> RecordedHold:
        _need_account(database, wanted.account_id)
        around = gateway.circumstances()
        hold_id = wanted.hold_id or _free_hold_id(database, wanted.account_id)
        earlier = store.hold(database, hold_id)
        starts_at = wanted.starts_at or (earlier.hold.starts_at if earlier else around.now)
        hold = Hold(wanted.kind, starts_at, wanted.until)
        if wanted.until is not None and wanted.until <= starts_at:
            raise RequestRefused(f"hold {hold_id}: ends before it begins, at {wanted.until.isoformat()}")
        if earlier is not None:
            if (earlier.account_id, earlier.hold.kind) != (wanted.account_id, wanted.kind):
                raise RequestRefused(f"hold {hold_id} is already there for another account or kind")
            if (earlier.hold.starts_at, earlier.ends_at, earlier.reason) == (starts_at, wanted.until, wanted.reason):
                return earlier
            if earlier.release is not None:
                at = earlier.release.released_at.isoformat()
                raise RequestRefused(f"hold {hold_id} was released at {at}: record a new one under another id")
            late = earlier.registered_late
        else:
            late = wanted.kind is HoldKind.DISPUTE and _registered_late(database, gateway, wanted.account_id, hold)
        recorded = RecordedHold(
            hold_id, wanted.account_id, hold, wanted.reason, late, around.now, by, ends_at=wanted.until
        )
        store.add_hold(database, recorded)
        tell_changes(database, around.now)
        gateway.rule(database, wanted.account_id, around)
        return recorded

    recorded = await gateway.record(work)
    gateway.facts_changed.set()
    return recorded


def _free_hold_id(database: sqlite3.Connection, account_id: str) -> str:
    number = len(store.recorded_holds(database, account_id)) + 1
    while store.hold(database, f"H-{account_id}-{number}") is not None:
        number += 1
    return f"H-{account_id}-{number}"


def _registered_late(database: sqlite3.Connection, gateway: Gateway, account_id: str, hold: Hold) -> bool:
    """Whether a dispute comes less than 24 hours before the date on which a disconnect is proposed (R65)."""
    around = gateway.circumstances()
    decision = judge(database, account_id, gateway.rulebook, gateway.switchgear, around)[2]
    registered_at = min(hold.starts_at, around.now)
    return dated.registered_late(registered_at, decision.next_possible_disconnect, around.zone)


async def release_hold(
    gateway: Gateway, hold_id: str, at: datetime, by: str, outcome: str = "released", reason: str = ""
) -> RecordedHold:
    """End a hold; a second release changes nothing.

    ``outcome``: ``released``, or of a settlement agreement ``honoured`` or ``broken`` (domain-rules R66). Raises
    RequestRefused when there is no such hold, or when something else than a settlement was honoured or broken.
    """

    def work(database: sqlite3.Connection) -> RecordedHold:
        recorded = store.hold(database, hold_id)
        if recorded is None:
            raise NotThere(f"there is no hold {hold_id}")
        kind = recorded.hold.kind
        if outcome != "released" and kind is not HoldKind.SETTLEMENT:
            raise RequestRefused(f"hold {hold_id} is of the kind {kind.value}: only a settlement is {outcome}")
        if recorded.release is not None:
            return recorded
        around = gateway.circumstances()
        store.release_hold(database, hold_id, Release(at, outcome, reason, by), around.now)
        tell_changes(database, around.now)
        gateway.rule(database, recorded.account_id, around)
        released = store.hold(database, hold_id)
        assert released is not None
        return released

    released = await gateway.record(work)
    gateway.facts_changed.set()
    return released


# Moratoriums.


@dataclass(frozen=True, slots=True)
class MoratoriumRequest:
    """A moratorium that somebody orders; ``order`` None: a name of our own; ``starts_at`` None: now, or as it was."""

    order: str | None
    starts_at: datetime | None
    until: datetime | None
    reason: str
    ordered_by: str


async def order_moratorium(gateway: Gateway, wanted: MoratoriumRequest, by: str) -> RecordedMoratorium:
    """Record a moratorium order, or a new end of one (domain-rules R11, R17); the same again changes nothing.

    Raises RequestRefused when a new order would end before it begins.
    """

    def work(database: sqlite3.Connection) -> RecordedMoratorium:
        now = gateway.clock.now()
        known = {recorded.order.order: recorded for recorded in store.recorded_moratoriums(database)}
        name = wanted.order or _free_order_name(set(known), now)
        earlier = known.get(name)
        starts_at = wanted.starts_at or (earlier.order.starts_at if earlier else now)
        if earlier is None and wanted.until is not None and wanted.until <= starts_at:
            raise RequestRefused(f"moratorium {name}: ends before it begins, at {wanted.until.isoformat()}")
        order = MoratoriumOrder(name, starts_at, wanted.until)
        reason = wanted.reason or (earlier.reason if earlier else "")
        ordered_by = wanted.ordered_by or (earlier.ordered_by if earlier else by)
        if earlier is not None and (earlier.order, earlier.reason, earlier.ordered_by) == (order, reason, ordered_by):
            return earlier
        return _record_moratorium(database, RecordedMoratorium(order, reason, ordered_by, now, by))

    recorded = await gateway.record(work)
    gateway.facts_changed.set()
    return recorded


async def end_moratorium(gateway: Gateway, order: str | None, by: str) -> RecordedMoratorium:
    """End a moratorium now; without a name, the only one. Raises RequestRefused when there is none, or several."""

    def work(database: sqlite3.Connection) -> RecordedMoratorium:
        now = gateway.clock.now()
        recorded = store.recorded_moratoriums(database)
        standing = [r for r in recorded if not dated.is_over(r.order.starts_at, r.order.until, now)]
        if order is not None:
            standing = [r for r in standing if r.order.order == order]
        if not standing:
            raise NotThere(
                "there is no moratorium that could end" if order is None else f"no moratorium {order} stands"
            )
        if len(standing) > 1:
            names = ", ".join(r.order.order for r in standing)
            raise RequestRefused(f"several moratoriums stand: name the one that ends ({names})")
        ended = replace(standing[0].order, until=now)
        return _record_moratorium(database, replace(standing[0], order=ended, recorded_at=now, by=by))

    recorded = await gateway.record(work)
    gateway.facts_changed.set()
    return recorded


def _record_moratorium(database: sqlite3.Connection, recorded: RecordedMoratorium) -> RecordedMoratorium:
    store.add_moratorium(database, recorded)
    tell_changes(database, recorded.recorded_at)
    return recorded


def _free_order_name(taken: set[str], now: datetime) -> str:
    number = 1
    while (name := f"M-{now:%Y%m%d}-{number}") in taken:
        number += 1
    return name


# Beginnings and ends, told when they happen.


def tell_changes(database: sqlite3.Connection, now: datetime) -> datetime | None:
    """Tell the head end of every hold and moratorium that has begun or is over; when the next one will."""
    changes = [_tell_hold(database, hold_id, told, now) for hold_id, told in store.watched(database, HOLD)]
    watched = list(store.watched(database, MORATORIUM))
    if watched:
        orders = {recorded.order.order: recorded for recorded in store.recorded_moratoriums(database)}
        changes += [_tell_moratorium(database, orders[name], told, now) for name, told in watched]
    return min([change for change in changes if change is not None], default=None)


def _tell_hold(database: sqlite3.Connection, hold_id: str, told: bool, now: datetime) -> datetime | None:
    recorded = store.hold(database, hold_id)
    assert recorded is not None
    hold, release = recorded.hold, recorded.release
    active = dated.in_force(hold.starts_at, hold.until, now)
    data: dict[str, object] = {"account_id": recorded.account_id, "hold_id": hold_id, "hold": hold.kind.value}
    if active and not told:
        until = None if hold.until is None else hold.until.isoformat()
        data |= {"from": hold.starts_at.isoformat(), "until": until, "reason": recorded.reason}
        data |= {"registered_late": recorded.registered_late, "by": recorded.by}
        records.add_event(database, "hold", now, data)
    elif told and not active:
        outcome = "ran out" if release is None else release.outcome
        data |= {"outcome": outcome, "by": recorded.by if release is None else release.by}
        records.add_event(database, "hold_released", now, data)
    _keep_watching(database, HOLD, hold_id, told, active, dated.is_over(hold.starts_at, hold.until, now))
    return dated.next_change(hold.starts_at, hold.until, now)


def _tell_moratorium(
    database: sqlite3.Connection, recorded: RecordedMoratorium, told: bool, now: datetime
) -> datetime | None:
    order = recorded.order
    active = dated.in_force(order.starts_at, order.until, now)
    if active != told:
        until = None if order.until is None else order.until.isoformat()
        data = {"order": order.order, "active": active, "until": until, "reason": recorded.reason}
        data |= {"ordered_by": recorded.ordered_by, "by": recorded.by}
        records.add_event(database, "moratorium", now, data)
    _keep_watching(database, MORATORIUM, order.order, told, active, dated.is_over(order.starts_at, order.until, now))
    return dated.next_change(order.starts_at, order.until, now)


def _keep_watching(database: sqlite3.Connection, kind: str, name: str, told: bool, active: bool, over: bool) -> None:
    if over:
        store.forget(database, kind, name)
    elif active != told:
        store.set_told(database, kind, name, active)


def _need_account(database: sqlite3.Connection, account_id: str) -> Account:
    account = customers.account(database, account_id)
    if account is None:
        raise NotThere(f"there is no account {account_id}")
    return account
