"""What holds disconnects back when there are too many of them, and never a reconnect."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edge import quarantine
from edge.explain import explain
from edge.inventory import status_view
from edge.refusals import RequestRefused
from meter_sim.faults import FaultKind
from protocols.link import SwitchAction
from tests.scenario.bench import Bench, on_a_bench


def cut_meters(bench: Bench) -> list[str]:
    return [meter_id for meter_id in bench.meters if bench.relay(meter_id) == "disconnected"]


def why(bench: Bench, account_id: str) -> dict[str, Any]:
    gateway = bench.gateway
    around = gateway.circumstances()
    answer: dict[str, Any] = bench.ask(
        lambda database: explain(database, account_id, gateway.rulebook, gateway.switchgear, around, gateway.settings)
    )
    return answer


def alarms(bench: Bench) -> list[str]:
    status = bench.ask(lambda database: status_view(database, bench.settings))
    return [alarm["kind"] for alarm in status["alarms"]]


def test_a_stuck_relay_is_left_alone_after_three_attempts_in_a_day(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.meters["M-1"].fault = FaultKind.STUCK_RELAY
        await bench.enroll(1, opening_balance="-4.20")
        await bench.rest(hours=4)
        assert bench.wires["M-1"].commands == [SwitchAction.DISCONNECT] * 3
        (block,) = why(bench, "A-1")["blocks"]
        assert block["code"] == "rate_limited"
        assert block["text"].startswith("this meter was sent 3 disconnects in the last 24 hours")

    on_a_bench(tmp_path, story)


def test_no_more_than_a_share_of_a_line_is_cut_in_a_day(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        for number in range(1, 6):
            await bench.enroll(number, opening_balance="-4.20")
        await bench.rest(hours=3)
        assert len(cut_meters(bench)) == 2
        (connected,) = set(bench.meters) - {*cut_meters(bench), "M-4", "M-5"} or {"M-5"}
        assert bench.codes(connected.replace("M", "A")) == ["rate_limited"]

    on_a_bench(tmp_path, story, meters=5, site="[enforcement]\ndisconnects_share_of_line = 0.5")


def test_the_smallest_feeder_can_still_cut_one(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.enroll(1, opening_balance="-4.20")
        await bench.until(lambda: cut_meters(bench) == ["M-1"])

    on_a_bench(tmp_path, story, site="[enforcement]\ndisconnects_share_of_line = 0.1")


def test_a_bulk_error_cuts_nobody_until_a_second_person_says_that_it_is_right(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.enroll(15, opening_balance="-4.20")
        await bench.until(lambda: cut_meters(bench) == ["M-15"])
        for number in range(1, 15):
            await bench.enroll(number, opening_balance="-300.00")
        await bench.until(lambda: bool(bench.events("quarantine")))
        await bench.rest(hours=1)
        assert cut_meters(bench) == ["M-15"]
        (block,) = why(bench, "A-1")["blocks"]
        assert block["code"] == "rate_limited"
        assert block["text"].startswith("quarantine: 15 of 15 accounts came to want a disconnect within an hour")
        assert alarms(bench)[0] == "quarantine"
        await bench.pay("A-15", 1_000)
        await bench.until(lambda: cut_meters(bench) == [], timedelta(seconds=20))  # reconnects go on

        with pytest.raises(RequestRefused, match="nobody has asked"):
            await quarantine.release(bench.gateway, "checked", "uid 1001")
        await quarantine.request_release(bench.gateway, "these are the takeovers", "uid 1001")
        with pytest.raises(RequestRefused, match="a second person has to grant it"):
            await quarantine.release(bench.gateway, "checked", "uid 1001")
        await bench.kill()
        await bench.start()  # it outlives a restart
        await bench.rest(minutes=10)
        assert cut_meters(bench) == []
        released = await quarantine.release(bench.gateway, "checked", "uid 1002")
        assert (released["in_force"], released["released"]["by"]) == (False, "uid 1002")
        await bench.until(lambda: len(cut_meters(bench)) == 14)
        assert [event["active"] for event in bench.events("quarantine")] == [True, False]
        assert "quarantine" not in alarms(bench)

    on_a_bench(tmp_path, story, meters=15)


def test_a_reconnect_that_takes_too_long_is_told_once_and_goes_on(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        wire = bench.wires["M-1"]
        await bench.enroll(1, opening_balance="-4.20")
        await bench.until(lambda: bench.order_is("disconnect", "confirmed"))
        wire.silenced = 1
        await bench.pay("A-1", 1_000)
        await bench.rest(minutes=4)
        assert bench.events("reconnect_overdue") == []
        await bench.rest(minutes=40)
        (event,) = bench.events("reconnect_overdue")
        assert event["account_id"] == "A-1"
        assert "reconnect_overdue" in alarms(bench)
        wire.silenced = 0
        await bench.until(lambda: bench.relay() == "connected", timedelta(minutes=2))
        await bench.until(lambda: "reconnect_overdue" not in alarms(bench), timedelta(minutes=2))
        assert bench.events("alarm_cleared")[0]["alarm"] == "reconnect_overdue"

    on_a_bench(tmp_path, story)
