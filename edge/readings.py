"""Polling: one task a line asks its meters in turn, each on its own schedule, validates and saves what they answer.

A dead meter costs its line one time-out a probe, after all living meters that are due, and is probed ever more rarely;
meters on other lines never notice.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import groupby

import structlog

from edge import reconciliation
from edge.core import vee
from edge.gateway import Gateway
from edge.store import conditions, fleet, records, registers
from edge.store.base import StoreFull
from edge.store.fleet import StoredRead
from protocols.link import Concentrator, LinkError, MeterLink, Readout, RelayState

log = structlog.get_logger()

FLUSH_AFTER = 64  # reads in one transaction
FLUSH_EVERY_S = 1.0  # on a slow line a read does not wait longer than this to be saved
SIGN_OF_LIFE = timedelta(minutes=5)  # the watchdog hears of every line this often, however rarely it is polled
DEAD_PROBE_MAX = 8  # a dead meter is probed at most this many times more rarely than it would be polled


@dataclass
class PolledMeter:
    """A meter of the inventory with its schedule and what the poller remembers of it."""

    meter_id: str
    line: str
    link: MeterLink
    every: timedelta
    limits: vee.Limits
    power_below_w: int = 25  # what may seem to flow through an open switch
    powered: int = 0  # so many polls in a row saw power flow through an open switch
    welded: bool = False  # that was told
    other: str | None = None  # the serial number of another meter that answered, as it was told
    due: datetime | None = None
    failures: int = 0
    link_state: str = "unknown"
    last: vee.RegisterRead | None = None
    still_since: datetime | None = None  # since when the register of a connected service has not moved
    frozen: bool = False  # that was told
    confirmed: bool = False  # a second read agreed with the first one; until then a glitch may have come first
    relay: str | None = None  # where it was seen last, and when by the loop's clock; a command since then is news
    relay_seen_at: float = 0.0
    refused: tuple[str, ...] = ()  # why the last read did not count; told once, not at every poll

    @property
    def dead(self) -> bool:
        """Whether the last poll got no answer."""
        return self.failures > 0

    def is_due(self, now: datetime) -> bool:
        """Whether it is to be polled. A meter that is due now for the first time begins its grid of polls here.

        All meters of a line begin it together, so that a sweep is one batch and not a transaction a meter. It begins
        anew where the clock was set back.
        """
        if self.due is None or self.due > now + self.every * DEAD_PROBE_MAX:
            self.due = now
        return self.due <= now


@dataclass
class _Batch:
    reads: list[StoredRead] = field(default_factory=list)
    links: list[tuple[str, str, datetime, str]] = field(default_factory=list)
    relays: list[tuple[PolledMeter, RelayState, datetime, float]] = field(default_factory=list)
    alarms: list[tuple[str, datetime, dict[str, object]]] = field(default_factory=list)
    frozen: list[tuple[str, bool, vee.RegisterRead]] = field(default_factory=list)  # registers that stand or move again
    contradicted: list[tuple[str, datetime, bool, str]] = field(default_factory=list)  # first reads that count no more
    powers: list[tuple[str, int | None, datetime]] = field(default_factory=list)  # through an open switch, or no more
    serials: list[tuple[str, str | None, datetime]] = field(default_factory=list)  # of another meter, or its own again

    lost: StoreFull | None = None

    def __bool__(self) -> bool:
        return bool(self.reads or self.links or self.surprising)

    @property
    def surprising(self) -> bool:
        """Whether somebody else may have something to do about it."""
        return bool(self.relays or self.alarms or self.powers or self.serials or self.frozen)


class ReadSaver:
    """Saves what the lines of one gateway read. What comes while a transaction is under way shares the next one.

    Lines are polled at the same instants: each with a commit of its own, they would keep payments waiting.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._waiting: list[_Batch] = []
        self._saving = asyncio.Lock()

    async def save(self, batch: _Batch) -> None:
        """Return when the batch is durable."""
        self._waiting.append(batch)
        async with self._saving:
            if not any(other is batch for other in self._waiting):
                if batch.lost is not None:
                    raise batch.lost
                return  # it went with another's
            batches, self._waiting = self._waiting, []
            gateway = self._gateway
            write = gateway.record if any(each.surprising for each in batches) else gateway.store.write
            try:
                await write(lambda database: self._write(database, batches))
            except StoreFull as problem:
                for each in batches:
                    each.lost = problem
                raise
        gateway.reads_saved.set()

    def _write(self, database: sqlite3.Connection, batches: Sequence[_Batch]) -> None:
        for batch in batches:
            if not self._gateway.store.on_reserve:  # the disk's last room is for payments and commands
                fleet.save_reads(database, batch.reads)
            registers.reassess(database, batch.contradicted)
            fleet.save_links(database, batch.links)
            for kind, at, data in batch.alarms:
                records.add_event(database, kind, at, data)
            for meter_id, frozen, read in batch.frozen:
                reconciliation.take_frozen(database, meter_id, read, frozen=frozen)
            for meter_id, serial, at in batch.serials:
                reconciliation.take_serial(database, self._gateway, meter_id, serial, at)
            for meter_id, power_w, at in batch.powers:
                reconciliation.take_power(database, meter_id, power_w, at)
            for meter, relay, at, asked_at in batch.relays:
                self._save_relay(database, meter, relay, at, asked_at)

    def _save_relay(
        self, database: sqlite3.Connection, meter: PolledMeter, relay: RelayState, at: datetime, asked_at: float
    ) -> None:
        """Record a relay that is not where we last knew it, and decide about its account again."""
        if commanded_since(self._gateway, meter.meter_id, asked_at):
            meter.relay = None  # a command's read-back knows better than a poll that came before it
            return
        meter.relay, meter.relay_seen_at = relay.value, asked_at
        reconciliation.take_relay(database, self._gateway, meter.meter_id, relay, at)


