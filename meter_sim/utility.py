"""The other side of a simulated gateway: a head end, its customers, and the weather they live in."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from edge.clock import Clock, pause
from meter_sim import weather_documents
from meter_sim.events import Recorder
from protocols.link import HeadEndMessage, LinkDown

FORECAST_HOURS = 156
OBSERVED_EVERY = timedelta(hours=1)
FETCHED_AT = (time(6, 10), time(12, 10), time(18, 10))


class InProcessHeadEnd:
    """A head-end link without a broker: messages queue while the line is down, notices reach their customers."""

    def __init__(self, clock: Clock, recorder: Recorder, on_weather: Callable[[bytes], None]) -> None:
        self._clock = clock
        self._on_weather = on_weather
        self._recorder = recorder
        self._queue: asyncio.Queue[HeadEndMessage] = asyncio.Queue()
        self._up = asyncio.Event()
        self._up.set()
        self.customers: dict[str, Customer] = {}

    @property
    def connected(self) -> bool:
        """Whether the line to the head end is up."""
        return self._up.is_set()

    async def messages(self) -> AsyncIterator[HeadEndMessage]:
        """What was said, in order, once the line is up."""
        while True:
            message = await self._queue.get()
            await self._up.wait()
            if message.kind == "weather":
                self._on_weather(message.payload)
            yield message

    async def acknowledge(self, message: HeadEndMessage) -> None:
        """Nothing to do: a message is taken from the queue once."""

    async def publish(self, kind: str, payload: bytes) -> None:
        """Take what the gateway says. Raises LinkDown while the line is down."""
        if not self.connected:
            raise LinkDown("the broker is away")
        if kind == "notices":
            self._deliver(json.loads(payload))

    def _deliver(self, notice: dict[str, Any]) -> None:
        now = self._clock.now()
        self._recorder.tell(now, "notice", account_id=notice["account_id"], type=notice["type"])
        self.say("notice-receipts", {"notice_id": notice["notice_id"], "delivered_at": now.isoformat()})
        if customer := self.customers.get(notice["account_id"]):
            customer.hear(notice["type"])

    def say(self, kind: str, content: Any) -> None:
        """Send the gateway a message."""
        self._queue.put_nowait(HeadEndMessage(kind, json.dumps(content).encode(), False, None))

    def cut_line(self) -> None:
        """The broker goes away."""
        self._up.clear()

    def restore_line(self) -> None:
        """The broker is back."""
        self._up.set()


@dataclass(frozen=True, slots=True)
class Habit:
    """How a customer pays: every so many days, on which notices and after how long; amounts in whole dollars."""

    name: str
    every_days: int | None
    on_notices: tuple[str, ...]
    after_minutes: tuple[int, int]
    dollars: tuple[int, int]
    protected_from_start: bool = False
    protected_after_cut: bool = False


HABITS = (
    Habit("weekly", 7, (), (0, 0), (15, 40)),
    Habit("when told", None, ("zero",), (60, 2000), (10, 40)),
    Habit("when dark", None, ("disconnected",), (2, 600), (15, 40)),
    Habit("late", None, ("disconnected",), (600, 5000), (5, 25)),
    Habit("never", None, (), (0, 0), (0, 0)),
    Habit("medical", None, (), (0, 0), (0, 0), protected_from_start=True),
    Habit("told when dark", None, (), (0, 0), (0, 0), protected_after_cut=True),
    Habit("small steps", None, ("disconnected", "zero"), (5, 300), (1, 6)),
)


class Customer:
    """Pays by its habit; every chance comes from its own seeded source."""

    def __init__(
        self,
        account_id: str,
        habit: Habit,
        chance: random.Random,
        head_end: InProcessHeadEnd,
        clock: Clock,
        duplicates: float,
    ) -> None:
        self.account_id = account_id
        self.habit = habit
        self._chance = chance
        self._head_end = head_end
        self._clock = clock
        self._duplicates = duplicates
        self._heard = asyncio.Event()
        self._last_heard = ""
        self._payments = 0
        self.duplicated = 0

    def hear(self, notice_type: str) -> None:
        """A notice has come."""
        habit = self.habit
        if notice_type in habit.on_notices or (habit.protected_after_cut and notice_type == "disconnected"):
            self._last_heard = notice_type
            self._heard.set()

    async def live(self) -> None:
        """Pay and fall ill for as long as the world lasts."""
        if self.habit.protected_from_start:
            self._protect()
        while True:
            if self.habit.every_days is not None:
                await pause(self.habit.every_days * 86_400 + self._chance.randint(-20_000, 20_000))
                self._pay()
                continue
            await self._heard.wait()
            self._heard.clear()
            if self.habit.protected_after_cut:
                await pause(self._chance.randint(600, 40_000))
                self._protect()
                continue
            await pause(self._chance.randint(*self.habit.after_minutes) * 60 + self._chance.randint(0, 59))
            self._pay()

    def _protect(self) -> None:
        content = {"account_id": self.account_id, "kind": "medical", "protected": True}
        self._head_end.say("protected", content)

    def _pay(self) -> None:
        self._payments += 1
        content = {
            "payment_id": f"{self.account_id}-P{self._payments}",
            "account_id": self.account_id,
            "amount": f"{self._chance.randint(*self.habit.dollars)}.00",
            "paid_at": self._clock.now().isoformat(),
            "channel": "kiosk",
            "source": "customer",
        }
        self._head_end.say("payments", content)
        if self._duplicates and self._chance.random() < self._duplicates:
            self.duplicated += 1
            self._head_end.say("payments", content)


class WeatherService:
    """Tells the head end's forecasts in the morning and during the day, observations every hour, alerts beside them."""

    def __init__(self, seed: int, zone: ZoneInfo, head_end: InProcessHeadEnd, clock: Clock) -> None:
        self._seed = seed
        self._zone = zone
        self._head_end = head_end
        self._clock = clock

    async def serve(self) -> None:
        """Tell the weather for as long as the world lasts."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self._next_fetch, self._tell_forecast))
            tasks.create_task(self._repeat(lambda now: now + OBSERVED_EVERY, self._tell_observation))

    async def _repeat(self, following: Callable[[datetime], datetime], tell: Callable[[datetime], None]) -> None:
        tell(self._clock.now())
        while True:
            await self._clock.wait(following(self._clock.now()))
            tell(self._clock.now())

    def _next_fetch(self, now: datetime) -> datetime:
        today = now.astimezone(self._zone).date()
        for ahead in range(2):
            for clock in FETCHED_AT:
                at = datetime.combine(today + timedelta(days=ahead), clock, self._zone)
                if at > now:
                    return at
        raise AssertionError("a day without a fetch")

    def _tell_forecast(self, now: datetime) -> None:
        first = now.replace(minute=0, second=0, microsecond=0)
        hours = [first + timedelta(hours=ahead) for ahead in range(FORECAST_HOURS)]
        temperatures = [round(weather_documents.temperature_f(self._seed, hour)) for hour in hours]
        humidity = [weather_documents.humidity_percent(self._seed, hour) for hour in hours]
        self._head_end.say("weather", weather_documents.hourly_forecast(now, first, temperatures, humidity))
        self._head_end.say("weather", weather_documents.alerts(now, []))

    def _tell_observation(self, now: datetime) -> None:
        temperature = round(weather_documents.temperature_f(self._seed, now), 1)
        humidity = weather_documents.humidity_percent(self._seed, now)
        self._head_end.say("weather", weather_documents.observation(now, temperature, humidity))
