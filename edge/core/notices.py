"""Notices to customers: their texts, and when each is due. Which way a text then goes is not known here.

The prepay messages of seed 002 (PSO, "Prepay Messages - preliminary"; domain-rules section 3, rows 76 to 80) come out
to the letter: A and B are ``remaining_credit``, C is ``payment_received``. Credit is told in kWh, at what the next kWh
costs under the customer's tariff, floored, so that no message promises more than there is. A message's lines are parted
by line feeds.
"""

from dataclasses import dataclass
from datetime import date, datetime, tzinfo

RECENT_DAYS = 7  # "days left" rest on the average of so many recent days, not on yesterday alone (rows 62, 79)
LOW_BALANCE = "low_balance"
_PICO_PER_CENT = 10_000_000_000
_DASHES = "-" * 30


@dataclass(frozen=True, slots=True)
class Standing:
    """What a customer wants to know of an account at one instant; None: not known.

    ``kwh_price``: what the next kWh costs, in 10^-12 dollars. ``recent_cost_cents`` and ``recent_days``: what the
    recent whole days cost together, and how many they are.
    """

    credit_cents: int
    kwh_price: int | None
    recent_cost_cents: int = 0
    recent_days: int = 0
    power_w: int | None = None
    today_wh: int | None = None
    yesterday_wh: int | None = None

    @property
    def credit_kwh(self) -> int | None:
        """The credit in whole kWh, floored."""
        return whole_kwh(self.credit_cents, self.kwh_price)

    @property
    def days_left(self) -> int | None:
        """Whole days that the credit lasts at the average cost of recent days; None without a cost to go by."""
        if self.recent_days < 1 or self.recent_cost_cents <= 0:
            return None
        return max(0, self.credit_cents * self.recent_days // self.recent_cost_cents)

    def lasts_at_most(self, days: int) -> bool:
        """Whether the credit lasts no longer than so many days; False where that is not known."""
        return self._known() and self.credit_cents * self.recent_days <= days * self.recent_cost_cents

    def lasts_less_than(self, days: int) -> bool:
        """Whether the credit lasts less than so many days; False where that is not known."""
        return self._known() and self.credit_cents * self.recent_days < days * self.recent_cost_cents

    def _known(self) -> bool:
        return self.recent_days > 0 and self.recent_cost_cents > 0


def whole_kwh(cents: int, kwh_price: int | None) -> int | None:
    """How many whole kWh an amount buys; None where a kWh has no price."""
    return cents * _PICO_PER_CENT // kwh_price if kwh_price is not None and kwh_price > 0 else None


# When a notice is due.


def days_left_level(days: int) -> str:
    """The name of a level of days left."""
    return f"days_left:{days}"


@dataclass(frozen=True, slots=True)
class Falls:
    """The notices that a posting makes due, and the levels that have been told from then on."""

    low_balance: bool
    days_left: int | None
    told: frozenset[str]


def falls(
    before_cents: int, after: Standing, level_cents: int | None, days: tuple[int, ...], told: frozenset[str]
) -> Falls:
    """What a posting that changed the credit from ``before_cents`` makes due (domain-rules R7; rows 29, 62).

    ``level_cents``: the customer's own dollar level. ``days``: the program's levels of days left. ``told``: the levels
    that were told and not armed again since. Each is told once a fall, and armed again only by a payment or another
    credit that lifts above it: a mild day or a cheaper average is no news. Of several levels of days the lowest is
    told, and none once the credit is gone, for then the zero notice says more.
    """
    reached = {days_left_level(level) for level in days if after.lasts_at_most(level)}
    if level_cents is not None and after.credit_cents <= level_cents:
        reached.add(LOW_BALANCE)
    still_told = told & reached if after.credit_cents > before_cents else told
    fallen = reached - still_told
    fallen_days = [level for level in days if days_left_level(level) in fallen]
    return Falls(
        low_balance=LOW_BALANCE in fallen,
        days_left=min(fallen_days, default=None) if after.credit_cents > 0 else None,
        told=frozenset(still_told | fallen),
    )


# What it says.


def remaining_credit(standing: Standing, days: tuple[int, ...]) -> str:
    """Messages A and B (rows 76, 77): what is left, in kWh and days; demand; use of today and of yesterday.

    ``days``: the program's levels of days left; below one of them the message says so instead of a number. What is not
    known is left out. Where a kWh has no price, the credit is told in dollars.
    """
    kwh = standing.credit_kwh
    lines = ["Remaining Credit", dollars(standing.credit_cents) if kwh is None else f"{kwh} kWh"]
    if (left := _days_line(standing, days)) is not None:
        lines.append(left)
    if standing.power_w is not None:
        tenths = (standing.power_w + 50) // 100
        lines.append(f"{tenths // 10}.{tenths % 10} kW")
    if standing.today_wh is not None:
        lines.append(f"{_nearest_kwh(standing.today_wh)} kWh today")
    if standing.yesterday_wh is not None:
        lines.append(f"{_nearest_kwh(standing.yesterday_wh)} kWh yesterday")
    return "\n".join(lines)


def _days_line(standing: Standing, days: tuple[int, ...]) -> str | None:
    left = standing.days_left
    if left is None:
        return None
    below = min((level for level in days if standing.lasts_less_than(level)), default=None)
    if below is not None and standing.credit_cents > 0:
        return f"Less than {_days(below)}"
    return _days(left)


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _nearest_kwh(energy_wh: int) -> int:
    return (energy_wh + 500) // 1000


def low_balance(standing: Standing, level_cents: int, days: tuple[int, ...]) -> str:
    """The notice at the customer's own dollar level (row 29), followed by what is left."""
    balance, level = dollars(standing.credit_cents), dollars(level_cents)
    return f"Your balance of {balance} has reached your level of {level}.\n{remaining_credit(standing, days)}"


def payment_received(
    amount_cents: int, to_arrears_cents: int, received: date, balance_cents: int, kwh_price: int | None
) -> str:
    """Message C (row 78): what was paid, the share that went to old debt, what the rest buys, the balance after it."""
    lines = [f"{dollars(amount_cents)} payment received {civil_day(received)}. Thanks!"]
    if to_arrears_cents:
        lines.append(f"{dollars(to_arrears_cents)} toward arrears.")
    rest = amount_cents - to_arrears_cents
    bought, balance = whole_kwh(rest, kwh_price), whole_kwh(balance_cents, kwh_price)
    lines.append(f"{dollars(rest)} prepaid" if bought is None else f"{dollars(rest)} = {bought} kWh prepaid")
    lines += [_DASHES, f"{dollars(balance_cents) if balance is None else f'{balance} kWh'} balance"]
    return "\n".join(lines)


def zero_balance(balance_cents: int, to_pay_cents: int | None) -> str:
    """The notice of a zero or negative balance (domain-rules R3; seed 002, PSO May and OG&E June)."""
    return (
        f"Your prepaid electricity balance is {dollars(balance_cents)}.{_pay(to_pay_cents)}"
        " Otherwise your power may be disconnected once the time that the rules leave you is over."
    )


def pending_disconnect(balance_cents: int, to_pay_cents: int | None, at: datetime, zone: tzinfo) -> str:
    """The notice that power may be disconnected, with time and amount (domain-rules R43; row 57)."""
    return (
        f"Your power may be disconnected from {civil_time(at, zone)} on."
        f"{_pay(to_pay_cents)} Balance {dollars(balance_cents)}."
    )


def moratorium_ended(balance_cents: int, to_pay_cents: int | None, at: datetime | None, zone: tzinfo) -> str:
    """The notice that disconnects are possible again, with time and amount where known (domain-rules R11, R44, C7)."""
    when = "" if at is None else f" Your power may be disconnected from {civil_time(at, zone)} on."
    return f"The ban on disconnections has ended.{when}{_pay(to_pay_cents)} Balance {dollars(balance_cents)}."


def _pay(to_pay_cents: int | None) -> str:
    return "" if to_pay_cents is None else f" A payment of {dollars(to_pay_cents)} keeps your power on."


def payment_returned(amount_cents: int, fee_cents: int, balance_cents: int) -> str:
    """The notice that a payment was taken back (domain-rules R22)."""
    fee = f" A fee of {dollars(fee_cents)} was charged." if fee_cents else ""
    return (
        f"Your payment of {dollars(amount_cents)} was returned by the bank.{fee}"
        f" Balance {dollars(balance_cents)}. Please pay within one business day."
    )


def adjusted(amount_cents: int, reason: str, balance_cents: int) -> str:
    """The notice of a charge (below zero) or a credit beside the tariff, which is applied at once (domain-rules R5)."""
    what = "charge" if amount_cents < 0 else "credit"
    return f"A {what} of {dollars(abs(amount_cents))} was posted: {reason}. Balance {dollars(balance_cents)}."


def refunded(refunded_cents: int, billed_cents: int) -> str:
    """The notice that the final bill is settled."""
    if billed_cents:
        return f"Your prepaid account is closed. {dollars(billed_cents)} is still owed and will be billed to you."
    return f"Your prepaid account is closed. {dollars(refunded_cents)} is refunded to you."


def disconnected(balance_cents: int, amount_to_reconnect_cents: int | None) -> str:
    """The notice that power was disconnected, with what brings it back (domain-rules R12)."""
    needed = ""
    if amount_to_reconnect_cents is not None:
        needed = f" A payment of {dollars(amount_to_reconnect_cents)} reconnects you within minutes, at any hour."
    return f"Your power was disconnected. Balance {dollars(balance_cents)}.{needed}"


def reconnected(balance_cents: int) -> str:
    """The notice that power is back (domain-rules R4)."""
    return f"Your power is back on. Balance {dollars(balance_cents)}."


def dollars(cents: int) -> str:
    """An amount as the seed's messages write it: whole dollars without cents, otherwise with two digits of them."""
    sign = "-" if cents < 0 else ""
    whole, rest = divmod(abs(cents), 100)
    return f"{sign}${whole}.{rest:02d}" if rest else f"{sign}${whole}"


_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def civil_day(day: date) -> str:
    """A day as the seed's messages write it: ``July 11th``."""
    last = 0 if day.day in (11, 12, 13) else day.day % 10
    ending = {1: "st", 2: "nd", 3: "rd"}.get(last, "th")
    return f"{_MONTHS[day.month - 1]} {day.day}{ending}"


def civil_time(at: datetime, zone: tzinfo) -> str:
    """An instant by the customer's clock, to the minute that has begun: ``Tuesday, July 12th, 8:00 a.m.``."""
    local = at.astimezone(zone)
    half = "a.m." if local.hour < 12 else "p.m."
    hour = local.hour % 12 or 12
    return f"{_WEEKDAYS[local.weekday()]}, {civil_day(local.date())}, {hour}:{local.minute:02d} {half}"
