"""The site's configuration: ``edge.toml`` and the folders beside it, read once, checked, frozen.

Every fault is one sentence that names the file and the key; all faults are told at once.
"""

import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge.core.budget import Limits
from protocols.toml_values import lists_as_tuples

SYSTEM_CONFIG = Path("/etc/ami-edge/edge.toml")
WEATHER_SERVICE = "https://api.weather.gov"
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]


class ConfigError(Exception):
    """The configuration cannot be used. ``faults``: one sentence each, naming file and key."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Broker(_Part):
    """The MQTT broker that joins the gateway to its head end and to its MQTT meters."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    keepalive_seconds: Annotated[int, Field(ge=2, le=3600)] = 10


class ClockPart(_Part):
    """Who says that the clock is right: the kernel, or nobody is asked (benches)."""

    trust: Literal["kernel", "always"] = "kernel"
    settle_minutes: Annotated[int, Field(ge=0)] = 15


class Polling(_Part):
    """How often meters are read, unless a meter says otherwise."""

    every_seconds: Annotated[int, Field(ge=1, le=86400)] = 60
    attempts: Annotated[int, Field(ge=1, le=5)] = 2
    keep_readings_days: Annotated[int, Field(ge=7)] = 62


class Estimation(_Part):
    """When a day without a read at its end is closed on an estimate: this many hours after its end."""

    after_hours: Annotated[int, Field(ge=1, le=24)] = 6


class WeatherHttp(_Part):
    """What is fetched from the Weather Service's API, or a mirror of it; without this table nothing is.

    ``user_agent`` says who asks and how to reach them, as the Service wants to be told.
    """

    user_agent: Annotated[str, Field(pattern=r"^[!-~]([ -~]*[!-~])?$")]
    base_url: Annotated[str, Field(pattern=r"^https?://[!-~]+$")] = WEATHER_SERVICE
    grid: Annotated[str, Field(pattern=r"^[A-Z]{3}/[0-9]{1,3},[0-9]{1,3}$")] | None = None
    point: Annotated[str, Field(pattern=r"^-?[0-9]{1,2}(\.[0-9]{1,4})?,-?[0-9]{1,3}(\.[0-9]{1,4})?$")] | None = None
    station: Annotated[str, Field(pattern=r"^[A-Z0-9]{3,10}$")] | None = None
    zone: Annotated[str, Field(pattern=r"^[A-Z]{2}[CZ][0-9]{3}$")] | None = None

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not (self.grid or self.point or self.station or self.zone):
            raise ValueError("at least one of grid, point, station and zone is needed")
        if self.grid and self.point:
            raise ValueError("grid and point name the same thing: give one of them")
        return self


class Weather(_Part):
    """Documents of the Weather Service beside those over MQTT: files, relative to ``edge.toml``, and its API."""

    forecast_file: str | None = None
    observation_file: str | None = None
    alerts_file: str | None = None
    look_every_seconds: Annotated[int, Field(ge=1)] = 15
    http: WeatherHttp | None = None


class Enforcement(_Part):
    """Limits of what this gateway may switch off."""

    shadow_mode: bool = False
    disconnects_per_hour: Annotated[int, Field(ge=0)] = 50
    disconnects_per_day: Annotated[int, Field(ge=0)] = 200
    disconnects_per_meter: Annotated[int, Field(ge=0)] = 3
    disconnects_share_of_line: Annotated[float, Field(gt=0, le=1)] = 1.0
    reconnect_alarm_minutes: Annotated[int, Field(ge=1)] = 5
    quarantine_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    quarantine_at_least: Annotated[int, Field(ge=1)] = 10

    @property
    def limits(self) -> Limits:
        """What the budget of disconnects allows."""
        share_ppm = round(self.disconnects_share_of_line * 1_000_000)
        return Limits(self.disconnects_per_hour, self.disconnects_per_day, self.disconnects_per_meter, share_ppm)


