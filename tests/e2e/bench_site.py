"""A whole site for one test, as processes: a broker, ``meter-sim run``, ``ami-edge run``, and a head end to play."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt

from edge.clock import pause
from tests.brokers import RunningBroker, free_port

PATIENCE_S = 40.0
BIN = Path(sys.executable).parent


@dataclass
class Site:
    """Configuration, state and processes of one gateway with its simulated feeder."""

    directory: Path
    broker: RunningBroker
    accounts: dict[str, dict[str, str]]  # account id -> cells of the enrolment file
    meters: dict[str, str] = field(default_factory=dict)  # meter id -> "tcp" or "mqtt"
    relays: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    program: str = ""  # text of programs/bench.toml
    site_extra: str = ""  # tables of edge.toml
    head: str = ""  # keys of edge.toml
    poll_seconds: int = 1
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    daemon: subprocess.Popen[bytes] | None = None
    modbus_port: int = field(default_factory=free_port)

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def config(self) -> Path:
        return self.directory / "edge.toml"

    @property
    def ready_file(self) -> Path:
        return self.directory / "ready.json"

    def write(self) -> None:
        """Write the feeder, the site and the accounts."""
        lines = [
            f'{{id = "gateway-1", transport = "modbus-tcp", host = "127.0.0.1", port = {self.modbus_port}}}',
            f'{{id = "broker", transport = "mqtt", host = "127.0.0.1", port = {self.broker.port}}}',
        ]
        used = set(self.meters.values())
        lines = [line for line, kind in zip(lines, ("tcp", "mqtt"), strict=True) if kind in used]
        feeder = [f"lines = [{', '.join(lines)}]"]
        site = [
            'gateway_id = "gw1"',
            self.head,
            "[broker]",
            f"port = {self.broker.port}",
            "keepalive_seconds = 2",
            "[clock]",
            'trust = "always"',
            "[polling]",
            f"every_seconds = {self.poll_seconds}",
            self.site_extra,
            "[[lines]]",
            'id = "gateway-1"',
            'transport = "modbus-tcp"',
            'host = "127.0.0.1"',
            f"port = {self.modbus_port}",
        ]
        for number, (meter_id, kind) in enumerate(self.meters.items(), start=1):
            where = f"line = 'gateway-1'\nunit = {number}" if kind == "tcp" else f"topic = 'plug-{number}'"
            profile = "hiking-dds238-2-znsr" if kind == "tcp" else "tasmota-plug"
            site += ["[[meters]]", f"id = '{meter_id}'", f"profile = '{profile}'", where]
            feeder += ["[[meters]]", f"id = '{meter_id}'", f"profile = '{profile}'"]
            feeder += [where if kind == "tcp" else f"line = 'broker'\n{where}", "load = 1500"]
            feeder += [f"initial_register_wh = {1_000_000 + number * 1000}"]
            feeder += [f"relay = '{self.relays.get(meter_id, 'connected')}'"]
            feeder += [f"fault = '{self.faults[meter_id]}'"] if meter_id in self.faults else []
        (self.directory / "feeder.toml").write_text("\n".join(feeder) + "\n")
        self.config.write_text("\n".join(site) + "\n")
        if self.program:
            (self.directory / "programs").mkdir(exist_ok=True)
            (self.directory / "programs" / "bench.toml").write_text(self.program)
        columns = sorted({key for cells in self.accounts.values() for key in cells} | {"account_id"})
        rows = [",".join(columns)]
        rows += [",".join({"account_id": a, **cells}.get(c, "") for c in columns) for a, cells in self.accounts.items()]
        (self.directory / "accounts.csv").write_text("\n".join(rows) + "\n")

    def start_simulator(self) -> None:
        arguments = [str(BIN / "meter-sim"), "run", str(self.directory / "feeder.toml")]
        with (self.directory / "meter-sim.log").open("ab") as log:
            arguments += ["--ready-file", str(self.ready_file)]
            self.processes.append(subprocess.Popen(arguments, stderr=log, stdout=log, env=self.environment()))

    def start_daemon(self) -> None:
        with (self.directory / "ami-edge.log").open("ab") as log:
            arguments = [str(BIN / "ami-edge"), *self.common(), "run"]
            self.daemon = subprocess.Popen(arguments, stderr=log, stdout=log, env=self.environment())

    def kill_daemon(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self.daemon is not None
        self.daemon.send_signal(number)
        self.daemon.wait(20)
        self.daemon = None

    def common(self) -> list[str]:
        return ["--config", str(self.config), "--state-dir", str(self.state)]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "XDG_RUNTIME_DIR": str(self.directory), "NO_COLOR": "1"}

    async def cli(self, *arguments: str, code: int = 0) -> Any:
        """What a verb answers as JSON; the exit code is checked, stderr is answered where it is not 0."""
        answer = await self.run(str(BIN / "ami-edge"), *self.common(), "--json", *arguments)
        assert answer[0] == code, answer
        return json.loads(answer[1]) if answer[1] else answer[2]

    async def truth(self) -> dict[str, dict[str, Any]]:
        """What is physically so, by meter."""
        answer = await self.run(str(BIN / "meter-sim"), "truth", "--json", "--ready-file", str(self.ready_file))
        assert answer[0] == 0, answer
        return {meter["meter_id"]: meter for meter in json.loads(answer[1])}

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment()
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def daemon_is_up(self) -> None:
        """Wait until the local API answers."""
        await until(lambda: (self.state / "edge.sock").exists(), self.log)
        await until_async(self._healthy, self.log)

    async def _healthy(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.state / "edge.sock"))
        except OSError:
            return False
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return b"200 OK" in answer

    def log(self) -> str:
        """The end of the daemon's log, for a failing test."""
        file = self.directory / "ami-edge.log"
        return file.read_text()[-3000:] if file.exists() else "no log"


