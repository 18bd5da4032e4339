"""Files of payments: hundreds posted at one instant, and now and then a file whose amounts have a slipped decimal."""

import random

from meter_sim.utility import InProcessHeadEnd
from meter_sim.virtual_time import CivilClock, rest

DAY_S = 86_400
SLIPPED_SHARE = 0.3


class BulkFiles:
    """Comes every so many days for a third of the accounts; a wrong file is returned as a whole some days later."""

    def __init__(
        self, seed: int, days: float, account_ids: list[str], head_end: InProcessHeadEnd, clock: CivilClock
    ) -> None:
        self._seed = seed
        self._days = days
        self._account_ids = account_ids
        self._head_end = head_end
        self._clock = clock

    async def come(self) -> None:
        """Send files for as long as the world lasts."""
        chance = random.Random(f"{self._seed}/bulk")
        number = 0
        while True:
            await rest(self._clock, chance.expovariate(1 / (self._days * DAY_S)))
            number += 1
            payment_ids = self._send(number, chance, slipped=(slipped := chance.random() < SLIPPED_SHARE))
            if slipped:
                await rest(self._clock, chance.uniform(0.1, 2) * DAY_S)
                self._take_back(payment_ids)

    def _send(self, number: int, chance: random.Random, *, slipped: bool) -> list[str]:
        paid_at = self._clock.now().isoformat()
        payment_ids = []
        for account_id in chance.sample(self._account_ids, (len(self._account_ids) + 2) // 3):
            cents = chance.randint(500, 4_000) * (100 if slipped else 1)
            payment_ids.append(f"F{number}-{account_id}")
            content = {
                "payment_id": payment_ids[-1],
                "account_id": account_id,
                "amount": f"{cents // 100}.{cents % 100:02}",
                "paid_at": paid_at,
                "channel": "file",
                "source": "customer",
            }
            self._head_end.say("payments", content)
        return payment_ids

    def _take_back(self, payment_ids: list[str]) -> None:
        returned_at = self._clock.now().isoformat()
        for payment_id in payment_ids:
            content = {"payment_id": payment_id, "returned_at": returned_at, "fee": "0.00", "reason": "wrong file"}
            self._head_end.say("returned-payments", content)
