"""In-home displays: what is left and what was last told, on a retained topic an account, for whoever looks at it.

Domain-rules C30 and rows 76, 77, 80; seed 002, PSO. A display may be switched on at any time, so the broker keeps the
last message of each. It only shows: nothing on this topic is a command.
"""

import json
import sqlite3
from datetime import timedelta
from typing import Any

from edge.clock import pause
from edge.core.money import format_cents
from edge.core.notices import remaining_credit
from edge.facts import Circumstances
from edge.gateway import Gateway
from edge.notices import program_of, register_of
from edge.standing import not_yet_posted, standing_of, tariff_today
from edge.store import books, customers, records
from edge.store.customers import Account
from protocols.link import LinkError

REFRESH = timedelta(minutes=1)
LOOK_FOR_DISPLAYS = timedelta(minutes=5)  # while nobody has one
LATEST_NOTICES = 5
SEND_AGAIN_AFTER_S = 1.0


class Displays:
    """The task that keeps what displays show: every minute, and at once when a notice is made."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._shown: dict[str, bytes] = {}

    async def run(self) -> None:
        """Publish what has changed for as long as the daemon runs."""
        gateway = self._gateway
        while True:
            gateway.displays_waiting.clear()
            if not await self._refresh():
                await pause(SEND_AGAIN_AFTER_S)
                continue
            rest = REFRESH if self._shown else LOOK_FOR_DISPLAYS
            await gateway.clock.wait(gateway.clock.now() + rest, gateway.displays_waiting)

    async def _refresh(self) -> bool:
        """Whether the broker has everything that is to be shown."""
        gateway = self._gateway
        if not self._shown and not await gateway.store.read(customers.with_display):
            return True
        around = gateway.circumstances()
        wanted = await gateway.store.read(lambda database: self._contents(database, around))
        wanted |= dict.fromkeys(self._shown.keys() - wanted.keys())
        for account_id, content in wanted.items():
            payload = b"" if content is None else json.dumps(content).encode()
            if self._shown.get(account_id) == payload:
                continue
            try:
                await gateway.head_end.publish(f"display/{account_id}", payload)
            except LinkError:
                return False
            if content is None:
                del self._shown[account_id]
                continue
            self._shown[account_id] = payload
            await self._mark(content)
        return True

    def _contents(self, database: sqlite3.Connection, around: Circumstances) -> dict[str, dict[str, Any] | None]:
        return {
            account.account_id: display_of(database, self._gateway, account, around)
            for account in customers.with_display(database)
        }

    async def _mark(self, content: dict[str, Any]) -> None:
        gateway = self._gateway
        notice_ids = [notice["notice_id"] for notice in content["notices"]]
        now = gateway.clock.now()
        if await gateway.store.write(lambda database: records.mark_displayed(database, notice_ids, now)):
            gateway.facts_changed.set()  # a grace may run from now


def display_of(
    database: sqlite3.Connection, gateway: Gateway, account: Account, around: Circumstances
) -> dict[str, Any]:
    """What an account's display shows: the seed's message as ``text``, its parts, and the newest notices."""
    tariff, register = tariff_today(database, account, gateway.tariffs, around), register_of(gateway, account)
    balance = books.balance_cents(database, account.account_id)
    _, unposted_cents = not_yet_posted(database, account, tariff, register, around)
    standing = standing_of(database, account, balance - unposted_cents, tariff, register, around)
    return {
        "account_id": account.account_id,
        "text": remaining_credit(standing, program_of(gateway, account).notice_days_left),
        "remaining": format_cents(standing.credit_cents),
        "remaining_kwh": standing.credit_kwh,
        "days_left": standing.days_left,
        "power_w": standing.power_w,
        "today_wh": standing.today_wh,
        "yesterday_wh": standing.yesterday_wh,
        "notices": records.display_notices(database, account.account_id, LATEST_NOTICES),
    }
