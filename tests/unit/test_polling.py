"""When the meters of a line are due, and how many transactions their reads cost."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from edge.clock import pause
from edge.core import vee
from edge.gateway import Gateway
from edge.readings import DEAD_PROBE_MAX, LinePoller, PolledMeter, ReadSaver
from protocols.link import LinkError, LinkTimeout, Readout, RelayState

START = datetime(2026, 10, 14, 14, 0, tzinfo=UTC)


class Clock:
    """A clock that is set by hand, and that each question to a meter moves on by 30 ms."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def steady(self) -> bool:
        return True


class Meter:
    """A link that answers, or not."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.answers = True

    async def read(self) -> Readout:
        self.clock.time += timedelta(milliseconds=30)
        if not self.answers:
            raise LinkTimeout("nobody there")
        return Readout(1_000, RelayState.UNKNOWN, 500)


class Store:
    """Counts transactions; each takes a turn of the loop."""

    def __init__(self) -> None:
        self.writes = 0

    async def write(self, work: Callable[[sqlite3.Connection], None]) -> None:
        self.writes += 1
        await pause(0)


class Line:
    """Five meters on one line, polled every ten seconds."""

    def __init__(self) -> None:
        self.clock, self.store = Clock(), Store()
        settings = SimpleNamespace(zone=ZoneInfo("America/Chicago"))
        unused: Any = None
        gateway = Gateway(
            settings=cast("Any", settings),
            clock=cast("Any", self.clock),
            store=cast("Any", self.store),
            rulebook=unused,
            tariffs={},
            switchgear={},
            limits={},
            links={},
            head_end=unused,
        )
        self.links = [Meter(self.clock) for _ in range(5)]
        every, limits = timedelta(seconds=10), vee.Limits()
        self.meters = [
            PolledMeter(f"M-{number}", "line", cast("Any", link), every, limits)
            for number, link in enumerate(self.links)
        ]
        self.gateway = gateway
        self.poller = LinePoller(gateway, self.meters, 1, lambda meter_id: None, ReadSaver(gateway))

    def dues(self) -> set[datetime | None]:
        return {meter.due for meter in self.meters}


@pytest.fixture
def line() -> Line:
    return Line()


async def test_the_meters_of_a_line_stay_together_and_share_a_transaction(line: Line) -> None:
    for sweep in range(1, 4):
        await line.poller.sweep()
        assert line.store.writes == sweep
        assert line.dues() == {START + timedelta(seconds=10 * sweep)}
        line.clock.time = START + timedelta(seconds=10 * sweep)


async def test_a_late_sweep_keeps_the_grid_and_makes_nothing_up(line: Line) -> None:
    await line.poller.sweep()
    line.clock.time = START + timedelta(seconds=34)
    await line.poller.sweep()
    assert line.dues() == {START + timedelta(seconds=40)}
    assert line.store.writes == 2


async def test_a_silent_meter_is_probed_more_rarely_on_the_same_grid(line: Line) -> None:
    line.links[2].answers = False
    due: list[datetime] = []
    for _ in range(6):
        await line.poller.sweep()
        assert line.meters[2].due is not None
        due.append(line.meters[2].due)
        line.clock.time = line.meters[2].due
    steps = [(after - before).total_seconds() for before, after in zip([START, *due], due, strict=False)]
    assert steps == [10, 40, 80, 80, 80, 80]


async def test_midnight_is_always_a_point_of_the_grid(line: Line) -> None:
    midnight = datetime(2026, 10, 15, 5, 0, tzinfo=UTC)  # in Chicago
    line.clock.time = midnight - timedelta(seconds=3)
    await line.poller.sweep()
    assert line.dues() == {midnight}
    line.clock.time = midnight
    await line.poller.sweep()
    assert line.dues() == {midnight + timedelta(seconds=10)}


async def test_a_clock_that_was_set_back_begins_the_grid_anew(line: Line) -> None:
    await line.poller.sweep()
    line.clock.time = START - timedelta(seconds=10 * DEAD_PROBE_MAX)
    await line.poller.sweep()
    assert line.dues() == {START - timedelta(seconds=10 * DEAD_PROBE_MAX - 10)}


async def test_what_lines_save_at_the_same_time_shares_a_transaction(line: Line) -> None:
    saver = ReadSaver(line.gateway)
    lines = [LinePoller(line.gateway, [meter], 1, lambda meter_id: None, saver) for meter in line.meters]
    await asyncio.gather(*(poller.sweep() for poller in lines))
    assert line.store.writes == 2  # the first alone, the other four together
    assert all(meter.last is not None for meter in line.meters)


async def test_another_meters_answer_tells_nothing_of_a_relay(line: Line) -> None:
    line.gateway.serials["M-0"] = "4711"
    line.meters[0].relay = RelayState.DISCONNECTED.value
    answer = Readout(1_000, RelayState.CONNECTED, 500, serial="4712")
    line.links[0].read = lambda: answered(answer)  # type: ignore[method-assign]
    saved: list[str] = []
    line.poller._observe_relay = lambda meter, *seen: saved.append(meter.meter_id)  # type: ignore[method-assign]

    await line.poller.sweep()

    assert saved == ["M-1", "M-2", "M-3", "M-4"]
    assert line.meters[0].last is None


async def answered(readout: Readout) -> Readout:
    return readout


class Concentrator:
    """Asks the meters of a line together; ``lost``: by meter, how many answers get lost."""

    def __init__(self, line: Line, lost: dict[str, int]) -> None:
        self.line = line
        self.lost = lost
        self.asked: list[list[str]] = []

    async def read_many(self, meter_ids: Sequence[str]) -> list[Readout | LinkError]:
        self.asked.append(list(meter_ids))
        self.line.clock.time += timedelta(milliseconds=30)
        answers: list[Readout | LinkError] = []
        for meter_id in meter_ids:
            self.lost[meter_id] = self.lost.get(meter_id, 0) - 1
            answers.append(LinkTimeout("lost") if self.lost[meter_id] >= 0 else Readout(1_000, RelayState.UNKNOWN, 500))
        return answers


async def test_meters_behind_a_concentrator_are_asked_together_and_the_living_again(line: Line) -> None:
    together = Concentrator(line, {"M-1": 1, "M-3": 5})
    poller = LinePoller(line.gateway, line.meters, 2, lambda meter_id: None, ReadSaver(line.gateway), together)

    await poller.sweep()

    assert together.asked == [["M-0", "M-1", "M-2", "M-3", "M-4"], ["M-1", "M-3"]]
    assert [meter.meter_id for meter in line.meters if meter.dead] == ["M-3"]
    assert line.store.writes == 1
    assert line.dues() == {START + timedelta(seconds=10)}
    line.clock.time = START + timedelta(seconds=10)
    await poller.sweep()
    assert together.asked[2:] == [["M-0", "M-1", "M-2", "M-3", "M-4"]]  # the dead one is not asked twice
