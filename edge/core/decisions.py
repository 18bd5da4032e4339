"""The heart: from facts and a program's rules to one decision, with every reason against a disconnect.

Two principles that no single rule can break. *Every block is evaluated, always*: a person sees the whole list. *Unknown
keeps power on*: a fact that is missing, from the future or senseless is a block of its own, and a reconnect asks only
for credit (or a protection) and for a switch that may be open by our hand.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from edge.core import calendar
from edge.core.arrears import payment_reaching
from edge.core.calendar import HolidayLookup
from edge.core.model import Action, Block, Decision, Facts, HoldKind, Relay
from edge.core.money import format_cents
from edge.core.programs import Program, Trip
from edge.core.weather_rules import weather_blocks

Found = Iterator[tuple[str, str]]
Rule = Callable[[Facts, Program, HolidayLookup], Found]

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


def decide(facts: Facts, program: Program, holiday: HolidayLookup) -> Decision:
    """What to do now about one account."""
    blocks = tuple(
        Block(code, text, program.sources[code]) for rule in RULES for code, text in rule(facts, program, holiday)
    )
    if not blocks:
        return Decision(Action.DISCONNECT, (), facts.now, None)
    reconnect = _must_reconnect(facts, program)
    action = Action.RECONNECT if reconnect else Action.NONE
    following = next_possible_disconnect(facts, program, holiday, {block.code for block in blocks})
    return Decision(action, blocks, following, None if reconnect else amount_to_reconnect(facts, program))


# What must be so before a customer may be disconnected, one rule a function.


def _standing(facts: Facts, program: Program, holiday: HolidayLookup) -> Found:
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


def _balance(facts: Facts, program: Program, holiday: HolidayLookup) -> Found:
    balance = facts.balance_cents
    if balance is None:
        yield "balance_not_negative", "the balance is not known"
    elif balance > 0 or (balance == 0 and program.trip is Trip.NEGATIVE):
        needed = "below zero" if program.trip is Trip.NEGATIVE else "zero or below"
        yield "balance_not_negative", f"the balance is {format_cents(balance)}, not {needed}"


def _zero_notice(facts: Facts, program: Program, holiday: HolidayLookup) -> Found:
    notice = _notice_at(facts)
    if notice is None:
        yield "no_zero_notice", "no notice of a zero balance has reached the customer"
    elif facts.now is None or facts.zone is None:
        yield "grace", "whether the grace is over is not known without a clock"
    elif facts.now < (end := calendar.grace_end(notice, facts.zone, program)):
        yield "grace", f"the customer has until {end.astimezone(facts.zone).isoformat()}"
    after = _notice_after_moratorium(facts, program)
    if after is not None and facts.now is not None and (after.needed or facts.now < after.until):
        yield "notice_after_moratorium", "a moratorium has ended: a fresh notice must have been out for 24 hours"


def _notice_at(facts: Facts) -> datetime | None:
    notice = facts.zero_notice_delivered_at
    return None if notice is None or facts.now is None or notice > facts.now else notice


class _Fresh:
    """What a fresh notice after a moratorium still needs: one at all, or the end of its 24 hours."""

    def __init__(self, needed: bool, until: datetime) -> None:
        self.needed = needed
        self.until = until


def _notice_after_moratorium(facts: Facts, program: Program) -> _Fresh | None:
    if not program.notice_after_moratorium or facts.now is None or not facts.moratoriums:
        return None
    ends = [order.until for order in facts.moratoriums if order.until is not None and order.until <= facts.now]
    notice = _notice_at(facts)
    if not ends:
        return None
    last = max(ends)
    if notice is None or notice < last:
        return _Fresh(True, last)
    return _Fresh(False, notice.astimezone(UTC) + timedelta(hours=program.notice_after_moratorium_hours))


def _calendar(facts: Facts, program: Program, holiday: HolidayLookup) -> Found:
    if facts.now is None or facts.zone is None:
        yield "outside_window", "whether a window is open is not known without a clock"
        yield "guard", "whether the meter can confirm before the window ends is not known"
        return
    day = facts.now.astimezone(facts.zone).date()
    closed = calendar.closed_because(day, program, holiday)
    for reason, text in closed:
        yield reason.value, text
    span = None if closed else calendar.window(day, facts.zone, program, holiday)
    inside = span is not None and span[0] <= facts.now < span[1]
    if not closed and not inside:
        yield "outside_window", _window_text(facts, span)
    if _confirm(facts) is None:
        yield "guard", "how long the meter takes to confirm is not known"
    elif inside and span is not None and facts.now.astimezone(UTC) + guard(facts, program) >= span[1]:
        yield "guard", f"too close to the window's end to confirm within {guard(facts, program).seconds} seconds"


def _window_text(facts: Facts, span: tuple[datetime, datetime] | None) -> str:
    assert facts.now is not None
    now = facts.now.astimezone(facts.zone)
    if span is None:
        return f"{now:%A %H:%M} is outside the window"
    start, end = span[0].astimezone(facts.zone), span[1].astimezone(facts.zone)
    return f"{now:%A %H:%M} is outside the window {start:%H:%M} to {end:%H:%M}"


def _confirm(facts: Facts) -> int | None:
    seconds = facts.confirm_seconds
    return None if seconds is None or seconds < 0 else seconds


def guard(facts: Facts, program: Program) -> timedelta:
    """How long before a window's end the last disconnect may be sent."""
    return timedelta(seconds=max(_confirm(facts) or 0, program.guard_seconds))