class Email(_Part):
    """The mail server that takes the gateway's e-mail; without this table the head end is given it."""

    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 25
    sender: Annotated[str, Field(pattern=r"^[!-?A-~]+@[!-?A-~]+$")]
    username: str | None = None
    password_file: str | None = None
    starttls: bool = False
    ca_file: str | None = None

    @model_validator(mode="after")
    def _tells_no_password_in_the_clear(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file come together")
        if self.username is not None and not self.starttls:
            raise ValueError("a password is only sent over starttls")
        return self


class Backups(_Part):
    """Copies of the database that the daemon takes by itself; ``directory`` None: ``backups`` below its state."""

    every_hours: Annotated[int, Field(ge=0, le=168)] = 6  # 0: none
    keep: Annotated[int, Field(ge=2)] = 8
    directory: str | None = None


class Defaults(_Part):
    """What an enrolled account gets where its row does not say."""

    program: str = "default"
    tariff: str = "flat"


class Line(_Part):
    """One TCP gateway or one RS-485 bus; the meters on it are asked in turn."""

    id: Identifier
    transport: Literal["modbus-tcp", "modbus-rtu"]
    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    device: str | None = None
    baud: int | None = None

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        if self.transport == "modbus-tcp" and not self.host:
            raise ValueError("a modbus-tcp line needs host")
        if self.transport == "modbus-rtu" and not self.device:
            raise ValueError("a modbus-rtu line needs device")
        return self


class Meter(_Part):
    """One meter of the inventory: a Modbus unit on a line, or a device's topic on the broker."""

    id: Identifier
    profile: str
    line: str | None = None
    unit: Annotated[int, Field(ge=1, le=247)] | None = None
    relay_unit: Annotated[int, Field(ge=1, le=247)] | None = None
    relay_channel: Annotated[int, Field(ge=0, le=31)] | None = None
    topic: str | None = None
    serial: str | None = None
    poll_seconds: Annotated[int, Field(ge=1, le=86400)] | None = None
    max_power_w: Annotated[int, Field(ge=1)] = 25_000
    frozen_after_hours: Annotated[int, Field(ge=1)] = 48
    ct_ratio: Annotated[int, Field(ge=1, le=10_000)] = 1
    pt_ratio: Annotated[int, Field(ge=1, le=10_000)] = 1

    @property
    def multiplier(self) -> int:
        """Wh used for each Wh that the register counts: current transformers' ratio times voltage transformers'."""
        return self.ct_ratio * self.pt_ratio

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        if (self.topic is None) == (self.line is None):
            raise ValueError("a meter has either topic (MQTT) or line and unit (Modbus)")
        if self.line is not None and self.unit is None:
            raise ValueError("a meter on a line needs unit")
        return self


class Site(_Part):
    """The content of ``edge.toml``."""

    gateway_id: Identifier = "gw1"
    timezone: str = "America/Chicago"
    broker: Broker = Broker()
    clock: ClockPart = ClockPart()
    polling: Polling = Polling()
    estimation: Estimation = Estimation()
    weather: Weather = Weather()
    enforcement: Enforcement = Enforcement()
    backup: Backups = Backups()
    defaults: Defaults = Defaults()
    email: Email | None = None
    allow_unverified_relay: bool = False
    lines: tuple[Line, ...] = ()
    meters: tuple[Meter, ...] = ()

    def polled_every(self, meter_id: str) -> timedelta:
        """How often a meter of the inventory is read."""
        own = next((meter.poll_seconds for meter in self.meters if meter.id == meter_id), None)
        return timedelta(seconds=own or self.polling.every_seconds)


@dataclass(frozen=True, slots=True)
class Settings:
    """The site, its zone, and where configuration and state live."""

    site: Site
    zone: ZoneInfo
    config_file: Path
    state_dir: Path

    @property
    def database(self) -> Path:
        """The gateway's database."""
        return self.state_dir / "edge.db"

    @property
    def socket(self) -> Path:
        """The local API's socket."""
        return self.state_dir / "edge.sock"

    @property
    def switch_journal(self) -> Path:
        """The file of sent commands that outlives the database."""
        return self.state_dir / "switch-journal.jsonl"

    @property
    def backup_directory(self) -> Path:
        """Where scheduled backups are kept."""
        return self.state_dir / (self.site.backup.directory or "backups")

    def beside(self, name: str) -> Path:
        """A path of the configuration, relative to ``edge.toml``."""
        return self.config_file.parent / name

    def folders(self, name: str) -> tuple[Path, ...]:
        """Folders ``programs``, ``tariffs`` or ``meters``: the site's own, then the package's; first one wins."""
        return tuple(dict.fromkeys((self.config_file.parent / name, packaged_config() / name)))


def packaged_config() -> Path:
    """The configuration that ships: inside the wheel, or beside the package in a checkout."""
    inside = Path(__file__).parent / "_config"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "config"


def find_config(explicit: Path | None) -> Path:
    """The configuration file in force: named, from ``AMI_EDGE_CONFIG``, the system's, or the one that ships."""
    if explicit is not None:
        return explicit
    if named := os.environ.get("AMI_EDGE_CONFIG"):
        return Path(named)
    return SYSTEM_CONFIG if SYSTEM_CONFIG.exists() else packaged_config() / "edge.toml"


def find_state_dir(explicit: Path | None) -> Path:
    """Where state lives: named, from ``AMI_EDGE_STATE_DIR``, systemd's or root's system directory, or the user's."""
    if explicit is not None:
        return explicit
    if named := os.environ.get("AMI_EDGE_STATE_DIR"):
        return Path(named)
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if os.geteuid() == 0 and SYSTEM_CONFIG.exists():
        return Path("/var/lib/ami-edge")
    return Path.home() / ".local" / "state" / "ami-edge"


def load_settings(config: Path | None = None, state_dir: Path | None = None) -> Settings:
    """Read ``edge.toml``. Raises ConfigError with every fault found in it."""
    file = find_config(config)
    site = parse_site(read_toml(file), file.name)
    try:
        zone = ZoneInfo(site.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        fault = f"{site.timezone!r} is not a known time zone"
        if not available_timezones():
            fault = "this machine has no time zone data: install the package tzdata"
        raise ConfigError([f"{file.name}: timezone - {fault}"]) from None
    return Settings(site=site, zone=zone, config_file=file.absolute(), state_dir=find_state_dir(state_dir).absolute())


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError in one sentence, with line and column where it is broken."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ConfigError([f"{file}: cannot be read: {problem.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{file.name}: is not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError([f"{file.name}: {problem}"]) from None


def parse_site(tables: dict[str, Any], name: str) -> Site:
    """Check the tables of ``edge.toml``. Raises ConfigError with every fault."""
    try:
        site = Site.model_validate(lists_as_tuples(tables))
    except ValidationError as problem:
        raise ConfigError(f"{name}: {fault_sentence(error)}" for error in problem.errors()) from None
    faults = [f"{name}: {fault}" for fault in _cross_check(site)]
    if faults:
        raise ConfigError(faults)
    return site


def fault_sentence(error: Any) -> str:
    """One of pydantic's errors as ``key - what is wrong``."""
    key = ".".join(str(part) for part in error["loc"]) or "file"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "is not a known key"
    return f"{key} - {message}"


def _cross_check(site: Site) -> Iterable[str]:
    lines = {line.id for line in site.lines}
    seen: dict[object, str] = {}
    for index, meter in enumerate(site.meters):
        if meter.line is not None and meter.line not in lines:
            yield f"meters.{index}.line - there is no line {meter.line!r}"
        addresses: list[object] = [("id", meter.id)]
        if meter.topic is not None:
            addresses.append(("topic", meter.topic))
        else:
            addresses.append(("unit", meter.line, meter.unit))
            if meter.relay_unit is not None:
                addresses.append(("relay", meter.line, meter.relay_unit, meter.relay_channel))
        for address in addresses:
            if address in seen:
                yield f"meters.{index} - {meter.id} has the same {address[0]} as {seen[address]}"  # type: ignore[index]
            seen[address] = meter.id
    if len(lines) != len(site.lines):
        yield "lines - two lines have the same id"
