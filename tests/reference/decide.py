"""`whatif decide` written a second time from the contract's section 4, to judge the engine by.

It shares no code with `edge`, and it is slow on purpose: the next possible disconnect is found by asking every rule
at every instant at which time could lift one, with all routine facts renewed.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from tests.reference.facts import DAY, Json, at, cents, instant, past, seconds, section
from tests.reference.programs import Programme, is_holiday, programme
from tests.reference.weather import weather_codes

PROTECTIONS = ("medical", "life_support", "life_threatening", "elderly_disabled")
HOLD_KINDS = ("dispute", "settlement", "aid_pending", "operator")
NEVER = datetime.max.replace(tzinfo=UTC)
LASTING = {
    *("not_enrolled", "no_remote_switch", "already_disconnected", "relay_unknown", "balance_not_negative"),
    *("protected", "clock_untrusted", "rate_limited", "shadow_mode", "no_zero_notice"),
}
"""What time does not lift, so that the search need not begin."""


@dataclass(frozen=True)
class Verdict:
    """What the rules say of a case: money as text, times as instants."""

    action: str
    codes: frozenset[str]
    next_possible_disconnect: datetime | None
    amount_to_reconnect: str | None


# The calendar, in the civil time of the territory.


def window(rules: Programme, day: date, zone: ZoneInfo) -> tuple[datetime, datetime] | None:
    """The day's window as instants, or None on a day that has none: a weekend day, a holiday."""
    if day.weekday() not in rules.windows or is_holiday(rules.state, day):
        return None
    start, end = rules.windows[day.weekday()]
    if rules.day_before_holiday == "noon" and is_holiday(rules.state, day + DAY):
        end = min(end, time(12))
    return at(day, start, zone), at(day, end, zone)


