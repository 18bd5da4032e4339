"""Decisions: a row for every block, the edges of every limit, what reconnects, what comes next, and how much it takes.

A row is a merge patch on a case in which everything is known and nothing blocks.
"""

from dataclasses import replace
from typing import Any

import pytest

from edge.core.decisions import BLOCK_CODES, RULES, decide, send_before
from edge.core.model import Action, Relay
from tests.cases import FRESH_NOTICE, HOLD, account, answered, codes, decided, hold, hours, known, order, weather

# code -> patches, with the instant where it is not that of the base case, each of which makes it a block
ROWS: dict[str, list[Any]] = {
    "not_enrolled": [account(enrolled=False), account(enrolled=None), account(enrolled="yes")],
    "no_remote_switch": [{"meter": {"remote_disconnect": False}}, {"meter": {"remote_disconnect": None}}],
    "already_disconnected": [{"meter": {"relay": "disconnected"}}, {"meter": {"relay": "disconnected_other"}}],
    "relay_unknown": [{"meter": {"relay": value}} for value in ("unknown", None, "ajar", 7)],
    "balance_not_negative": [account(balance=value) for value in ("0.00", "0.01", None, -3.2, "-3.205", "much")],
    "no_zero_notice": [account(zero_notice_delivered_at=v) for v in (None, "2026-10-14T09:00:01-05:00", "2026-10-12")],
    "grace": [
        account(zero_notice_delivered_at="2026-10-13T09:00:01-05:00"),
        account(zero_notice_delivered_at="2026-10-14T09:00:00-05:00"),
    ],
    "outside_window": [({}, "2026-10-14T07:59:59-05:00"), ({}, "2026-10-14T14:30:00-05:00")],
    "guard": [
        ({}, "2026-10-14T14:29:40-05:00"),
        ({"meter": {"confirm_seconds": 0}, "program": "strict"}, "2026-10-14T14:28:00-05:00"),
        *({"meter": {"confirm_seconds": value}} for value in (None, -1, "20", True)),
    ],
    "weekend": [({}, "2026-10-17T09:00:00-05:00")],
    "holiday": [({}, "2026-10-12T09:00:00-05:00"), {"set": {"holidays.own": ["2026-10-14 Founders' day"]}}],
    "day_before_holiday": [
        ({"program": "strict"}, "2026-11-25T09:00:00-06:00"),
        ({"set": {"disconnect.day_before_holiday": "noon"}}, "2026-11-25T12:00:00-06:00"),
    ],
    "weather_cold": [
        weather(temperature_f=hours(40, h2=31.99)),
        weather(temperature_f=hours(40, h25=31.99)),
        {"program": "strict", **weather(temperature_f=hours(40, h73=32))},
    ],
    "weather_heat": [
        weather(heat_index_f=hours(90, h16=101)),
        weather(observed={"heat_index_f": 100.995}),
        {"program": "strict", **weather(temperature_f=hours(80, h73=95.01))},
        {"program": "strict", **weather(alerts=["Flood Watch", "Heat Advisory"])},
    ],
    "weather_unknown": [
        {"weather": None},
        weather(fetched_at=None),
        weather(fetched_at="2026-10-14T09:00:01-05:00"),
        weather(first_hour=None),
        weather(first_hour="2026-10-14T10:00:00-05:00"),
        weather(temperature_f=None),
        weather(temperature_f=hours(50)[:25]),
        weather(temperature_f=hours(50, h2="mild")),
        weather(temperature_f=hours(50, h25=None)),
        weather(temperature_f=hours(50, h25=-9999)),
        weather(heat_index_f=hours(50, h16=None)),
        weather(observed=None),
        weather(observed={"at": "2026-10-14T06:59:59-05:00"}),
        weather(observed={"at": "2026-10-14T09:00:01-05:00"}),
        weather(observed={"heat_index_f": None}),
        weather(alerts=None),
        weather(alerts=[3]),
        {"program": "missouri", **weather(observed={"temperature_f": None})},
    ],
    "weather_stale": [
        weather(fetched_at="2026-10-14T05:59:59-05:00"),
        weather(fetched_at="2026-10-13T07:00:00-05:00"),
        weather(fetched_at=None),
    ],
    "moratorium_order": [
        order(),
        order(until=None),
        order(until="9999-12-31T00:00:00Z"),
        order(**{"from": "soon"}),
        order(until="2026-09-30T00:00:00-05:00"),
        {"moratoriums": None},
        {"moratoriums": ["all"]},
    ],
    "protected": [
        account(protected=value) for value in (["medical"], ["elderly_disabled", "x"], None, ["x"], "medical")
    ],
    "hold_dispute": [hold(), hold(until=None), account(holds=[{"kind": "whim"}, HOLD])],
    "hold_settlement": [hold(kind="settlement")],
    "hold_aid_pending": [hold(kind="aid_pending")],
    "hold_operator": [
        hold(kind="operator"),
        hold(kind="whim"),
        hold(**{"from": None}),
        hold(until="later"),
        hold(until="2026-10-14T07:59:59-05:00"),
        account(holds=None),
        account(holds={}),
        account(holds=[HOLD, None]),
    ],
    "clock_untrusted": [{"gateway": {"clock_trusted": value}} for value in (False, None, 1)] + [{"now": None}],
    "payments_stale": [
        {"gateway": {"payments_feed_seen_at": value}}
        for value in ("2026-10-14T08:44:59-05:00", "2026-10-14T09:00:01-05:00", None)
    ],
    "read_stale": [
        account(last_actual_read_at=value)
        for value in ("2026-10-13T08:59:59-05:00", "2026-10-14T09:00:01-05:00", None, "2026-10-14T08:00:00")
    ],
    "read_estimated": [account(balance_rests_on_estimates=value) for value in (True, None, 0)],
    "ledger_not_closed": [
        account(last_closed_day=value) for value in ("2026-10-12", "2026-10-14", None, "20261013", "2026-W42-2")
    ],
    "rate_limited": [{"gateway": {"disconnects_left": value}} for value in (0, -1, None, 2.5)],
    "shadow_mode": [{"gateway": {"shadow_mode": value}} for value in (True, None)],
    "returned_payment_notice": [
        account(returned_payment_notice_at=value)
        for value in ("2026-10-13T09:00:00-05:00", "2026-10-14T09:00:01-05:00", "yesterday", 5)
    ],
    "notice_after_moratorium": [
        FRESH_NOTICE,
        {**FRESH_NOTICE, **account(zero_notice_delivered_at="2026-10-13T12:00:00-05:00")},
    ],
}
# what some of a code's rows cause beside it; the others cause nothing else
BESIDE: dict[str, set[str]] = {
    "day_before_holiday": {"outside_window"},
    "weather_unknown": {"weather_stale"},
    "weather_stale": {"weather_unknown"},
    "hold_dispute": {"hold_operator"},
    "hold_operator": {"hold_dispute"},
    "notice_after_moratorium": {"grace"},
    "clock_untrusted": {  # where even the present instant is not known
        *("no_zero_notice", "outside_window", "weather_unknown", "payments_stale", "read_stale", "ledger_not_closed"),
    },
}
FLAT = [(code, row) for code, rows in ROWS.items() for row in rows]


