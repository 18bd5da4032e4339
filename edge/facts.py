"""Gathering what one decision may depend on: the store's facts about an account, and the gateway's circumstances."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from edge.core import vee
from edge.core.budget import WHOLE_PPM, Limits, Sent, left
from edge.core.model import Facts, Forecast, Observation, Relay
from edge.core.programs import Program
from edge.core.rating import DayUsage
from edge.core.usage import Line, line
from edge.store import books, conditions, customers, fleet, many, quarantines, restraints, usage
from edge.store.conditions import Condition
from edge.store.customers import Account

HolidayLookup = Callable[[date], str | None]


@dataclass(frozen=True, slots=True)
class Rulebook:
    """The programs in force with their holiday calendars, a digest of all that they say, and their text by name."""

    programs: Mapping[str, tuple[Program, HolidayLookup]]
    digest: str
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Switchgear:
    """What a meter can do, how soon a disconnect is confirmed, how its register counts, who shares its line.

    ``multiplier``: Wh used for each Wh that the register counts (current and voltage transformers).
    """

    remote_disconnect: bool
    confirm_seconds: int
    register_modulo_wh: int | None = None
    on_line: frozenset[str] = frozenset()  # the meters of its line, itself among them
    multiplier: int = 1

    @property
    def register(self) -> vee.Limits:
        """How its register counts."""
        return vee.Limits(modulo_wh=self.register_modulo_wh, multiplier=self.multiplier)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What holds for the whole gateway at one instant."""

    now: datetime
    zone: ZoneInfo
    clock_trusted: bool
    payments_feed_seen_at: datetime | None
    shadow_mode: bool
    limits: Limits
    forecast: Forecast | None
    observed: Observation | None
    alerts: tuple[str, ...] | None


class Subject(NamedTuple):
    """Whom a decision is about: the account, its program, and what its meter can do, where that is known."""

    account: Account
    program: Program
    switchgear: Switchgear | None


def gather(
    database: sqlite3.Connection,
    account: Account,
    program: Program,
    switchgear: Switchgear | None,
    around: Circumstances,
) -> Facts:
    """The facts of one decision about one account, as they are on record."""
    return gather_many(database, [Subject(account, program, switchgear)], around)[0]


def gather_many(database: sqlite3.Connection, subjects: Sequence[Subject], around: Circumstances) -> list[Facts]:
    """The facts of decisions about any number of accounts; a table is asked once for all of them."""
    on_record = _OnRecord(database, [subject.account for subject in subjects])
    moratoriums = restraints.moratoriums(database)
    budget = _Budget(database, around)
    questioned = conditions.questioned(database)
    found = []
    for account, program, switchgear in subjects:
        account_id = account.account_id
        change = on_record.relay_changes.get(account.meter_id)
        relay = fleet.relay_of(change)
        if not account.active and not _still_serves(database, account):
            relay = Relay.DISCONNECTED_OTHER  # whatever it is: another account's, and never this one's to close
        paid = 0
        if relay is not Relay.CONNECTED and (cut_at := fleet.dark_since(database, account.meter_id)) is not None:
            paid = _paid_since(database, account_id, program, cut_at)
        disconnects_left, limited_by = budget.left(account.meter_id, switchgear)
        told_at = on_record.returned_payment_told_at(account_id)
        balance, debt = on_record.balances[account_id]
        found.append(
            Facts(
                now=around.now,
                zone=around.zone,
                enrolled=account.active,
                balance_cents=balance,
                arrears_cents=debt,
                protected=on_record.protections.get(account_id, ()),
                holds=on_record.holds.get(account_id, ()),
                zero_notice_delivered_at=on_record.zero_notice_at(account_id, program),
                returned_payment_notice_at=told_at,
                returned_payment_unknown=told_at is None and account_id in on_record.returned,
                payments_since_disconnect_cents=paid,
                last_actual_read_at=on_record.reads_at.get(account.meter_id),
                balance_rests_on_estimates=account_id in on_record.estimated,
                last_closed_day=on_record.closed.get(account_id) or account.first_day - timedelta(days=1),
                remote_disconnect=switchgear.remote_disconnect if switchgear else None,
                relay=relay,
                confirm_seconds=switchgear.confirm_seconds if switchgear else None,
                forecast=around.forecast,
                observed=around.observed,
                alerts=around.alerts,
                moratoriums=moratoriums,
                clock_trusted=around.clock_trusted,
                payments_feed_seen_at=around.payments_feed_seen_at,
                disconnects_left=disconnects_left,
                limited_by=limited_by,
                meter_questioned=_question(questioned.get(account.meter_id)),
                shadow_mode=around.shadow_mode,
            )
        )
    return found


