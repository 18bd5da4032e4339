"""The next possible disconnect: what time lifts is waited for, what the routine renews is, and nothing else."""

from typing import Any

import pytest

from tests.cases import FRESH_NOTICE, HOLD, ORDER, account, answered, hold, order
from tests.unit.test_decisions import ROWS

NULL_NEXT = [
    *("not_enrolled", "no_remote_switch", "already_disconnected", "relay_unknown", "balance_not_negative"),
    *("no_zero_notice", "protected", "clock_untrusted", "rate_limited", "shadow_mode"),
]


@pytest.mark.parametrize("code", NULL_NEXT)
def test_what_time_does_not_lift_has_no_next_disconnect(code: str) -> None:
    for patch in ROWS[code]:
        assert answered(patch)["next_possible_disconnect"] is None


@pytest.mark.parametrize(
    "code",
    [
        *("weather_cold", "weather_heat", "weather_unknown", "weather_stale"),
        *("payments_stale", "read_stale", "read_estimated", "ledger_not_closed"),
    ],
)
def test_what_the_routine_renews_is_taken_as_renewed(code: str) -> None:
    for patch in ROWS[code]:
        assert answered(patch)["next_possible_disconnect"] == "2026-10-14T09:00:00-05:00"


@pytest.mark.parametrize(
    ("patch", "now", "following"),
    [
        ({}, "2026-10-14T14:29:40-05:00", "2026-10-15T08:00:00-05:00"),
        ({}, "2026-10-31T12:00:00-05:00", "2026-11-02T08:00:00-06:00"),  # clocks go back on Sunday
        ({}, "2026-03-07T12:00:00-06:00", "2026-03-09T08:00:00-05:00"),  # clocks go forward on Sunday
        ({}, "2027-12-30T16:00:00-06:00", "2028-01-03T08:00:00-06:00"),  # New Year's Day, observed on the 31st
        ({}, "2026-11-25T15:00:00-06:00", "2026-11-30T08:00:00-06:00"),  # Thanksgiving and Oklahoma's day after it
        ({"program": "missouri"}, "2026-11-25T15:00:00-06:00", "2026-11-27T08:00:00-06:00"),
        ({"program": "missouri"}, "2026-05-08T09:00:00-05:00", "2026-05-11T08:00:00-05:00"),  # Truman Day
        ({"program": "strict"}, "2026-11-24T15:00:00-06:00", "2026-11-30T08:00:00-06:00"),
        (account(zero_notice_delivered_at="2026-10-13T13:15:07-05:00"), None, "2026-10-14T13:15:07-05:00"),
        (account(zero_notice_delivered_at="2026-10-13T14:29:40-05:00"), None, "2026-10-15T08:00:00-05:00"),
        (account(returned_payment_notice_at="2026-10-13T09:00:00-05:00"), None, "2026-10-15T08:00:00-05:00"),
        (account(returned_payment_notice_at="2026-10-14T08:59:59-05:00"), None, "2026-10-16T08:00:00-05:00"),
        (hold(), None, "2026-10-14T10:00:00-05:00"),
        (hold(until="2026-10-14T14:29:40-05:00"), None, "2026-10-15T08:00:00-05:00"),
        (hold(until=None), None, None),
        (hold(until="9999-12-31T23:59:59Z"), None, None),
        (account(holds=[HOLD, None]), None, None),
        (order(), None, "2026-10-15T08:00:00-05:00"),
        (order(until=None), None, None),
        ({"moratoriums": [ORDER, {}]}, None, None),
        ({"program": "strict", **order()}, None, None),  # it will need a fresh notice
        (FRESH_NOTICE, None, None),
        (  # an order of no length never holds, and asks for no notice after it
            {"program": "strict", **order(**dict.fromkeys(("from", "until"), "2026-10-17T00:00:00-05:00"))},
            "2026-10-16T16:00:00-05:00",
            "2026-10-19T08:00:00-05:00",
        ),
        (
            {**FRESH_NOTICE, **account(zero_notice_delivered_at="2026-10-13T12:00:00-05:00")},
            None,
            "2026-10-14T12:00:00-05:00",
        ),
        (
            account(
                zero_notice_delivered_at="2026-10-13T09:30:00-05:00",
                holds=[{"kind": "operator", "from": "2026-10-14T09:10:00-05:00", "until": "2026-10-16T11:59:30-05:00"}],
            ),
            None,
            "2026-10-16T11:59:30-05:00",
        ),
        (
            account(
                zero_notice_delivered_at="2026-10-13T09:30:00-05:00",
                holds=[{"kind": "operator", "from": "2026-10-14T09:30:00-05:00", "until": None}],
            ),
            None,
            None,
        ),
        (
            {
                **account(holds=[{**HOLD, "until": "2026-10-19T09:00:00-05:00"}]),
                **order(**{"from": "2026-10-19T09:00:00-05:00", "until": "2026-10-20T01:00:00-05:00"}),
            },
            None,
            "2026-10-20T08:00:00-05:00",
        ),
        ({"meter": {"confirm_seconds": None}}, None, None),
        ({"meter": {"confirm_seconds": 23_400}}, None, None),  # longer than any window
        ({"meter": {"confirm_seconds": 20_000}}, None, "2026-10-15T08:00:00-05:00"),
        ({"set": {"disconnect.windows": ""}}, None, None),
        ({"set": {"disconnect.windows": "Wed 03:00-14:30"}}, "2026-10-15T00:00:00-05:00", "2026-10-21T06:00:00-05:00"),
        ({"set": {"holidays.half_days": ["2026-10-14 09:00"]}}, None, "2026-10-15T08:00:00-05:00"),
        (account(returned_payment_notice_at="soon"), None, None),
        (account(returned_payment_notice_at="2026-10-14T09:00:01-05:00"), None, None),
        ({"now": None}, None, None),
    ],
)
def test_the_next_possible_disconnect(patch: Any, now: str | None, following: str | None) -> None:
    answer = answered(patch, now)
    assert answer["next_possible_disconnect"] == following
    assert answer["action"] == "none"
