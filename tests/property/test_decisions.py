"""Promises about every decision: unknown keeps power on, money never cuts, a cut lies in a window, next is exact."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import holidays
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge.core.arrears import split_payment
from edge.core.decisions import BLOCK_CODES, decide
from edge.core.model import Action, Facts, Forecast, Hold, HoldKind, MoratoriumOrder, Observation, Protection, Relay
from edge.programs import find_program
from tests.cases import CHICAGO, codes

SECOND = timedelta(seconds=1)
OVERRIDES: tuple[dict[str, Any], ...] = (
    {},
    {"disconnect.day_before_holiday": "noon"},
    {"disconnect.grace": "next_day", "disconnect.trip": "zero"},
    {"disconnect.grace": "hours", "disconnect.grace_hours": 3},
    {
        "disconnect.windows": "Sun 00:00-03:00, Tue 01:30-24:00, Sat 22:00-24:00",
        "holidays.half_days": ["2026-11-03 09:00"],
    },
)
NAMES = ("default", "pso-prepay", "strict", "missouri", "oge-pay-as-you-go", "oec-prepaid", "lake-region")
RULES = [find_program(name, overrides) for name in NAMES for overrides in OVERRIDES]
MILD = (7000,) * 100
CUT = Facts(
    now=None,
    zone=CHICAGO,
    enrolled=True,
    balance_cents=-1,
    arrears_cents=0,
    protected=(),
    holds=(),
    zero_notice_delivered_at=None,
    returned_payment_notice_at=None,
    returned_payment_unknown=False,
    payments_since_disconnect_cents=0,
    last_actual_read_at=None,
    balance_rests_on_estimates=False,
    last_closed_day=None,
    remote_disconnect=True,
    relay=Relay.CONNECTED,
    confirm_seconds=20,
    forecast=None,
    observed=None,
    alerts=(),
    moratoriums=(),
    clock_trusted=True,
    payments_feed_seen_at=None,
    disconnects_left=1,
    shadow_mode=False,
)
UNKNOWN: dict[str, dict[str, Any]] = {
    "not_enrolled": {"enrolled": None},
    "balance_not_negative": {"balance_cents": None},
    "protected": {"protected": None},
    "hold_operator": {"holds": None},
    "no_zero_notice": {"zero_notice_delivered_at": None},
    "returned_payment_notice": {"returned_payment_unknown": True},
    "read_stale": {"last_actual_read_at": None},
    "read_estimated": {"balance_rests_on_estimates": None},
    "ledger_not_closed": {"last_closed_day": None},
    "no_remote_switch": {"remote_disconnect": None},
    "relay_unknown": {"relay": Relay.UNKNOWN},
    "guard": {"confirm_seconds": None},
    "weather_unknown": {"forecast": None},
    "moratorium_order": {"moratoriums": None},
    "clock_untrusted": {"clock_trusted": None},
    "payments_stale": {"payments_feed_seen_at": None},
    "rate_limited": {"disconnects_left": None},
    "shadow_mode": {"shadow_mode": None},
}

HIDDEN = {  # what cannot be told any more once the fact is unknown
    "hold_operator": {f"hold_{kind.value}" for kind in HoldKind},
    "no_zero_notice": {"grace"},
    "weather_unknown": {"weather_stale"},
    "moratorium_order": {"notice_after_moratorium"},
}

rules = st.sampled_from(RULES)
# Whole hours and half hours are where windows, graces and days begin and end; the rest of the time is anything.
steps = st.one_of(st.integers(0, 3 * 366 * 48).map(lambda n: n * 1800), st.integers(0, 3 * 366 * 86_400))
instants = st.builds(
    lambda seconds, off: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds + off), steps, st.integers(-1, 1)
)


def renewed(facts: Facts, now: datetime) -> Facts:
    """The facts with everything of the routine as it would be at an instant, in mild weather."""
    local = now.astimezone(CHICAGO)
    fetched_at = max(
        local.replace(hour=6, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC), now - 3600 * SECOND
    )
    return replace(
        facts,
        now=now,
        last_actual_read_at=now,
        balance_rests_on_estimates=False,
        last_closed_day=local.date() - timedelta(days=1),
        forecast=Forecast(fetched_at, now.replace(minute=0, second=0, microsecond=0), MILD, MILD),
        observed=Observation(now, 7000, 7000),
        alerts=(),
        payments_feed_seen_at=now,
    )


@st.composite
def intervals(draw: st.DrawFn, now: datetime) -> tuple[datetime, datetime | None]:
    starts_at = now + timedelta(minutes=draw(st.integers(-3000, 3000)))
    if draw(st.integers(0, 5)) == 0:
        return starts_at, None
    return starts_at, starts_at + timedelta(seconds=draw(st.integers(0, 400_000)))


@st.composite
def situations(draw: st.DrawFn) -> Facts:
    """A customer who would be cut now or later: facts of the routine renewed, waits of every kind."""
    now = draw(instants)
    holds = [Hold(draw(st.sampled_from(HoldKind)), *each) for each in draw(st.lists(intervals(now), max_size=2))]
    orders = [MoratoriumOrder("order", *each) for each in draw(st.lists(intervals(now), max_size=2))]
    told = draw(st.none() | st.integers(0, 400_000))
    facts = replace(
        CUT,
        balance_cents=draw(st.integers(-5000, -1)),
        holds=tuple(holds),
        moratoriums=tuple(orders),
        zero_notice_delivered_at=now - timedelta(seconds=draw(st.integers(0, 400_000))),
        returned_payment_notice_at=None if told is None else now - timedelta(seconds=told),
        confirm_seconds=draw(st.sampled_from([0, 1, 20, 7200, 16_000])),
    )
    return renewed(facts, now)


@settings(deadline=None)
@given(situations(), rules, st.sampled_from(sorted(UNKNOWN)))
def test_what_is_not_known_never_disconnects(facts: Facts, rule: Any, code: str) -> None:
    unknown = replace(facts, **UNKNOWN[code])
    decision = decide(unknown, *rule)
    assert decision.action is not Action.DISCONNECT
    assert code in codes(decision) <= BLOCK_CODES
    assert codes(decide(facts, *rule)) - codes(decision) <= HIDDEN.get(code, set())


@settings(deadline=None)
@given(situations(), rules, st.integers(0, 100_000))
def test_more_money_never_disconnects(facts: Facts, rule: Any, cents: int) -> None:
    assert facts.balance_cents is not None
    richer = replace(facts, balance_cents=facts.balance_cents + cents)
    if decide(richer, *rule).action is Action.DISCONNECT:
        assert decide(facts, *rule).action is Action.DISCONNECT


@settings(deadline=None)
@given(situations(), rules)
def test_a_disconnect_lies_in_a_window_on_no_holiday(facts: Facts, rule: Any) -> None:
    """Told by the wall clock and the holidays library alone."""
    decision = decide(facts, *rule)
    assert (decision.action is Action.DISCONNECT) == (decision.blocks == ())
    if decision.action is Action.DISCONNECT:
        assert facts.now is not None
        assert facts.confirm_seconds is not None
        for instant in (facts.now, facts.now + max(facts.confirm_seconds, rule[0].guard_seconds) * SECOND):
            local = instant.astimezone(CHICAGO)
            span = rule[0].windows[local.weekday()]
            assert span is not None
            assert span[0] <= local.time() < span[1] or span[1] == time.max
            assert local.date() not in holidays.country_holidays("US", years=local.year)


@settings(deadline=None)
@given(situations(), rules, st.data())
def test_credit_reconnects_whatever_else_is_so(facts: Facts, rule: Any, data: st.DataObject) -> None:
    unknown: dict[str, Any] = {}
    for code in data.draw(st.sets(st.sampled_from(sorted(UNKNOWN.keys() - {"balance_not_negative", "relay_unknown"})))):
        unknown |= UNKNOWN[code]
    relay = data.draw(st.sampled_from([Relay.DISCONNECTED, Relay.UNKNOWN]))
    off = replace(facts, relay=relay, payments_since_disconnect_cents=data.draw(st.none() | st.just(2500)), **unknown)
    threshold = rule[0].reconnect_from_cents
    assert decide(replace(off, balance_cents=threshold), *rule).action is Action.RECONNECT
    assert decide(replace(off, balance_cents=threshold - 1), *rule).action is Action.NONE
    protected = data.draw(st.sampled_from(Protection))
    assert decide(replace(off, protected=(protected,)), *rule).action is Action.RECONNECT
    assert decide(replace(off, now=None, balance_cents=threshold), *rule).action is Action.RECONNECT


@settings(max_examples=200, deadline=None)
@given(situations(), rules)
def test_the_next_possible_disconnect_is_the_first_one(facts: Facts, rule: Any) -> None:
    following = decide(facts, *rule).next_possible_disconnect
    assume(following is not None)
    assert following is not None
    assert facts.now is not None
    assert following >= facts.now
    following = following.astimezone(UTC)
    assert decide(renewed(facts, following), *rule).action is Action.DISCONNECT
    if following > facts.now:
        assert decide(renewed(facts, following - SECOND), *rule).action is Action.NONE
        earlier = facts.now + (following - facts.now) // 2
        assert decide(renewed(facts, earlier), *rule).action is Action.NONE


@settings(deadline=None)
@given(st.integers(-100_000, 1000), st.integers(0, 100_000), rules, st.booleans())
def test_the_amount_to_reconnect_is_the_smallest(balance: int, arrears: int, rule: Any, first: bool) -> None:
    program = replace(rule[0], arrears_first=first)
    off = replace(CUT, relay=Relay.DISCONNECTED, balance_cents=balance, arrears_cents=arrears)
    decision = decide(off, program, rule[1])
    amount = decision.amount_to_reconnect_cents
    if decision.action is Action.RECONNECT:
        assert amount is None
        return
    assert amount is not None
    for paid, action in ((amount, Action.RECONNECT), (amount - 1, Action.NONE)):
        to_arrears, to_balance = split_payment(paid, balance, arrears, program)
        assert to_arrears + to_balance == paid
        assert 0 <= to_arrears <= arrears
        after = replace(
            off,
            balance_cents=balance + to_balance,
            arrears_cents=arrears - to_arrears,
            payments_since_disconnect_cents=paid,
        )
        assert decide(after, program, rule[1]).action is action
