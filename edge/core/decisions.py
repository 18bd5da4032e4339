"""The heart: from facts and a program's rules to one decision, with every reason against a disconnect.

Two principles that no single rule can break. *Every block is evaluated, always*: a person sees the whole list. *Unknown
keeps power on*: a fact that is missing, from the future or senseless is a block of its own, and a reconnect asks only
for credit (or a protection) and for a switch that may be open by our hand.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from edge.core import calendar
from edge.core.calendar import HolidayLookup
from edge.core.model import Action, Block, Decision, Facts, HoldKind, Relay
from edge.core.money import format_cents
from edge.core.programs import DayBefore, Program, Trip
from edge.core.reconnects import amount_to_reconnect, must_reconnect
from edge.core.weather_rules import weather_blocks

Found = Iterator[tuple[str, str]]

# Codes that time alone, or the routine that goes on (reads, day close, feed, forecast, mild weather), lifts.
WAITED_FOR = frozenset(
    {
        "grace",
        "outside_window",
        "guard",
        "weekend",
        "holiday",
        "day_before_holiday",
        "weather_cold",
        "weather_heat",
        "weather_unknown",
        "weather_stale",
        "moratorium_order",
        "hold_dispute",
        "hold_settlement",
        "hold_aid_pending",
        "hold_operator",
        "payments_stale",
        "read_stale",
        "read_estimated",
        "ledger_not_closed",
        "returned_payment_notice",
        "notice_after_moratorium",
    }
)
# Codes that only somebody's doing lifts: the customer's, the utility's, a technician's.
STANDING = frozenset(
    {
        "not_enrolled",
        "no_remote_switch",
        "already_disconnected",
        "relay_unknown",
        "balance_not_negative",
        "no_zero_notice",
        "protected",
        "clock_untrusted",
        "rate_limited",
        "shadow_mode",
    }
)
BLOCK_CODES = WAITED_FOR | STANDING  # the contract's closed list


@dataclass(frozen=True, slots=True)
class _Case:
    """One decision's facts and rules, with what several rules derive from them. ``now`` is in UTC."""

    facts: Facts
    program: Program
    holiday: HolidayLookup
    now: datetime | None
    zone: tzinfo | None
    today: date | None  # None, like ``zone``, where the time or the zone is not known
    notice_at: datetime | None  # the zero notice, if it has reached the customer by now


Rule = Callable[[_Case], Found]


def decide(facts: Facts, program: Program, holiday: HolidayLookup) -> Decision:
    """What to do now about one account."""
    case = _case(facts, program, holiday)
    blocks = tuple([Block(code, text, program.sources[code]) for rule in RULES for code, text in rule(case)])
    if not blocks:
        return Decision(Action.DISCONNECT, (), facts.now, None)
    reconnect = must_reconnect(facts, program)
    action = Action.RECONNECT if reconnect else Action.NONE
    following = _next_possible_disconnect(case, {block.code for block in blocks})
    return Decision(action, blocks, following, None if reconnect else amount_to_reconnect(facts, program))


def _case(facts: Facts, program: Program, holiday: HolidayLookup) -> _Case:
    now = None if facts.now is None else facts.now.astimezone(UTC)
    today = None if now is None or facts.zone is None else now.astimezone(facts.zone).date()
    notice = facts.zero_notice_delivered_at
    if notice is not None and (now is None or notice > now):
        notice = None
    return _Case(facts, program, holiday, now, None if today is None else facts.zone, today, notice)


# What must be so before a customer may be disconnected: one rule a function, each code at most once.


def _standing(case: _Case) -> Found:
    facts = case.facts
    if facts.enrolled is not True:
        yield "not_enrolled", "the account is not enrolled" if facts.enrolled is False else "enrolment is not known"
    if facts.remote_disconnect is not True:
        known = facts.remote_disconnect is False
        yield "no_remote_switch", "the meter has no remote switch" if known else "whether it can switch is not known"
    if facts.relay in (Relay.DISCONNECTED, Relay.DISCONNECTED_OTHER):
        by = "by us, for credit" if facts.relay is Relay.DISCONNECTED else "by someone else or by itself"
        yield "already_disconnected", f"the switch is open already, {by}"
    elif facts.relay is not Relay.CONNECTED:
        yield "relay_unknown", "the switch's state is not known"
    elif facts.meter_questioned:
        yield "relay_unknown", facts.meter_questioned


