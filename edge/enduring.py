"""Living with a full disk: tasks wait and go on, the reserve is set aside again, somebody is told.

Nothing that was answered is lost by it: an answer comes after the commit, and where there is no commit a person is told
so, a message stays with the broker, and a relay stays as it is.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import structlog

from edge.clock import pause
from edge.gateway import Gateway
from edge.store import records
from edge.store.base import StoreFull

log = structlog.get_logger()

AGAIN_AFTER_S = 2.0
LOOK_EVERY = timedelta(seconds=30)


async def enduring(task: Callable[[], Awaitable[None]]) -> None:
    """Run a task of the daemon; where the disk takes no more, wait a little and begin the task again."""
    again = True
    while again:
        again = False
        try:
            await task()
        except* StoreFull as problems:
            log.error("store full", problem=str(problems.exceptions[0]))
            again = True
        if again:
            await pause(AGAIN_AFTER_S)


class RoomWatch:
    """Looks whether the disk had no room or lives on its reserve: tells the head end, and sets the reserve aside."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._since: datetime | None = None

    async def run(self) -> None:
        """Look for as long as the daemon runs."""
        while True:
            await self._gateway.clock.wait(self._gateway.clock.now() + LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Tell once when room runs out, as soon as that can be written at all, and once when there is room again."""
        gateway, store = self._gateway, self._gateway.store
        store.take_reserve()
        now = gateway.clock.now()
        short = store.on_reserve or store.out_of_room is not None
        if short and self._since is None:
            await self._tell("disk_full", now, {"problem": store.out_of_room or "the disk's reserve is in use"})
            self._since = now
        elif not short and self._since is not None:
            await self._tell("disk_has_room", now, {"since": self._since.isoformat()})
            self._since = None

    async def _tell(self, kind: str, now: datetime, data: dict[str, Any]) -> None:
        await self._gateway.record(lambda database: records.add_event(database, kind, now, data))


async def watch_room(gateway: Gateway) -> None:
    """The watch as a service of the daemon."""
    await RoomWatch(gateway).run()
