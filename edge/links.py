"""From the inventory to live links: one line object a gateway or bus, one broker connection for all MQTT meters."""

from collections.abc import Awaitable, Callable, Mapping

from edge.clock import pause
from edge.settings import ConfigError, Line, Settings
from protocols.link import MeterLink
from protocols.modbus import ModbusLine
from protocols.modbus_meter import ModbusMeter
from protocols.mqtt import Broker, HeadEndSession, MqttMeters
from protocols.profile import Profile


def build_links(
    settings: Settings, profiles: Mapping[str, Profile]
) -> tuple[dict[str, MeterLink], list[Callable[[], Awaitable[None]]]]:
    """Links by meter id, and what must run beside them. Needs a running event loop."""
    site = settings.site
    lines = {line.id: _line(line, profiles, settings) for line in site.lines}
    over_mqtt = MqttMeters(broker_of(settings), site.gateway_id, pause=pause)
    links: dict[str, MeterLink] = {}
    for meter in site.meters:
        profile = profiles[meter.profile]
        if meter.topic is not None:
            links[meter.id] = over_mqtt.add(meter.id, profile, meter.topic)
            continue
        assert meter.line is not None
        assert meter.unit is not None
        links[meter.id] = ModbusMeter(
            lines[meter.line], profile, meter.unit, meter.relay_unit, meter.relay_channel, serial=meter.serial
        )
    return links, [over_mqtt.run] if any(meter.topic for meter in site.meters) else []


def head_end_session(settings: Settings) -> HeadEndSession:
    """The session with the head end, over the site's broker."""
    return HeadEndSession(broker_of(settings), settings.site.gateway_id, pause=pause)


def broker_of(settings: Settings) -> Broker:
    """The site's broker; its password is read from the file that the configuration names."""
    broker = settings.site.broker
    password = None
    if broker.password_file is not None:
        file = settings.beside(broker.password_file)
        try:
            password = file.read_text(encoding="utf-8").strip()
        except OSError as problem:
            raise ConfigError([f"broker.password_file - {file} cannot be read: {problem.strerror}"]) from None
    return Broker(
        host=broker.host,
        port=broker.port,
        username=broker.username,
        password=password,
        ca_file=None if broker.ca_file is None else str(settings.beside(broker.ca_file)),
        keepalive_s=broker.keepalive_seconds,
    )


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
