"""The task that looks for weather documents in files, beside those that come over MQTT."""

from datetime import timedelta

import structlog

from edge.gateway import Gateway
from edge.requests import reject, take_weather
from edge.weather_feed import WeatherFiles

log = structlog.get_logger()


class WeatherFilesWatch:
    """Takes a file's document whenever the file has changed."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        weather = gateway.settings.site.weather
        found = {
            "forecast": weather.forecast_file,
            "observation": weather.observation_file,
            "alerts": weather.alerts_file,
        }
        paths = {kind: gateway.settings.beside(name) for kind, name in found.items() if name}
        self._files = WeatherFiles(**paths)

    async def run(self) -> None:
        """Look again and again for as long as the daemon runs."""
        every = timedelta(seconds=self._gateway.settings.site.weather.look_every_seconds)
        while True:
            await self.look()
            await self._gateway.clock.wait(self._gateway.clock.now() + every)

    async def look(self) -> None:
        """Take what has changed; what cannot be used is told in one sentence and leaves the older document."""
        for news in self._files.poll(self._gateway.clock.now()):
            if news.parsed is not None:
                await take_weather(self._gateway, news.parsed, news.body)
            else:
                log.warning("weather file", fault=news.problem)
                await reject(self._gateway, f"weather file {news.path.name}", b"", news.problem or "")
