"""What MQTT meters say: their topics, and their JSON as engineering units. Pure.

Numbers are read as decimals, never as binary fractions: energy is exact. A value may be a number or a list with one
number a phase (``meter-protocols`` 3.1): power, current and energy are added up, of voltages the first one counts.
"""

import json
from decimal import ROUND_HALF_UP, Decimal, DecimalException
from typing import Any

from protocols.link import LinkGarbled, Readout, RelayState
from protocols.profile_schema import Mqtt, MqttTopics

MOST_BYTES = 65_536
_ONE = Decimal(1)
_MOST = 10**13  # ten thousand million kWh in Wh: no meter shows more


def topics_of(mqtt: Mqtt, device: str) -> MqttTopics:
    """The topics of one device; ``device`` is its own part of them."""
    return MqttTopics(**{name: topic.replace("{device}", device) for name, topic in mqtt.topics})


def relay_state(mqtt: Mqtt, payload: bytes) -> RelayState:
    """The switch's state as the device reports it; anything that the profile does not name is unknown."""
    text = payload[:64].decode("utf-8", "replace").strip()
    states = {mqtt.payloads.connect: RelayState.CONNECTED, mqtt.payloads.disconnect: RelayState.DISCONNECTED}
    return states.get(text, RelayState.UNKNOWN)


def readout(mqtt: Mqtt, payload: bytes, relay: RelayState, *, reply: bool) -> Readout:
    """The values of a telemetry message, or of a reply to a query (``reply``), beside a relay state.

    Raises LinkGarbled for what is no such JSON, has no energy, or cannot be right.
    """
    content = _json(payload)
    if reply:
        content = content.get(mqtt.reply_root) if isinstance(content, dict) else None
    values: dict[str, int] = {}
    for name, point in mqtt.points.items():
        found = content
        for key in point.path:
            found = found.get(key) if isinstance(found, dict) else None
        if found is not None:
            values[name] = _units(name, found, point.scale)
        elif name == "energy_import_wh":
            raise LinkGarbled(f"the answer has no {'.'.join(point.path)}")
    return Readout(
        energy_import_wh=values["energy_import_wh"],
        relay=relay,
        power_w=values.get("power_w"),
        voltage_mv=values.get("voltage_mv"),
        current_ma=values.get("current_ma"),
        frequency_mhz=values.get("frequency_mhz"),
    )


def _json(payload: bytes) -> Any:
    if len(payload) > MOST_BYTES:
        raise LinkGarbled(f"the answer has {len(payload)} bytes")
    try:
        return json.loads(payload.decode("utf-8"), parse_float=Decimal, parse_constant=Decimal)
    except (ValueError, RecursionError, DecimalException):
        raise LinkGarbled("the answer is not a JSON document in UTF-8") from None


def _units(name: str, found: Any, scale: int) -> int:
    numbers = found if isinstance(found, list) else [found]
    if not numbers or not all(isinstance(number, int | Decimal) and not isinstance(number, bool) for number in numbers):
        raise LinkGarbled(f"{name} is not a number")
    decimals = [Decimal(number) for number in (numbers[:1] if name == "voltage_mv" else numbers)]
    if not all(number.is_finite() and -_MOST <= number <= _MOST for number in decimals):
        raise LinkGarbled(f"{name} cannot be {found}")
    value = int((sum(decimals, Decimal(0)) * scale).quantize(_ONE, ROUND_HALF_UP))
    if abs(value) > _MOST or (value < 0 and name != "power_w"):
        raise LinkGarbled(f"{name} cannot be {value}")
    return value
