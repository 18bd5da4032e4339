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
        (inserted(row("14T10:00:00", "notice", account_id="A-1", type="returned_payment")), "a returned payment"),
        (inserted(row("15T08:44:59", "fault", target="broker", fault="away")), "no sign of the payment feed"),
        (inserted(row("15T08:59:59", "fault", target="clock", fault="forwards")), "by a clock that was set wrong"),
        (with_key("observation", at="2026-10-15T06:59:59-05:00"), "without an observation of the last 2 hours"),
        (with_key("observation", heat_index_f=None), "an observation with a value missing"),
        (with_key("forecast", heat_index_f=[60.0] * 17 + [101.0] + [60.0] * 138), "with a heat index of 101 F"),
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


@pytest.mark.parametrize(
    "change",
    [
        inserted(row("13T10:00:00", "notice", account_id="A-1", type="returned_payment")),
        inserted(row("15T08:45:00", "fault", target="broker", fault="away")),
        with_key("forecast", heat_index_f=[60.0] * 18 + [101.0] + [60.0] * 137),
        with_key("forecast", temperature_f=[60.0] * 27 + [31.0] * 129),
        with_key("observation", at="2026-10-15T07:00:00-05:00"),
        inserted(
            row("15T08:00:00", "hold", account_id="A-1", hold_id="H", hold="dispute"),
            row("15T08:59:59", "hold_released", account_id="A-1", hold_id="H", hold="dispute"),
        ),
        inserted(
            row("15T08:00:00", "moratorium", order="O", active=True),
            row("15T08:59:59", "moratorium", order="O", active=False),
        ),
        inserted(
            row("15T08:00:00", "protected", account_id="A-1", protected=True),
            row("15T08:30:00", "protected", account_id="A-1", protected=False),
        ),
    ],
)
def test_what_is_just_allowed_is_not_told(change: Callable[[list[Row]], list[Row]]) -> None:
    assert judge(change(story()), ZONE, "default").wrongful == []


def test_the_last_instant_of_the_grace_is_allowed() -> None:
    late_notice = with_key("notice", at="2026-10-14T09:00:00-05:00")(story())
    later_notice = with_key("notice", at="2026-10-14T09:00:01-05:00")(story())

    assert judge(late_notice, ZONE, "default").wrongful == []
    assert "within the grace" in judge(later_notice, ZONE, "default").wrongful[0].reason


FRESH = with_key("observation", at="2026-10-15T13:53:00-05:00")


@pytest.mark.parametrize(
    ("program", "change", "cut", "told"),
    [
        ("pso-prepay", FRESH, "15T15:29:59", ""),
        ("pso-prepay", FRESH, "15T15:30:00", "outside the window"),
        ("lake-region", FRESH, "15T15:29:59", "outside the window"),
        ("strict", FRESH, "15T14:27:59", ""),
        ("strict", FRESH, "15T14:28:00", "before the window's end"),
        ("strict", with_key("forecast", temperature_f=[60.0] * 73 + [32.0] * 83), "15T09:00:00", "with 32 F forecast"),
        ("strict", with_key("observation", temperature_f=95.1), "15T09:00:00", "with 95.1 F, too hot"),
        (
            "strict",
            inserted(
                row("14T06:00:00", "moratorium", order="O", active=True),
                row("14T12:00:00", "moratorium", order="O", active=False),
            ),
            "15T09:00:00",
            "without a fresh notice",
        ),
        ("missouri", with_key("forecast", temperature_f=[31.0] * 156), "15T09:00:00", ""),
        ("missouri", with_key("forecast", heat_index_f=[120.0] * 156), "15T09:00:00", ""),
    ],
)
def test_each_program_is_judged_by_its_own_limits(
    program: str, change: Callable[[list[Row]], list[Row]], cut: str, told: str
) -> None:
    wrongful = judge(change(story(cut, "15T20:00:02")), ZONE, program).wrongful

    assert [told in finding.reason for finding in wrongful] == ([True] if told else []), wrongful


