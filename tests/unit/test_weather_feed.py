"""Weather documents as bytes and as files that somebody else writes."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.core.weather import DocumentKind
from edge.weather_feed import MAX_BYTES, WeatherFiles, WeatherRejected, parse_document
from meter_sim.weather_documents import alerts, hourly_forecast, observation, raw_grid

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
FORECAST = json.dumps(hourly_forecast(NOW, NOW, [50.0])).encode()


def test_each_kind_of_document_fills_its_own_field() -> None:
    early = NOW - timedelta(hours=1)
    documents = (
        hourly_forecast(early, NOW, [50.0]),
        raw_grid(early, NOW, [50.0] * 30),
        observation(early, 50.0),
        alerts(early, ["Heat Advisory"]),
    )
    parsed = [parse_document(json.dumps(document).encode(), NOW) for document in documents]

    assert [each.kind for each in parsed] == list(DocumentKind)
    assert [each.fetched_at for each in parsed] == [early, early, NOW, NOW]
    assert parsed[0].forecast is not None
    assert parsed[1].forecast is not None
    assert parsed[2].observation is not None
    assert parsed[3].alerts == ("Heat Advisory",)


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (b"", "not whole, valid JSON"),
        (FORECAST[: len(FORECAST) // 2], "not whole, valid JSON"),
        (b"\xff\xfe\xfa", "not whole, valid JSON"),
        (b"[" * 100_000, "not whole, valid JSON"),
        (b"[]", "not an object"),
        (b"{}", "no hourly forecast, raw grid, observation or alert list"),
        (b'{"properties": {"periods": []}}', "cannot be used: the hourly forecast has no periods"),
        (b" " * (MAX_BYTES + 1), "more than the"),
    ],
)
def test_a_document_that_cannot_be_used_is_rejected_with_a_sentence(payload: bytes, sentence: str) -> None:
    with pytest.raises(WeatherRejected, match=sentence) as rejection:
        parse_document(payload, NOW)
    assert "\n" not in rejection.value.reason


def test_a_changed_file_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "forecast.json"
    path.write_bytes(FORECAST)
    files = WeatherFiles(forecast=path)

    (news,) = files.poll(NOW)
    assert news.path == path
    assert news.problem is None
    assert news.parsed is not None
    assert news.parsed.kind is DocumentKind.HOURLY_FORECAST
    assert files.poll(NOW) == ()

    path.write_text(json.dumps(raw_grid(NOW, NOW, [41.0] * 24)))
    (news,) = files.poll(NOW)
    assert news.parsed is not None
    assert news.parsed.kind is DocumentKind.RAW_GRID


def test_faults_of_files_are_told_once_and_healed(tmp_path: Path) -> None:
    path = tmp_path / "observation.json"
    files = WeatherFiles(observation=path)
    whole = json.dumps(observation(NOW, 95.0, 60)).encode()

    (missing,) = files.poll(NOW)
    assert missing.problem == f"weather file {path} cannot be read: No such file or directory"
    assert files.poll(NOW) == ()

    path.write_bytes(whole[:200])
    (cut,) = files.poll(NOW)
    assert "not whole, valid JSON" in (cut.problem or "")
    assert files.poll(NOW) == ()

    path.write_bytes(whole)
    (healed,) = files.poll(NOW)
    assert healed.parsed is not None
    assert healed.parsed.observation is not None

    path.unlink()
    (gone,) = files.poll(NOW)
    assert gone.problem == missing.problem
    path.write_bytes(whole)
    assert files.poll(NOW)[0].parsed == healed.parsed


def test_one_bad_file_does_not_hold_up_the_others(tmp_path: Path) -> None:
    (tmp_path / "forecast").mkdir()
    (tmp_path / "observation").write_bytes(FORECAST)
    (tmp_path / "alerts").write_text(json.dumps(alerts(NOW, [])))

    news = WeatherFiles(tmp_path / "forecast", tmp_path / "observation", tmp_path / "alerts").poll(NOW)

    assert "not a regular file" in (news[0].problem or "")
    assert "kind hourly_forecast, not observation" in (news[1].problem or "")
    assert news[2].parsed is not None
    assert news[2].parsed.alerts == ()


def test_no_files_no_news() -> None:
    assert WeatherFiles().poll(NOW) == ()
