"""Fixtures that many tests use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import RunningBroker, mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    """A real broker for this test alone."""
    with mosquitto(tmp_path) as running:
        yield running
