"""A person moves switches on the command line: within the rules, for safety, and what is refused."""

from pathlib import Path

from tests.brokers import RunningBroker
from tests.e2e.bench_site import Site, running, until_async


async def test_a_technician_disconnects_and_connects(tmp_path: Path, broker: RunningBroker) -> None:
    site = Site(tmp_path, broker, {"A-1": {"meter_id": "M-1", "opening_balance": "25.00"}}, meters={"M-1": "tcp"})
    async with running(site):

        async def relay_is_known() -> bool:
            return bool((await site.cli("meter", "show", "M-1"))["relay"] == "connected")

        await until_async(relay_is_known, site.log)
        refused = await site.cli("meter", "disconnect", "M-1", "--reason", "inspection", code=1)
        assert refused.startswith("meter M-1 is not disconnected: ")
        assert "balance_not_negative - the balance is 25.00, not below zero" in refused
        await site.cli("meter", "disconnect", "M-1", "--reason", "", code=2)
        assert (await site.cli("meter", "connect", "M-9", "--reason", "x", code=1)).startswith("there is no meter M-9")

        record = await site.cli("meter", "disconnect", "A-1", "--safety", "--reason", "smell of burning")
        assert (record["state"], record["cause"], record["reason"]) == ("confirmed", "safety", "smell of burning")
        assert record["by"].startswith("uid ")
        assert [step["state"] for step in record["steps"]] == ["wanted", "sent", "confirmed"]
        assert (await site.truth())["M-1"]["relay"] == "disconnected"
        assert "--safety-cleared" in await site.cli("meter", "connect", "M-1", "--reason", "x", code=1)
        assert "already_disconnected" in [block["code"] for block in (await site.cli("why", "A-1"))["blocks"]]

        cleared = await site.cli("meter", "connect", "M-1", "--safety-cleared", "--reason", "repaired")
        assert cleared["state"] == "confirmed"
        assert (await site.truth())["M-1"]["relay"] == "connected"
        assert (await site.cli("verify"))["ok"] is True
