"""What the daemon's tasks share: settings, clock, store, links, the weather in force, and the signals between them."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from edge.clock import Clock
from edge.core.model import Forecast, Observation
from edge.core.rating import Tariff
from edge.core.vee import Limits
from edge.core.weather import DocumentKind
from edge.facts import Circumstances, Rulebook, Switchgear
from edge.rulings import Asked, Ruling, rule_on, rule_on_many
from edge.settings import Settings
from edge.store import conditions, copies, past, records, registers
from edge.store.conditions import QUESTIONED
from edge.store.engine import Store
from edge.switch_journal import SentCommand, SwitchJournal
from edge.weather_feed import ParsedWeather, WeatherRejected, parse_document
from protocols.link import HeadEndLink, MeterLink

T = TypeVar("T")
BACKWARDS_MAX = timedelta(seconds=5)


@dataclass
class WeatherInForce:
    """The newest documents of the Weather Service, as they arrived."""

    forecast: Forecast | None = None
    observed: Observation | None = None
    alerts_document: ParsedWeather | None = None

    def take(self, parsed: ParsedWeather) -> None:
        """Let a document replace the one of its kind, unless what is in force is newer."""
        if parsed.forecast is not None:
            if self.forecast is None or self.forecast.fetched_at <= parsed.forecast.fetched_at:
                self.forecast = parsed.forecast
        elif parsed.observation is not None:
            if self.observed is None or self.observed.at <= parsed.observation.at:
                self.observed = parsed.observation
        else:
            self.alerts_document = parsed

    def alerts(self, now: datetime, zone: ZoneInfo) -> tuple[str, ...] | None:
        """Names of the alerts, as they were told today; None, unknown, when no such document came today."""
        document = self.alerts_document
        if document is None or document.fetched_at.astimezone(zone).date() != now.astimezone(zone).date():
            return None
        return document.alerts


@dataclass
class Gateway:
    """One gateway at work. Tasks meet in its store and through its signals."""

    settings: Settings
    clock: Clock
    store: Store
    rulebook: Rulebook
    tariffs: Mapping[str, Tariff]
    switchgear: Mapping[str, Switchgear]
    limits: Mapping[str, Limits]
    links: Mapping[str, MeterLink]
    head_end: HeadEndLink
    orders_waiting: asyncio.Event = field(default_factory=asyncio.Event)
    outbox_waiting: asyncio.Event = field(default_factory=asyncio.Event)
    facts_changed: asyncio.Event = field(default_factory=asyncio.Event)
    reads_saved: asyncio.Event = field(default_factory=asyncio.Event)
    mail_waiting: asyncio.Event = field(default_factory=asyncio.Event)
    displays_waiting: asyncio.Event = field(default_factory=asyncio.Event)
    notices_for: set[str] = field(default_factory=set)  # channels of our own for which a transaction left notices
    weather: WeatherInForce = field(default_factory=WeatherInForce)
    payments_feed_seen_at: datetime | None = None
    under_command: set[str] = field(default_factory=set)
    serials: dict[str, str] = field(default_factory=dict)  # by meter, the serial number in force, where one is
    questioned: set[str] = field(default_factory=set)  # meters for which another one answered
    commanded_at: dict[str, float] = field(default_factory=dict)  # by the loop's clock: what was seen before is old
    deciding: bool = False  # many accounts are being decided: their disconnects wait until all are
    polls_missed: dict[str, int] = field(default_factory=dict)  # by meter: polls in vain since it last answered
    switch_journal: SwitchJournal | None = None
    restored_at: datetime | None = None  # the database was put back then, and the head end has not sent all again
    message_held: bool = False  # a message of the head end waits because the disk is full
    latest_recorded: datetime | None = None  # when the clock was trusted last: it may not be before that
    clock_in_doubt: bool = True  # until it was found trusted, and since it last was not plausible
    reads_mended: int = 0  # how often what validation goes by changed: whoever remembers a read looks again
    progress: dict[str, float] = field(default_factory=dict)

    def clock_trusted(self) -> bool:
        """Whether a disconnect may rest on the clock: it is synchronised, and nothing speaks against it."""
        trusted = self.clock_plausible() and self.clock.trusted()
        if trusted:
            self.latest_recorded = self.clock.now()
        return trusted

    def clock_plausible(self) -> bool:
        """Whether nothing speaks against the clock: no step lately, and not before an instant when it was trusted."""
        now = self.clock.now()
        behind = self.latest_recorded is not None and now < self.latest_recorded - BACKWARDS_MAX
        plausible = self.clock.steady() and not behind
        self.clock_in_doubt = self.clock_in_doubt or not plausible
        return plausible

    def days_may_close(self) -> bool:
        """Whether a civil day may be called over: the clock is trusted, and what a wrong one left has been mended."""
        return self.clock_trusted() and not self.clock_in_doubt

    def circumstances(self) -> Circumstances:
        """What holds for the whole gateway now."""
        now = self.clock.now()
        if self.restored_at is not None or self.message_held:
            self.payments_feed_seen_at = None  # money was paid that is not on these books
        elif self.head_end.connected:
            self.payments_feed_seen_at = now  # what the head end sends reaches us
        limits = self.settings.site.enforcement
        return Circumstances(
            now=now,
            zone=self.settings.zone,
            clock_trusted=self.clock_trusted(),
            payments_feed_seen_at=self.payments_feed_seen_at,
            shadow_mode=limits.shadow_mode,
            limits=limits.limits,
            forecast=self.weather.forecast,
            observed=self.weather.observed,
            alerts=self.weather.alerts(now, self.settings.zone),
        )

    def rule(
        self, database: sqlite3.Connection, account_id: str, around: Circumstances, asked: Asked | None = None
    ) -> Ruling:
        """Decide about an account inside a transaction; ``asked``: a person wants a disconnect."""
        return rule_on(database, account_id, self.rulebook, self.switchgear, around, asked)

    def rule_many(
        self, database: sqlite3.Connection, account_ids: Sequence[str], around: Circumstances
    ) -> list[Ruling]:
        """Decide about accounts inside a transaction; the rulings, without those that just stand (``rule_on_many``)."""
        return rule_on_many(database, account_ids, self.rulebook, self.switchgear, around)

    async def record(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Commit ``work``, then wake the tasks that look for what it may have left: orders and messages."""
        result = await self.store.write(work)
        self.orders_waiting.set()
        self.outbox_waiting.set()
        while self.notices_for:
            (self.mail_waiting if self.notices_for.pop() == "email" else self.displays_waiting).set()
        return result

    def expect_serial(self, meter_id: str, serial: str) -> None:
        """From now on the meter of this id is the one with this serial number."""
        self.serials[meter_id] = serial
        if meter_id in self.links:
            self.links[meter_id].expect_serial(serial)

    def is_other(self, meter_id: str, serial: str | None) -> bool:
        """Whether a serial number tells that another meter answered for this one."""
        return serial is not None and self.serials.get(meter_id, serial) != serial

    @contextmanager
    def commanding(self, meter_id: str) -> Iterator[None]:
        """While this lasts, only the command's own read-backs say where a meter's relay is."""
        self.under_command.add(meter_id)
        try:
            yield
        finally:
            self.under_command.discard(meter_id)
            self.commanded_at[meter_id] = asyncio.get_running_loop().time()

    async def outlives_the_database(self, sent: SentCommand) -> bool:
        """Write a command that is about to go out to the switch journal; False where the disk takes it no more."""
        if self.switch_journal is None:
            return True
        try:
            await asyncio.to_thread(self.switch_journal.note, sent)
        except OSError:
            return False
        return True

    def made_progress(self, task: str) -> None:
        """Tell the watchdog that a task is alive."""
        self.progress[task] = asyncio.get_running_loop().time()

    async def restore(self) -> None:
        """Take up what was known before the last stop: the latest instant on record and the weather in force.

        That the daemon was away is written down, and by which rules it decides from now on.
        """

        self.serials = {meter.id: meter.serial for meter in self.settings.site.meters if meter.serial is not None}

        def stored(database: sqlite3.Connection) -> tuple[datetime | None, WeatherInForce]:
            past.keep_rules(database, self.rulebook.digest, self.rulebook.texts, self.clock.now())
            for meter_id, serial in registers.exchanged_serials(database).items():
                if meter_id in self.serials:
                    self.expect_serial(meter_id, serial)
            self.questioned = {one.meter_id for one in conditions.in_force(database) if one.condition in QUESTIONED}
            known = records.state(database)
            self.restored_at = copies.restored_at(known)
            if "heartbeat" not in known:
                return None, stored_weather(database)
            last_sign = known["heartbeat"][1]
            past.note_stop(database, last_sign)
            trusted = known.get("trusted_at")
            return None if trusted is None else datetime.fromisoformat(trusted[0]), stored_weather(database)

        self.latest_recorded, self.weather = await self.store.write(stored)


def stored_weather(database: sqlite3.Connection) -> WeatherInForce:
    """The weather in force, read again from the documents that were kept."""
    weather = WeatherInForce()
    for kind in DocumentKind:
        document = records.weather_document(database, kind.value)
        if document is not None:
            received_at, body = document
            with contextlib.suppress(WeatherRejected):  # an older version took it; the next document replaces it
                weather.take(parse_document(body, received_at))
    return weather
