"""Holds, moratoriums and protections on real sockets: asked for on the command line and by message, told to all."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from edge.clock import SystemClock
from tests.brokers import RunningBroker
from tests.e2e.bench_site import HeadEnd, Site, running, until, until_async
from tests.e2e.test_cut import blocks, relay, site_of, tell_weather


def told(head_end: HeadEnd, kind: str) -> list[dict[str, Any]]:
    return [content for heard, content in head_end.heard if heard == "events" and content["kind"] == kind]


async def blocked_by(site: Site, *codes: str) -> None:
    async def so() -> bool:
        return await blocks(site) == list(codes)

    await until_async(so, site.log)
    assert await relay(site) == "connected"


async def relay_becomes(site: Site, state: str) -> None:
    async def so() -> bool:
        return await relay(site) == state

    await until_async(so, site.log)


async def test_what_holds_a_cut_back_comes_and_goes_by_every_interface(tmp_path: Path, broker: RunningBroker) -> None:
    site = site_of(tmp_path, broker)
    async with running(site) as head_end:
        await head_end.say("moratoriums", {"order": "OCC-7", "reason": "ice", "ordered_by": "OCC"})
        await until(lambda: bool(told(head_end, "moratorium")), site.log)
        await tell_weather(head_end)
        await blocked_by(site, "moratorium_order")
        held = await site.cli("hold", "add", "A-1", "--kind", "dispute", "--reason", "the last bill")
        assert (held["state"], held["by"].startswith("uid ")) == ("in force", True)
        (order,) = await site.cli("moratoriums")
        assert (order["order"], order["ordered_by"], order["by"]) == ("OCC-7", "OCC", "head end")
        assert (await site.cli("moratorium", "end"))["state"] == "over"
        await blocked_by(site, "hold_dispute")

        soon = (SystemClock().now() + timedelta(seconds=3)).isoformat()
        await head_end.say("holds", {"hold_id": "S-1", "account_id": "A-1", "kind": "settlement", "until": soon})
        await until(lambda: len(told(head_end, "hold")) == 2, site.log)
        assert [hold["kind"] for hold in await site.cli("holds", "A-1")] == ["dispute", "settlement"]
        await until(lambda: bool(told(head_end, "hold_released")), site.log)
        assert told(head_end, "hold_released")[0]["outcome"] == "ran out"
        await blocked_by(site, "hold_dispute")

        now = SystemClock().now().isoformat()
        await head_end.say("holds", {"hold_id": held["hold_id"], "released_at": now})
        await relay_becomes(site, "disconnected")

        protected = await site.cli("protect", "A-1", "--kind", "life_support")
        assert protected["protected"] == ["life_support"]
        await relay_becomes(site, "connected")
        account = await site.cli("account", "show", "A-1")
        assert (account["state"], account["enrolled"]) == ("protected", False)
        await until(lambda: bool(told(head_end, "unenrolled")), site.log)
        assert told(head_end, "unenrolled")[0]["reason"] == "protected: life_support"
        assert [event["active"] for event in told(head_end, "moratorium")] == [True, False]
        assert (await site.cli("verify"))["ok"] is True


async def test_what_is_refused_says_why_and_changes_nothing(tmp_path: Path, broker: RunningBroker) -> None:
    site = site_of(tmp_path, broker)
    async with running(site):
        add = ("hold", "add", "A-1", "--kind", "operator", "--reason", "x")
        past = await site.cli(*add, "--until", "2026-01-01T00:00:00-06:00", code=2)
        assert past == "until 2026-01-01T00:00:00-06:00 lies in the past\n"
        assert (await site.cli(*add, "--until", "tomorrow", code=2)).startswith("--until - 'tomorrow' is not a time")
        unknown = await site.cli("hold", "add", "A-9", "--kind", "operator", "--reason", "x", code=1)
        assert unknown == "there is no account A-9\n"
        assert await site.cli("hold", "release", "H-9", code=1) == "there is no hold H-9\n"
        assert await site.cli("moratorium", "end", code=1) == "there is no moratorium that could end\n"
        assert await site.cli("holds") == []
        paid = await site.cli("pay", "A-1", "30.00", "--payment-id", "P-1")
        assert paid["balance"] == "25.80"
        returned = ("return-payment", "P-1", "--reason", "no funds", "--fee", "20.00")
        assert (await site.cli(*returned))["balance"] == "-24.20"
        again = await site.cli(*returned)
        assert (again["duplicate"], again["balance"]) == (True, "-24.20")
        assert "returned_payment_notice" in await blocks(site)
        assert (await site.cli("unenroll", "A-1"))["balance"] == "-24.20"
        assert (await site.cli("unenroll", "A-1", code=1)).startswith("account A-1 left the program on ")
        site.kill_daemon()
        assert await site.cli("holds") == []
        assert (await site.cli("account", "show", "A-1"))["state"] == "closed"
