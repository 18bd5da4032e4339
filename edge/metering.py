"""What people say of a register: a meter exchange, a read that a customer reports, a day's use as a person knows it.

Each is recorded with who and why, and the closed days on which it bears are found and rated again in the same
transaction, so that the books come out as if it had been known in time. Nothing that was recorded is lost: an edit
takes the place of an earlier one, and is withdrawn by a row of its own.
"""

import sqlite3
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

from edge.core import vee
from edge.core.money import format_cents
from edge.core.orders import OURS, Cause
from edge.core.usage import Read
from edge.core.vee import Flag
from edge.corrections import recompute
from edge.day_use import DayFinder, oldest_kept
from edge.facts import Circumstances
from edge.gateway import Gateway
from edge.reconciliation import bring_into_force
from edge.refusals import NotThere, RequestRefused
from edge.store import customers, fleet, records, registers, usage
from edge.store.customers import Account
from edge.store.usage import DayEdit, MeterExchange
from protocols.link import RelayState

MOST_HOURS = 25  # of a civil day
EARLY = timedelta(seconds=5)  # a stamp may be that far ahead of the gateway's clock
STAY_REFUSED = {Flag.WRONG_SERIAL, Flag.CLOCK_UNTRUSTED, Flag.FROM_THE_FUTURE}  # for what an exchange does not explain


@dataclass(frozen=True, slots=True)
class ExchangeRequest:
    """A meter taken out and another put in its place; ``at`` None: just now."""

    meter_id: str
    new_serial: str
    final_register_wh: int
    initial_register_wh: int
    reason: str
    at: datetime | None = None
    old_serial: str | None = None


@dataclass(frozen=True, slots=True)
class EditRequest:
    """A day's use in Wh as a person says it.

    ``standing`` None: an estimate where no reads cover the day, else final.
    """

    account_id: str
    day: date
    energy_wh: int
    reason: str
    standing: Literal["estimate", "final", "withdrawn"] | None = None


async def exchange_meter(gateway: Gateway, wanted: ExchangeRequest, by: str) -> dict[str, Any]:
    """Record a meter exchange with the last register of the old meter and the first of the new one.

    Use goes on from one register to the other (domain-rules R62: no final or initial bill on an estimate). Reads that
    came from the new meter before its exchange was recorded are validated again. Raises NotThere, RequestRefused.
    """

    def work(database: sqlite3.Connection) -> dict[str, Any]:
        around = gateway.circumstances()
        at = _not_from_the_future(wanted.at or around.now, around.now, "the exchange")
        exchange = _checked_exchange(database, gateway, wanted, at, around.now, by)
        first = _first_day_touched(database, wanted.meter_id, at, around)
        usage.add_exchange(database, exchange)
        _validate_again(database, gateway, wanted.meter_id, at)
        _forget_switch(database, wanted.meter_id, around.now)
        told = {
            "meter_id": wanted.meter_id,
            "at": at.isoformat(),
            "old_serial": exchange.old_serial,
            "new_serial": exchange.new_serial,
            "final_register_wh": exchange.final_register_wh,
            "initial_register_wh": exchange.initial_register_wh,
            "reason": wanted.reason,
            "by": by,
        }
        records.add_event(database, "meter_exchanged", around.now, told)
        corrections = []
        for account_id in usage.accounts_of_meter(database, wanted.meter_id, first):
            corrections += _recompute(database, gateway, account_id, first, around, "a meter exchange")
            gateway.rule(database, account_id, around)
        bring_into_force(database, gateway, wanted.meter_id, wanted.new_serial)
        return told | {"corrections": corrections}

    answer = await gateway.record(work)
    gateway.reads_mended += 1
    gateway.reads_saved.set()
    return answer


def serial_in_force(database: sqlite3.Connection, gateway: Gateway, meter_id: str) -> str:
    """The serial number of the meter that hangs in a place now: of its last exchange, else edge.toml's; else empty."""
    known = usage.exchanges(database, meter_id)
    if known:
        return known[-1].new_serial
    return next((meter.serial or "" for meter in gateway.settings.site.meters if meter.id == meter_id), "")