def _weather(facts: Facts, program: Program, holiday: HolidayLookup) -> Found:
    if facts.now is None or facts.zone is None:
        yield "weather_unknown", "which hours of the forecast count is not known without a clock"
    else:
        yield from weather_blocks(facts, program)


def _orders_and_holds(facts: Facts, program: Program, holiday: HolidayLookup) -> Found:
    if facts.moratoriums is None:
        yield "moratorium_order", "whether a moratorium is ordered is not known"
    for order in facts.moratoriums or ():
        if _in_force(order.starts_at, order.until, facts.now):
            yield "moratorium_order", f"moratorium {order.order!r} is in force{_until(order.until)}"
    if facts.holds is None:
        yield "hold_operator", "whether a hold is in force is not known"
    told: set[HoldKind] = set()
    for hold in facts.holds or ():
        if hold.kind not in told and _in_force(hold.starts_at, hold.until, facts.now):
            told.add(hold.kind)
            yield f"hold_{hold.kind.value}", f"a hold ({hold.kind.value}) is in force{_until(hold.until)}"


def _in_force(starts_at: datetime, until: datetime | None, now: datetime | None) -> bool:
    return now is None or (starts_at <= now and (until is None or now < until))


def _until(until: datetime | None) -> str:
    return ", with no end set" if until is None else f" until {until.isoformat()}"


def _protection(facts: Facts, program: Program, holiday: HolidayLookup) -> Found:
    if facts.protected is None:
        yield "protected", "whether the customer is protected is not known"
    elif facts.protected:
        yield "protected", f"the customer is protected: {', '.join(kind.value for kind in facts.protected)}"


def _evidence(facts: Facts, program: Program, holiday: HolidayLookup) -> Found:
    now = facts.now
    if facts.clock_trusted is not True or now is None or facts.zone is None:
        yield "clock_untrusted", "the gateway's clock is not trusted"
    if not _fresh(facts.payments_feed_seen_at, now, timedelta(minutes=program.max_payment_feed_age_minutes)):
        yield "payments_stale", "no sign of the payment feed lately: a payment may be on its way"
    if not _fresh(facts.last_actual_read_at, now, timedelta(hours=program.max_read_age_hours)):
        yield "read_stale", f"there is no actual, validated read of the last {program.max_read_age_hours} hours"
    if facts.balance_rests_on_estimates is not False:
        yield "read_estimated", "the balance would be zero or more without estimated use, or that is not known"
    yesterday = None
    if now is not None and facts.zone is not None:
        yesterday = now.astimezone(facts.zone).date() - timedelta(days=1)
    if facts.last_closed_day is None or facts.last_closed_day != yesterday:
        closed = facts.last_closed_day.isoformat() if facts.last_closed_day else "not known"
        yield "ledger_not_closed", f"yesterday is not on the books; the last closed day is {closed}"


def _fresh(at: datetime | None, now: datetime | None, age: timedelta) -> bool:
    return at is not None and now is not None and at <= now and now - at <= age


def _limits(facts: Facts, program: Program, holiday: HolidayLookup) -> Found:
    if facts.disconnects_left is None or facts.disconnects_left <= 0:
        yield "rate_limited", "the budget of disconnects is used up, or not known"
    if facts.shadow_mode is not False:
        yield "shadow_mode", "the gateway runs in shadow mode: nobody is disconnected"