class _OnRecord:
    """What the store knows of some accounts."""

    def __init__(self, database: sqlite3.Connection, accounts: Sequence[Account]) -> None:
        account_ids = [account.account_id for account in accounts]
        meter_ids = [account.meter_id for account in accounts]
        self.relay_changes = many.relay_changes(database, meter_ids)
        self.reads_at = many.last_reads_at(database, meter_ids)
        self.closed = many.last_closed_days(database, account_ids)
        self.estimated = many.resting_on_estimates(database, account_ids)
        self.balances = many.balances(database, account_ids)
        self.protections = restraints.protections_of(database, account_ids)
        self.holds = restraints.holds_of(database, account_ids)
        self.returned = many.with_returned_payment(database, account_ids)
        self._told_of_return = many.told(database, self.returned, "returned_payment") if self.returned else {}
        self._zero = many.told(database, account_ids, "zero")
        entries = [(account_id, zero.entry_id) for account_id, zero in self._zero.items()]
        self._lifted = many.positive_since(database, entries) if entries else frozenset()

    def returned_payment_told_at(self, account_id: str) -> datetime | None:
        """When the notice of a returned payment reached the customer."""
        told = self._told_of_return.get(account_id)
        return None if told is None else told.reached_at(confirmed_only=False)

    def zero_notice_at(self, account_id: str, program: Program) -> datetime | None:
        """When the zero notice in force reached the customer; a balance above zero since has ended it."""
        zero = self._zero.get(account_id)
        if zero is None or account_id in self._lifted:
            return None
        return zero.reached_at(confirmed_only=program.grace_from == "delivered")


def _paid_since(database: sqlite3.Connection, account_id: str, program: Program, cut_at: datetime) -> int:
    """What counts as paid since power was disconnected."""
    paid = books.payments_since(database, account_id, cut_at)
    if books.was_paid_before(database, account_id, cut_at):
        paid = max(paid, program.reconnect_payments_cents)  # it would have kept power on: nothing more is asked
    return paid


def _question(found: Condition | None) -> str:
    """Why the meter that answers is not the one that the account is billed by, if so."""
    if found is None:
        return ""
    if other := found.data.get("other"):
        return f"meter {found.meter_id} and meter {other} answer for each other: whose switch would move is not known"
    return f"another meter answers, serial number {found.data.get('serial')}: its exchange is not recorded"


def _still_serves(database: sqlite3.Connection, account: Account) -> bool:
    served = customers.account_served_by(database, account.meter_id)
    return served is not None and served.account_id == account.account_id


class _Budget:
    """How many disconnects may still be sent, and in words what holds them back."""

    def __init__(self, database: sqlite3.Connection, around: Circumstances) -> None:
        self._limits = around.limits
        self._quarantine = quarantines.last(database)
        sent = fleet.disconnects_sent_since(database, around.now - timedelta(days=1))
        self._last_day = len(sent)
        self._last_hour = len([at for _, at in sent if at >= around.now - timedelta(hours=1)])
        self._by_meter = Counter([meter_id for meter_id, _ in sent])

    def left(self, meter_id: str, switchgear: Switchgear | None) -> tuple[int, str]:
        """What is left for a meter."""
        quarantine = self._quarantine
        if quarantine is not None and quarantine.released is None:
            return 0, (
                f"quarantine: {quarantine.wanting} of {quarantine.active} accounts came to want a disconnect within an"
                f" hour and {quarantine.most} are plausible; a second person has to release it"
            )
        of_meter = self._by_meter[meter_id]
        sent = Sent(self._last_hour, self._last_day, of_meter)
        if switchgear is not None and self._limits.share_of_line_ppm < WHOLE_PPM:
            others = [other for other in self._by_meter if other in switchgear.on_line and other != meter_id]
            sent = Sent(self._last_hour, self._last_day, of_meter, len(switchgear.on_line), len(others))
        return left(self._limits, sent)


def month_so_far(closed: list[usage.ClosedDay]) -> tuple[list[DayUsage], dict[str, int]]:
    """The use of closed days, and what was charged for them by kind."""
    charged: dict[str, int] = {}
    for past in closed:
        for kind, cents in past.charges.items():
            charged[kind] = charged.get(kind, 0) + cents
    return [past.usage for past in closed], charged


def register_line(
    database: sqlite3.Connection, meter_id: str, instants: Sequence[datetime], limits: vee.Limits
) -> Line:
    """A meter's unrolled register around some instants, from all the facts on record that bear on it there."""
    return register_lines(database, {meter_id: limits}, instants)[meter_id]


def register_lines(
    database: sqlite3.Connection, meters: Mapping[str, vee.Limits], instants: Sequence[datetime]
) -> dict[str, Line]:
    """The same for any number of meters."""
    meter_ids = list(meters)
    exchanges, reported = usage.other_facts(database, meter_ids)
    reads = usage.reads_around(database, meter_ids, instants)
    return {
        meter_id: line([*reads.get(meter_id, ()), *reported.get(meter_id, ())], exchanges.get(meter_id, ()), limits)
        for meter_id, limits in meters.items()
    }
