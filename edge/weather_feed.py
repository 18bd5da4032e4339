"""Weather documents as bytes, from a broker, a file or the Weather Service's API, made into records.

Nothing here decides: the records go into the facts, and a document that is refused leaves the older facts, which age.
"""

import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edge.core.model import Forecast, Observation
from edge.core.weather import (
    DocumentKind,
    alerts_from,
    classify,
    forecast_from_grid,
    forecast_from_hourly,
    observation_from,
)

MAX_BYTES = 8 * 1024 * 1024  # a raw grid has some 150 kB, a stormy day's alerts some MB


class WeatherRejected(Exception):
    """A weather document cannot be used; ``reason`` is one sentence for a person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ParsedWeather:
    """One document, read. The field that ``kind`` names is set, the others are None.

    ``fetched_at`` is the forecast's time of fetch (contract section 6); for an observation and for alerts it is the
    time of arrival. ``alerts`` are the names of the events active at the time of arrival.
    """

    kind: DocumentKind
    fetched_at: datetime
    forecast: Forecast | None = None
    observation: Observation | None = None
    alerts: tuple[str, ...] | None = None


def parse_document(payload: bytes, received_at: datetime) -> ParsedWeather:
    """Read any of the four documents. Raises WeatherRejected with one sentence for all that cannot be used."""
    if len(payload) > MAX_BYTES:
        raise WeatherRejected(f"the weather document has {len(payload)} bytes, more than the {MAX_BYTES} allowed")
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise WeatherRejected(f"the weather document is not whole, valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise WeatherRejected("the weather document is valid JSON but not an object")
    try:
        return _read(document, received_at)
    except ValueError as error:
        raise WeatherRejected(f"the weather document cannot be used: {error}") from error


def _read(document: Mapping[str, object], received_at: datetime) -> ParsedWeather:
    kind = classify(document)
    match kind:
        case DocumentKind.HOURLY_FORECAST:
            forecast = forecast_from_hourly(document, received_at)
            return ParsedWeather(kind, forecast.fetched_at, forecast=forecast)
        case DocumentKind.RAW_GRID:
            forecast = forecast_from_grid(document, received_at)
            return ParsedWeather(kind, forecast.fetched_at, forecast=forecast)
        case DocumentKind.OBSERVATION:
            return ParsedWeather(kind, received_at, observation=observation_from(document))
        case DocumentKind.ALERTS:
            return ParsedWeather(kind, received_at, alerts=alerts_from(document, received_at))


@dataclass(frozen=True, slots=True)
class FileNews:
    """A weather file that changed: what it holds, or why it cannot be used (exactly one of the two is set)."""

    path: Path
    parsed: ParsedWeather | None
    problem: str | None
    body: bytes = b""


@dataclass(slots=True)
class _WatchedFile:
    path: Path
    kinds: tuple[DocumentKind, ...]
    seen: tuple[int, int] | None = None  # mtime_ns and size of what was taken in
    problem: str | None = None  # told last


class WeatherFiles:
    """Weather documents that somebody else writes into files; any of the three may be left out.

    ``poll`` is asked from time to time. A file that is missing, unreadable, half written or of the wrong kind is tried
    again at each poll, and its fault is told once until it changes.
    """

    def __init__(
        self, forecast: Path | None = None, observation: Path | None = None, alerts: Path | None = None
    ) -> None:
        wanted = (
            (forecast, (DocumentKind.HOURLY_FORECAST, DocumentKind.RAW_GRID)),
            (observation, (DocumentKind.OBSERVATION,)),
            (alerts, (DocumentKind.ALERTS,)),
        )
        self._files = [_WatchedFile(path, kinds) for path, kinds in wanted if path is not None]

    def poll(self, now: datetime) -> tuple[FileNews, ...]:
        """What is new since the last poll; ``now`` is the time of arrival. Never raises for what a file is or holds."""
        return tuple(news for file in self._files if (news := self._look(file, now)) is not None)

    @staticmethod
    def _look(file: _WatchedFile, now: datetime) -> FileNews | None:
        try:
            status = file.path.stat()
            signature = (status.st_mtime_ns, status.st_size)
            if signature == file.seen:
                return None
            body = _read_regular(file.path, status.st_mode)
            parsed = parse_document(body, now)
            if parsed.kind not in file.kinds:
                expected = " or ".join(kind.replace("_", " ") for kind in file.kinds)
                raise WeatherRejected(f"it holds a document of kind {parsed.kind}, not {expected}")
        except OSError as error:
            problem = f"weather file {file.path} cannot be read: {error.strerror or error}"
        except WeatherRejected as rejected:
            problem = f"weather file {file.path}: {rejected.reason}"
        else:
            file.seen, file.problem = signature, None
            return FileNews(file.path, parsed, None, body)
        file.seen = None
        if problem == file.problem:
            return None
        file.problem = problem
        return FileNews(file.path, None, problem)


def _read_regular(path: Path, mode: int) -> bytes:
    if not stat.S_ISREG(mode):
        raise WeatherRejected("it is not a regular file")
    with path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)
