"""Relays and meters that are not where or what they should be: told once, met safely, no storm of commands."""

from datetime import timedelta
from pathlib import Path

from edge.metering import ExchangeRequest, exchange_meter
from meter_sim.faults import FaultKind
from protocols.link import RelayState, SwitchAction
from tests.scenario.bench import Bench, on_a_bench


def test_a_switch_opened_by_another_hand_is_told_once_and_never_closed_by_us(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.enroll(1, opening_balance="20.00")
        await bench.until(lambda: bench.cause() is not None)
        bench.set_relay("disconnected")
        await bench.rest(hours=2)
        await bench.pay("A-1", 1_000)
        await bench.rest(hours=1)
        assert len(bench.events("foreign_disconnect")) == 1
        assert bench.wires["M-1"].commands == []
        bench.set_relay("connected")
        await bench.until(lambda: bench.conditions() == set(), timedelta(minutes=3))

    on_a_bench(tmp_path, story)


def test_a_home_connected_by_hand_is_cut_again_but_not_without_end(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.enroll(1, opening_balance="-4.20")
        for _ in range(12):
            await bench.rest(minutes=15)
            if bench.relay() == "disconnected":
                bench.set_relay("connected")
        assert bench.wires["M-1"].commands == [SwitchAction.DISCONNECT] * 3
        assert len(bench.events("reconnected_by_hand")) == 3
        assert bench.relay() == "connected"

    on_a_bench(tmp_path, story)


def test_a_meter_that_nobody_exchanged_is_not_disconnected_until_the_exchange_is_recorded(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.meters["M-1"].serial = "S-new"
        await bench.enroll(1, opening_balance="-4.20")
        await bench.rest(hours=1)
        (event,) = bench.events("meter_replaced")
        assert (event["serial"], event["expected"]) == ("S-new", "S-1")
        assert "relay_unknown" in bench.codes()
        assert bench.wires["M-1"].commands == []
        register = bench.meters["M-1"].values(bench.gateway.clock.now()).energy_import_wh
        await exchange_meter(bench.gateway, ExchangeRequest("M-1", "S-new", register, register, "dark"), "uid 7")
        await bench.kill()
        await bench.start()  # it stays in force
        await bench.until(lambda: bench.relay() == "disconnected")
        assert bench.conditions() == set()

    on_a_bench(tmp_path, story)


def test_two_meters_that_answer_for_each_other_are_both_left_alone(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.meters["M-1"].serial, bench.meters["M-2"].serial = "S-2", "S-1"
        await bench.enroll(1, opening_balance="-4.20")
        await bench.enroll(2, opening_balance="-4.20")
        await bench.rest(hours=1)
        assert len(bench.events("units_exchanged")) == 2
        assert bench.wires["M-1"].commands == bench.wires["M-2"].commands == []
        bench.meters["M-1"].serial, bench.meters["M-2"].serial = "S-1", "S-2"
        await bench.until(lambda: bench.relay("M-1") == bench.relay("M-2") == "disconnected")

    on_a_bench(tmp_path, story, meters=2)


def test_a_register_that_stands_still_is_told_once_and_when_it_moves_again(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.enroll(1, opening_balance="90.00")
        await bench.rest(hours=1)
        bench.meters["M-1"].begin_fault(FaultKind.FROZEN_REGISTER, bench.gateway.clock.now())
        await bench.rest(hours=47)
        assert bench.conditions() == set()
        await bench.rest(hours=6)
        assert bench.conditions() == {"register_frozen"}
        assert len(bench.events("register_frozen")) == 1
        bench.meters["M-1"].end_fault()
        await bench.until(lambda: bench.conditions() == set())

    on_a_bench(tmp_path, story)


def test_a_first_read_that_cannot_be_true_does_not_keep_the_true_ones_out(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.meters["M-1"].begin_fault(FaultKind.SPIKE, bench.physical_now())
        await bench.until(lambda: bench.accepted_registers())
        bench.meters["M-1"].end_fault()
        await bench.rest(hours=3)
        told = bench.meters["M-1"].values(bench.gateway.clock.now()).energy_import_wh
        registers = bench.accepted_registers()
        assert len(registers) >= 2
        assert max(registers) <= told  # the spike counts no more

    on_a_bench(tmp_path, story)


def test_one_wrong_answer_does_not_make_our_disconnect_somebody_elses(tmp_path: Path) -> None:
    """A soak found a home left in the dark: its open relay was seen closed once, then open by "another hand"."""

    async def story(bench: Bench) -> None:
        await bench.enroll(1, opening_balance="-4.20")
        await bench.until(lambda: bench.relay() == "disconnected" and bench.cause() == "credit")
        bench.wires["M-1"].glimpse = RelayState.CONNECTED
        await bench.until(lambda: bench.events("reconnected_by_hand"))
        await bench.until(lambda: bench.cause() == "credit")
        assert bench.events("foreign_disconnect") == []
        await bench.pay("A-1", 2_000)
        await bench.until(lambda: bench.relay() == "connected")

    on_a_bench(tmp_path, story)


def test_a_single_foreign_answer_sends_no_reconnect_to_another_home(tmp_path: Path) -> None:
    """Only two meters that were each heard to answer for the other are asked at each other's address."""

    async def story(bench: Bench) -> None:
        await bench.enroll(1, opening_balance="-4.20")
        await bench.enroll(2, opening_balance="30.00")
        await bench.until(lambda: bench.relay("M-1") == "disconnected" and bench.cause("M-1") == "credit")
        before = len(bench.wires["M-2"].commands)
        bench.meters["M-1"].serial = "S-2"
        await bench.until(lambda: "units_exchanged" in bench.conditions("M-1"))
        await bench.pay("A-1", 2_000)
        await bench.until(lambda: bench.relay("M-1") == "connected")
        assert len(bench.wires["M-2"].commands) == before

    on_a_bench(tmp_path, story, meters=2)
