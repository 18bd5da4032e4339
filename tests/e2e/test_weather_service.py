"""The daemon with ``[weather.http]``: what it fetches by itself lets it decide, what it cannot fetch is told."""

from datetime import timedelta
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.settings import ConfigError, parse_site
from meter_sim import weather_documents
from tests.brokers import RunningBroker
from tests.e2e.bench_site import running, until, until_async
from tests.e2e.test_cut import relay, site_of
from tests.e2e.test_weather_http import ACTIVE, HOURLY, LATEST, answer, listening


async def test_weather_that_is_fetched_is_enough_for_a_cut(tmp_path: Path, broker: RunningBroker) -> None:
    now = SystemClock().now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    async with listening() as service:
        service.answers = {
            HOURLY: answer(weather_documents.hourly_forecast(now, hour, [60.0])),
            LATEST: answer(weather_documents.observation(now - timedelta(minutes=5), 60.0)),
            ACTIVE: answer({}, "503 Service Unavailable"),
        }
        http = ["[weather.http]", f"base_url = '{service.base_url}'", "user_agent = 'bench (bench@example.org)'"]
        http += ["grid = 'TSA/41,102'", "station = 'KTUL'", "zone = 'OKZ060'"]
        site = site_of(tmp_path, broker, extra="\n".join(http))
        async with running(site) as head_end:

            def told() -> list[str]:
                events = [content for kind, content in head_end.heard if kind == "events"]
                return [event["reason"] for event in events if event["kind"] == "rejected"]

            async def only_alerts_are_missing() -> bool:
                found = (await site.cli("why", "A-1"))["blocks"]
                return [block["text"] for block in found] == ["the active alerts are not known"]

            await until_async(only_alerts_are_missing, site.log)
            await until(lambda: bool(told()), site.log)
            assert told() == [
                "Weather Service at 127.0.0.1, alerts: /alerts/active/zone/OKZ060 answered HTTP 503 Service Unavailable"
            ]
            assert "User-Agent: bench (bench@example.org)" in service.heads[0]
            assert await relay(site) == "connected"

            service.answers[ACTIVE] = answer(weather_documents.alerts(now, ["Wind Advisory"]))
            site.kill_daemon()
            site.start_daemon()

            async def is_off() -> bool:
                return await relay(site) == "disconnected"

            await until_async(is_off, site.log)


@pytest.mark.parametrize(
    ("http", "told"),
    [
        ({"grid": "TSA/41,102"}, "weather.http.user_agent"),
        ({"user_agent": "bench"}, "weather.http - at least one of grid, point, station and zone is needed"),
        ({"user_agent": "bench", "grid": "TSA/1,2", "point": "36.15,-95.99"}, "weather.http - grid and point name"),
        ({"user_agent": "bench", "point": "36.15 N"}, "weather.http.point"),
        ({"user_agent": "bench", "station": "../x"}, "weather.http.station"),
        ({"user_agent": "bench", "zone": "Tulsa"}, "weather.http.zone"),
        ({"user_agent": "bench", "zone": "OKZ060", "base_url": "ftp://mirror"}, "weather.http.base_url"),
        ({"user_agent": "two\nlines", "zone": "OKZ060"}, "weather.http.user_agent"),
    ],
)
def test_what_cannot_be_asked_for(http: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_site({"weather": {"http": http}}, "edge.toml")
