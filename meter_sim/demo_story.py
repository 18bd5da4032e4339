"""The demonstration's script: what the customers, their utility and the weather do, in the order of time.

Nobody here touches a relay or a balance: payments, protections, holds and weather go to the gateway over MQTT or over
its local API, and what follows is the gateway's own doing.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any

import httpx

from edge.clock import ScaledClock, pause
from meter_sim import weather_documents as nws
from meter_sim.demo_cast import (
    ADA,
    BEN,
    CUSTOMERS,
    DALE,
    ELENA,
    ENROLMENT_HEADER,
    FRANK,
    GRACE,
    HENRY,
    Customer,
    on,
    temperature_f,
)
from meter_sim.demo_journal import Journal, Reconnection, Told
from meter_sim.demo_site import ZONE
from meter_sim.head_end import HeadEndClient
from meter_sim.meter import SimulatedMeter
from protocols.link import RelayState

WED, THU, FRI, SAT, MON, TUE, LAST = (10, 7), (10, 8), (10, 9), (10, 10), (10, 12), (10, 13), (10, 14)
START = on(WED, "17:00")
END = on(LAST, "10:00")
ANSWER_S = 10.0  # wall seconds that the gateway may take for an answer before the story goes on without it
BEFORE_MIDNIGHT, AFTER_MIDNIGHT = timedelta(minutes=20), timedelta(minutes=30)  # reads and day close want their time
FORECAST_FROM = 6  # o'clock: from then on a forecast is this morning's


@dataclass(frozen=True, slots=True)
class Tempo:
    """How fast the story is told: clock seconds a second on the way, around midnight while the days are closed, and
    while something is watched; wall seconds that a moment stands.
    """

    travel: float
    midnight: float
    watch: float
    dwell_s: float


@dataclass
class Story:
    """The script over a running gateway."""

    clock: ScaledClock
    tempo: Tempo
    head_end: HeadEndClient
    api: httpx.AsyncClient
    meters: Mapping[str, SimulatedMeter]
    journal: Journal
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def play(self) -> None:
        """The whole week."""
        await self._arrival()
        await self._first_friday()
        await self._weekend_and_holiday()
        await self._frost_and_after()

    async def _arrival(self) -> None:
        await self._enroll()
        self._say("Eight customers join. Dale Harjo was disconnected for credit by the utility's former system")
        await self._dwell()
        await self._travel_to(on(WED, "17:20"), "The evening begins. Meters are polled over Modbus TCP, RTU and MQTT.")
        self._say("Dale Harjo pays $30.00 by phone")
        await self._pay_for_power(DALE, "30.00")
        await self._travel_to(on(THU, "00:10"), "Use is counted. At midnight the day closes and is charged.")
        await self._until(lambda: {ELENA.account_id, GRACE.account_id, HENRY.account_id} <= self.journal.warned)
        self._say("The first day is charged: Elena, Grace and Henry are below zero and have been warned")
        await self._dwell()
        await self._travel_to(on(THU, "10:00"), "Thursday. The window is open, and the grace still holds.")
        self._say("Henry Brandt disputes his bill; the utility puts a hold on his account")
        hold = {"hold_id": "H-1", "account_id": HENRY.account_id, "kind": "dispute", "reason": "the bill is disputed"}
        await self._tell("holds", hold)
        await self._dwell()
        await self._travel_to(on(THU, "14:00"), "Thursday. The window is open, and the grace still holds.")
        self._say("Somebody mistypes an account number: $20.00 for A-9999")
        await self._pay("A-9999", "20.00")
        await self._dwell()

    async def _first_friday(self) -> None:
        await self._travel_to(on(FRI, "07:55"), "The night before Elena's and Grace's grace runs out.")
        self._say("Friday, five to eight: the grace of Elena and Grace ends when the window opens")
        await self._see_disconnected(ELENA, GRACE)
        await self._travel_to(on(FRI, "12:40"), "Friday: the window closes at noon.")
        self._say("Friday afternoon: Henry's dispute is settled, but nobody is disconnected before a weekend")
        await self._tell("holds", {"hold_id": "H-1", "released_at": self._now()})
        await self._dwell()
        await self._travel_to(on(FRI, "16:20"), "Friday afternoon.")
        self._say("Grace Mills hands in a medical certificate: power must come back, debt or no debt")
        certificate = {"account_id": GRACE.account_id, "kind": "medical", "protected": True, "at": self._now()}
        await self._expect_power(GRACE, "protected", certificate, "a medical certificate")
        await self._travel_to(on(FRI, "21:40"), "Friday evening. Elena Ruiz looks for money.")
        needed = await self._amount_to_reconnect(ELENA)
        self._say(f"Elena Ruiz needs ${needed / 100:.2f} (a share pays her old debt), and finds only half of it")
        await self._pay(ELENA.account_id, f"{needed / 200:.2f}")
        await self._dwell()
        await self._travel_to(on(FRI, "23:30"), "Friday night.")
        amount = f"{await self._amount_to_reconnect(ELENA) / 100 + 25:.2f}"
        self._say(f"Half past eleven at night: Elena Ruiz pays ${amount}")
        await self._pay_for_power(ELENA, amount)

    async def _weekend_and_holiday(self) -> None:
        await self._travel_to(on(SAT, "11:00"), "Saturday. Ben's grace is over, but weekends have no window.")
        self._say("Ada Turner pays $40.00 in time; the payment is delivered twice")
        payment = self._payment(ADA.account_id, "40.00")
        await self._tell("payments", payment)
        await self._tell("payments", payment)
        await self._until(lambda: len(self.journal.receipts.get(payment["payment_id"], ())) == 2)
        await self._dwell()
        await self._travel_to(on(MON, "10:00"), "The weekend: no disconnects; use goes on.")
        self._say("Monday, Columbus Day: five customers owe money, and nobody is disconnected on a holiday")
        await self._dwell()
        await self._travel_to(on(MON, "14:10"), "The holiday.")
        self._say("Henry Brandt pays $25.00 at the utility's counter, through the gateway's local API")
        await self._pay_at_the_counter(HENRY, "25.00")
        await self._dwell()

    async def _frost_and_after(self) -> None:
        await self._travel_to(on(TUE, "08:30"), "Tuesday morning's forecast comes at six.")
        self._say("Tuesday: frost is forecast for the coming night, so the open window is open for nobody")
        await self._dwell()
        await self._travel_to(on(LAST, "07:55"), "A night of frost, with power for everybody.")
        self._say("Wednesday, five to eight: the frost is over; Ben's and Frank's time is up at last")
        await self._see_disconnected(BEN, FRANK)
        await self._travel_to(on(LAST, "09:10"), "Wednesday morning.")
        amount = f"{await self._amount_to_reconnect(FRANK) / 100 + 20:.2f}"
        self._say(f"Frank Oakes pays ${amount}")
        await self._pay_for_power(FRANK, amount)
        await self._travel_to(on(LAST, "09:40"), "Wednesday morning.")
        amount = f"{await self._amount_to_reconnect(BEN) / 100 + 20:.2f}"
        self._say(f"Ben Whitehorse pays ${amount}")
        await self._pay_for_power(BEN, amount)
        await self._travel_to(END, "The last hour.")
        self.journal.doing = "Now everything is checked."

    # What the script is made of.

    def _say(self, text: str) -> None:
        self.journal.doing = text + "."
        self.journal.say(text, "story")

    def _now(self) -> str:
        return self.clock.now().astimezone(ZONE).isoformat()

    async def _travel_to(self, instant: datetime, meanwhile: str) -> None:
        self.journal.doing = meanwhile
        while (now := self.clock.now()) < instant:
            midnight = datetime.combine(now.astimezone(ZONE).date() + timedelta(days=1), time(), ZONE)
            start, end = midnight - BEFORE_MIDNIGHT, midnight - timedelta(days=1) + AFTER_MIDNIGHT
            closing = not end <= now < start
            self.clock.run_at(self.tempo.midnight if closing else self.tempo.travel)
            await self.clock.wait(min(instant, next(turn for turn in (end, start, midnight) if turn > now)))
        self.clock.run_at(self.tempo.watch)

    async def _dwell(self) -> None:
        """Leave the watcher time to read."""
        await pause(self.tempo.dwell_s)

    async def _until(self, so: Callable[[], bool], within_s: float = ANSWER_S) -> bool:
        """Wait until something is so; False where it is not so in time, which the checks at the end will tell."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while not so():
            if loop.time() > deadline:
                return False
            await pause(0.01)
        return True

    async def _tell(self, kind: str, content: dict[str, Any]) -> None:
        self.journal.told.append(Told(self.clock.now(), kind, content))
        await self.head_end.send(kind, content)

    def _payment(self, account_id: str, amount: str) -> dict[str, Any]:
        return {
            "payment_id": f"P-{next(self._numbers):03}",
            "account_id": account_id,
            "amount": amount,
            "paid_at": self._now(),
            "channel": "phone",
            "source": "customer",
        }

    async def _pay(self, account_id: str, amount: str) -> None:
        """A payment over MQTT, until its receipt comes."""
        payment = self._payment(account_id, amount)
        await self._tell("payments", payment)
        await self._until(lambda: payment["payment_id"] in self.journal.receipts)

    async def _pay_for_power(self, customer: Customer, amount: str) -> None:
        payment = self._payment(customer.account_id, amount)
        await self._expect_power(customer, "payments", payment, f"a payment of ${amount}")

    async def _expect_power(self, customer: Customer, kind: str, content: dict[str, Any], why: str) -> None:
        """Tell the gateway something that must bring power back, and measure in wall seconds until the contact closes.

        The clock runs at the wall's pace meanwhile, so the instant that the meter itself records is a wall measure.
        """
        meter = self.meters[customer.meter_id]
        with self.clock.at_wall_pace():
            sent_at = self.clock.now()
            await self._tell(kind, content)
            closed = await self._until(lambda: meter.values(self.clock.now()).relay is RelayState.CONNECTED)
            seconds = (meter.transitions[-1].at - sent_at).total_seconds() if closed else None
            self.journal.reconnections.append(Reconnection(customer.account_id, sent_at, why, seconds))
            took = "gets no power" if seconds is None else f"has power {seconds:.2f} s after {why}"
            self.journal.say(f"{customer.name} {took} (by the meter's record)", "on")
            await self._until(lambda: self.journal.command_confirmed(customer.account_id, "reconnect", sent_at))
            await self._dwell()

    async def _see_disconnected(self, *customers: Customer) -> None:
        """Watch until the gateway has disconnected these customers."""
        since = self.clock.now()
        await self._until(
            lambda: all(self.journal.command_confirmed(one.account_id, "disconnect", since) for one in customers),
            within_s=2 * ANSWER_S,
        )
        await self._dwell()

    async def _amount_to_reconnect(self, customer: Customer) -> int:
        """What the gateway says that brings power back, in cents; 0 where it says nothing."""
        answer = (await self.api.get(f"/v1/accounts/{customer.account_id}")).raise_for_status().json()
        amount = answer.get("amount_to_reconnect") or "0.00"
        return int(amount.replace(".", ""))

    async def _pay_at_the_counter(self, customer: Customer, amount: str) -> None:
        body = {"payment_id": f"C-{next(self._numbers):03}", "account_id": customer.account_id, "amount": amount}
        answer = (await self.api.post("/v1/payments", json=body)).raise_for_status().json()
        self.journal.say(f"Payment {body['payment_id']} is posted; {customer.name} has ${answer['balance']}", "money")

    async def _enroll(self) -> None:
        text = "\n".join([ENROLMENT_HEADER, *(customer.row for customer in CUSTOMERS)])
        answer = await self.api.post("/v1/enrolments", json={"name": "customers.csv", "text": text})
        for refused in answer.raise_for_status().json()["refused"]:
            self.journal.say(f"Enrolment refused: {refused['reason']}")


