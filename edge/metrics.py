"""Figures for Prometheus, rendered from the gateway's own status when somebody asks."""

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from edge.gateway import Gateway

_GAUGES = (
    ("meters", "Meters in the inventory"),
    ("meters_failing", "Meters whose last poll got no answer"),
    ("accounts", "Accounts on the books"),
    ("disconnected", "Meters whose relay is disconnected"),
    ("pending_commands", "Switch orders that are wanted or sent"),
)


def render(gateway: Gateway, status: Mapping[str, Any]) -> bytes:
    """The exposition text of the present figures."""
    registry = CollectorRegistry()
    for key, text in _GAUGES:
        Gauge(f"ami_edge_{key}", text, registry=registry).set(status[key])
    Gauge("ami_edge_clock_trusted", "1 while disconnects may rest on the clock", registry=registry).set(
        gateway.clock_trusted()
    )
    Gauge("ami_edge_broker_connected", "1 while the head end's session stands", registry=registry).set(
        status["broker_connected"]
    )
    return generate_latest(registry)