def test_every_block_has_its_rows() -> None:
    assert set(ROWS) == BLOCK_CODES
    assert len(BLOCK_CODES) == 31


def test_every_program_names_a_source_for_every_block() -> None:
    for name in ("default", "strict", "missouri", "lake-region", "oec-prepaid", "oge-pay-as-you-go", "pso-prepay"):
        program = known({"program": name})[1]
        assert set(program.sources) == BLOCK_CODES
        assert all(program.sources.values())


@pytest.mark.parametrize(("code", "row"), FLAT, ids=[f"{code}-{n}" for n, (code, _) in enumerate(FLAT)])
def test_a_block_holds_the_switch(code: str, row: Any) -> None:
    patch, now = row if isinstance(row, tuple) else (row, None)
    decision = decided(patch, now)
    assert {code} <= codes(decision) <= {code} | BESIDE.get(code, set())
    assert decision.action is not Action.DISCONNECT
    block = next(block for block in decision.blocks if block.code == code)
    assert block.text
    assert block.source == known(patch, now)[1].sources[code]


EDGES_THAT_DO_NOT_BLOCK: list[Any] = [
    account(zero_notice_delivered_at="2026-10-13T09:00:00-05:00"),
    account(last_actual_read_at="2026-10-13T09:00:00-05:00"),
    account(returned_payment_notice_at="2026-10-12T23:59:59-05:00"),
    account(arrears=None, payments_since_disconnect=None),
    hold(**{"from": "2026-10-14T09:00:01-05:00"}),
    hold(until="2026-10-14T09:00:00-05:00"),
    order(until="2026-10-14T09:00:00-05:00"),
    {"gateway": {"payments_feed_seen_at": "2026-10-14T08:45:00-05:00"}},
    {"gateway": {"disconnects_left": 1}},
    {"program": "strict", **order(**{"from": "2026-10-13T12:00:00-05:00", "until": "2026-10-13T12:00:00-05:00"})},
    {"meter": {"confirm_seconds": 19_799}},
    weather(fetched_at="2026-10-14T06:00:00-05:00"),
    weather(observed={"at": "2026-10-14T07:00:00-05:00"}),
    weather(observed={"temperature_f": None}),
    weather(temperature_f=hours(50, h1=20, h26=20)),
    weather(temperature_f=hours(50)[:26], heat_index_f=hours(50)[:17]),
    weather(temperature_f=hours(31.995)),
    weather(heat_index_f=hours(90, h1=120, h17=120)),
    weather(heat_index_f=hours(100.99), observed={"heat_index_f": 100.994}),
    weather(alerts=["Heat Advisory"]),
    {"program": "strict", **weather(temperature_f=hours(80, h74=20), alerts=["Flood Watch"])},
    {"program": "strict", **weather(temperature_f=hours(95), heat_index_f=hours(100))},
    {"program": "missouri", **weather(temperature_f=hours(20))},
    {"program": "missouri", **weather(temperature_f=hours(99), heat_index_f=hours(110))},
    {"set": {"disconnect.trip": "zero"}, **account(balance="0.00")},
    {"account": {"balance": "-0.01"}, "timezone": None, "program": None, "set": None},
    ({"program": "pso-prepay", "meter": {"confirm_seconds": 0}}, "2026-10-14T15:29:59-05:00"),
    ({"meter": {"confirm_seconds": 19}}, "2026-10-14T14:29:40-05:00"),
    ({"program": "strict", "meter": {"confirm_seconds": 1}}, "2026-10-14T14:27:59-05:00"),
    ({}, "2026-11-25T14:00:00-06:00"),
    ({"set": {"disconnect.day_before_holiday": "noon"}}, "2026-11-25T11:59:39-06:00"),
    ({"set": {"weather.cold.limit_f": 10}, **weather(temperature_f=hours(20))}, None),
]


