"""A meter on a Modbus line: what a profile makes of its registers, and when it may be commanded."""

import asyncio
from collections.abc import Sequence

from protocols.link import LinkError, LinkGarbled, LinkRefused, LinkTimeout, Readout, RelayState, SwitchAction
from protocols.modbus import ModbusLine, read_request, write_request
from protocols.profile_schema import Profile, Role
from protocols.register_map import RegisterMap
from protocols.turns import Turn


class ModbusMeter:
    """One meter on a line, alone or with a relay board of its own unit; a ``MeterLink``.

    A disconnect is sent only if the last read passed the profile's probe and, where ``serial`` is given and the device
    tells its own, if the two agree (``meter-protocols`` M5, M8). A reconnect is held back only while nothing but
    implausible values has ever come from the device; a meter that does not answer does not keep a customer in the dark.
    """

    def __init__(
        self,
        line: ModbusLine,
        profile: Profile,
        unit: int,
        relay_unit: int | None = None,
        relay_channel: int | None = None,
        *,
        serial: str | None = None,
    ) -> None:
        """``unit``, ``relay_unit``: addresses on the line, 1 to 247; ``relay_channel``: 0-based, 0 if None.

        Raises ValueError where they do not fit the profile.
        """
        self._line = line
        self._name = f"{line.name} unit {unit}"
        self._timing = profile.timing
        self._map = RegisterMap(profile)
        self._probes = profile.probe
        self._channel = relay_channel or 0
        self._units: dict[Role, int] = {"meter": unit}
        if profile.transport == "composite":
            if relay_unit is None:
                raise ValueError(f"profile {profile.id} needs the relay board's unit")
            self._units["board"] = relay_unit
        for address in self._units.values():
            if not 1 <= address <= 247:
                raise ValueError(f"{address} is no unit address; they are 1 to 247")
        meter = profile.devices[0]
        self._blocks = [read_request(block, unit) for block in meter.blocks]
        self._identity = read_request(meter.identity, unit) if meter.identity else None
        relay = self._map.relay_block(self._channel)
        self._relay = read_request(relay, self._units[profile.devices[-1].role]) if relay else None
        self._expected_serial = serial
        self._serial: str | None = None
        self._identified = self._identity is None
        self._last: Readout | None = None
        self._proven = False

    def expect_serial(self, serial: str) -> None:
        """Disconnect only the device with this serial number from now on, where the device tells its own."""
        self._expected_serial = serial

    async def read(self) -> Readout:
        """Ask for register, power and relay once. Raises LinkError."""
        await self._line.turns.take(Turn.POLL)
        try:
            return await self._read(urgent=False)
        finally:
            self._line.turns.give_back()

    async def read_relay(self) -> RelayState:
        """Ask for the switch alone, before waiting polls. Raises LinkError."""
        await self._line.turns.take(Turn.RECONNECT)
        try:
            return self._map.relay_state(await self._ask_relay(urgent=True), self._channel)
        finally:
            self._line.turns.give_back()

    async def command(self, action: SwitchAction, *, expires_in_s: float) -> None:
        """Write the one allowed command exactly once. Raises LinkError; LinkTimeout unsent when it expired."""
        write = self._map.relay_write(action, self._channel)
        request = write_request(write, self._units[write.role])
        loop = asyncio.get_running_loop()
        deadline = loop.time() + expires_in_s
        turn = Turn.RECONNECT if action is SwitchAction.CONNECT else Turn.DISCONNECT
        try:
            async with asyncio.timeout(max(0.0, expires_in_s)):
                await self._line.turns.take(turn)
        except TimeoutError:
            raise LinkTimeout(
                f"{self._name}: the line was not free within {expires_in_s} s; nothing was sent"
            ) from None
        try:
            await self._check_before(action)
            await self._line.ready(urgent=True)
            if loop.time() >= deadline:
                raise LinkTimeout(f"{self._name}: the command expired before it could be sent; nothing was sent")
            answer = await self._line.exchange(request, self._timing, urgent=True)
        finally:
            self._line.turns.give_back()
        if answer.address != request.address:
            raise LinkGarbled(f"{self._name}: address {answer.address} answered to a command to {request.address}")

    async def _read(self, *, urgent: bool) -> Readout:
        try:
            if not self._identified:
                await self._identify(urgent=urgent)
            exchange, timing = self._line.exchange, self._timing
            measured = [(await exchange(request, timing, urgent=urgent)).registers for request in self._blocks]
            relay = await self._ask_relay(urgent=urgent) if self._relay else None
            self._last = self._map.decode(measured, relay, channel=self._channel, serial=self._serial)
        except LinkError:
            self._last = None
            self._identified = self._identity is None  # whoever answers next says first who it is
            raise
        self._proven = self._proven or self._implausible(self._last) is None
        return self._last

    async def _identify(self, *, urgent: bool) -> None:
        """Learn the serial number; a device that refuses to tell has none."""
        assert self._identity is not None
        self._serial = None
        try:
            answer = await self._line.exchange(self._identity, self._timing, urgent=urgent)
            self._serial = self._map.serial(answer.registers)
        except LinkRefused:
            pass
        self._identified = True

    async def _ask_relay(self, *, urgent: bool) -> Sequence[int]:
        if self._relay is None:
            raise LinkRefused(f"{self._name}: the profile has no relay to read")
        answer = await self._line.exchange(self._relay, self._timing, urgent=urgent)
        return answer.registers or answer.bits

    async def _check_before(self, action: SwitchAction) -> None:
        """Whether the device is the one the profile describes. Raises LinkError; nothing was switched then."""
        if action is SwitchAction.CONNECT:
            if not self._proven:
                await self._look_before_connecting()
            return
        if fault := self._implausible(self._last or await self._read(urgent=True)):
            raise LinkRefused(f"{self._name}: {fault}; nothing was sent")
        if self._expected_serial is not None and self._identity is not None:
            await self._identify(urgent=True)
            if self._serial != self._expected_serial:
                raise LinkRefused(
                    f"{self._name}: serial number {self._serial} answers where {self._expected_serial} was expected; "
                    "nothing was sent"
                )

    async def _look_before_connecting(self) -> None:
        """Refuse only on evidence: a read that failed is none, and a dark meter behind an open switch is none."""
        try:
            seen = self._last or await self._read(urgent=True)
        except LinkError:
            return
        fault = self._implausible(seen)
        if fault and not (seen.relay is RelayState.DISCONNECTED and not seen.voltage_mv):
            raise LinkRefused(f"{self._name}: {fault}; nothing was sent")

    def _implausible(self, readout: Readout) -> str | None:
        """Which value is outside of the profile's probe, if any: the register map may be another one (M8)."""
        for probe in self._probes:
            value = getattr(readout, probe.point)
            if value is None or not probe.min <= value <= probe.max:
                return f"{probe.point} is {value}, not {probe.min} to {probe.max}: not the device of this profile?"
        return None
