"""The demonstration's site: a broker, eight simulated meters on real sockets, and the gateway's settings that fit them.

Nothing here is on a fixed port, and nothing listens anywhere but on the loopback.
"""

import importlib
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from edge import settings as edge_settings
from edge.settings import Settings, Site, packaged_config
from meter_sim import feeder as bench

LOOPBACK = "127.0.0.1"
ZONE = ZoneInfo("America/Chicago")
GATEWAY_ID = "demo"
POLL_EVERY_S = 1800  # of the scaled clock
MESSAGE_BYTES = 1 << 20  # a whole weather document has some 100 kB
_PORT_ATTEMPTS = 5


class DemoUnavailable(Exception):
    """The demonstration cannot start: one sentence that says why and what to do."""


@contextmanager
def broker_running() -> Iterator[int]:
    """A broker of our own in a child process, until the block ends; its port. Raises DemoUnavailable.

    Call it outside the event loop: starting it waits some tenths of a second.
    """
    try:
        iotcore: Any = importlib.import_module("iotcore")
    except ImportError:
        raise DemoUnavailable(
            "the demonstration starts a broker that ships in the package iotcore, which is not installed:"
            " run 'make demo', or install it with pip install 'ami-edge[demo]'"
        ) from None
    port, broker = _started_broker(iotcore)
    try:
        yield port
    finally:
        broker.stop()


def _started_broker(iotcore: Any) -> tuple[int, Any]:
    problem: Exception | None = None
    for _ in range(_PORT_ATTEMPTS):
        port = _free_port()
        broker = iotcore.Broker(port=port, listen=LOOPBACK, max_payload_size=MESSAGE_BYTES)
        try:
            _start_deaf_to_interrupts(broker.start)
        except (OSError, RuntimeError) as failure:  # somebody took the port meanwhile
            problem = failure
            continue
        return port, broker
    raise DemoUnavailable(f"the demonstration's broker does not start: {problem}")


def _start_deaf_to_interrupts(start: Callable[[], Any]) -> None:
    """Ctrl-C reaches every process of the terminal; the broker is stopped by us, after those who use it."""
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        return int(one.getsockname()[1])


def demo_feeder(broker_port: int, meters: Sequence[Mapping[str, Any]]) -> bench.Feeder:
    """The lines of the shipped feeder on free ports and a pseudo-terminal of its own, with these meters on them."""
    lines = [
        {"id": "gateway-1", "transport": "modbus-tcp"},
        {"id": "bus-1", "transport": "modbus-rtu", "baud": 9600},
        {"id": "gateway-2", "transport": "modbus-tcp"},
        {"id": "broker", "transport": "mqtt", "host": LOOPBACK, "port": broker_port},
    ]
    return bench.parse_feeder({"lines": lines, "meters": [dict(meter) for meter in meters]}, "the demonstration")


def gateway_settings(ready: Sequence[Mapping[str, Any]], feeder: bench.Feeder, port: int, state_dir: Path) -> Settings:
    """The settings of a gateway that polls what listens, its broker at ``port``; programs and prices as shipped."""
    where = {meter.line: entry for meter, entry in zip(feeder.meters, ready, strict=True)}
    lines = tuple(
        edge_settings.Line(id=line.id, transport=line.transport, host=LOOPBACK, port=where[line.id]["port"])
        if line.transport == "modbus-tcp"
        else edge_settings.Line(id=line.id, transport=line.transport, device=where[line.id]["device"], baud=line.baud)
        for line in feeder.lines
        if line.transport != "mqtt"
    )
    site = Site(
        gateway_id=GATEWAY_ID,
        timezone=ZONE.key,
        broker=edge_settings.Broker(host=LOOPBACK, port=port),
        polling=edge_settings.Polling(every_seconds=POLL_EVERY_S),
        lines=lines,
        meters=tuple(_inventory(meter) for meter in feeder.meters),
    )
    config_file = packaged_config() / "edge.toml"
    return Settings(site=site, zone=ZONE, config_file=config_file, state_dir=state_dir)


def _inventory(meter: bench.Meter) -> edge_settings.Meter:
    if meter.topic is not None:
        return edge_settings.Meter(id=meter.id, profile=meter.profile, topic=meter.topic)
    return edge_settings.Meter(
        id=meter.id,
        profile=meter.profile,
        line=meter.line,
        unit=meter.unit,
        relay_unit=meter.relay_unit,
        relay_channel=meter.relay_channel,
    )
