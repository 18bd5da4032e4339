"""Fetches weather documents from the Weather Service's API (or a mirror of it), on a schedule, politely.

The forecast is fetched hourly and, whatever happened before, at 06:00 local time: a utility must have the morning's
forecast between 6:00 and 8:00 (domain-rules R16), so until it has one the fetcher asks every ten minutes. The latest
observation may be two hours old at most and is fetched every 20 minutes; alerts every 10. After a failure the pauses
double from one minute up to 15.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo

import httpx

from edge.clock import Clock
from edge.core.weather import DocumentKind
from edge.settings import WEATHER_SERVICE
from edge.weather_feed import MAX_BYTES, WeatherRejected, parse_document

MORNING_STARTS, MORNING_ENDS = time(6), time(8)
MORNING_RETRY = timedelta(minutes=10)
FORECAST_EVERY = timedelta(hours=1)
OBSERVATION_EVERY = timedelta(minutes=20)
ALERTS_EVERY = timedelta(minutes=10)
BACK_OFF_FIRST, BACK_OFF_MOST = timedelta(minutes=1), timedelta(minutes=15)
REDIRECTS_MOST = 3

Deliver = Callable[[bytes, datetime], Awaitable[None]]
"""Takes a whole document and the instant of its arrival."""


class FetchFailed(Exception):
    """One document could not be fetched; the text is one sentence for a person."""


@dataclass(frozen=True, slots=True)
class WeatherPlace:
    """Whose weather: the grid cell (or the point that lies in it), the station and the forecast zone for alerts.

    ``grid`` is such as ``TSA/41,102``, ``point`` such as ``36.1540,-95.9928``, ``station`` such as ``KTUL``, ``zone``
    such as ``OKZ060``. What is None is not fetched.
    """

    grid: str | None = None
    point: str | None = None
    station: str | None = None
    zone: str | None = None


@dataclass(slots=True)
class _Feed:
    """One document's schedule."""

    kinds: tuple[DocumentKind, ...]
    every: timedelta
    due: datetime | None = None  # None: at once
    failures: int = 0
    fetched_at: datetime | None = None  # of the newest document, by its own account


def next_due(attempt: datetime, failures: int, every: timedelta) -> datetime:
    """When to ask again after an ``attempt``: ``every`` later, or after ``failures`` in a row a growing pause later."""
    if not failures:
        return attempt + every
    return attempt + min(BACK_OFF_FIRST * (1 << min(failures - 1, 10)), BACK_OFF_MOST)


def next_forecast_due(attempt: datetime, failures: int, fetched_at: datetime | None, zone: tzinfo) -> datetime:
    """As ``next_due``, with the morning's rule (domain-rules R16).

    Between 06:00 and 08:00 local time it is ten minutes later until the forecast in hand was made at 06:00 or later
    (``fetched_at``); and the next 06:00 is never slept through.
    """
    local = attempt.astimezone(zone)
    morning = datetime.combine(local.date(), MORNING_STARTS, zone)
    due = next_due(attempt, failures, FORECAST_EVERY)
    if morning <= local and local.time() < MORNING_ENDS and (fetched_at is None or fetched_at < morning):
        return min(due, attempt + MORNING_RETRY)
    if local >= morning:
        morning = datetime.combine(local.date() + timedelta(days=1), MORNING_STARTS, zone)
    return min(due, morning.astimezone(attempt.tzinfo))


