"""The daemon and the simulator as two processes on real sockets, driven from outside as a head end would."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.clock import pause
from edge.store import books
from edge.store.engine import open_for_reading
from tests.brokers import RunningBroker, mosquitto
from tests.e2e.bench_site import Site, running, until, until_async

DARK = {"opening_balance": "-4.20", "disconnected_for_credit": "yes"}


@pytest.fixture
def lasting_broker(tmp_path: Path) -> Iterator[RunningBroker]:
    """A broker that keeps what it holds over a restart."""
    with mosquitto(tmp_path, persistence=True) as broker:
        yield broker


def site_of(tmp_path: Path, broker: RunningBroker, **changes: Any) -> Site:
    """Two meters, one on Modbus TCP and one on MQTT, both disconnected for credit."""
    meters = {"M-1": "tcp", "M-2": "mqtt"}
    accounts = {f"A-{n}": {"meter_id": f"M-{n}", **DARK} for n in (1, 2)}
    given = {"meters": meters, "accounts": accounts, "relays": dict.fromkeys(meters, "disconnected"), **changes}
    return Site(tmp_path, broker, **given)


async def relay_is(site: Site, meter_id: str, relay: str) -> None:
    async def seen() -> bool:
        return (await site.truth())[meter_id]["relay"] == relay

    await until_async(seen, site.log)


async def test_a_payment_by_message_closes_the_relay_at_any_hour(tmp_path: Path, broker: RunningBroker) -> None:
    site = site_of(tmp_path, broker)
    async with running(site) as head_end:
        for number in (1, 2):
            await head_end.pay(f"P-{number}", f"A-{number}", "25.00")
            assert (await head_end.receipt(f"P-{number}"))["status"] == "posted"
            await relay_is(site, f"M-{number}", "connected")

        account = await site.cli("account", "show", "A-1")
        assert (account["balance"], account["amount_to_reconnect"]) == ("20.80", None)
        await until(lambda: "reconnected" in [c.get("type") for k, c in head_end.heard if k == "notices"])
        why = await site.cli("why", "A-2")
        assert [step["state"] for step in why["last_command"]] == ["wanted", "sent", "confirmed"]
        assert (await site.cli("verify"))["ok"] is True


async def test_a_payment_counts_once_on_every_path(tmp_path: Path, broker: RunningBroker) -> None:
    site = site_of(tmp_path, broker)
    async with running(site) as head_end:
        await head_end.pay("P-1", "A-1", "1.00")
        assert (await head_end.receipt("P-1"))["status"] == "posted"
        await head_end.pay("P-1", "A-1", "1.00")
        await until(lambda: len(head_end.receipts("P-1")) == 2)
        assert head_end.receipts("P-1")[1]["status"] == "duplicate"
        taken = await site.cli("pay", "A-1", "1.00", "--payment-id", "P-1")
        assert (taken["posted"], taken["duplicate"], taken["balance"]) == (True, True, "-3.20")
        told = await site.cli("pay", "A-1", "2.00", "--payment-id", "P-1", code=1)
        assert told == "payment P-1 was posted before with another amount\n"
        assert [line["kind"] for line in await site.cli("ledger", "A-1")] == ["opening", "payment"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"payment_id": "B", "account_id": "A-9", "amount": "5.00"}, "payment B: there is no account A-9"),
        ({"payment_id": "B", "account_id": "A-1", "amount": "-5.00"}, "payment B: the amount -5.00 is not above zero"),
        ({"payment_id": "B", "account_id": "A-1", "amount": "0"}, "payment B: the amount 0.00 is not above zero"),
        ({"payment_id": "B", "account_id": "A-1", "amount": 5.5}, "in/payments: amount - must be a decimal string"),
        ({"payment_id": "B", "account_id": "A-1", "amount": "5", "x": 1}, "in/payments: x is not a known key"),
    ],
)
async def test_a_bad_payment_is_refused_in_one_sentence(
    tmp_path: Path, broker: RunningBroker, content: dict[str, Any], reason: str
) -> None:
    site = site_of(tmp_path, broker)
    async with running(site) as head_end:
        await head_end.say("payments", content)
        receipt = await head_end.receipt("B")
        assert receipt["status"] == "refused"
        assert receipt["reason"].startswith(reason)
        await head_end.pay("P-1", "A-1", "25.00")
        assert (await head_end.receipt("P-1"))["status"] == "posted"


async def test_bad_input_of_every_kind_leaves_the_daemon_at_work(tmp_path: Path, broker: RunningBroker) -> None:
    meters = {"M-1": "tcp", "M-2": "mqtt", "M-3": "tcp", "M-4": "tcp"}
    site = site_of(tmp_path, broker, meters=meters, faults={"M-3": "garbage", "M-4": "dead"})
    async with running(site) as head_end:
        await head_end.say("weather", b'{"type": "Feature", "properties": {"periods": [{"temp')
        await head_end.say("payments", b"\xff\xfe not json")
        await head_end.say("unheard-of", {})
        await head_end.say("protected", {"account_id": "A-9", "kind": "medical", "protected": True})
        reasons: list[str] = []

        def all_told() -> bool:
            reasons[:] = [c["reason"] for k, c in head_end.heard if k == "events" and c["kind"] == "rejected"]
            return len(reasons) == 4

        await until(all_told, lambda: str(reasons))
        assert all("\n" not in reason for reason in reasons)

        async def links() -> bool:
            found = {meter["meter_id"]: meter["link"] for meter in await site.cli("meters")}
            return found == {"M-1": "ok", "M-2": "ok", "M-3": "failing", "M-4": "failing"}

        await until_async(links, site.log)
        refused = await site.cli("meter", "read", "M-4", code=1)
        assert refused.startswith("meter M-4: ")
        await head_end.pay("P-1", "A-1", "25.00")
        assert (await head_end.receipt("P-1"))["status"] == "posted"
        await relay_is(site, "M-1", "connected")
        assert "Traceback" not in site.log()


async def test_killed_at_random_moments_no_payment_is_lost_or_counted_twice(
    tmp_path: Path, lasting_broker: RunningBroker
) -> None:
    site = site_of(tmp_path, lasting_broker)
    chance = random.Random(20261014)
    async with running(site) as head_end:
        names = [f"P-{number}" for number in range(120)]

        async def flood() -> None:
            for number, name in enumerate(names):
                await head_end.pay(name, f"A-{1 + number % 2}", "1.00")
                await pause(0.01)

        paying = asyncio.ensure_future(flood())
        for _ in range(4):
            goal = min(head_end.count("receipts") + chance.randint(1, 20), len(names))
            await until(lambda goal=goal: head_end.count("receipts") >= goal, site.log)  # type: ignore[misc]
            site.kill_daemon()
            site.start_daemon()
            await site.daemon_is_up()
        await paying
        await until(lambda: all(head_end.receipts(name) for name in names), site.log)

        assert {r["status"] for name in names for r in head_end.receipts(name)} <= {"posted", "duplicate"}
        for account in ("A-1", "A-2"):
            assert (await site.cli("account", "show", account))["balance"] == "55.80"
        assert (await site.cli("verify"))["ok"] is True
        await relay_is(site, "M-1", "connected")
        await relay_is(site, "M-2", "connected")


async def test_the_books_are_read_with_the_daemon_down(tmp_path: Path, broker: RunningBroker) -> None:
    site = site_of(tmp_path, broker)
    async with running(site):
        assert (await site.cli("status"))["daemon"] == "running"
        site.kill_daemon()
        status = await site.cli("status")
        assert (status["daemon"], status["accounts"], status["meters"]) == ("stopped", 2, 2)
        told = await site.cli("pay", "A-1", "1.00", "--payment-id", "P", code=3)
        assert told.startswith("the daemon cannot be reached at ")
        with open_for_reading(site.state / "edge.db") as database:
            assert list(books.audit(database)) == []