def _checked_exchange(
    database: sqlite3.Connection, gateway: Gateway, wanted: ExchangeRequest, at: datetime, now: datetime, by: str
) -> MeterExchange:
    meter_id = wanted.meter_id
    if meter_id not in gateway.limits:
        raise NotThere(f"there is no meter {meter_id}; 'ami-edge meters' lists them")
    _check_kept(database, gateway, meter_id, at, "the exchange")
    limits = gateway.limits[meter_id]
    present = serial_in_force(database, gateway, meter_id)
    if wanted.old_serial is not None and present and wanted.old_serial != present:
        raise RequestRefused(f"meter {meter_id} has the serial number {present}, not {wanted.old_serial}")
    if wanted.new_serial == (wanted.old_serial or present):
        raise RequestRefused(f"meter {meter_id} already has the serial number {wanted.new_serial}")
    earlier = usage.exchanges(database, meter_id)
    if earlier and at <= earlier[-1].at:
        raise RequestRefused(f"meter {meter_id} was exchanged on {earlier[-1].at.isoformat()}: this one is not later")
    for name, register_wh in (("final", wanted.final_register_wh), ("initial", wanted.initial_register_wh)):
        if register_wh < 0 or (limits.modulo_wh is not None and register_wh >= limits.modulo_wh):
            raise RequestRefused(f"the {name} register {register_wh} Wh is not one that meter {meter_id} can show")
    last, _ = _own_reads(database, meter_id, at)
    if earlier and (last is None or earlier[-1].at > last.at):
        last = vee.RegisterRead(earlier[-1].at, earlier[-1].initial_register_wh)
    if last is not None and last.at < at:
        found = vee.validate(last, vee.RegisterRead(at, wanted.final_register_wh), limits)
        if not found.accepted:
            flags = ", ".join(flag.value for flag in found.flags)
            raise RequestRefused(
                f"the final register {wanted.final_register_wh} Wh does not follow the last read, {last.energy_wh} Wh"
                f" on {last.at.isoformat()} ({flags}): read the old meter again"
            )
    return MeterExchange(
        meter_id,
        at,
        wanted.old_serial or present,
        wanted.new_serial,
        wanted.final_register_wh,
        wanted.initial_register_wh,
        wanted.reason,
        now,
        by,
    )


def _first_day_touched(database: sqlite3.Connection, meter_id: str, at: datetime, around: Circumstances) -> date:
    """The first day whose use a new fact may change: that of the fact before it, the very first where there is none."""
    own, _ = _own_reads(database, meter_id, at)
    before = [one.at for one in usage.exchanges(database, meter_id) if one.at < at]
    if own is not None:
        before.append(own.at)
    if not before:
        return date.min
    return max(before).astimezone(around.zone).date() - timedelta(days=1)  # a read at midnight ends the day before


def _check_kept(database: sqlite3.Connection, gateway: Gateway, meter_id: str, at: datetime, what: str) -> None:
    """Days whose reads are pruned cannot be found again, except in a gap that is open still."""
    if at < oldest_kept(gateway) and _own_reads(database, meter_id, at)[1] is not None:
        days = gateway.settings.site.polling.keep_readings_days
        raise RequestRefused(
            f"{what} of {at.isoformat()} is older than the {days} days for which reads are kept: edit the days instead"
        )


def _validate_again(database: sqlite3.Connection, gateway: Gateway, meter_id: str, since: datetime) -> None:
    """Judge the reads after an exchange as if it had been known when they came."""
    last = registers.last_exchange_register(database, meter_id)
    assert last is not None
    assessed = []
    for read in fleet.reads_since(database, meter_id, since):
        if not read.accepted and STAY_REFUSED.intersection(read.flags):
            continue  # who answered then, or when, is not known: the next poll tells
        new = vee.RegisterRead(read.at, read.energy_wh)
        found = vee.validate(last, new, gateway.limits[meter_id])
        assessed.append((meter_id, read.at, found.accepted, " ".join(flag.value for flag in found.flags)))
        if found.accepted:
            last = new
    registers.reassess(database, assessed)