async def weather_service(clock: ScaledClock, head_end: HeadEndClient, journal: Journal) -> None:
    """Send what the Weather Service would: a forecast and the alerts each morning, an observation each hour."""
    day = None
    while True:
        local = clock.now().astimezone(ZONE)
        if local.hour >= FORECAST_FROM and local.date() != day:
            day = local.date()
            first_hour = local.replace(minute=0, second=0, microsecond=0)
            hours = [first_hour + timedelta(hours=n) for n in range(nws.PERIODS)]
            temperatures = [temperature_f(hour) for hour in hours]
            journal.told.append(Told(local, "weather", {"first_hour": first_hour, "temperatures_f": temperatures}))
            await head_end.send("weather", nws.hourly_forecast(clock.now().astimezone(ZONE), first_hour, temperatures))
            await head_end.send("weather", nws.alerts(clock.now().astimezone(ZONE), []))
        now = clock.now().astimezone(ZONE)
        await head_end.send("weather", nws.observation(now, temperature_f(now)))
        await clock.wait(now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1))


@asynccontextmanager
async def local_api(socket_path: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway's local API on its unix socket, from when it answers on."""
    transport = httpx.AsyncHTTPTransport(uds=socket_path)
    async with httpx.AsyncClient(transport=transport, base_url="http://ami-edge", timeout=ANSWER_S) as client:
        answers = False
        while not answers:
            with suppress(httpx.TransportError):
                answers = (await client.get("/healthz")).is_success
            await pause(0.02)
        yield client
