"""The customers of a simulated world, and the clerk who keeps holds on their accounts and moratoriums."""

import asyncio
import random
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from meter_sim.utility import InProcessHeadEnd
from meter_sim.virtual_time import CivilClock, rest

CENTRAL = ZoneInfo("America/Chicago")
DAY_S = 86_400
RETURN_FEE = "25.00"
HOLD_KINDS = ("dispute", "settlement", "aid_pending", "operator")


@dataclass(frozen=True, slots=True)
class Habit:
    """How a customer pays: every so many days, or on which notices and after how long; amounts in whole dollars."""

    name: str
    every_days: int | None = None
    on_notices: tuple[str, ...] = ()
    after_minutes: tuple[int, int] = (0, 0)
    dollars: tuple[int, int] = (0, 0)
    payments: int = 1  # after each such notice
    bounces: bool = False  # the bank returns every second payment some days later
    protected_from_start: bool = False
    protected_after_cut: bool = False


HABITS = (
    Habit("weekly", every_days=7, dollars=(15, 40)),
    Habit("when told", on_notices=("zero",), after_minutes=(60, 2000), dollars=(10, 40)),
    Habit("when dark", on_notices=("disconnected",), after_minutes=(2, 600), dollars=(15, 40)),
    Habit("late", on_notices=("disconnected",), after_minutes=(600, 5000), dollars=(5, 25)),
    Habit("never"),
    Habit("medical", protected_from_start=True),
    Habit("ill when dark", protected_after_cut=True),
    Habit("small steps", on_notices=("disconnected", "zero"), after_minutes=(5, 300), dollars=(1, 6), payments=4),
    Habit("bounces", on_notices=("disconnected",), after_minutes=(2, 900), dollars=(15, 40), bounces=True),
)


class Customer:
    """Pays by its habit; every chance comes from a source of its own. ``duplicates``: share of messages sent twice."""

    def __init__(
        self,
        account_id: str,
        habit: Habit,
        chance: random.Random,
        head_end: InProcessHeadEnd,
        clock: CivilClock,
        duplicates: float,
    ) -> None:
        self.account_id = account_id
        self.habit = habit
        self._chance = chance
        self._head_end = head_end
        self._clock = clock
        self._duplicates = duplicates
        self._heard = asyncio.Event()
        self._payments = 0
        self.duplicated = 0

    def hear(self, notice_type: str) -> None:
        """A notice has come."""
        habit = self.habit
        if notice_type in habit.on_notices or (habit.protected_after_cut and notice_type == "disconnected"):
            self._heard.set()

    async def live(self) -> None:
        """Pay and fall ill for as long as the world lasts."""
        chance, habit = self._chance, self.habit
        if habit.protected_from_start:
            self._protect(True)
        while True:
            if habit.every_days is not None:
                await rest(self._clock, habit.every_days * DAY_S + chance.randint(-20_000, 20_000))
                self._pay()
                continue
            await self._heard.wait()
            self._heard.clear()
            if habit.protected_after_cut:
                await rest(self._clock, chance.randint(600, 40_000))
                self._protect(True)
                await rest(self._clock, chance.randint(3, 9) * DAY_S)
                self._protect(False)
                continue
            for _ in range(habit.payments):
                await rest(self._clock, chance.randint(*habit.after_minutes) * 60 + chance.randint(0, 59))
                payment_id = self._pay()
            if habit.bounces and self._payments % 2:
                await rest(self._clock, chance.randint(DAY_S, 3 * DAY_S))
                self._return(payment_id)

    def _protect(self, protected: bool) -> None:
        content = {"account_id": self.account_id, "kind": "medical", "protected": protected}
        self._head_end.say("protected", content)

    def _pay(self) -> str:
        self._payments += 1
        payment_id = f"{self.account_id}-P{self._payments}"
        content = {
            "payment_id": payment_id,
            "account_id": self.account_id,
            "amount": f"{self._chance.randint(*self.habit.dollars)}.00",
            "paid_at": self._clock.now().isoformat(),
            "channel": "kiosk",
            "source": "customer",
        }
        self._say_perhaps_twice("payments", content)
        return payment_id

    def _return(self, payment_id: str) -> None:
        returned_at = self._clock.now().isoformat()
        content = {"payment_id": payment_id, "returned_at": returned_at, "fee": RETURN_FEE, "reason": "no funds"}
        self._say_perhaps_twice("returned-payments", content)

    def _say_perhaps_twice(self, kind: str, content: dict[str, Any]) -> None:
        self._head_end.say(kind, content)
        if self._duplicates and self._chance.random() < self._duplicates:
            self.duplicated += 1
            self._head_end.say(kind, content)


def _end(at: datetime, chance: random.Random) -> datetime:
    """An end that somebody would name: mostly where windows begin and end, in Oklahoma's civil time."""
    if chance.random() < 0.3:
        return at
    clock = chance.choice((time(), time(8), time(12), time(14, 30), time(15, 30)))
    return datetime.combine(at.astimezone(CENTRAL).date() + timedelta(days=1), clock, CENTRAL)


class Clerk:
    """The utility's back office: a hold a week for every fortieth account, an order of the Commission now and then."""

    def __init__(self, seed: int, account_ids: list[str], head_end: InProcessHeadEnd, clock: CivilClock) -> None:
        self._seed = seed
        self._account_ids = account_ids
        self._head_end = head_end
        self._clock = clock

    async def work(self) -> None:
        """Keep holds and orders for as long as the world lasts."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_holds())
            tasks.create_task(self._keep_moratoriums())

    async def _keep_holds(self) -> None:
        chance = random.Random(f"{self._seed}/holds")
        number = 0
        while True:
            await rest(self._clock, chance.expovariate(len(self._account_ids) / (280 * DAY_S)))
            number += 1
            now = self._clock.now()
            content: dict[str, Any] = {
                "hold_id": f"H-{number}",
                "account_id": chance.choice(self._account_ids),
                "kind": chance.choice(HOLD_KINDS),
                "reason": "as the customer asked",
            }
            if chance.random() < 0.5:
                content["until"] = _end(now + timedelta(hours=chance.randint(6, 150)), chance).isoformat()
                self._head_end.say("holds", content)
                continue
            self._head_end.say("holds", content)
            await rest(self._clock, chance.randint(3_600, 4 * DAY_S))
            released = {"hold_id": content["hold_id"], "released_at": self._clock.now().isoformat()}
            self._head_end.say("holds", released)

    async def _keep_moratoriums(self) -> None:
        chance = random.Random(f"{self._seed}/moratoriums")
        number = 0
        while True:
            await rest(self._clock, chance.uniform(10, 60) * DAY_S)
            number += 1
            now = self._clock.now()
            until = _end(now + timedelta(hours=chance.randint(20, 70)), chance)
            content = {"order": f"Order {number}", "from": now.isoformat(), "until": until.isoformat()}
            self._head_end.say("moratoriums", content)
