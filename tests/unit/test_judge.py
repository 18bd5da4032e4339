"""The judge catches each wrong that it is there to catch, and finds nothing where nothing is wrong."""

from collections.abc import Callable
from typing import Any

import pytest

from meter_sim.judge import judge, percentile

ZONE = "America/Chicago"
Row = dict[str, Any]


def row(at: str, kind: str, **keys: Any) -> Row:
    return {"at": f"2026-10-{at}-05:00", "kind": kind, **keys}


def story(cut: str = "15T09:00:00", on: str = "15T10:00:02") -> list[Row]:
    """A customer out of money, told, cut inside the window the day after, paying, and back on within two seconds."""
    who = {"account_id": "A-1"}
    meter = {"meter_id": "M-1", **who}
    day = cut[:2]
    hours = [60.0] * 156
    return [
        row("13T00:00:00", "adjustment", amount="5.00", balance="5.00", **who),
        row("14T00:00:05", "charge", amount="-6.00", balance="-1.00", **who),
        row("14T00:00:06", "notice", type="zero", **who),
        row(
            f"{day}T06:10:00",
            "forecast",
            first_hour=f"2026-10-{day}T06:00:00-05:00",
            temperature_f=hours,
            heat_index_f=hours,
        ),
        row(f"{day}T07:53:00", "observation", temperature_f=60.0, heat_index_f=60.0),
        row(cut, "command", action="disconnect", state="sent", **meter),
        row(cut, "relay", relay="disconnected", cause="credit", **meter),
        row(on[:6] + "00:00", "payment", amount="20.00", balance="19.00", **who),
        row(on, "relay", relay="connected", cause="reconnect", **meter),
    ]


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    verdict = judge(story(), ZONE, "default")

    assert (verdict.wrongful, verdict.late, verdict.unbalanced) == ([], [], [])
    assert (verdict.disconnects, verdict.reconnects, verdict.reconnect_seconds) == (1, 1, [2.0])


def without(kind: str) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [row for row in rows if row["kind"] != kind]


def inserted(*rows: Row) -> Callable[[list[Row]], list[Row]]:
    return lambda before: sorted([*before, *rows], key=lambda row: row["at"])


def with_key(kind: str, **keys: Any) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [{**row, **keys} if row["kind"] == kind else row for row in rows]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without("notice"), "without a zero notice"),
        (without("forecast"), "without a forecast"),
        (without("observation"), "without an observation"),
        (with_key("observation", heat_index_f=101.0), "with a heat index of 101 F"),
        (with_key("forecast", temperature_f=[31.9] * 156), "with 31.9 F forecast"),
        (with_key("forecast", temperature_f=[60.0] * 10), "with an hour missing"),
        (with_key("forecast", at="2026-10-15T05:59:00-05:00"), "not of the morning"),
        (inserted(row("15T08:00:00", "protected", account_id="A-1", protected=True)), "for a protected customer"),
        (inserted(row("15T08:00:00", "hold", account_id="A-1", hold_id="H", hold="dispute")), "against a hold"),
        (inserted(row("15T08:00:00", "moratorium", order="O", active=True)), "in an ordered moratorium"),
        (
            inserted(row("15T08:00:00", "payment", account_id="A-1", amount="1.00", balance="0.00")),
            "with a balance of 0.00",
        ),
    ],
)
def test_a_cut_against_a_rule_is_caught(change: Callable[[list[Row]], list[Row]], told: str) -> None:
    verdict = judge(change(story()), ZONE, "default")

    assert any(told in finding.reason for finding in verdict.wrongful), verdict.wrongful


@pytest.mark.parametrize(
    ("cut", "told"),
    [
        ("15T07:59:59", "outside the window"),
        ("15T14:30:00", "outside the window"),
        ("16T12:00:00", "outside the window"),
        ("17T09:00:00", "on a Saturday"),
        ("14T23:00:00", "within the grace"),
    ],
)
def test_a_cut_at_a_wrong_time_is_caught(cut: str, told: str) -> None:
    day = cut[:2]
    verdict = judge(story(cut, f"{day}T23:00:02"), ZONE, "default")

    assert any(told in finding.reason for finding in verdict.wrongful), verdict.wrongful


def test_a_holiday_is_caught() -> None:
    rows = [{**event, "at": event["at"].replace("2026-10-15", "2026-11-26")} for event in story()]

    assert any("Thanksgiving" in finding.reason for finding in judge(rows, ZONE, "default").wrongful)


def test_a_home_left_dark_is_caught_and_a_fault_of_its_meter_is_not_counted() -> None:
    late = story(on="15T10:05:01")
    assert [finding.account_id for finding in judge(late, ZONE, "default").late] == ["A-1"]

    fault = inserted(
        row("15T10:00:00", "fault", target="M-1", fault="dead"),
        row("15T10:05:00", "fault_end", target="M-1", fault="dead"),
    )
    assert judge(fault(late), ZONE, "default").late == []
    assert [
        finding.account_id for finding in judge([*story()[:-1], row("15T11:00:00", "x")], ZONE, "default").late
    ] == ["A-1"]


def test_a_protection_that_begins_in_the_dark_entitles_to_power() -> None:
    rows = [event for event in story(on="15T10:06:00") if event["kind"] != "payment"]
    change = inserted(row("15T10:00:00", "protected", account_id="A-1", protected=True))

    assert len(judge(change(rows), ZONE, "default").late) == 1


def test_a_lost_cent_is_caught() -> None:
    rows = with_key("payment", balance="19.01")(story())

    assert [finding.account_id for finding in judge(rows, ZONE, "default").unbalanced] == ["A-1"]


def test_percentiles() -> None:
    assert percentile([], 0.5) is None
    assert (percentile([3.0, 1.0, 2.0], 0.5), percentile([3.0, 1.0, 2.0], 0.99)) == (2.0, 3.0)