class WeatherFetcher:
    """Asks for a place's forecast, latest observation and active alerts and delivers the documents as they came.

    ``client`` is an ``httpx.AsyncClient`` of the caller, who closes it. Only whole documents of the right kind are
    delivered; each failure is told to ``tell`` in one sentence and raises nothing. Redirects are followed within the
    host of ``base_url`` only.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        place: WeatherPlace,
        zone: tzinfo,
        *,
        user_agent: str,
        base_url: str = WEATHER_SERVICE,
        tell: Callable[[str], None],
        timeout_seconds: float = 30.0,
    ) -> None:
        self._client = client
        self._place = place
        self._zone = zone
        self._base = httpx.URL(base_url.rstrip("/"))
        self._headers = {"User-Agent": user_agent, "Accept": "application/geo+json"}
        self._tell = tell
        self._timeout_seconds = timeout_seconds
        self._grid = place.grid
        self._feeds: list[_Feed] = []
        if place.grid or place.point:
            self._feeds.append(_Feed((DocumentKind.HOURLY_FORECAST, DocumentKind.RAW_GRID), FORECAST_EVERY))
        if place.station:
            self._feeds.append(_Feed((DocumentKind.OBSERVATION,), OBSERVATION_EVERY))
        if place.zone:
            self._feeds.append(_Feed((DocumentKind.ALERTS,), ALERTS_EVERY))
        if not self._feeds:
            raise ValueError("a place needs at least one of grid, point, station and zone")

    async def run(self, clock: Clock, deliver: Deliver) -> None:
        """Fetch what is due and wait for the next, for ever."""
        while True:
            await clock.wait(await self.fetch_due(clock, deliver))

    async def fetch_due(self, clock: Clock, deliver: Deliver) -> datetime:
        """Fetch, one after the other, the documents that are due now; the instant when the next one is."""
        for feed in self._feeds:
            now = clock.now()
            # A due time further away than a period was set by a clock that has been put back since.
            if feed.due is None or feed.due <= now or feed.due > now + feed.every:
                await self._serve(feed, clock, deliver)
        return min(feed.due for feed in self._feeds if feed.due is not None)

    async def _serve(self, feed: _Feed, clock: Clock, deliver: Deliver) -> None:
        attempt = clock.now()
        try:
            payload = await self._document(feed)
            received_at = clock.now()
            parsed = parse_document(payload, received_at)
            if parsed.kind not in feed.kinds:
                raise FetchFailed(f"asked for {feed.kinds[0]}, got a document of kind {parsed.kind}")
        except (FetchFailed, WeatherRejected) as error:
            feed.failures += 1
            self._grid = self._place.grid  # where only a point is given, its cell may have changed
            self._tell(f"Weather Service at {self._base.host}, {feed.kinds[0].replace('_', ' ')}: {error}")
        else:
            feed.failures, feed.fetched_at = 0, parsed.fetched_at
            await deliver(payload, received_at)
        if DocumentKind.HOURLY_FORECAST in feed.kinds:
            feed.due = next_forecast_due(attempt, feed.failures, feed.fetched_at, self._zone)
        else:
            feed.due = next_due(attempt, feed.failures, feed.every)

    async def _document(self, feed: _Feed) -> bytes:
        if DocumentKind.OBSERVATION in feed.kinds:
            return await self._get(f"/stations/{self._place.station}/observations/latest")
        if DocumentKind.ALERTS in feed.kinds:
            return await self._get(f"/alerts/active/zone/{self._place.zone}")
        if self._grid is None:
            self._grid = _grid_of(await self._get(f"/points/{self._place.point}"))
        hourly = f"/gridpoints/{self._grid}/forecast/hourly"
        if feed.failures % 2 == 0:
            return await self._get(hourly)
        return await self._get(f"/gridpoints/{self._grid}")  # the hourly one failed: the raw grid may well be served

    async def _get(self, path: str) -> bytes:
        url = self._base.copy_with(path=self._base.path.rstrip("/") + path)
        try:
            async with asyncio.timeout(self._timeout_seconds):  # of the whole exchange, however slowly it drips
                return await self._follow(url)
        except TimeoutError as error:
            raise FetchFailed(f"{path} did not answer within {self._timeout_seconds:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FetchFailed(f"{path} failed: {error or type(error).__name__}") from error

    async def _follow(self, url: httpx.URL) -> bytes:
        request = self._client.build_request("GET", url, headers=self._headers, timeout=self._timeout_seconds)
        for _ in range(REDIRECTS_MOST + 1):
            response = await self._client.send(request, stream=True, follow_redirects=False)
            try:
                if response.next_request is None:
                    return await _body(response)
                request = response.next_request
            finally:
                await response.aclose()
            if (request.url.scheme, request.url.netloc) != (self._base.scheme, self._base.netloc):
                raise FetchFailed(f"{url.path} redirects to another host, {request.url.host}, which we do not follow")
        raise FetchFailed(f"{url.path} redirects more than {REDIRECTS_MOST} times")


async def _body(response: httpx.Response) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise FetchFailed(f"{response.url.path} answered HTTP {response.status_code} {response.reason_phrase}".rstrip())
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_BYTES:
            raise FetchFailed(f"{response.url.path} is longer than {MAX_BYTES} bytes")
    return bytes(body)


def _grid_of(payload: bytes) -> str:
    """The grid cell that a ``/points`` document names, such as ``TAE/58,65``."""
    try:
        properties = json.loads(payload)["properties"]
        office, x, y = properties["gridId"], int(properties["gridX"]), int(properties["gridY"])
        if not office.isalnum():
            raise ValueError(office)
        return f"{office}/{x},{y}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FetchFailed("the answer for the point names no grid cell") from error
