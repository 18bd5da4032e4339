"""The task that keeps rulings current: whoever is in debt or in the dark is decided about again as facts change."""

import sqlite3
from datetime import datetime, timedelta

from edge.gateway import Gateway
from edge.notices import tell_ruling
from edge.restraints import tell_changes
from edge.store import customers

LOOK_AGAIN = timedelta(minutes=5)  # facts also change by growing old
BATCH = 100  # accounts decided in one transaction, so that a payment never waits long


class Supervision:
    """Decides about the accounts whose ruling can change by itself: balance at or below zero, or no power."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def run(self) -> None:
        """Decide again whenever facts changed, a window opens, or five minutes have passed."""
        gateway = self._gateway
        while True:
            gateway.facts_changed.clear()
            due = await self.decide_all()
            wake = min([gateway.clock.now() + LOOK_AGAIN, *due])
            await gateway.clock.wait(wake, gateway.facts_changed)

    async def decide_all(self) -> list[datetime]:
        """Decide about every candidate; the instants at which a disconnect, or a restraint's change, comes next."""
        gateway = self._gateway
        change = await gateway.record(lambda database: tell_changes(database, gateway.clock.now()))
        account_ids = await gateway.store.read(customers.accounts_to_watch)
        due: list[datetime] = [] if change is None else [change]
        for start in range(0, len(account_ids), BATCH):
            batch = account_ids[start : start + BATCH]
            due += await gateway.record(lambda database, batch=batch: self._decide(database, batch))  # type: ignore[misc]
        gateway.made_progress("supervision")
        return due

    def _decide(self, database: sqlite3.Connection, account_ids: list[str]) -> list[datetime]:
        around = self._gateway.circumstances()
        rulings = [self._gateway.rule(database, account_id, around) for account_id in account_ids]
        for ruling in rulings:
            tell_ruling(database, self._gateway, ruling, around)
        following = [ruling.decision.next_possible_disconnect for ruling in rulings]
        return [instant for instant in following if instant is not None and instant > around.now]