@pytest.mark.parametrize("row", EDGES_THAT_DO_NOT_BLOCK, ids=range(len(EDGES_THAT_DO_NOT_BLOCK)))
def test_an_edge_still_allows_a_disconnect(row: Any) -> None:
    patch, now = row if isinstance(row, tuple) else (row, None)
    answer = answered(patch, now)
    assert (answer["action"], answer["blocks"]) == ("disconnect", [])
    assert answer["next_possible_disconnect"] == known(patch, now)[0].now.isoformat()  # type: ignore[union-attr]
    assert answer["amount_to_reconnect"] is None


def test_no_block_hides_another() -> None:
    """Everything unknown, at an instant that is known: all that a fact can hold back is told."""
    empty = dict.fromkeys(("account", "meter", "weather", "moratoriums", "gateway"))
    assert codes(answered(empty)) == BLOCK_CODES - {
        *("already_disconnected", "grace", "outside_window", "weekend", "holiday", "day_before_holiday"),
        *("weather_cold", "weather_heat", "weather_stale", "hold_dispute", "hold_settlement", "hold_aid_pending"),
        *("returned_payment_notice", "notice_after_moratorium"),
    }
    saturday_and_holiday = codes(answered({}, "2026-07-04T12:00:00-05:00"))
    assert saturday_and_holiday == {"weekend", "holiday"}
    evening_before = {"program": "strict"}, "2026-11-25T16:00:00-06:00"
    assert codes(answered(*evening_before)) == {"outside_window", "day_before_holiday"}
    nonsense = account(holds=[HOLD, {**HOLD, "kind": "settlement"}, HOLD, "x"])
    assert codes(answered(nonsense)) == {"hold_dispute", "hold_settlement", "hold_operator"}