def _balance(case: _Case) -> Found:
    balance, trip = case.facts.balance_cents, case.program.trip
    if balance is None:
        yield "balance_not_negative", "the balance is not known"
    elif balance > 0 or (balance == 0 and trip is Trip.NEGATIVE):
        needed = "below zero" if trip is Trip.NEGATIVE else "zero or below"
        yield "balance_not_negative", f"the balance is {format_cents(balance)}, not {needed}"


def _zero_notice(case: _Case) -> Found:
    if case.notice_at is None:
        yield "no_zero_notice", "no notice of a zero balance is known to have reached the customer"
    elif case.now is None or case.zone is None:
        yield "grace", "whether the grace is over is not known without a time zone"
    elif case.now < (end := calendar.grace_end(case.notice_at, case.zone, case.program)):
        yield "grace", f"the customer has until {_civil(end, case.zone)}"


def _notice_after_moratorium(case: _Case) -> Found:
    moratorium_end = _last_moratorium_end(case)
    if moratorium_end is None:
        return
    if case.notice_at is None or case.notice_at < moratorium_end:
        yield "notice_after_moratorium", "no notice has reached the customer since a moratorium ended"
    elif case.now is not None and case.now < (end := _fresh_notice_end(case.notice_at, case.program)):
        yield "notice_after_moratorium", f"the notice after a moratorium must stand until {_civil(end, case.zone)}"


def _last_moratorium_end(case: _Case) -> datetime | None:
    """When the last order ended that is over; None where there was none or the program asks for no new notice (C7)."""
    now = case.now
    if not case.program.notice_after_moratorium or now is None:
        return None
    ends = [order.until for order in case.facts.moratoriums or () if order.until and order.starts_at < order.until]
    return max((end for end in ends if end <= now), default=None)


def _fresh_notice_end(notice_at: datetime, program: Program) -> datetime:
    return notice_at.astimezone(UTC) + timedelta(hours=program.notice_after_moratorium_hours)


def _calendar(case: _Case) -> Found:
    """``outside_window`` and ``guard`` on days that have a window, ``weekend`` and ``holiday`` on the others.

    The day before a holiday has its window all the same, so that its own code comes beside those two; with ``noon`` it
    is told once noon has ended a window that would have been longer.
    """
    seconds = _confirm_seconds(case.facts)
    if seconds is None:
        yield "guard", "how long the meter takes to confirm is not known"
    if case.now is None or case.zone is None or case.today is None:
        yield "outside_window", "whether a window is open is not known without a clock"
        return
    for reason, text in calendar.closed_because(case.today, case.program, case.holiday):
        yield reason.value, text
    eve = calendar.day_before(case.today, case.program, case.holiday)
    if eve and (case.program.day_before_holiday is DayBefore.BLOCK or _noon_has_closed(case, case.today, case.zone)):
        yield "day_before_holiday", f"tomorrow is a holiday: {eve}"
    span = calendar.hours(case.today, case.zone, case.program, case.holiday)
    if span is None:
        return
    if not span[0] <= case.now < span[1]:
        yield "outside_window", _window_text(case.now, case.zone, span)
    if seconds is not None and case.now < span[1] <= case.now + guard(case.facts, case.program):
        wanted = max(seconds, case.program.guard_seconds)
        yield "guard", f"the window ends at {_civil(span[1], case.zone)}: too soon to confirm within {wanted} seconds"


def _noon_has_closed(case: _Case, today: date, zone: tzinfo) -> bool:
    weekly = case.program.windows[today.weekday()]
    if weekly is None or weekly[1] <= calendar.NOON or case.holiday(today) or case.now is None:
        return False
    return case.now >= calendar.ends(today, calendar.NOON, zone)


def _window_text(now: datetime, zone: tzinfo, span: tuple[datetime, datetime]) -> str:
    present = now.astimezone(zone)
    weekday = calendar.WEEKDAYS[present.weekday()]
    return f"{weekday} {_clock(present)} is outside the window {_clock(span[0], zone)} to {_clock(span[1], zone)}"