def calendar_codes(case: Json, rules: Programme, now: datetime, zone: ZoneInfo) -> set[str]:
    """Window, guard, weekend, holiday and the day before one."""
    today = now.astimezone(zone).date()
    codes = set()
    confirm = seconds(section(case, "meter").get("confirm_seconds"))
    if confirm is None:
        codes.add("guard")
    if today.weekday() >= 5:
        codes.add("weekend")
    if is_holiday(rules.state, today):
        codes.add("holiday")
    if rules.day_before_holiday == "block" and is_holiday(rules.state, today + DAY):
        codes.add("day_before_holiday")
    span = window(rules, today, zone)
    if span is None:
        return codes
    start, end = span
    noon = at(today, time(12), zone)
    # The noon of a Friday closes it anyway, which is not told as the doing of the holiday.
    if rules.day_before_holiday == "noon" and now >= noon == end and rules.windows[today.weekday()][1] > time(12):
        codes.add("day_before_holiday")
    if not start <= now < end:
        codes.add("outside_window")
    if now < end and confirm is not None:
        wait = max(confirm, rules.guard_seconds)
        if Decimal((end - now) // timedelta(microseconds=1)) / 1_000_000 <= wait:
            codes.add("guard")
    return codes


# Notices, holds and orders.


def hours(number: Decimal) -> timedelta:
    """That many hours, to the microsecond."""
    return timedelta(microseconds=int(number * 3_600_000_000))


def grace_end(rules: Programme, notice: datetime, zone: ZoneInfo) -> datetime:
    """When the grace that a zero notice gives ends; at that instant a disconnect is allowed."""
    eight = at(notice.astimezone(zone).date() + DAY, time(8), zone)
    if rules.grace == "next_day":
        return eight
    after = notice + hours(rules.grace_hours)
    return max(eight, after) if rules.grace == "later" else after


def notice_codes(case: Json, rules: Programme, now: datetime, zone: ZoneInfo) -> set[str]:
    """The zero notice, its grace, and the fresh notice that some programmes ask for after an ordered moratorium."""
    notice = past(section(case, "account").get("zero_notice_delivered_at"), now)
    codes = set()
    if notice is None:
        codes.add("no_zero_notice")
    elif now < grace_end(rules, notice, zone):
        codes.add("grace")
    orders = case.get("moratoriums")
    if rules.notice_after_moratorium and isinstance(orders, list):
        for order in orders:
            span = span_of(order)
            if span is None or span[1] > now or span[0] == span[1]:
                continue
            ended = span[1]
            if notice is None or notice < ended or now < notice + DAY:
                codes.add("notice_after_moratorium")
    return codes


def span_of(record: Any) -> tuple[datetime, datetime] | None:
    """Start and end of a hold or an order, NEVER for an open end; None, and so an open question, if it has no sense."""
    if not isinstance(record, dict):
        return None
    start, end = instant(record.get("from")), NEVER
    if record.get("until") is not None:
        known = instant(record["until"])
        if known is None:
            return None
        end = known
    return None if start is None or end < start else (start, end)


def hold_codes(case: Json, now: datetime) -> set[str]:
    """Holds on the account, and ordered moratoriums."""
    codes = set()
    holds = section(case, "account").get("holds")
    for hold in holds if isinstance(holds, list) else [None]:
        span = span_of(hold)
        kind = hold.get("kind") if isinstance(hold, dict) else None
        if span is None or kind not in HOLD_KINDS:
            codes.add("hold_operator")
        elif span[0] <= now < span[1]:
            codes.add(f"hold_{kind}")
    orders = case.get("moratoriums")
    for order in orders if isinstance(orders, list) else [None]:
        span = span_of(order)
        if span is None or span[0] <= now < span[1]:
            codes.add("moratorium_order")
    return codes


def returned_payment_end(case: Json, rules: Programme, now: datetime, zone: ZoneInfo) -> datetime | None:
    """The end of the first whole business day after the day of the notice; None without one, NEVER if not known."""
    value = section(case, "account").get("returned_payment_notice_at")
    if value is None:
        return None
    told = past(value, now)
    if told is None:
        return NEVER
    day = told.astimezone(zone).date() + DAY
    while day.weekday() >= 5 or is_holiday(rules.state, day):
        day += DAY
    return at(day + DAY, time(0), zone)


# The account, the meter and the gateway.


def state_codes(case: Json, rules: Programme, now: datetime, zone: ZoneInfo) -> set[str]:
    """Enrolment, switch, balance, protection, reads, books, clock, feed, budget and shadow mode."""
    account, meter, gateway = section(case, "account"), section(case, "meter"), section(case, "gateway")
    balance = cents(account.get("balance"))
    read = past(account.get("last_actual_read_at"), now)
    feed = past(gateway.get("payments_feed_seen_at"), now)
    left = gateway.get("disconnects_left")
    yesterday = (now.astimezone(zone).date() - DAY).isoformat()
    relay = meter.get("relay")
    minutes = hours(rules.max_feed_age_minutes) / 60
    blocked = {
        "not_enrolled": account.get("enrolled") is not True,
        "no_remote_switch": meter.get("remote_disconnect") is not True,
        "already_disconnected": relay in ("disconnected", "disconnected_other"),
        "relay_unknown": relay not in ("connected", "disconnected", "disconnected_other"),
        "balance_not_negative": balance is None or balance > (0 if rules.trip == "zero" else -1),
        "protected": account.get("protected") != [],
        "read_stale": read is None or now - read > hours(rules.max_read_age_hours),
        "read_estimated": account.get("balance_rests_on_estimates") is not False,
        "ledger_not_closed": account.get("last_closed_day") != yesterday,
        "clock_untrusted": gateway.get("clock_trusted") is not True,
        "payments_stale": feed is None or now - feed > minutes,
        "rate_limited": isinstance(left, bool) or not isinstance(left, int) or left <= 0,
        "shadow_mode": gateway.get("shadow_mode") is not False,
    }
    return {code for code, stands in blocked.items() if stands}


def all_codes(case: Json, rules: Programme, now: datetime, zone: ZoneInfo) -> set[str]:
    """Every reason that keeps the account from being disconnected at `now`."""
    codes = state_codes(case, rules, now, zone) | calendar_codes(case, rules, now, zone)
    codes |= notice_codes(case, rules, now, zone) | hold_codes(case, now) | weather_codes(case, rules, now, zone)
    returned = returned_payment_end(case, rules, now, zone)
    return codes | ({"returned_payment_notice"} if returned is not None and now < returned else set())


# The answer.


def renewed(case: Json, now: datetime, zone: ZoneInfo) -> Json:
    """The case as it would be at `now` if the routine went on and the weather were mild."""
    stamp = now.isoformat()
    yesterday = (now.astimezone(zone).date() - DAY).isoformat()
    account = section(case, "account") | {"last_actual_read_at": stamp, "last_closed_day": yesterday}
    account["balance_rests_on_estimates"] = False
    gateway = section(case, "gateway") | {"payments_feed_seen_at": stamp}
    weather = {
        "fetched_at": stamp,
        "first_hour": stamp,
        "temperature_f": [70] * 80,
        "heat_index_f": [70] * 80,
        "observed": {"at": stamp, "temperature_f": 70, "heat_index_f": 70},
        "alerts": [],
    }
    return case | {"account": account, "gateway": gateway, "weather": weather}


def candidates(case: Json, rules: Programme, now: datetime, zone: ZoneInfo) -> list[datetime]:
    """Every instant from now on at which time could lift the last block."""
    ends = [now]
    account = section(case, "account")
    notice = instant(account.get("zero_notice_delivered_at"))
    if notice is not None:
        ends += [grace_end(rules, notice, zone), notice + DAY]
    returned = returned_payment_end(case, rules, now, zone)
    ends += [returned] if returned is not None and returned != NEVER else []
    for records in (account.get("holds"), case.get("moratoriums")):
        for record in records if isinstance(records, list) else []:
            end = instant(record.get("until")) if isinstance(record, dict) else None
            ends += [end] if end is not None else []
    found = {end for end in ends if end >= now}
    for end in list(found):
        day = end.astimezone(zone).date()
        for _ in range(30):
            for clock in (time(0), time(6), *(span[0] for span in rules.windows.values())):
                found.add(at(day, clock, zone))
            day += DAY
    return sorted(moment for moment in found if moment >= now)


def next_possible(case: Json, rules: Programme, now: datetime, zone: ZoneInfo) -> datetime | None:
    """The first instant at which nothing blocks, the routine going on; None if something stands that time leaves."""
    if (state_codes(case, rules, now, zone) | notice_codes(case, rules, now, zone)) & LASTING:
        return None
    if returned_payment_end(case, rules, now, zone) == NEVER:
        return None
    for moment in candidates(case, rules, now, zone):
        if not all_codes(renewed(case, moment, zone), rules, moment, zone):
            return moment
    return None


def reaches(balance: int, paid: int | None, rules: Programme) -> bool:
    """Whether a balance, and the payments since the disconnect, bring power back; unknown payments are enough."""
    return balance >= rules.reconnect_at_least and (paid is None or paid >= rules.payments_at_least)


def after_payment(balance: int, arrears: int, amount: int, rules: Programme) -> int:
    """The balance after a payment whose share goes to the arrears: of all, or of what is left once it is above zero."""
    base = amount if rules.arrears_first else max(0, amount - max(0, 1 - balance))
    return balance + amount - min(arrears, int((base * rules.share).to_integral_value(ROUND_FLOOR)))


def amount_to_reconnect(case: Json, rules: Programme) -> str | None:
    """The smallest single payment that brings power back, found by trying every cent; None if it cannot be told."""
    account = section(case, "account")
    balance, arrears = cents(account.get("balance")), cents(account.get("arrears"), 0)
    paid = cents(account.get("payments_since_disconnect"), 0)
    if rules.share == 0 or (balance is not None and balance >= rules.reconnect_at_least):
        arrears = arrears or 0
    if balance is None or arrears is None:
        return None
    amount = 1
    while not reaches(after_payment(balance, arrears, amount, rules), None if paid is None else paid + amount, rules):
        amount += 1
    return f"{amount // 100}.{amount % 100:02d}"


def decide(case: Json) -> Verdict:
    """The verdict on a case whose `now`, `timezone`, `program` and `set` are well formed."""
    now, zone = instant(case["now"]), ZoneInfo(case["timezone"])
    assert now is not None
    rules = programme(case["program"], case.get("set") or {})
    account, relay = section(case, "account"), section(case, "meter").get("relay")
    balance, paid = cents(account.get("balance")), cents(account.get("payments_since_disconnect"), 0)
    protected = account.get("protected")
    known_protection = isinstance(protected, list) and any(kind in PROTECTIONS for kind in protected)
    codes = all_codes(case, rules, now, zone)
    if relay not in ("connected", "disconnected_other") and (
        known_protection or (balance is not None and reaches(balance, paid, rules))
    ):
        return Verdict("reconnect", frozenset(codes), None, None)
    if not codes:
        return Verdict("disconnect", frozenset(), now, None)
    amount = amount_to_reconnect(case, rules) if relay == "disconnected" else None
    return Verdict("none", frozenset(codes), next_possible(case, rules, now, zone), amount)