def test_a_night_is_from_nine_to_six() -> None:
    at_night = {"set": {"weather.cold.limit_f": 0}, "program": "strict"}
    for place, cold in (("h13", False), ("h14", True), ("h22", True), ("h23", False)):  # the series begins at 07:00
        found = codes(answered({**at_night, **weather(temperature_f=hours(40, **{place: 20}))}))
        assert found == ({"weather_cold"} if cold else set())


def test_a_half_day_closes_the_window_and_is_told_as_such() -> None:
    assert codes(answered({"set": {"holidays.half_days": ["2026-10-14 09:00"]}})) == {"outside_window"}
    assert codes(answered({"set": {"holidays.half_days": ["2026-10-14 08:00"]}})) == {"outside_window"}
    assert codes(answered({"set": {"holidays.half_days": ["2026-10-14 09:01"]}})) == set()


def test_a_disconnect_must_be_sent_before_the_guard() -> None:
    facts, program, holiday = known({"program": "strict"})
    limit = send_before(facts, program, holiday)
    assert limit is not None
    assert limit.astimezone(facts.zone).isoformat() == "2026-10-14T14:28:00-05:00"
    assert send_before(replace(facts, now=None), program, holiday) is None
    assert send_before(*known({"program": "strict"}, "2026-11-25T09:00:00-06:00")) is None


@pytest.mark.parametrize(
    ("read_at", "now", "stale"),
    [
        ("2026-10-31T09:00:00-05:00", "2026-11-02T08:00:00-06:00", False),
        ("2026-10-31T08:59:59-05:00", "2026-11-02T08:00:00-06:00", True),
        ("2026-03-07T08:00:00-06:00", "2026-03-09T09:00:00-05:00", False),
        ("2026-03-07T07:59:59-06:00", "2026-03-09T09:00:00-05:00", True),
    ],
)
def test_an_age_is_elapsed_time_whatever_the_wall_clock_did(read_at: str, now: str, stale: bool) -> None:
    """Python subtracts two instants of one zone by the wall clock; over a change of the clocks that is an hour off."""
    patch = {"set": {"disconnect.max_read_age_hours": 48}, **account(last_actual_read_at=read_at)}
    facts, program, holiday = known(patch, now)
    assert facts.last_actual_read_at is not None
    in_one_zone = replace(facts, last_actual_read_at=facts.last_actual_read_at.astimezone(facts.zone))
    assert codes(decide(in_one_zone, program, holiday)) == ({"read_stale"} if stale else set())


def test_an_unknown_zone_only_blocks() -> None:
    facts, program, holiday = known()
    found = codes(decide(replace(facts, zone=None), program, holiday))
    assert {"grace", "outside_window", "weather_unknown", "clock_untrusted", "ledger_not_closed"} <= found
    back = replace(facts, zone=None, now=None, balance_cents=1, relay=Relay.DISCONNECTED)
    assert decide(back, program, holiday).action is Action.RECONNECT


def test_the_rules_are_a_table() -> None:
    """Every rule is asked, and together they speak every code of the closed list."""
    assert len(RULES) == len(set(RULES))
    told = {code for code, row in FLAT if code in codes(decided(*(row if isinstance(row, tuple) else (row, None))))}
    assert told == BLOCK_CODES