def _returned_payment(facts: Facts, program: Program, holiday: HolidayLookup) -> Found:
    told = facts.returned_payment_notice_at
    if facts.returned_payment_unknown or (told is not None and (facts.now is None or facts.zone is None)):
        yield "returned_payment_notice", "when the customer was told of a returned payment is not known"
    elif told is not None and facts.now is not None and facts.zone is not None:
        if told > facts.now:
            yield "returned_payment_notice", "the notice of a returned payment lies in the future"
        elif facts.now < (end := calendar.returned_payment_end(told, facts.zone, holiday)):
            text = f"a payment was returned: the customer has until {end.astimezone(facts.zone).isoformat()}"
            yield "returned_payment_notice", text


RULES: tuple[Rule, ...] = (
    _standing,
    _balance,
    _zero_notice,
    _calendar,
    _weather,
    _orders_and_holds,
    _protection,
    _evidence,
    _limits,
    _returned_payment,
)


# What a person wants to know next.


def next_possible_disconnect(
    facts: Facts, program: Program, holiday: HolidayLookup, codes: set[str]
) -> datetime | None:
    """The earliest instant at which a disconnect could be sent if the customer does nothing and the routine goes on.

    Reads, day close, feed, observation and forecast count as renewed and the weather as mild; windows, days, guard,
    grace, the returned payment's day, holds and orders with an end are waited for. None where anything else stands.
    """
    now, zone = facts.now, facts.zone
    if now is None or zone is None or not codes <= WAITED_FOR or _confirm(facts) is None:
        return None
    if facts.holds is None or facts.moratoriums is None:
        return None
    earliest = [now.astimezone(UTC)]
    notice = _notice_at(facts)
    if notice is None:
        return None
    earliest.append(calendar.grace_end(notice, zone, program))
    told = facts.returned_payment_notice_at
    if facts.returned_payment_unknown or (told is not None and told > now):
        return None
    if told is not None:
        earliest.append(calendar.returned_payment_end(told, zone, holiday))
    fresh = _notice_after_moratorium(facts, program)
    if fresh is not None:
        if fresh.needed:
            return None
        earliest.append(fresh.until)
    found = _outside_intervals(facts, max(earliest), program, holiday)
    if found is None or (program.notice_after_moratorium and _a_moratorium_ends_before(facts, found)):
        return None
    return found.astimezone(zone)


def _outside_intervals(facts: Facts, not_before: datetime, program: Program, holiday: HolidayLookup) -> datetime | None:
    assert facts.zone is not None
    intervals = [(hold.starts_at, hold.until) for hold in facts.holds or ()]
    intervals += [(order.starts_at, order.until) for order in facts.moratoriums or ()]
    instant: datetime | None = not_before
    while instant is not None:
        instant = calendar.first_opening(instant, guard(facts, program), facts.zone, program, holiday)
        if instant is None:
            return None
        ends = [until for starts_at, until in intervals if _in_force(starts_at, until, instant)]
        if not ends:
            return instant
        if None in ends:
            return None
        instant = max(end.astimezone(UTC) for end in ends if end is not None)
    return None


def _a_moratorium_ends_before(facts: Facts, instant: datetime) -> bool:
    """Whether one that is in force or lies ahead is over by then: a fresh notice would be needed first."""
    assert facts.now is not None
    ends = [order.until for order in facts.moratoriums or () if order.until is not None]
    return any(facts.now < end <= instant for end in ends)


def send_before(facts: Facts, program: Program, holiday: HolidayLookup) -> datetime | None:
    """The instant before which a disconnect decided now must be sent: the window's end less the guard; or None."""
    if facts.now is None or facts.zone is None:
        return None
    span = calendar.window(facts.now.astimezone(facts.zone).date(), facts.zone, program, holiday)
    return None if span is None else span[1] - guard(facts, program)


def _must_reconnect(facts: Facts, program: Program) -> bool:
    if facts.relay not in (Relay.DISCONNECTED, Relay.UNKNOWN):
        return False
    return bool(facts.protected) or _has_credit(facts, program)


def _has_credit(facts: Facts, program: Program) -> bool:
    balance, paid = facts.balance_cents, facts.payments_since_disconnect_cents
    if balance is None or balance < program.reconnect_from_cents:
        return False
    return paid is None or paid < 0 or paid >= program.reconnect_payments_cents


def amount_to_reconnect(facts: Facts, program: Program) -> int | None:
    """Cents of the smallest payment that would reconnect a meter that we disconnected, arrears share included."""
    if facts.relay is not Relay.DISCONNECTED or facts.balance_cents is None or facts.arrears_cents is None:
        return None
    needed = payment_reaching(facts.balance_cents, facts.arrears_cents, program.reconnect_from_cents, program)
    if needed is None:
        return None
    paid = facts.payments_since_disconnect_cents
    lacking = 0 if paid is None or paid < 0 else program.reconnect_payments_cents - paid
    return max(needed, lacking)
