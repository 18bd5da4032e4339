"""The other side of a simulated gateway: a head end without a broker, and the weather that it passes on."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from meter_sim import weather_documents
from meter_sim.events import Recorder
from meter_sim.virtual_time import CivilClock
from protocols.link import HeadEndMessage, LinkDown, LinkTimeout

FORECAST_HOURS = 156
OBSERVED_EVERY = timedelta(hours=1)
FETCHED_AT = (time(6, 10), time(12, 10), time(18, 10))
DOCUMENTS_OF_A_DAY = {"forecast": 3, "observation": 24}
SPOILT = ("absurd", "elsewhere", "gaps", "yesterday", "empty", "silent")
ELSEWHERE_COLDER_F = 60
HEAT_ADVISORY_FROM_F = 105.0  # the Weather Service's usual criterion in Oklahoma

Hear = Callable[[str, str], None]


class InProcessHeadEnd:
    """A head-end link with a broker's manners, without one.

    Messages stay until they are acknowledged: after an outage, or a restart of the daemon, those that were not come
    again, in order. Notices reach their customers at once and are answered with a receipt. ``step`` is told before and
    after it takes a publication or an acknowledgement.
    """

    def __init__(
        self, clock: CivilClock, recorder: Recorder, on_weather: Callable[[bytes], None], step: Callable[[str], None]
    ) -> None:
        self._step = step
        self._clock = clock
        self._on_weather = on_weather
        self._recorder = recorder
        self._kept: list[HeadEndMessage] = []  # not acknowledged yet
        self._handed_over = 0  # how many of them this session has had
        self._said = 0
        self._news = asyncio.Event()
        self._outages = 0
        self._delivered: dict[str, None] = {}
        self.listeners: list[Hear] = []
        self.loses_confirmation: Callable[[], bool] = lambda: False
        self.payments: dict[str, dict[str, Any]] = {}  # every one that was said, by its id
        self.refused: set[str] = set()  # payments that the gateway would not take

    @property
    def connected(self) -> bool:
        """Whether the line to the head end is up."""
        return not self._outages

    async def messages(self) -> AsyncIterator[HeadEndMessage]:
        """A session: what was said and not acknowledged, in order, and then what comes."""
        self._handed_over = 0
        while True:
            while self.connected and self._handed_over < len(self._kept):
                message = self._kept[self._handed_over]
                self._handed_over += 1
                if message.kind == "weather":
                    self._on_weather(message.payload)
                yield message
            self._news.clear()
            await self._news.wait()

    async def acknowledge(self, message: HeadEndMessage) -> None:
        """The message need not come again; without effect while the line is down."""
        self._step("before acknowledgement")
        if self.connected and message in self._kept[: self._handed_over]:
            self._kept.remove(message)
            self._handed_over -= 1
        self._step("after acknowledgement")

    async def publish(self, kind: str, payload: bytes) -> None:
        """Take what the gateway says. Raises LinkDown while the line is down, LinkTimeout where its answer is lost."""
        self._step("before publication")
        if not self.connected:
            raise LinkDown("the broker is away")
        if kind == "notices":
            self._deliver(json.loads(payload))
        elif kind == "receipts" and (receipt := json.loads(payload))["status"] == "refused":
            self.refused.add(receipt["payment_id"])
        self._step("after publication")
        if self.loses_confirmation():
            raise LinkTimeout("the broker did not confirm")

    def _deliver(self, notice: dict[str, Any]) -> None:
        if notice["notice_id"] in self._delivered:
            return  # the customer has it; it was only sent again
        self._delivered[notice["notice_id"]] = None
        now = self._clock.now()
        self._recorder.tell(now, "notice", account_id=notice["account_id"], type=notice["type"])
        self.say("notice-receipts", {"notice_id": notice["notice_id"], "delivered_at": now.isoformat()})
        for hear in self.listeners:
            hear(notice["account_id"], notice["type"])

    def say(self, kind: str, content: Any) -> None:
        """Send the gateway a message."""
        self._said += 1
        if kind == "payments":
            self.payments[content["payment_id"]] = content
        self._kept.append(HeadEndMessage(kind, json.dumps(content).encode(), False, self._said))
        self._news.set()

    def unheard(self, kind: str) -> list[Any]:
        """What of a kind the gateway has not acknowledged."""
        return [json.loads(message.payload) for message in self._kept if message.kind == kind]

    def cut_line(self) -> None:
        """The broker goes away."""
        self._outages += 1

    def restore_line(self) -> None:
        """The broker is back, with what was not acknowledged."""
        self._outages -= 1
        self._handed_over = 0
        self._news.set()


class WeatherService:
    """Tells forecasts in the morning and during the day, observations every hour, alerts beside the forecasts.

    ``spoilt``: how what it tells is wrong at present, one of SPOILT, or empty.
    """

    def __init__(self, seed: int, zone: ZoneInfo, head_end: InProcessHeadEnd, clock: CivilClock) -> None:
        self._seed = seed
        self._zone = zone
        self._head_end = head_end
        self._clock = clock
        self.spoilt = ""
        self._told: dict[str, list[Any]] = {"forecast": [], "observation": []}

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
        seen = [self._spoil(temperature, number) for number, temperature in enumerate(temperatures)]
        self._tell("forecast", weather_documents.hourly_forecast(now, first, seen, humidity))
        hot = max(temperatures[:24]) >= HEAT_ADVISORY_FROM_F
        self._head_end.say("weather", weather_documents.alerts(now, ["Heat Advisory"] if hot else []))

    def _tell_observation(self, now: datetime) -> None:
        temperature = round(weather_documents.temperature_f(self._seed, now), 1)
        humidity = weather_documents.humidity_percent(self._seed, now)
        self._tell("observation", weather_documents.observation(now, self._spoil(temperature, 0), humidity))

    def _spoil(self, temperature: float, number: int) -> float | None:
        match self.spoilt:
            case "absurd":
                return 999
            case "elsewhere":
                return temperature - ELSEWHERE_COLDER_F
            case "gaps" if number % 7 == 0:
                return None
        return temperature

    def _tell(self, kind: str, document: dict[str, Any]) -> None:
        told = self._told[kind]
        told.append(document)
        del told[: -DOCUMENTS_OF_A_DAY[kind] - 1]
        if self.spoilt == "yesterday":
            document = told[0]
        elif self.spoilt == "empty":
            document = {**document, "properties": {**document["properties"], "periods": [], "temperature": None}}
        if self.spoilt != "silent":
            self._head_end.say("weather", document)