def _clock(instant: datetime, zone: tzinfo | None = None) -> str:
    return (instant if zone is None else instant.astimezone(zone)).time().isoformat("minutes")


def _confirm_seconds(facts: Facts) -> int | None:
    seconds = facts.confirm_seconds
    return None if seconds is None or seconds < 0 else seconds


def guard(facts: Facts, program: Program) -> timedelta:
    """How long before a window's end the last disconnect may be sent (domain-rules C2)."""
    return timedelta(seconds=max(_confirm_seconds(facts) or 0, program.guard_seconds))


def _weather(case: _Case) -> Found:
    if case.now is None or case.zone is None:
        yield "weather_unknown", "which hours of the forecast count is not known without a clock"
    else:
        yield from weather_blocks(case.facts, case.program)


def _moratoriums(case: _Case) -> Found:
    facts = case.facts
    reasons = [
        f"moratorium {order.order!r} is in force{_until(order.until, case.zone)}"
        for order in facts.moratoriums or ()
        if _in_force(order.starts_at, order.until, case.now)
    ]
    if facts.moratoriums is None or facts.moratoriums_incomplete:
        reasons.append("whether a moratorium is ordered is not known")
    if reasons:
        yield "moratorium_order", "; ".join(reasons)


def _holds(case: _Case) -> Found:
    facts = case.facts
    reasons: dict[HoldKind, list[str]] = {}
    for hold in facts.holds or ():
        if _in_force(hold.starts_at, hold.until, case.now):
            text = f"a hold ({hold.kind.value}) is in force{_until(hold.until, case.zone)}"
            reasons.setdefault(hold.kind, []).append(text)
    if facts.holds is None or facts.holds_incomplete:
        reasons.setdefault(HoldKind.OPERATOR, []).append("whether a hold is in force is not known")
    for kind, texts in reasons.items():
        yield f"hold_{kind.value}", "; ".join(texts)


def _in_force(starts_at: datetime, until: datetime | None, now: datetime | None) -> bool:
    return now is None or (starts_at <= now and (until is None or now < until))


def _until(until: datetime | None, zone: tzinfo | None) -> str:
    return ", with no end set" if until is None else f" until {_civil(until, zone)}"


def _civil(instant: datetime, zone: tzinfo | None) -> str:
    return instant.astimezone(zone or UTC).isoformat(sep=" ", timespec="seconds")


def _protection(case: _Case) -> Found:
    protected = case.facts.protected
    if protected is None:
        yield "protected", "whether the customer is protected is not known"
    elif protected:
        yield "protected", f"the customer is protected: {', '.join(kind.value for kind in protected)}"


def _evidence(case: _Case) -> Found:
    facts, program = case.facts, case.program
    if facts.clock_trusted is not True or case.today is None:
        yield "clock_untrusted", "the gateway's clock is not trusted"
    if not is_fresh(facts.payments_feed_seen_at, case.now, timedelta(minutes=program.max_payment_feed_age_minutes)):
        minutes = program.max_payment_feed_age_minutes
        yield "payments_stale", f"no sign of the payment feed in the last {minutes} minutes: money may be on its way"
    if not is_fresh(facts.last_actual_read_at, case.now, timedelta(hours=program.max_read_age_hours)):
        yield "read_stale", f"there is no actual, validated read of the last {program.max_read_age_hours} hours"
    if facts.balance_rests_on_estimates is not False:
        yield "read_estimated", "the balance would be zero or more without estimated use, or that is not known"
    yesterday = None if case.today is None else case.today - timedelta(days=1)
    if facts.last_closed_day is None or facts.last_closed_day != yesterday:
        closed = facts.last_closed_day.isoformat() if facts.last_closed_day else "not known"
        yield "ledger_not_closed", f"yesterday is not the last day on the books; the last closed day is {closed}"


def is_fresh(at: datetime | None, now: datetime | None, age: timedelta) -> bool:
    """Whether something was seen no longer ago than ``age``, and not in the future."""
    return at is not None and now is not None and at <= now and now - at.astimezone(UTC) <= age


