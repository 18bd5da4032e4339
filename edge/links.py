"""From the inventory to live links: one line object a gateway or bus, one broker connection for all MQTT meters."""

from collections.abc import Awaitable, Callable, Mapping

from protocols.mqtt import MqttMeters

from edge.clock import pause
from edge.settings import Line, Settings
from protocols.link import MeterLink
from protocols.modbus import ModbusLine, ModbusMeter
from protocols.profile import Profile


def build_links(
    settings: Settings, profiles: Mapping[str, Profile]
) -> tuple[dict[str, MeterLink], list[Callable[[], Awaitable[None]]]]:
    """Links by meter id, and what must run beside them. Needs a running event loop."""
    site = settings.site
    lines = {line.id: _line(line, profiles, settings) for line in site.lines}
    links: dict[str, MeterLink] = {}
    over_mqtt: dict[str, tuple[Profile, str]] = {}
    for meter in site.meters:
        profile = profiles[meter.profile]
        if meter.topic is not None:
            over_mqtt[meter.id] = (profile, meter.topic)
            continue
        assert meter.line is not None
        assert meter.unit is not None
        links[meter.id] = ModbusMeter(
            lines[meter.line], profile, meter.unit, meter.relay_unit, meter.relay_channel, serial=meter.serial
        )
    if not over_mqtt:
        return links, []
    raise NotImplementedError(MqttMeters)


def _line(line: Line, profiles: Mapping[str, Profile], settings: Settings) -> ModbusLine:
    if line.transport == "modbus-tcp":
        return ModbusLine(host=line.host, port=line.port, pause=pause)
    on_line = [profiles[meter.profile] for meter in settings.site.meters if meter.line == line.id]
    serial = next((profile.serial for profile in on_line if profile.serial is not None), None)
    if serial is None:
        return ModbusLine(device=line.device, baud=line.baud or 9600, pause=pause)
    return ModbusLine(
        device=line.device,
        baud=line.baud or serial.baud,
        parity=serial.parity,
        stopbits=serial.stopbits,
        pause=pause,
    )
