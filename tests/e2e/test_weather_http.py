"""The fetcher against a real HTTP server on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from edge.core.weather import DocumentKind
from edge.weather_feed import parse_document
from edge.weather_http import WeatherFetcher, WeatherPlace, next_due, next_forecast_due
from meter_sim.weather_documents import alerts, hourly_forecast, observation, raw_grid

CHICAGO = ZoneInfo("America/Chicago")
MORNING = datetime(2026, 1, 5, 6, tzinfo=CHICAGO)
PLACE = WeatherPlace(grid="TSA/41,102", station="KTUL", zone="OKZ060")
HOURLY, GRID = "/gridpoints/TSA/41,102/forecast/hourly", "/gridpoints/TSA/41,102"
LATEST, ACTIVE = "/stations/KTUL/observations/latest", "/alerts/active/zone/OKZ060"
HANG = b""


def answer(document: object, status: str = "200 OK", *headers: str) -> bytes:
    body = json.dumps(document).encode()
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@dataclass
class Service:
    """Answers each path with fixed bytes and remembers what was asked."""

    base_url: str = ""
    answers: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1]
        self.asked.append(path)
        self.heads.append(head)
        payload = self.answers.get(path, answer({"title": "Not Found", "status": 404}, "404 Not Found"))
        if payload == HANG:
            await reader.read()  # until the other side gives up
        else:
            writer.write(payload)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Service]:
    service = Service()
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    service.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield service


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with listening() as running:
        running.answers = {
            HOURLY: answer(hourly_forecast(MORNING, MORNING, [40.0])),
            GRID: answer(raw_grid(MORNING, MORNING, [40.0] * 48)),
            LATEST: answer(observation(MORNING, 41.0)),
            ACTIVE: answer(alerts(MORNING, ["Wind Advisory"])),
        }
        yield running


class JumpingClock:
    """A clock that stands still until somebody waits for it."""

    def __init__(self, start: datetime, end: datetime | None = None) -> None:
        self._now = start.astimezone(UTC)
        self._end = end

    def now(self) -> datetime:
        return self._now

    def trusted(self) -> bool:
        return True

    def at_wall_pace(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def wait(self, until: datetime, event: asyncio.Event | None = None) -> bool:
        self._now = max(self._now, until)
        if self._end is not None and self._now >= self._end:
            raise EndOfTest
        return False


class EndOfTest(Exception):
    pass


@dataclass
class Site:
    """One fetcher, what it delivered and what it told."""

    fetcher: WeatherFetcher
    delivered: list[tuple[DocumentKind, datetime]]
    told: list[str]

    async def deliver(self, payload: bytes, received_at: datetime) -> None:
        self.delivered.append((parse_document(payload, received_at).kind, received_at))


@pytest.fixture
async def site(service: Service) -> AsyncIterator[Callable[..., Site]]:
    async with httpx.AsyncClient() as client:

        def make(place: WeatherPlace = PLACE, **options: Any) -> Site:
            told: list[str] = []
            options = {"base_url": service.base_url, "tell": told.append, "user_agent": "test bench"} | options
            return Site(WeatherFetcher(client, place, CHICAGO, **options), [], told)

        yield make


async def test_fetches_all_three_documents(service: Service, site: Callable[..., Site]) -> None:
    here = site()
    clock = JumpingClock(MORNING)
    due = await here.fetcher.fetch_due(clock, here.deliver)

    assert service.asked == [HOURLY, LATEST, ACTIVE]
    kinds = [DocumentKind.HOURLY_FORECAST, DocumentKind.OBSERVATION, DocumentKind.ALERTS]
    assert here.delivered == [(kind, MORNING) for kind in kinds]
    assert here.told == []
    assert due == MORNING + timedelta(minutes=10)
    assert all("User-Agent: test bench" in head for head in service.heads)


async def test_a_day_goes_by_its_schedule(service: Service, site: Callable[..., Site]) -> None:
    here = site()
    start = MORNING - timedelta(hours=6, minutes=30)
    service.answers[HOURLY] = answer(hourly_forecast(MORNING + timedelta(hours=9), MORNING, [40.0]))
    with pytest.raises(EndOfTest):
        await here.fetcher.run(JumpingClock(start, start + timedelta(days=1)), here.deliver)

    forecasts = [at for kind, at in here.delivered if kind is DocumentKind.HOURLY_FORECAST]
    assert MORNING in forecasts
    assert all(later - earlier <= timedelta(hours=1) for earlier, later in pairwise(forecasts))
    assert service.asked.count(HOURLY) <= 26
    assert service.asked.count(LATEST) == 72
    assert service.asked.count(ACTIVE) == 144


async def test_in_the_morning_it_insists_on_a_forecast_of_the_morning(
    service: Service, site: Callable[..., Site]
) -> None:
    here = site(WeatherPlace(grid="TSA/41,102"))
    service.answers[HOURLY] = answer(hourly_forecast(MORNING - timedelta(minutes=4), MORNING, [40.0]))
    clock = JumpingClock(MORNING)
    assert await here.fetcher.fetch_due(clock, here.deliver) == MORNING + timedelta(minutes=10)

    await clock.wait(MORNING + timedelta(minutes=10))
    service.answers[HOURLY] = answer(hourly_forecast(MORNING + timedelta(minutes=9), MORNING, [40.0]))
    assert await here.fetcher.fetch_due(clock, here.deliver) == MORNING + timedelta(minutes=70)


async def test_a_point_is_turned_into_its_grid_cell(service: Service, site: Callable[..., Site]) -> None:
    here = site(WeatherPlace(point="36.154,-95.9928"))
    service.answers["/points/36.154,-95.9928"] = answer(
        {"properties": {"gridId": "TSA", "gridX": "41", "gridY": 102, "forecastHourly": "https://example.invalid/"}}
    )
    clock = JumpingClock(MORNING)
    await here.fetcher.fetch_due(clock, here.deliver)
    assert service.asked == ["/points/36.154,-95.9928", HOURLY]

    await clock.wait(MORNING + timedelta(hours=1))
    await here.fetcher.fetch_due(clock, here.deliver)
    assert service.asked[2:] == [HOURLY]


@pytest.mark.parametrize("properties", [None, {}, {"gridId": "../x", "gridX": 1, "gridY": 2}, {"gridId": 5}])
async def test_a_point_without_a_grid_cell(service: Service, site: Callable[..., Site], properties: object) -> None:
    here = site(WeatherPlace(point="1,2"))
    service.answers["/points/1,2"] = answer({"properties": properties})
    await here.fetcher.fetch_due(JumpingClock(MORNING), here.deliver)
    assert here.told == ["Weather Service at 127.0.0.1, hourly forecast: the answer for the point names no grid cell"]


CUT = answer(observation(MORNING, 41.0))[:300]
FAILURES = [
    (answer({}, "503 Service Unavailable"), "answered HTTP 503 Service Unavailable"),
    (answer({}, "404 Not Found"), "answered HTTP 404 Not Found"),
    (answer({}, "304 Not Modified"), "answered HTTP 304 Not Modified"),
    (answer({"no": "weather"}), "no hourly forecast, raw grid, observation or alert list"),
    (answer(alerts(MORNING, [])), "asked for observation, got a document of kind alerts"),
    (b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{"a":', "not whole, valid JSON"),
    (CUT, f"{LATEST} failed: "),
    (b"who goes there?\r\n\r\n", f"{LATEST} failed: "),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Encoding: gzip\r\n\r\nnot gzip!", f"{LATEST} failed: "),
    (answer({}, "301 Moved", "Location: http://example.invalid/latest"), "redirects to another host, example.invalid"),
    (answer({}, "301 Moved", f"Location: {LATEST}"), "redirects more than 3 times"),
    (answer({}, "301 Moved", "Location: http://host:port/"), f"{LATEST} failed: "),
    (answer({}, "301 Moved"), "answered HTTP 301 Moved"),
]


@pytest.mark.parametrize(("payload", "sentence"), FAILURES)
async def test_a_failure_is_told_and_holds_up_nothing(
    service: Service, site: Callable[..., Site], payload: bytes, sentence: str
) -> None:
    here = site()
    service.answers[LATEST] = payload
    due = await here.fetcher.fetch_due(JumpingClock(MORNING), here.deliver)

    assert [kind for kind, _ in here.delivered] == [DocumentKind.HOURLY_FORECAST, DocumentKind.ALERTS]
    (told,) = here.told
    assert sentence in told
    assert "\n" not in told
    assert due == MORNING + timedelta(minutes=1)


async def test_a_server_that_never_answers_is_left(service: Service, site: Callable[..., Site]) -> None:
    here = site(timeout_seconds=0.2)
    service.answers[LATEST] = HANG
    await here.fetcher.fetch_due(JumpingClock(MORNING), here.deliver)
    assert here.told == [f"Weather Service at 127.0.0.1, observation: {LATEST} did not answer within 0.2 s"]
    assert len(here.delivered) == 2


async def test_a_server_that_is_not_there(site: Callable[..., Site]) -> None:
    async with listening() as closed:
        pass
    here = site(base_url=closed.base_url)
    due = await here.fetcher.fetch_due(JumpingClock(MORNING), here.deliver)
    assert len(here.told) == 3
    assert here.delivered == []
    assert due == MORNING + timedelta(minutes=1)


async def test_redirects_within_the_host_are_followed(service: Service, site: Callable[..., Site]) -> None:
    here = site(WeatherPlace(station="KTUL"))
    service.answers["/new"] = service.answers[LATEST]
    service.answers[LATEST] = answer({}, "301 Moved Permanently", "Location: /new")
    await here.fetcher.fetch_due(JumpingClock(MORNING), here.deliver)
    assert service.asked == [LATEST, "/new"]
    assert here.delivered == [(DocumentKind.OBSERVATION, MORNING)]


async def test_the_raw_grid_stands_in_for_a_failing_hourly_forecast(
    service: Service, site: Callable[..., Site]
) -> None:
    here = site(WeatherPlace(grid="TSA/41,102"))
    service.answers[HOURLY] = answer({}, "500 Internal Server Error")
    clock = JumpingClock(MORNING)
    await clock.wait(await here.fetcher.fetch_due(clock, here.deliver))
    await here.fetcher.fetch_due(clock, here.deliver)
    assert service.asked == [HOURLY, GRID]
    assert [kind for kind, _ in here.delivered] == [DocumentKind.RAW_GRID]


async def test_a_clock_that_is_put_back_does_not_stop_the_fetching(service: Service, site: Callable[..., Site]) -> None:
    here = site(WeatherPlace(station="KTUL"))
    await here.fetcher.fetch_due(JumpingClock(MORNING), here.deliver)
    await here.fetcher.fetch_due(JumpingClock(MORNING - timedelta(days=30)), here.deliver)
    assert service.asked == [LATEST, LATEST]


async def test_a_base_url_with_a_path_is_kept(service: Service, site: Callable[..., Site]) -> None:
    here = site(WeatherPlace(station="KTUL"), base_url=f"{service.base_url}/mirror/")
    await here.fetcher.fetch_due(JumpingClock(MORNING), here.deliver)
    assert service.asked == [f"/mirror{LATEST}"]


async def test_a_place_needs_something_to_fetch(site: Callable[..., Site]) -> None:
    with pytest.raises(ValueError, match="at least one of"):
        site(WeatherPlace())


def test_pauses_after_failures_double_up_to_a_quarter_of_an_hour() -> None:
    pauses = [next_due(MORNING, failures, timedelta(minutes=20)) - MORNING for failures in (0, 1, 2, 3, 4, 5, 6, 999)]
    assert [pause // timedelta(minutes=1) for pause in pauses] == [20, 1, 2, 4, 8, 15, 15, 15]


@pytest.mark.parametrize(
    ("attempt", "failures", "fetched_at", "due"),
    [
        ("05:30", 0, "05:30", "06:00"),
        ("04:00", 0, None, "05:00"),
        ("06:00", 0, "05:58", "06:10"),
        ("06:00", 0, "06:00", "07:00"),
        ("07:55", 0, None, "08:05"),
        ("08:00", 0, "05:58", "09:00"),
        ("06:30", 5, None, "06:40"),
        ("05:55", 5, None, "06:00"),
        ("12:00", 5, "11:00", "12:15"),
    ],
)
def test_the_mornings_rule(attempt: str, failures: int, fetched_at: str | None, due: str) -> None:
    def at(text: str) -> datetime:
        return datetime.fromisoformat(f"2026-01-05T{text}").replace(tzinfo=CHICAGO).astimezone(UTC)

    assert next_forecast_due(at(attempt), failures, at(fetched_at) if fetched_at else None, CHICAGO) == at(due)
