"""The task that watches the clock: tells when it is trusted no more, and mends what a wrong one has left behind.

While the clock is in doubt nobody is disconnected, no day closes, and a register read counts for nothing once something
speaks against the clock (``Gateway.clock_plausible``). Register reads that an earlier, wrong clock stamped later than
now are refused before days close again: the register has not run that far.
"""

import sqlite3

import structlog

from edge.clock import pause
from edge.gateway import Gateway
from edge.store import fleet, records

log = structlog.get_logger()

LOOK_EVERY_S = 300.0  # of the event loop's clock, which nobody sets


class ClockWatch:
    """Looks at the clock from time to time; a decision looks at it by itself."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._told = True  # a clock that is trusted from the start is no news

    async def run(self) -> None:
        """Look for as long as the daemon runs."""
        while True:
            await self.look()
            await pause(LOOK_EVERY_S)

    async def look(self) -> None:
        """Tell a change; once the clock is trusted again, let days close again."""
        gateway = self._gateway
        trusted = gateway.clock_trusted()
        if trusted != self._told:
            self._told = trusted
            log.warning("clock", trusted=trusted)
            await gateway.record(lambda database: self._tell(database, trusted))
        if trusted and gateway.clock_in_doubt:
            await gateway.store.write(self._mend)
            gateway.clock_in_doubt = False
            gateway.reads_mended += 1
            gateway.reads_saved.set()
            gateway.facts_changed.set()

    def _tell(self, database: sqlite3.Connection, trusted: bool) -> None:
        records.add_event(database, "clock", self._gateway.clock.now(), {"trusted": trusted})

    def _mend(self, database: sqlite3.Connection) -> None:
        refused = fleet.refuse_reads_after(database, self._gateway.clock.now(), "clock_untrusted")
        if refused:
            log.warning("reads of a wrong clock refused", reads=refused)