def _forget_switch(database: sqlite3.Connection, meter_id: str, now: datetime) -> None:
    """The new meter's switch has not been seen; where it is found open, it is ours to close unless others opened ours.

    A meter may come disconnected from the store: its home must not stay in the dark for that.
    """
    change = fleet.relay_change(database, meter_id)
    if change is None or change.relay == RelayState.CONNECTED or change.cause in OURS:
        fleet.add_relay_change(database, meter_id, now, RelayState.UNKNOWN.value, Cause.CREDIT.value, None)


async def report_read(
    gateway: Gateway, account_id: str, register_wh: int, at: datetime | None, by: str
) -> dict[str, Any]:
    """Take a register that a customer read (domain-rules R62: customers' reads are used; seed 003, 6.04 B(4)(c)).

    It counts where the gateway has none of its own nearby; it never lets a disconnect rest on it. Raises NotThere, and
    RequestRefused where it contradicts what the gateway has read before and after it.
    """

    def work(database: sqlite3.Connection) -> dict[str, Any]:
        around = gateway.circumstances()
        account = _account(database, account_id)
        read = Read(_not_from_the_future(at or around.now, around.now, "the read"), register_wh, customer=True)
        _check_reported(database, gateway, account, read)
        first = _first_day_touched(database, account.meter_id, read.at, around)
        usage.add_customer_read(database, account_id, account.meter_id, read, around.now, by)
        told = {
            "account_id": account_id,
            "meter_id": account.meter_id,
            "at": read.at.isoformat(),
            "register_wh": register_wh,
            "by": by,
        }
        records.add_event(database, "customer_read", around.now, told)
        cause = "a read that the customer reported"
        corrections = []
        for each in usage.accounts_of_meter(database, account.meter_id, first):
            corrections += _recompute(database, gateway, each, first, around, cause)
        return told | {"corrections": corrections}

    answer = await gateway.record(work)
    gateway.reads_saved.set()
    return answer


def _check_reported(database: sqlite3.Connection, gateway: Gateway, account: Account, read: Read) -> None:
    limits = gateway.limits[account.meter_id]
    if read.at < account.enrolled_at:
        raise RequestRefused(f"the read is of {read.at.isoformat()}, before account {account.account_id} was enrolled")
    _check_kept(database, gateway, account.meter_id, read.at, "the read")
    exchanges = [one.at for one in usage.exchanges(database, account.meter_id)]
    _, reported = usage.other_facts(database, [account.meter_id])
    if read.at in exchanges or read.at in {known.at for known in reported.get(account.meter_id, ())}:
        raise RequestRefused(f"a register of meter {account.meter_id} is known for {read.at.isoformat()} already")
    new = vee.RegisterRead(read.at, read.register_wh)
    for own in _own_reads(database, account.meter_id, read.at):
        if own is None:
            continue
        first, second = (own, new) if own.at <= read.at else (new, own)
        if any(first.at < exchanged <= second.at for exchanged in exchanges):
            continue  # another meter's register
        found = vee.validate(first, second, limits)
        if own.at == read.at or not found.accepted:
            raise RequestRefused(
                f"the register {read.register_wh} Wh of {read.at.isoformat()} does not fit the gateway's own read,"
                f" {own.energy_wh} Wh on {own.at.isoformat()}"
            )


def _own_reads(
    database: sqlite3.Connection, meter_id: str, at: datetime
) -> tuple[vee.RegisterRead | None, vee.RegisterRead | None]:
    """The gateway's own last accepted read at or before an instant, and its first one at or after it."""
    reads = sorted(usage.reads_around(database, [meter_id], [at]).get(meter_id, ()), key=lambda read: read.at)
    own = [vee.RegisterRead(read.at, read.register_wh) for read in reads]
    before = [read for read in own if read.at <= at]
    after = [read for read in own if read.at >= at]
    return (before[-1] if before else None, after[0] if after else None)


