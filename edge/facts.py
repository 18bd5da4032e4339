"""Gathering what one decision may depend on: the store's facts about an account, and the gateway's circumstances."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from edge.core import vee
from edge.core.budget import WHOLE_PPM, Limits, Sent, left
from edge.core.model import Facts, Forecast, Observation, Relay
from edge.core.programs import Program
from edge.core.rating import DayUsage
from edge.core.usage import Line, line
from edge.store import books, customers, fleet, quarantines, records, restraints, returns, usage
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


def gather(
    database: sqlite3.Connection,
    account: Account,
    program: Program,
    switchgear: Switchgear | None,
    around: Circumstances,
) -> Facts:
    """The facts of one decision about one account, as they are on record."""
    change = fleet.relay_change(database, account.meter_id)
    relay = fleet.relay_of(change)
    if not account.active and not _still_serves(database, account):
        relay = Relay.DISCONNECTED_OTHER  # whatever it is: another account's, and never this one's to close
    read = fleet.last_read(database, account.meter_id, accepted_only=True)
    closed = usage.last_day(database, account.account_id)
    returned = returns.has_returned_payment(database, account.account_id)
    told = records.notice_reached(database, account.account_id, "returned_payment", confirmed_only=False)
    told_at = told[1] if returned and told is not None else None
    disconnects_left, limited_by = _budget_left(database, account.meter_id, switchgear, around)
    paid = 0
    if change is not None and relay is Relay.DISCONNECTED:
        paid = books.payments_since(database, account.account_id, change.at)
        if books.was_paid_before(database, account.account_id, change.at):
            paid = max(paid, program.reconnect_payments_cents)  # it would have kept power on: nothing more is asked
    return Facts(
        now=around.now,
        zone=around.zone,
        enrolled=account.active,
        balance_cents=books.balance_cents(database, account.account_id),
        arrears_cents=books.arrears_cents(database, account.account_id),
        protected=restraints.protections(database, account.account_id),
        holds=restraints.holds(database, account.account_id),
        zero_notice_delivered_at=_zero_notice(database, account.account_id, program),
        returned_payment_notice_at=told_at,
        returned_payment_unknown=returned and told_at is None,
        payments_since_disconnect_cents=paid,
        last_actual_read_at=read.at if read else None,
        balance_rests_on_estimates=usage.rests_on_estimates(database, account.account_id),
        last_closed_day=closed.day if closed else account.first_day - timedelta(days=1),
        remote_disconnect=switchgear.remote_disconnect if switchgear else None,
        relay=relay,
        confirm_seconds=switchgear.confirm_seconds if switchgear else None,
        forecast=around.forecast,
        observed=around.observed,
        alerts=around.alerts,
        moratoriums=restraints.moratoriums(database),
        clock_trusted=around.clock_trusted,
        payments_feed_seen_at=around.payments_feed_seen_at,
        disconnects_left=disconnects_left,
        limited_by=limited_by,
        shadow_mode=around.shadow_mode,
    )


def _still_serves(database: sqlite3.Connection, account: Account) -> bool:
    served = customers.account_served_by(database, account.meter_id)
    return served is not None and served.account_id == account.account_id


def _zero_notice(database: sqlite3.Connection, account_id: str, program: Program) -> datetime | None:
    """When the zero notice in force reached the customer; a balance above zero since has ended it."""
    reached = records.notice_reached(database, account_id, "zero", confirmed_only=program.grace_from == "delivered")
    if reached is None:
        return None
    entry_id, at = reached
    return None if books.balance_was_positive_since(database, account_id, entry_id) else at


def _budget_left(
    database: sqlite3.Connection, meter_id: str, switchgear: Switchgear | None, around: Circumstances
) -> tuple[int, str]:
    """How many disconnects are left for a meter, and in words what holds them back."""
    quarantine = quarantines.last(database)
    if quarantine is not None and quarantine.released is None:
        return 0, (
            f"quarantine: {quarantine.wanting} of {quarantine.active} accounts came to want a disconnect within an hour"
            f" and {quarantine.most} are plausible; a second person has to release it"
        )
    day_ago, hour_ago = around.now - timedelta(days=1), around.now - timedelta(hours=1)
    last_day, last_hour, of_meter = fleet.disconnects_sent(database, meter_id, day_ago, hour_ago)
    sent = Sent(last_hour, last_day, of_meter)
    if switchgear is not None and around.limits.share_of_line_ppm < WHOLE_PPM:
        others = fleet.meters_cut_since(database, day_ago) & (switchgear.on_line - {meter_id})
        sent = Sent(last_hour, last_day, of_meter, len(switchgear.on_line), len(others))
    return left(around.limits, sent)


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
    exchanges, reported = usage.other_facts(database, meter_id)
    return line([*usage.reads_around(database, meter_id, instants), *reported], exchanges, limits)
