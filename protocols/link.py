"""The two ports of the wire: a link to one meter, a link to the head end; and the one family of line failures.

A meter link answers in engineering units. It asks each question once: trying again is the daemon's business, because
only the daemon knows whether a second command could do harm (``meter-protocols`` M1). A ``LinkError`` after a command
never means that the relay did not move: read it back.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class RelayState(StrEnum):
    """State of the supply switch as a device reports it."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    UNKNOWN = "unknown"


class SwitchAction(StrEnum):
    """What a switch can be told: always an absolute state, never a toggle."""

    DISCONNECT = "disconnect"
    CONNECT = "connect"

    @property
    def wanted(self) -> RelayState:
        """The relay state that confirms this action."""
        return RelayState.DISCONNECTED if self is SwitchAction.DISCONNECT else RelayState.CONNECTED


@dataclass(frozen=True, slots=True)
class Readout:
    """What a meter answered, in engineering units; None: the device does not tell, or did not this time."""

    energy_import_wh: int | None
    relay: RelayState
    power_w: int | None = None
    voltage_mv: int | None = None
    current_ma: int | None = None
    frequency_mhz: int | None = None
    serial: str | None = None


class LinkError(Exception):
    """A meter could not be asked or told: what was tried, with whom, and what came back."""


class LinkTimeout(LinkError):
    """No answer in time. The question may still have been carried out."""


class LinkRefused(LinkError):
    """The device or its gateway answered with an error (a Modbus exception, an error reply)."""


class LinkGarbled(LinkError):
    """An answer came that cannot be right: bad frame, wrong unit, a value out of its type, text that is no JSON."""


class LinkDown(LinkError):
    """There is no connection to the line, the gateway or the broker."""


class MeterLink(Protocol):
    """One meter on its line. Exchanges on a line happen one at a time; commands go before polls."""

    async def read(self) -> Readout:
        """Ask for register, power and relay once. Raises LinkError."""
        ...

    async def read_relay(self) -> RelayState:
        """Ask for the switch alone, before waiting polls. Raises LinkError."""
        ...

    async def command(self, action: SwitchAction, *, expires_in_s: float) -> None:
        """Send one absolute switch command, exactly once, before waiting polls, or raise LinkError.

        ``expires_in_s``: seconds after which the command must not be sent any more and, where the transport can
        say so, must not be delivered any more. Raises LinkTimeout without sending when the line is not free in time.
        """
        ...

    def expect_serial(self, serial: str) -> None:
        """Disconnect only the device with this serial number from now on, where the device tells its own."""
        ...


class Concentrator(Protocol):
    """A line that reads its meters together, as a data concentrator does: one exchange, an answer a meter."""

    async def read_many(self, meter_ids: Sequence[str]) -> Sequence[Readout | LinkError]:
        """Ask these meters once for register, power and relay; an answer each, in their order, or why there is none."""
        ...


@dataclass(frozen=True, slots=True)
class HeadEndMessage:
    """One message from the head end: ``kind`` is what follows ``in/`` in its topic; ``token`` acknowledges it."""

    kind: str
    payload: bytes
    retained: bool
    token: object


class HeadEndLink(Protocol):
    """The session with the head end. Messages are acknowledged by hand, after what they say is durable."""

    @property
    def connected(self) -> bool:
        """Whether the session stands and what was kept for us while we were gone has been taken."""
        ...

    def messages(self) -> AsyncIterator[HeadEndMessage]:
        """Messages as they come, over as many reconnections as it takes; ends only when it is cancelled."""
        ...

    async def acknowledge(self, message: HeadEndMessage) -> None:
        """Tell the broker that the message need not come again. Harmless when the session is gone meanwhile."""
        ...

    async def publish(self, kind: str, payload: bytes) -> None:
        """Publish on ``out/<kind>``, at least once; returns when the broker has it. Only ``display/…`` is retained.

        Raises LinkDown or LinkTimeout.
        """
        ...