class LinePoller:
    """Polls the meters of one line, one by one or, where the line has a concentrator, together.

    ``answered`` is told of each meter that answers after silence.
    """

    def __init__(
        self,
        gateway: Gateway,
        meters: Sequence[PolledMeter],
        attempts: int,
        answered: Callable[[str], None],
        saver: ReadSaver,
        concentrator: Concentrator | None = None,
    ) -> None:
        self._gateway = gateway
        self._saver = saver
        self._concentrator = concentrator
        self._meters = meters
        self._attempts = attempts
        self._answered = answered
        self._batch = _Batch()
        self._remembered = gateway.reads_mended
        self._today = (datetime.max.replace(tzinfo=UTC),) * 2  # start and end of the civil day; not asked yet

    async def run(self) -> None:
        """Poll for as long as the daemon runs."""
        await self._remember()
        clock = self._gateway.clock
        while True:
            await self.sweep()
            swept = clock.now()
            following = min(meter.due for meter in self._meters if meter.due is not None)
            while swept <= (now := clock.now()) < following:
                await clock.wait(min(following, now + SIGN_OF_LIFE))
                self._show_life()

    async def sweep(self) -> None:
        """Ask every meter that is due, the living first, and save what came."""
        if self._remembered != self._gateway.reads_mended:
            await self._remember()
        now = self._gateway.clock.now()
        due = [meter for meter in self._meters if meter.is_due(now)]
        if self._concentrator is not None:
            await self._poll_together(self._concentrator, due)
        else:
            await self._poll_in_turn(due)
        await self._flush()
        self._show_life()

    def _show_life(self) -> None:
        self._gateway.made_progress(f"polling {self._meters[0].line}")

    async def _poll_in_turn(self, due: Sequence[PolledMeter]) -> None:
        flushed_at = _loop_time()
        for meter in sorted(due, key=lambda meter: meter.dead):
            await self._poll(meter)
            if len(self._batch.reads) >= FLUSH_AFTER or _loop_time() - flushed_at > FLUSH_EVERY_S:
                await self._flush()
                flushed_at = _loop_time()

    async def _poll_together(self, concentrator: Concentrator, due: Sequence[PolledMeter]) -> None:
        """Every meter is asked at once; those that were alive and did not answer are asked again, as on any line."""
        waiting = list(due)
        for attempt in range(1, self._attempts + 1):
            if not waiting:
                return
            asked_at = _loop_time()
            answers = await concentrator.read_many([meter.meter_id for meter in waiting])
            now = self._gateway.clock.now()
            doubtful = not self._gateway.clock_plausible()
            unanswered: list[PolledMeter] = []
            for meter, answer in zip(waiting, answers, strict=True):
                if isinstance(answer, LinkError):
                    if not meter.dead and attempt < self._attempts:
                        unanswered.append(meter)
                        continue
                    self._miss(meter, str(answer), now)
                else:
                    self._take(meter, answer, now, asked_at, doubtful)
                self._schedule(meter, now)
            waiting = unanswered

    async def _remember(self) -> None:
        def stored(database: sqlite3.Connection) -> None:
            for meter in self._meters:
                meter.last = registers.last_register(database, meter.meter_id)
                meter.confirmed = registers.is_confirmed(database, meter.meter_id)
                change = fleet.relay_change(database, meter.meter_id)
                meter.relay = None if change is None else change.relay
                meter.frozen = reconciliation.FROZEN in conditions.of_meter(database, meter.meter_id)
                meter.welded = reconciliation.WELDED in conditions.of_meter(database, meter.meter_id)

        self._remembered = self._gateway.reads_mended
        await self._gateway.store.read(stored)

    async def _poll(self, meter: PolledMeter) -> None:
        attempts = 1 if meter.dead else self._attempts
        problem = ""
        for _ in range(attempts):
            asked_at = _loop_time()
            try:
                readout = await meter.link.read()
            except LinkError as error:
                problem = str(error)
                continue
            now = self._gateway.clock.now()
            self._take(meter, readout, now, asked_at, not self._gateway.clock_plausible())
            break
        else:
            now = self._gateway.clock.now()
            self._miss(meter, problem, now)
        self._schedule(meter, now)

    def _take(self, meter: PolledMeter, readout: Readout, now: datetime, asked_at: float, doubtful: bool) -> None:
        """Take one answer; ``doubtful``: something speaks against the clock by which it is stamped."""
        if meter.failures or meter.link_state != "ok":
            self._batch.links.append((meter.meter_id, "ok", now, ""))
            self._gateway.facts_changed.set()  # what was held back for want of a read may go on
            self._answered(meter.meter_id)
        meter.failures, meter.link_state = 0, "ok"
        self._gateway.polls_missed.pop(meter.meter_id, None)
        other = self._observe_serial(meter, readout.serial, now)
        if not other:  # where another meter's relay stands says nothing of this one's
            self._observe_relay(meter, readout.relay, now, asked_at)
            self._observe_power(meter, readout, now)
        if readout.energy_import_wh is None:
            return
        new = vee.RegisterRead(now, readout.energy_import_wh)
        still_since = meter.still_since
        assessment = vee.validate(
            meter.last, new, meter.limits, still_since=still_since, wrong_serial=other, clock_doubtful=doubtful
        )
        if not assessment.accepted and meter.last is not None and not meter.confirmed and contradicts(assessment):
            self._batch.contradicted.append((meter.meter_id, meter.last.at, False, vee.Flag.CONTRADICTED.value))
            meter.last = None  # of two reads that cannot both be true the later one is taken up, and put to the test
            assessment = vee.validate(None, new, meter.limits)
        flags = tuple(flag.value for flag in assessment.flags)
        self._batch.reads.append(
            StoredRead(
                meter.meter_id,
                now,
                readout.energy_import_wh,
                readout.power_w,
                readout.relay.value,
                assessment.accepted,
                flags,
            )
        )
        if assessment.accepted:
            self._observe_register(meter, new, assessment, readout.relay)
            meter.confirmed = meter.last is not None
            meter.last, meter.refused = new, ()
        elif flags != meter.refused and vee.Flag.CLOCK_UNTRUSTED not in assessment.flags:  # told once, for all meters
            meter.refused = flags
            data: dict[str, object] = {"meter_id": meter.meter_id, "flags": list(flags), "energy_wh": new.energy_wh}
            self._batch.alarms.append(("read_rejected", now, data))
            log.warning("read rejected", meter=meter.meter_id, flags=flags, energy_wh=new.energy_wh)

    def _miss(self, meter: PolledMeter, problem: str, now: datetime) -> None:
        if meter.link_state != "failing":
            self._batch.links.append((meter.meter_id, "failing", now, problem))
            log.warning("meter does not answer", meter=meter.meter_id, problem=problem)
        meter.failures += 1
        meter.link_state = "failing"
        self._gateway.polls_missed[meter.meter_id] = meter.failures

    def _observe_relay(self, meter: PolledMeter, relay: RelayState, now: datetime, asked_at: float) -> None:
        if commanded_since(self._gateway, meter.meter_id, asked_at) or relay is RelayState.UNKNOWN:
            meter.relay = None  # look at the store again next time
            return
        if relay.value != meter.relay or commanded_since(self._gateway, meter.meter_id, meter.relay_seen_at):
            self._batch.relays.append((meter, relay, now, asked_at))

    def _observe_register(
        self, meter: PolledMeter, new: vee.RegisterRead, assessment: vee.Assessment, relay: RelayState
    ) -> None:
        """A register that stands still although the service is connected may be stuck: told once, and its end."""
        if assessment.delta_wh or meter.still_since is None or relay is not RelayState.CONNECTED:
            meter.still_since = new.at
        frozen = vee.Flag.FROZEN in assessment.flags and relay is RelayState.CONNECTED
        if frozen != meter.frozen:
            meter.frozen = frozen
            self._batch.frozen.append((meter.meter_id, frozen, new))

    def _observe_serial(self, meter: PolledMeter, serial: str | None, now: datetime) -> bool:
        """Whether another meter answered; news of it is told."""
        other = self._gateway.is_other(meter.meter_id, serial)
        if other and serial != meter.other:
            self._batch.serials.append((meter.meter_id, serial, now))
            meter.other = serial
        elif not other and serial is not None and (meter.other or meter.meter_id in self._gateway.questioned):
            self._batch.serials.append((meter.meter_id, serial, now))
            meter.other = None
        return other

    def _observe_power(self, meter: PolledMeter, readout: Readout, now: datetime) -> None:
        """Two polls in a row that see power flow through an open switch say that its contacts are welded."""
        flows = readout.relay is RelayState.DISCONNECTED and (readout.power_w or 0) >= meter.power_below_w
        if meter.meter_id in self._gateway.under_command:
            flows = False
        meter.powered = meter.powered + 1 if flows else 0
        if (meter.powered >= 2) != meter.welded and (meter.powered >= 2 or not flows):
            meter.welded = not meter.welded
            self._batch.powers.append((meter.meter_id, readout.power_w if meter.welded else None, now))

    def _schedule(self, meter: PolledMeter, now: datetime) -> None:
        """The next poll on the meter's own grid; a day's boundary is always one of its points."""
        rarer = min(2 ** min(meter.failures, 6), DEAD_PROBE_MAX) if meter.failures > 1 else 1
        step, due = meter.every * rarer, meter.due or now
        following = due + step * max(1, (now - due) // step + 1)
        if not self._today[0] <= now < self._today[1]:
            self._today = day_of(now, self._gateway.settings.zone)
        meter.due = min(following, self._today[1])

    async def _flush(self) -> None:
        batch, self._batch = self._batch, _Batch()
        if batch:
            await self._saver.save(batch)


def commanded_since(gateway: Gateway, meter_id: str, asked_at: float) -> bool:
    """Whether a command to a meter is under way or ended since an instant of the loop's clock."""
    return meter_id in gateway.under_command or gateway.commanded_at.get(meter_id, asked_at) > asked_at


def contradicts(assessment: vee.Assessment) -> bool:
    """Whether a read was refused for nothing but the one before it."""
    return assessment.flags in ((vee.Flag.BACKWARDS,), (vee.Flag.TOO_FAST,))


def by_line(meters: Sequence[PolledMeter]) -> list[list[PolledMeter]]:
    """The meters grouped by the line they are on."""
    ordered = sorted(meters, key=lambda meter: meter.line)
    return [list(group) for _, group in groupby(ordered, key=lambda meter: meter.line)]


def day_of(now: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """Start and end of the civil day that ``now`` lies in."""
    return vee.day_bounds(now.astimezone(zone).date(), zone)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
