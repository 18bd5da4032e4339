"""The task that keeps rulings current: whoever is in debt or in the dark is decided about again as facts change."""

import sqlite3
from datetime import datetime, timedelta

from edge.core.model import Action, Decision
from edge.gateway import Gateway
from edge.notices import tell_ruling
from edge.restraints import tell_changes
from edge.store import customers

LOOK_AGAIN = timedelta(minutes=5)  # facts also change by growing old
LOOK_AGAIN_UNHEARD = timedelta(seconds=5)  # while the head end has not been heard out
LOOK_SELDOM = timedelta(hours=1)  # where growing old can only add reasons to leave things as they are
BATCH = 100  # accounts decided in one transaction, so that a payment never waits long


class Supervision:
    """Decides about the accounts whose ruling can change by itself: balance at or below zero, or no power."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._change: datetime | None = None  # when the next hold or moratorium begins or runs out
        self._quiet_until: dict[str, datetime] = {}  # by account: before this, time alone makes its ruling do nothing

    async def run(self) -> None:
        """Decide about everybody whenever facts changed; in between about those whom time alone may change.

        A hold or a moratorium that begins or runs out is a fact that changed.
        """
        gateway = self._gateway
        changed = True
        while True:
            gateway.facts_changed.clear()
            due = await self._look(everybody=changed)
            heard = gateway.head_end.connected
            wake = min([gateway.clock.now() + (LOOK_AGAIN if heard else LOOK_AGAIN_UNHEARD), *due])
            changed = await gateway.clock.wait(wake, gateway.facts_changed) or not heard

    async def decide_all(self) -> list[datetime]:
        """Decide about every candidate; the instants at which to look again: a disconnect, a restraint's change."""
        return await self._look(everybody=True)

    async def _look(self, *, everybody: bool) -> list[datetime]:
        gateway = self._gateway
        now = gateway.clock.now()
        everybody = everybody or (self._change is not None and self._change <= now)
        if gateway.clock_plausible():  # else nothing has begun or run out for sure
            self._change = await gateway.record(lambda database: tell_changes(database, now))
        account_ids = await gateway.store.read(customers.accounts_to_watch)
        quiet = {} if everybody else self._quiet_until
        set_back = now + LOOK_SELDOM  # whoever was to be quiet for longer was so by a clock that has been set back
        wanted = [one for one in account_ids if not now < quiet.get(one, now) <= set_back]
        gateway.deciding = True
        try:
            for start in range(0, len(wanted), BATCH):
                batch = wanted[start : start + BATCH]
                await gateway.record(lambda database, batch=batch: self._decide(database, batch))  # type: ignore[misc]
        finally:
            gateway.deciding = False
            gateway.orders_waiting.set()
        self._quiet_until = {one: self._quiet_until[one] for one in account_ids if one in self._quiet_until}
        gateway.made_progress("supervision")
        return [*self._quiet_until.values(), *([] if self._change is None else [self._change])]

    def _decide(self, database: sqlite3.Connection, account_ids: list[str]) -> None:
        around = self._gateway.circumstances()
        for ruling in self._gateway.rule_many(database, account_ids, around):
            tell_ruling(database, self._gateway, ruling, around)
            self._quiet_until[ruling.account.account_id] = quiet_until(ruling.decision, around.now)


def quiet_until(decision: Decision, now: datetime) -> datetime:
    """Until when a ruling can stand if no fact changes: what grows old blocks, and only a window's start lets go.

    Clock and budget come back without a word, and an action that is due is looked after: these are seen to soon.
    """
    following = decision.next_possible_disconnect
    unannounced = any(block.code in ("clock_untrusted", "rate_limited") for block in decision.blocks)
    if decision.action is not Action.NONE or unannounced or (following is not None and following <= now):
        return now + LOOK_AGAIN
    return now + LOOK_SELDOM if following is None else min(following, now + LOOK_SELDOM)