def _limits(case: _Case) -> Found:
    left = case.facts.disconnects_left
    if left is None or left <= 0:
        yield "rate_limited", case.facts.limited_by or "the budget of disconnects is used up, or not known"
    if case.facts.shadow_mode is not False:
        yield "shadow_mode", "the gateway runs in shadow mode, or that is not known: nobody is disconnected"


def _returned_payment(case: _Case) -> Found:
    told, now, zone = case.facts.returned_payment_notice_at, case.now, case.zone
    if case.facts.returned_payment_unknown:
        yield "returned_payment_notice", "when the customer was told of a returned payment is not known"
    elif told is not None and (now is None or zone is None or told > now):
        yield "returned_payment_notice", "the notice of a returned payment lies in the future, or that is not known"
    elif (
        told is not None
        and now is not None
        and zone is not None
        and now < (end := calendar.returned_payment_end(told, zone, case.holiday))
    ):
        yield "returned_payment_notice", f"a payment was returned: the customer has until {_civil(end, zone)}"


RULES: tuple[Rule, ...] = (
    _standing,
    _balance,
    _zero_notice,
    _notice_after_moratorium,
    _calendar,
    _weather,
    _moratoriums,
    _holds,
    _protection,
    _evidence,
    _limits,
    _returned_payment,
)


# What a person wants to know next.


def _next_possible_disconnect(case: _Case, codes: set[str]) -> datetime | None:
    """The earliest instant at which a disconnect could be sent if the customer does nothing and the routine goes on.

    Reads (and with them what rests on estimates), day close, feed, observation, alerts and forecast count as renewed
    and the weather as mild; windows, days, guard, grace, the returned payment's day, holds and orders with an end are
    waited for. None where anything else stands: what is unknown and not of the routine, and a fresh notice after a
    moratorium that has not been given, or cannot yet be, since the moratorium will only have ended by then.
    """
    facts, program, now, zone = case.facts, case.program, case.now, case.zone
    if now is None or zone is None or not codes <= WAITED_FOR:
        return None
    if facts.holds is None or facts.holds_incomplete or facts.moratoriums is None or facts.moratoriums_incomplete:
        return None
    told, notice = facts.returned_payment_notice_at, case.notice_at
    if _confirm_seconds(facts) is None or notice is None or facts.returned_payment_unknown:
        return None
    earliest = [now, calendar.grace_end(notice, zone, program)]
    if told is not None:
        if told > now:
            return None
        earliest.append(calendar.returned_payment_end(told, zone, case.holiday))
    moratorium_end = _last_moratorium_end(case)
    if moratorium_end is not None:
        if notice < moratorium_end:
            return None
        earliest.append(_fresh_notice_end(notice, program))
    found = _first_opening_outside_intervals(case, zone, max(earliest))
    if found is None:
        return None
    ends_first = any(
        order.until is not None and order.starts_at < order.until and now < order.until <= found
        for order in facts.moratoriums
    )
    if program.notice_after_moratorium and ends_first:
        return None
    return found.astimezone(zone)


def _first_opening_outside_intervals(case: _Case, zone: tzinfo, not_before: datetime) -> datetime | None:
    """The first instant in a window, with room for the guard, at which no hold and no order is in force."""
    facts = case.facts
    intervals = [(hold.starts_at, hold.until) for hold in facts.holds or ()]
    intervals += [(order.starts_at, order.until) for order in facts.moratoriums or ()]
    while True:
        found = calendar.first_opening(not_before, guard(facts, case.program), zone, case.program, case.holiday)
        if found is None:
            return None
        ends = [until for starts_at, until in intervals if _in_force(starts_at, until, found)]
        if not ends:
            return found
        not_before = found
        for end in ends:
            if end is None:
                return None
            not_before = max(not_before, end.astimezone(UTC))


def send_before(facts: Facts, program: Program, holiday: HolidayLookup) -> datetime | None:
    """The instant before which a disconnect decided now must be sent: the window's end less the guard; or None."""
    if facts.now is None or facts.zone is None:
        return None
    span = calendar.window(facts.now.astimezone(facts.zone).date(), facts.zone, program, holiday)
    return None if span is None else span[1] - guard(facts, program)
