"""The task that fetches the Weather Service's documents by HTTP, for a site that asks for it."""

from datetime import datetime, timedelta

import httpx
import structlog

from edge.gateway import Gateway
from edge.requests import reject, take_weather
from edge.settings import WeatherHttp
from edge.weather_feed import parse_document
from edge.weather_http import WeatherFetcher, WeatherPlace

log = structlog.get_logger()

SAME_FAULT_AGAIN = timedelta(days=1)


class WeatherFetching:
    """Takes each document as it is fetched; a fault is told once a day, and leaves the older document."""

    def __init__(self, gateway: Gateway, wanted: WeatherHttp) -> None:
        self._gateway = gateway
        self._wanted = wanted
        self._faults: list[str] = []  # of this round
        self._told: dict[str, datetime] = {}

    async def run(self) -> None:
        """Fetch what is due for as long as the daemon runs."""
        clock = self._gateway.clock
        wanted = self._wanted
        place = WeatherPlace(wanted.grid, wanted.point, wanted.station, wanted.zone)
        async with httpx.AsyncClient() as client:
            fetcher = WeatherFetcher(
                client,
                place,
                self._gateway.settings.zone,
                user_agent=wanted.user_agent,
                base_url=wanted.base_url,
                tell=self._faults.append,
            )
            while True:
                due = await fetcher.fetch_due(clock, self._take)
                await self._tell_faults()
                await clock.wait(due)

    async def _take(self, payload: bytes, received_at: datetime) -> None:
        await take_weather(self._gateway, parse_document(payload, received_at), payload)

    async def _tell_faults(self) -> None:
        now = self._gateway.clock.now()
        for fault in self._faults:
            log.warning("weather by HTTP", fault=fault)
            if fault not in self._told:
                self._told[fault] = now
                await reject(self._gateway, "weather by HTTP", b"", fault)
        self._faults.clear()
        self._told = {fault: at for fault, at in self._told.items() if now - at < SAME_FAULT_AGAIN}