@pytest.mark.parametrize(
    ("month", "change", "told"),
    [
        ("2026-11", with_key("forecast", temperature_f=[60.0] * 70 + [31.9] * 86), "with 31.9 F forecast"),
        ("2026-11", with_key("forecast", temperature_f=[60.0] * 75 + [31.9] * 81), ""),
        ("2026-07", with_key("forecast", heat_index_f=[105.0] * 156), ""),
        ("2026-07", with_key("forecast", heat_index_f=[60.0] * 70 + [105.1] * 86), "with a heat index of 105.1 F"),
        ("2026-07", with_key("forecast", temperature_f=[60.0] * 70 + [95.1] * 86), "with 95.1 F, too hot"),
    ],
)
def test_missouri_looks_72_hours_ahead_in_its_seasons(
    month: str, change: Callable[[list[Row]], list[Row]], told: str
) -> None:
    later, offset = (3, "-06:00") if month == "2026-11" else (0, "-05:00")  # standard time in November
    rows = change(story())
    for event in rows:
        for key in {"at", "first_hour"} & set(event):
            event[key] = f"{month}-{int(event[key][8:10]) + later}{event[key][10:19]}{offset}"
    wrongful = judge(rows, ZONE, "missouri").wrongful

    assert [told in finding.reason for finding in wrongful] == ([True] if told else []), wrongful


def test_strict_allows_nothing_on_the_day_before_a_holiday() -> None:
    rows = [{**e, "at": e["at"].replace("2026-10-15", "2026-11-25").replace("-05:", "-06:")} for e in story()]
    for event in rows:
        if event["kind"] == "forecast":
            event["first_hour"] = event["at"]

    assert any("day before a holiday" in finding.reason for finding in judge(rows, ZONE, "strict").wrongful)
    assert judge(rows, ZONE, "default").wrongful == []


def test_a_relay_that_opens_late_or_without_a_command_is_caught_and_counted_once() -> None:
    opened_late = with_key("relay", at="2026-10-15T14:30:00-05:00")(story(cut="15T14:29:59"))[:7]
    late = judge(opened_late, ZONE, "default").wrongful
    both = judge(without("notice")(opened_late), ZONE, "default").wrongful
    unbidden = judge(without("command")(story()), ZONE, "default").wrongful

    assert ["the relay opened at Thursday 14:30:00" in finding.reason for finding in late] == [True]
    assert ["without a zero notice" in f.reason and "the relay opened" in f.reason for f in both] == [True]
    assert ["without a command" in finding.reason for finding in unbidden] == [True]


def test_a_cut_by_somebody_else_is_nobodys_wrong() -> None:
    foreign = [
        row("13T00:00:00", "adjustment", account_id="A-1", amount="5.00", balance="5.00"),
        row("17T03:00:00", "relay", meter_id="M-1", account_id="A-1", relay="disconnected", cause="foreign"),
        row("18T03:00:00", "observation", temperature_f=60.0, heat_index_f=60.0),
    ]
    verdict = judge(foreign, ZONE, "default")

    assert (verdict.wrongful, verdict.late, verdict.disconnects) == ([], [], 0)


@pytest.mark.parametrize(
    ("program", "amount", "late"),
    [
        ("default", "1.01", 1),
        ("default", "1.00", 0),
        ("oec-prepaid", "10.99", 0),
        ("oec-prepaid", "11.00", 1),
        ("oge-pay-as-you-go", "24.99", 0),
        ("oge-pay-as-you-go", "25.00", 1),
    ],
)
def test_power_is_due_from_each_programs_own_balance_on(program: str, amount: str, late: int) -> None:
    balance = f"{float(amount) - 1:.2f}"
    rows = with_key("payment", amount=amount, balance=balance)(story(on="15T10:05:01"))

    assert len(judge(rows, ZONE, program).late) == late


def test_overlapping_faults_are_not_counted_twice_and_others_faults_not_at_all() -> None:
    faults = inserted(
        row("15T10:00:00", "fault", target="line", fault="silent", meters=["M-1", "M-2"]),
        row("15T10:01:00", "fault", target="broker", fault="away"),
        row("15T10:02:00", "fault_end", target="line", fault="silent", meters=["M-1", "M-2"]),
        row("15T10:03:00", "fault_end", target="broker", fault="away"),
        row("15T10:03:00", "fault", target="M-2", fault="dead"),
    )

    assert judge(faults(story(on="15T10:08:00")), ZONE, "default").late == []
    assert [finding.reason for finding in judge(faults(story(on="15T10:08:01")), ZONE, "default").late] == [
        "dark for 301 s after it was entitled to power"
    ]


def test_a_program_that_nobody_wrote_down_is_refused() -> None:
    with pytest.raises(ValueError, match="knows no program 'lenient'"):
        judge([], ZONE, "lenient")


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