async def edit_day(gateway: Gateway, wanted: EditRequest, by: str) -> dict[str, Any]:
    """Say what a day's use was: the way out of the manual queue (domain-rules R59 (iii)), or a correction that stands.

    An ``estimate`` yields to actual reads, ``final`` stands whatever they say, ``withdrawn`` takes an edit back. Raises
    NotThere, RequestRefused.
    """

    def work(database: sqlite3.Connection) -> dict[str, Any]:
        around = gateway.circumstances()
        account = _account(database, wanted.account_id)
        _check_edit(database, gateway, account, wanted, around)
        standing = wanted.standing or _natural_standing(database, wanted)
        if standing == "estimate" and wanted.day in (account.first_day, account.last_day):
            raise RequestRefused(
                f"{wanted.day} is the first or last day of account {wanted.account_id}: an initial or final bill"
                " may not rest on an estimate (domain-rules R62); what is certain is a final edit"
            )
        edit = DayEdit(wanted.account_id, wanted.day, standing, wanted.energy_wh, (), wanted.reason, around.now, by)
        usage.add_edit(database, edit)
        told = {
            "account_id": wanted.account_id,
            "day": wanted.day.isoformat(),
            "energy_wh": wanted.energy_wh,
            "standing": standing,
            "reason": wanted.reason,
            "by": by,
        }
        records.add_event(database, "day_edited", around.now, told)
        cause = f"an edit by {by}: {wanted.reason}"
        corrections = _recompute(database, gateway, wanted.account_id, wanted.day, around, cause)
        return told | {"corrections": corrections}

    answer = await gateway.record(work)
    gateway.reads_saved.set()
    return answer


def _natural_standing(database: sqlite3.Connection, wanted: EditRequest) -> Literal["estimate", "final"]:
    closed = usage.days(database, wanted.account_id, wanted.day, wanted.day)
    return "final" if closed and not closed[0].estimated else "estimate"


def _check_edit(
    database: sqlite3.Connection, gateway: Gateway, account: Account, wanted: EditRequest, around: Circumstances
) -> None:
    last = around.now.astimezone(around.zone).date() - timedelta(days=1)
    last = last if account.last_day is None else min(last, account.last_day)
    if not account.first_day <= wanted.day <= last:
        raise RequestRefused(
            f"{wanted.day} is not a past day of account {account.account_id}:"
            f" they run from {account.first_day} to {last}"
        )
    most = gateway.limits[account.meter_id].max_power_w * MOST_HOURS
    if not 0 <= wanted.energy_wh <= most:
        raise RequestRefused(f"a day's use of {wanted.energy_wh} Wh is more than the service can carry, {most} Wh")
    if wanted.standing == "withdrawn" and not usage.edits(database, account.account_id, wanted.day, wanted.day):
        raise RequestRefused(f"no edit of {wanted.day} stands for account {account.account_id}")
    kept = DayFinder(database, gateway, account).bounds(wanted.day)[0] >= oldest_kept(gateway)
    if wanted.standing == "withdrawn" and not kept:
        raise RequestRefused(f"the reads of {wanted.day} are no longer kept, so that its edit has to stand")


def _recompute(
    database: sqlite3.Connection, gateway: Gateway, account_id: str, first: date, around: Circumstances, cause: str
) -> list[dict[str, Any]]:
    done = recompute(database, gateway, account_id, first, around, cause)
    if done is None:
        return []
    return [
        {
            "account_id": account_id,
            "first_day": done.first_day.isoformat(),
            "last_day": done.last_day.isoformat(),
            "days": done.days,
            "energy_wh": done.energy_wh,
            "amount": format_cents(-done.charge_cents),
        }
    ]


def _account(database: sqlite3.Connection, account_id: str) -> Account:
    account = customers.account(database, account_id)
    if account is None:
        raise NotThere(f"there is no account {account_id}")
    return account


def _not_from_the_future(at: datetime, now: datetime, what: str) -> datetime:
    if at > now + EARLY:
        raise RequestRefused(f"{what} is stamped {at.isoformat()}, later than the gateway's clock, {now.isoformat()}")
    return at
