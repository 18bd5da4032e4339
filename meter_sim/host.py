"""The machine of a simulated world's daemon: it starts it on the state that it left, and may fail anywhere."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from edge.catalog import Catalog
from edge.clock import SystemClock, pause
from edge.daemon import Ports, run
from edge.gateway import Gateway
from edge.settings import Settings
from meter_sim.power import CommitLog, HostTime, Power, WatchedStore
from meter_sim.utility import InProcessHeadEnd
from protocols.link import Concentrator, MeterLink

START_AGAIN_S = 5.0  # after a failure in the midst of starting


class Host:
    """What the daemon runs on. ``fell`` learns of its end where no failure of this machine brought it about."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        database: Path,
        links: Mapping[str, MeterLink],
        concentrators: Mapping[str, Concentrator],
        head_end: InProcessHeadEnd,
        parts: tuple[Power, CommitLog, HostTime],
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._database = database
        self._links = links
        self._concentrators = concentrators
        self._head_end = head_end
        self._power, self._log, self.time = parts
        self._daemon: asyncio.Task[None] | None = None
        self._store: WatchedStore | None = None
        self.fell: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> Gateway:
        """Start the daemon; returns when it is ready. Raises what it died of, if nothing here failed."""
        while True:
            ready: asyncio.Future[Gateway] = asyncio.get_running_loop().create_future()
            self._power.restore()
            self._store = WatchedStore(self._database, self._power, self._log)
            clock = SystemClock(wall=self.time.now, synchronised=self.time.synchronised)
            ports = Ports(clock, self._store, self._links, self._head_end, concentrators=self._concentrators)
            self._daemon = asyncio.ensure_future(run(self._settings, self._catalog, ports, ready.set_result))
            self._daemon.add_done_callback(self._look)
            either: list[asyncio.Future[Any]] = [ready, self._daemon]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                return ready.result()
            if self._power.on:
                self._daemon.result()
            await self.kill()
            await pause(START_AGAIN_S)

    def _look(self, daemon: asyncio.Task[None]) -> None:
        problem = None if daemon.cancelled() else daemon.exception()
        if problem is not None and self._power.on and not self.fell.done():
            self.fell.set_exception(problem)

    async def kill(self) -> None:
        """Let the daemon die where it stands; what it has committed is what is left."""
        self._power.cut()
        if self._daemon is not None:
            self._daemon.cancel()
            await asyncio.wait([self._daemon])
        if self._store is not None:
            self._store.close()
        self._daemon = self._store = None

    def set_time(self, wrong_by: timedelta) -> None:
        """Set the clock of this machine: zero is right."""
        self.time.wrong_by = wrong_by
