"""A disconnect on real sockets: nobody is cut while a fact is missing, the cut dies with what made it right."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.clock import SystemClock
from meter_sim import weather_documents
from tests.brokers import RunningBroker
from tests.e2e.bench_site import HeadEnd, Site, running, until, until_async

PROGRAM = """
title = "Open all hours, for benches"
source = "test"
base = "default"
[disconnect]
windows = "Mon-Sun 00:00-24:00"
grace = "hours"
grace_hours = 0
[holidays]
calendars = []
"""


def noon_zone(now: datetime) -> str:
    """A zone in which it is about noon, so that a forecast of this morning can be had at any hour of the test."""
    ahead = 12 - now.astimezone(UTC).hour
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


def site_of(tmp_path: Path, broker: RunningBroker, meter: str = "tcp", extra: str = "", **changes: object) -> Site:
    now = SystemClock().now()
    accounts = {"A-1": {"meter_id": "M-1", "program": "bench", "opening_balance": "-4.20"}}
    site = Site(tmp_path, broker, accounts, meters={"M-1": meter}, program=PROGRAM, **changes)  # type: ignore[arg-type]
    site.head = f"timezone = '{noon_zone(now)}'"
    site.site_extra = extra
    return site


async def tell_weather(head_end: HeadEnd, temperature_f: float = 60.0) -> None:
    now = SystemClock().now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    documents = (
        weather_documents.hourly_forecast(now, hour, [temperature_f] * 156),
        weather_documents.observation(now - timedelta(minutes=5), temperature_f),
        weather_documents.alerts(now, []),
    )
    for document in documents:
        await head_end.say("weather", document)


async def blocks(site: Site) -> list[str]:
    return [block["code"] for block in (await site.cli("why", "A-1"))["blocks"]]


async def relay(site: Site) -> str:
    return str((await site.truth())["M-1"]["relay"])


@pytest.mark.parametrize("meter", ["tcp", "mqtt"])
async def test_out_of_money_told_cut_and_back_on_with_a_payment(
    tmp_path: Path, broker: RunningBroker, meter: str
) -> None:
    site = site_of(tmp_path, broker, meter)
    async with running(site) as head_end:
        await until(lambda: "zero" in [c.get("type") for k, c in head_end.heard if k == "notices"], site.log)

        async def only_weather_is_missing() -> bool:
            return await blocks(site) == ["weather_unknown"]

        await until_async(only_weather_is_missing, site.log)
        assert await relay(site) == "connected"
        await tell_weather(head_end)

        async def is_off() -> bool:
            return await relay(site) == "disconnected"

        await until_async(is_off, site.log)
        await until(lambda: "disconnected" in [c.get("type") for k, c in head_end.heard if k == "notices"], site.log)
        account = await site.cli("account", "show", "A-1")
        assert (account["state"], account["amount_to_reconnect"]) == ("disconnected", "4.21")

        await head_end.pay("P-1", "A-1", "4.21")

        async def is_on() -> bool:
            return await relay(site) == "connected"

        await until_async(is_on, site.log)
        transitions = (await site.truth())["M-1"]["transitions"]
        assert [step["relay"] for step in transitions][-2:] == ["disconnected", "connected"]


async def test_a_cold_forecast_holds_everybody_back(tmp_path: Path, broker: RunningBroker) -> None:
    site = site_of(tmp_path, broker)
    async with running(site) as head_end:
        await tell_weather(head_end, 31.0)

        async def cold() -> bool:
            return await blocks(site) == ["weather_cold"]

        await until_async(cold, site.log)
        assert await relay(site) == "connected"


async def test_shadow_mode_decides_and_disconnects_nobody(tmp_path: Path, broker: RunningBroker) -> None:
    site = site_of(tmp_path, broker, extra="[enforcement]\nshadow_mode = true")
    async with running(site) as head_end:
        await tell_weather(head_end)

        async def shadowed() -> bool:
            return await blocks(site) == ["shadow_mode"]

        await until_async(shadowed, site.log)
        assert await relay(site) == "connected"


async def test_a_protection_brings_power_back_without_money(tmp_path: Path, broker: RunningBroker) -> None:
    site = site_of(tmp_path, broker)
    async with running(site) as head_end:
        await tell_weather(head_end)

        async def is_off() -> bool:
            return await relay(site) == "disconnected"

        await until_async(is_off, site.log)
        await head_end.say("protected", {"account_id": "A-1", "kind": "medical", "protected": True})

        async def is_on() -> bool:
            return await relay(site) == "connected"

        await until_async(is_on, site.log)
        assert "protected" in await blocks(site)


async def test_killed_while_a_cut_is_wanted_it_decides_again_after_the_restart(
    tmp_path: Path, broker: RunningBroker
) -> None:
    """A hold that came while the daemon was dead is heard before the old order is carried out."""
    site = site_of(tmp_path, broker, faults={"M-1": "stuck_relay"})
    async with running(site) as head_end:
        await tell_weather(head_end)
        await until(
            lambda: "wanted" in [c.get("state") for k, c in head_end.heard if k == "events"],
            lambda: str(head_end.heard),
        )
        site.kill_daemon()
        site.start_daemon()
        await site.daemon_is_up()

        async def settled() -> bool:
            steps = (await site.cli("why", "A-1"))["last_command"]
            return bool(steps) and steps[-1]["state"] in ("failed", "cancelled")

        await until_async(settled, site.log)
        steps = (await site.cli("why", "A-1"))["last_command"]
        assert [step["state"] for step in steps].count("sent") <= 1
        assert await relay(site) == "connected"
        assert (await site.cli("verify"))["ok"] is True


async def test_a_forecast_in_a_file_counts_like_one_by_message(tmp_path: Path, broker: RunningBroker) -> None:
    now = SystemClock().now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    extra = "[weather]\nforecast_file = 'forecast.json'\nlook_every_seconds = 1"
    site = site_of(tmp_path, broker, extra=extra)
    whole = json.dumps(weather_documents.hourly_forecast(now, hour, [20.0] * 156))
    async with running(site) as head_end:
        (tmp_path / "forecast.json").write_text(whole[: len(whole) // 2])  # once somebody listens to what is rejected
        await until(lambda: head_end.count("events") > 0 and "rejected" in str(head_end.heard), site.log)
        (tmp_path / "forecast.json").write_text(whole)

        async def cold() -> bool:
            return "weather_cold" in await blocks(site)

        await until_async(cold, site.log)
        assert "Traceback" not in site.log()


async def test_a_payment_made_while_the_daemon_was_away_is_heard_before_anybody_is_cut(
    tmp_path: Path, broker: RunningBroker
) -> None:
    site = site_of(tmp_path, broker)
    async with running(site) as head_end:
        await until(lambda: "zero" in [c.get("type") for k, c in head_end.heard if k == "notices"], site.log)
        site.kill_daemon()
        await tell_weather(head_end)
        for number in range(30):
            await head_end.pay(f"P-{number}", "A-9", "1.00")
        await head_end.pay("P-last", "A-1", "25.00")
        site.start_daemon()
        await site.daemon_is_up()

        assert (await head_end.receipt("P-last"))["status"] == "posted"
        assert [step["relay"] for step in (await site.truth())["M-1"]["transitions"]] == ["connected"]
        assert (await site.cli("why", "A-1"))["last_command"] == []
