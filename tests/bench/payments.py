"""From a payment on MQTT to the relay that closes, while all meters are polled; beside the bare round trips it takes.

When a relay physically closed is asked of the simulator, when a payment was published of this process's own clock: both
run on one machine. The bare round trips are measured in the same minutes, so under the same load.
"""

import asyncio
import json
import random
import socket
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from statistics import median

import aiomqtt
from pymodbus.client import AsyncModbusTcpClient

from edge.clock import SystemClock, pause
from meter_sim.meter import CONTACT_DELAY_MS
from tests.bench.site import HOST, SEED, BenchError, Site, account_of
from tests.bench.table import Aim, Figure, percentile

IN, OUT, ECHO = "ami/v1/gw1/in/payments", "ami/v1/gw1/out/receipts", "bench/echo"
ANSWER_WITHIN_S = 20.0
NO_DELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)


class HeadEnd:
    """The head end's side of the broker; waits for one message at a time."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self._awaited: dict[str, asyncio.Future[datetime]] = {}
        self._clock = SystemClock("always")

    async def listen(self) -> None:
        """Note when what is awaited comes."""
        async for message in self._client.messages:
            now = self._clock.now()
            assert isinstance(message.payload, bytes)
            content = json.loads(message.payload)
            if (waiting := self._awaited.pop(content["payment_id"], None)) is not None:
                if content.get("status", "posted") == "posted":
                    waiting.set_result(now)
                else:
                    waiting.set_exception(BenchError(f"a payment was not posted: {content}"))

    async def tell(self, topic: str, payment_id: str, account_id: str = "") -> tuple[datetime, datetime]:
        """Publish a payment, or its echo; when it was published and when the answer came."""
        answer: asyncio.Future[datetime] = asyncio.get_running_loop().create_future()
        self._awaited[payment_id] = answer
        paid_at = self._clock.now()
        payment = {"payment_id": payment_id, "account_id": account_id, "amount": "25.00"}
        payment |= {"paid_at": paid_at.isoformat(), "channel": "kiosk", "source": "customer"}
        await self._client.publish(topic, json.dumps(payment).encode(), qos=1)
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return paid_at, await answer


@asynccontextmanager
async def head_end(site: Site) -> AsyncIterator[HeadEnd]:
    """A head end that hears receipts and its own echoes."""
    async with aiomqtt.Client(HOST, site.broker_port, identifier="bench", socket_options=NO_DELAY) as client:
        await client.subscribe([(OUT, 1), (ECHO, 1)])
        playing = HeadEnd(client)
        listening = asyncio.ensure_future(playing.listen())
        try:
            yield playing
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError, aiomqtt.MqttError):
                await listening


async def _bare_round_trips(site: Site, playing: HeadEnd, database: sqlite3.Connection, turn: int) -> float:
    """Seconds of what nobody can do without: a message each way, a durable commit, a question and a command."""
    started = time.perf_counter()
    for way in ("to", "fro"):
        await playing.tell(ECHO, f"echo-{turn}-{way}")
    database.execute("INSERT INTO paid (amount) VALUES (2500)")
    lit = next(meter_id for meter_id in site.meter_ids() if meter_id not in site.dark)
    _, gateway, unit = lit.split("-")
    client = AsyncModbusTcpClient(HOST, port=site.ports[int(gateway)])
    bare = time.perf_counter() - started
    await client.connect()
    started = time.perf_counter()
    for _ in range(2):
        await client.read_holding_registers(0x001A, count=1, device_id=int(unit))
    client.close()
    return bare + time.perf_counter() - started


async def _pay_everybody(site: Site) -> tuple[dict[str, datetime], list[float], list[float]]:
    """Pay for every dark meter, one after the other, at odd moments of the polling."""
    chance = random.Random(SEED)
    database = sqlite3.connect(site.directory / "bare.db", isolation_level=None)
    database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE paid (amount INTEGER)")
    paid_at: dict[str, datetime] = {}
    receipts: list[float] = []
    bare: list[float] = []
    async with head_end(site) as playing:
        for turn, meter_id in enumerate(site.dark):
            bare.append(await _bare_round_trips(site, playing, database, turn))
            await pause(chance.uniform(0.1, 0.9))
            published, receipt = await playing.tell(IN, f"bench-{turn}", account_of(meter_id))
            paid_at[meter_id] = published
            receipts.append((receipt - published).total_seconds())
            await pause(chance.uniform(0.1, 0.5))
    database.close()
    return paid_at, receipts, bare


def _closed_after(site: Site, paid_at: dict[str, datetime]) -> list[float]:
    """Seconds from each payment to the instant at which its relay closed. Raises BenchError where one stays open."""
    deadline = time.perf_counter() + ANSWER_WITHIN_S
    while True:
        truth = site.truth()
        if all(truth[meter_id]["relay"] == "connected" for meter_id in paid_at):
            break
        if time.perf_counter() > deadline:
            open_ones = [meter_id for meter_id in paid_at if truth[meter_id]["relay"] != "connected"]
            raise BenchError(f"{len(open_ones)} paid meters stay disconnected, {open_ones[0]} among them")
        time.sleep(0.5)
    after = []
    for meter_id, published in paid_at.items():
        last = truth[meter_id]["transitions"][-1]
        seconds = (datetime.fromisoformat(last["at"]) - published).total_seconds()
        if seconds < 0:
            raise BenchError(f"{meter_id} closed before its payment")
        after.append(seconds)
    return after


def payments(site: Site) -> list[Figure]:
    """Pay while the daemon polls; the times of receipts and of relays."""
    paid_at, receipts, bare = asyncio.run(_pay_everybody(site))
    closed = _closed_after(site, paid_at)
    sent = [seconds - CONTACT_DELAY_MS / 1000 for seconds in closed]  # the contact's own time is no program's
    peer = "bare: 2 MQTT, 1 commit, 2 Modbus"
    figures = [
        Figure("payment to closed relay, p50", median(closed), "s"),
        Figure("payment to closed relay, p95", percentile(closed, 95), "s", aim=Aim("at most", 0.25, "figure")),
        Figure("payment to closed relay, max", max(closed), "s"),
    ]
    what = f"the same less the contact's {CONTACT_DELAY_MS} ms"
    for at in (50, 99):
        ours, theirs = percentile(sent, at), percentile(bare, at)
        aim = Aim("at most", 5) if at == 99 else None
        figures.append(Figure(f"{what}, p{at}", ours, "s", f"{peer}, p{at}", theirs, ours / theirs, aim))
    return [
        *figures,
        Figure("payment to receipt, p50", median(receipts), "s"),
        Figure("payment to receipt, p95", percentile(receipts, 95), "s"),
        Figure("payment to receipt, max", max(receipts), "s"),
    ]