async def until(condition: Callable[[], bool], describe: Callable[[], str] = lambda: "") -> None:
    """Wait for a condition, at most PATIENCE_S."""

    async def asked() -> bool:
        return condition()

    await until_async(asked, describe)


async def until_async(condition: Callable[[], Any], describe: Callable[[], str] = lambda: "") -> None:
    """Wait for an awaited condition, at most PATIENCE_S."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    while not await condition():
        assert loop.time() < deadline, describe()
        await pause(0.05)


class HeadEnd:
    """The head end's side of the broker: publishes, and keeps what the gateway says."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.heard: list[tuple[str, dict[str, Any]]] = []

    async def listen(self) -> None:
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            self.heard.append((str(message.topic).rsplit("/", 1)[1], json.loads(message.payload)))

    async def say(self, kind: str, content: Any) -> None:
        payload = content if isinstance(content, bytes) else json.dumps(content).encode()
        await self.client.publish(f"ami/v1/gw1/in/{kind}", payload, qos=1)

    async def pay(self, payment_id: str, account_id: str, amount: str) -> None:
        content = {"payment_id": payment_id, "account_id": account_id, "amount": amount}
        content |= {"paid_at": "2026-10-14T09:00:00-05:00", "channel": "kiosk", "source": "customer"}
        await self.say("payments", content)

    def receipts(self, payment_id: str) -> list[dict[str, Any]]:
        return [c for kind, c in self.heard if kind == "receipts" and c["payment_id"] == payment_id]

    def count(self, kind: str) -> int:
        return sum(heard == kind for heard, _ in self.heard)

    async def receipt(self, payment_id: str) -> dict[str, Any]:
        await until(lambda: bool(self.receipts(payment_id)), lambda: f"no receipt; heard {self.heard[-5:]}")
        return self.receipts(payment_id)[-1]


@asynccontextmanager
async def head_end(site: Site) -> AsyncIterator[HeadEnd]:
    """A head end that listens to everything the gateway says."""
    async with aiomqtt.Client("127.0.0.1", site.broker.port, identifier="head-end", clean_session=False) as client:
        await client.subscribe("ami/v1/gw1/out/#", qos=1)
        playing = HeadEnd(client)
        listening = asyncio.ensure_future(playing.listen())
        try:
            yield playing
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError, aiomqtt.MqttError):
                await listening


@asynccontextmanager
async def running(site: Site, *, enroll: bool = True) -> AsyncIterator[HeadEnd]:
    """The site at work: simulator and daemon as processes, accounts enrolled."""
    site.write()
    site.start_simulator()
    await until(site.ready_file.exists)
    site.start_daemon()
    try:
        await site.daemon_is_up()
        async with head_end(site) as playing:
            if enroll:
                await site.cli("enroll", str(site.directory / "accounts.csv"))
            yield playing
    finally:
        for process in (*site.processes, *([site.daemon] if site.daemon else [])):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
