"""The life of a command: a payment at each state of it, what arrives late, what a person and what safety asks for."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from edge import commands
from edge.core.orders import OrderState
from edge.refusals import RequestRefused
from tests.scenario.bench import TUESDAY_TEN, Bench, on_a_bench

JUST_BEFORE_THE_END = TUESDAY_TEN.replace(hour=14, minute=20)


async def cut(bench: Bench) -> None:
    """An account in debt is disconnected by the rules."""
    await bench.enroll(1, opening_balance="-4.20")
    await bench.until(lambda: bench.order_is("disconnect", "confirmed"))
    assert bench.relay() == "disconnected"


async def paid_and_bright(bench: Bench) -> None:
    await bench.until(lambda: bench.relay() == "connected" and bench.cause() in ("reconnect", None, "first seen"))


def test_a_payment_before_the_command_is_sent_cancels_it(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        async def customer_pays_while_the_order_waits() -> None:
            if bench.order_is("disconnect", "wanted"):
                await bench.pay("A-1", 1_000)

        wire = bench.wires["M-1"]
        wire.asks_on_read = customer_pays_while_the_order_waits
        await bench.enroll(1, opening_balance="-4.20")
        await bench.until(lambda: bench.order_is("disconnect", "cancelled"))
        await bench.rest(minutes=30)
        assert wire.commands == []

    on_a_bench(tmp_path, story)


def test_a_freeze_that_nobody_has_decided_about_yet_stops_the_command_that_is_about_to_be_sent(tmp_path: Path) -> None:
    """The decision that wanted the order is old by the time of sending: it is taken again, on what is known then."""

    async def story(bench: Bench) -> None:
        async def weather_turns_while_the_meter_is_asked() -> None:
            if bench.order_is("disconnect", "wanted"):
                forecast = bench.gateway.weather.forecast
                assert forecast is not None
                bench.gateway.weather.forecast = replace(forecast, temperature_f100=(2000,) * 156)

        wire = bench.wires["M-1"]
        wire.asks_on_read = weather_turns_while_the_meter_is_asked
        await bench.enroll(1, opening_balance="-4.20")
        await bench.until(lambda: bench.order_is("disconnect", "cancelled"))
        assert wire.commands == []
        assert bench.relay() == "connected"

    on_a_bench(tmp_path, story)


def test_what_was_paid_since_the_cut_counts_after_a_reconnect_that_failed(tmp_path: Path) -> None:
    """Where a program asks for a sum since the cut (C5), looking at the relay again is no new cut."""
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "sum.toml").write_text(
        'title = "Sum"\nsource = "test"\nbase = "bench"\n[reconnect]\npayments_at_least = "25.00"\n'
    )

    async def story(bench: Bench) -> None:
        wire = bench.wires["M-1"]

        async def line_dies() -> None:
            wire.silenced = 1

        await bench.enroll(1, opening_balance="-4.20", program="sum")
        await bench.until(lambda: bench.order_is("disconnect", "confirmed"))
        wire.asks_before = line_dies
        await bench.pay("A-1", 3_000)
        await bench.rest(minutes=10)
        assert bench.relay() == "disconnected"
        wire.silenced = 0
        await bench.until(lambda: bench.order_is("reconnect", "confirmed"), timedelta(minutes=6))
        assert bench.relay() == "connected"

    on_a_bench(tmp_path, story)


@pytest.mark.parametrize("moment", ["asks_before", "asks_after"])
def test_a_payment_while_the_command_is_in_flight_is_followed_by_a_reconnect_at_once(
    tmp_path: Path, moment: str
) -> None:
    async def story(bench: Bench) -> None:
        async def customer_pays() -> None:
            assert bench.order_is("disconnect", "sent")
            await bench.pay("A-1", 1_000)

        setattr(bench.wires["M-1"], moment, customer_pays)
        await bench.enroll(1, opening_balance="-4.20")
        await bench.until(lambda: bench.order_is("reconnect", "confirmed"))
        assert bench.relay() == "connected"
        moved = [step.at for step in bench.meters["M-1"].transitions][1:]
        assert len(moved) == 2
        assert moved[1] - moved[0] < timedelta(seconds=10)

    on_a_bench(tmp_path, story)


def test_a_payment_after_a_command_of_which_nobody_knows_what_it_did(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        wire = bench.wires["M-1"]

        async def line_dies() -> None:
            wire.silenced = 1

        wire.asks_after = line_dies
        await bench.enroll(1, opening_balance="-4.20")
        await bench.until(lambda: bench.order_is("disconnect", "failed"))
        assert bench.relay() == "disconnected"
        await bench.pay("A-1", 1_000)
        await bench.rest(minutes=3)
        wire.silenced = 0
        await bench.until(lambda: bench.order_is("reconnect", "confirmed"), timedelta(minutes=2))
        assert bench.relay() == "connected"

    on_a_bench(tmp_path, story)


def test_a_payment_while_the_daemon_is_dead_with_a_command_sent(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        wire = bench.wires["M-1"]
        died = []

        async def daemon_dies() -> None:
            died.append(True)
            await bench.rest(hours=24)

        wire.asks_after = daemon_dies
        await bench.enroll(1, opening_balance="-4.20")
        await bench.until(lambda: bool(died))
        await bench.kill()
        await bench.rest(minutes=10)
        await bench.start()
        await bench.pay("A-1", 1_000)
        await bench.until(lambda: bench.order_is("reconnect", "confirmed"), timedelta(minutes=1))
        assert bench.relay() == "connected"
        assert len(wire.commands) == 2  # the disconnect was not sent again
        assert bench.events("foreign_disconnect") == []

    on_a_bench(tmp_path, story)


def test_a_disconnect_that_comes_after_its_payment_is_ours_and_undone_at_once(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        wire = bench.wires["M-1"]
        wire.keeps = True
        await bench.enroll(1, opening_balance="-4.20")
        await bench.until(lambda: bench.order_is("disconnect", "failed"))
        wire.keeps = False
        await bench.pay("A-1", 1_000)
        await bench.rest(minutes=5)
        assert bench.relay() == "connected"
        wire.deliver()
        await bench.until(lambda: bench.relay() == "disconnected")
        await bench.until(lambda: bench.order_is("reconnect", "confirmed"), timedelta(minutes=3))
        assert bench.relay() == "connected"
        assert [event["cause"] for event in bench.events("relay")] == ["credit", "reconnect"]

    on_a_bench(tmp_path, story)


def test_a_disconnect_that_comes_after_its_window_is_taken_back_without_any_payment(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        wire = bench.wires["M-1"]
        wire.keeps = True
        await bench.enroll(1, opening_balance="-4.20")
        await bench.until(lambda: bench.order_is("disconnect", "failed"))
        await bench.until(lambda: bench.clock.now() > TUESDAY_TEN.replace(hour=14, minute=40))
        wire.keeps = False
        wire.loses = True
        wire.deliver()
        await bench.until(lambda: bench.order_is("reconnect", "sent"), timedelta(minutes=3))
        await bench.rest(minutes=2)
        wire.loses = False  # it is tried again until it is seen
        await bench.until(lambda: bench.order_is("reconnect", "confirmed"), timedelta(minutes=3))
        order = bench.last_order()
        assert order is not None
        assert (order.cause, bench.relay()) == ("late", "connected")
        await bench.rest(hours=6)
        assert bench.relay() == "connected"

    on_a_bench(tmp_path, story, start=JUST_BEFORE_THE_END)


def test_a_queued_disconnect_dies_with_its_window(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.wires["M-1"].silenced = 1
        await bench.enroll(1, opening_balance="-4.20")
        await bench.rest(minutes=30)
        bench.wires["M-1"].silenced = 0
        await bench.rest(hours=4)
        assert bench.wires["M-1"].commands == []
        assert bench.relay() == "connected"

    on_a_bench(tmp_path, story, start=JUST_BEFORE_THE_END)


# What a person asks for.


def test_a_manual_disconnect_obeys_every_rule_and_is_refused_with_the_reasons(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.enroll(1, opening_balance="5.00")
        with pytest.raises(RequestRefused, match=r"balance_not_negative - the balance is 5\.00"):
            await commands.disconnect(bench.gateway, "M-1", "inspection", "uid 7")
        with pytest.raises(RequestRefused, match="there is no meter M-9"):
            await commands.disconnect(bench.gateway, "M-9", "inspection", "uid 7")
        assert bench.wires["M-1"].commands == []
        assert bench.last_order() is None

    on_a_bench(tmp_path, story)


def test_a_manual_disconnect_within_the_rules_does_not_wait_for_the_next_attempt(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        wire = bench.wires["M-1"]
        wire.loses = True
        await bench.enroll(1, opening_balance="-4.20")
        await bench.until(lambda: bench.order_is("disconnect", "failed"))
        wire.loses = False
        record = await commands.disconnect(bench.gateway, "M-1", "customer moved out", "uid 7")
        assert (record["state"], record["cause"], record["by"]) == ("confirmed", "manual", "uid 7")
        assert bench.relay() == "disconnected"
        assert bench.events("relay")[-1]["cause"] == "manual"
        await bench.pay("A-1", 1_000)  # credit closes it as it closes the daemon's own
        await bench.until(lambda: bench.order_is("reconnect", "confirmed"), timedelta(minutes=1))

    on_a_bench(tmp_path, story)


def test_a_manual_connect_closes_what_we_opened_and_nothing_else(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await cut(bench)
        await bench.rest(hours=5)  # the window is over
        record = await commands.connect(bench.gateway, "M-1", "payment seen at the counter", "uid 7")
        assert (record["state"], record["action"], bench.relay()) == ("confirmed", "reconnect", "connected")
        assert bench.cause() == "manual"
        with pytest.raises(RequestRefused, match="connected already"):
            await commands.connect(bench.gateway, "M-1", "again", "uid 7")
        bench.set_relay("disconnected")
        await bench.until(lambda: bench.cause() == "foreign")
        with pytest.raises(RequestRefused, match="not ours to close"):
            await commands.connect(bench.gateway, "M-1", "again", "uid 7")

    on_a_bench(tmp_path, story)


def test_a_safety_disconnect_binds_no_rule_and_only_the_word_that_it_is_safe_ends_it(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.enroll(1, opening_balance="50.00")
        await bench.until(lambda: bench.cause() is not None)
        record = await commands.disconnect(bench.gateway, "M-1", "smell of burning", "uid 7", safety=True)
        assert (record["state"], record["cause"], bench.relay()) == ("confirmed", "safety", "disconnected")
        assert bench.events("relay")[-1] | {"cause": "manual", "safety": True} == bench.events("relay")[-1]
        await bench.pay("A-1", 10_000)
        await bench.rest(hours=3)
        assert bench.relay() == "disconnected"
        with pytest.raises(RequestRefused, match="only --safety-cleared"):
            await commands.connect(bench.gateway, "M-1", "customer asks", "uid 7")
        record = await commands.connect(bench.gateway, "M-1", "wiring repaired", "uid 8", safety_cleared=True)
        assert (record["state"], record["by"], bench.relay()) == ("confirmed", "uid 8", "connected")

    on_a_bench(tmp_path, story, start=TUESDAY_TEN.replace(hour=22))


def test_a_home_that_is_dark_for_credit_can_be_kept_dark_for_safety(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await cut(bench)
        record = await commands.disconnect(bench.gateway, "M-1", "flooded cellar", "uid 7", safety=True)
        assert record["state"] == OrderState.CANCELLED  # it is open already
        await bench.pay("A-1", 10_000)
        await bench.rest(hours=1)
        assert (bench.relay(), bench.cause()) == ("disconnected", "safety")
        await commands.connect(bench.gateway, "M-1", "pumped out", "uid 7", safety_cleared=True)
        assert bench.relay() == "connected"

    on_a_bench(tmp_path, story)
