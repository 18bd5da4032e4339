"""What the gateway knows and decides now, account by account, in the words of the demonstration's screen.

Everything is asked of the gateway's own store and rules, as its local API would answer it.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from edge import views
from edge.core.model import Decision, Facts
from edge.facts import Circumstances
from edge.gateway import Gateway
from edge.rulings import judge
from edge.store import customers as stored_customers
from edge.store import fleet
from meter_sim.demo_cast import Customer, temperature_f
from meter_sim.demo_journal import civil
from meter_sim.demo_rules import grace_ends, permitted, window_words

# What holds a disconnect back, the most telling first.
REASONS = {
    "protected": "protected, never disconnected",
    "hold_dispute": "bill disputed",
    "hold_settlement": "settlement",
    "hold_aid_pending": "aid is pending",
    "hold_operator": "held by the utility",
    "moratorium_order": "moratorium",
    "no_zero_notice": "not warned yet",
    "grace": "grace",
    "returned_payment_notice": "returned payment told lately",
    "weather_cold": "frost forecast",
    "weather_heat": "heat",
    "weather_stale": "no forecast of today yet",
    "weather_unknown": "weather unknown",
    "holiday": "holiday",
    "day_before_holiday": "day before a holiday",
    "weekend": "weekend",
    "outside_window": "window closed",
    "guard": "window ends too soon",
    "ledger_not_closed": "yesterday not charged yet",
    "read_stale": "no fresh read",
    "read_estimated": "rests on estimates",
    "relay_unknown": "switch not known",
    "no_remote_switch": "no remote switch",
    "clock_untrusted": "clock not trusted",
    "payments_stale": "payments not heard lately",
    "rate_limited": "enough for this hour",
    "shadow_mode": "shadow mode",
    "not_enrolled": "not enrolled",
}
REASONS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class AccountNow:
    """One account as the screen shows it; ``available`` counts use that is not charged yet."""

    customer: Customer
    available: str
    relay: str
    power_w: int | None
    switching: bool
    why: str
    earliest: str

    @property
    def owes(self) -> bool:
        """Whether the balance is below zero."""
        return self.available.startswith("-")


@dataclass(frozen=True, slots=True)
class Now:
    """The demonstration at one instant."""

    at: datetime
    window_open: bool
    window: str
    temperature_f: float
    accounts: tuple[AccountNow, ...]


async def look(gateway: Gateway, customers: Sequence[Customer]) -> Now:
    """Ask the gateway about every customer who is enrolled."""
    around = gateway.circumstances()

    def read(database: sqlite3.Connection) -> list[AccountNow]:
        enrolled = {account.account_id for account in stored_customers.accounts(database)}
        return [_account(database, gateway, one, around) for one in customers if one.account_id in enrolled]

    accounts = tuple(await gateway.store.read(read))
    return Now(around.now, permitted(around.now), window_words(around.now), temperature_f(around.now), accounts)


def _account(database: sqlite3.Connection, gateway: Gateway, customer: Customer, around: Circumstances) -> AccountNow:
    view = views.account_view(
        database,
        customer.account_id,
        gateway.rulebook,
        gateway.switchgear,
        gateway.tariffs,
        around,
        gateway.settings,
    )
    _, facts, decision, _, _ = judge(database, customer.account_id, gateway.rulebook, gateway.switchgear, around)
    read = fleet.last_read(database, customer.meter_id, accepted_only=False)
    following = decision.next_possible_disconnect
    return AccountNow(
        customer=customer,
        available=view["available"],
        relay=facts.relay.value,
        power_w=read.power_w if read else None,
        switching=customer.meter_id in gateway.under_command,
        why=_why(facts, decision, view),
        earliest=civil(following) if following is not None and following > around.now else "",
    )


def _why(facts: Facts, decision: Decision, view: Mapping[str, Any]) -> str:
    """Why this account is not disconnected now, or what brings its power back."""
    needed, days_left, available = view["amount_to_reconnect"], view["days_left"], view["available"]
    codes = {block.code for block in decision.blocks}
    if "already_disconnected" in codes:
        return "reconnects now" if needed is None else f"${needed} brings power back"
    if "balance_not_negative" in codes:
        if available.startswith("-"):
            return "used up; charged at midnight"
        return "in credit" if days_left is None else f"in credit, {days_left} day{'s' * (days_left != 1)} left"
    if "protected" in codes:
        return REASONS["protected"]
    told = [_words(code, facts) for code in REASONS if code in codes]
    return ", ".join(told[:REASONS_SHOWN]) if told else "nothing: to be disconnected"


def _words(code: str, facts: Facts) -> str:
    if code == "grace" and facts.zero_notice_delivered_at is not None:
        return f"grace until {civil(grace_ends(facts.zero_notice_delivered_at))}"
    if code == "weather_cold" and (coldest := _coldest_f(facts)) is not None:
        return f"frost forecast ({coldest} °F)"
    return REASONS[code]


def _coldest_f(facts: Facts) -> int | None:
    """The lowest temperature of the forecast's coming 24 hours, in whole degrees Fahrenheit."""
    if facts.forecast is None or facts.now is None:
        return None
    first = max(0, (facts.now - facts.forecast.first_hour) // timedelta(hours=1))
    known = [value for value in facts.forecast.temperature_f100[first : first + 25] if value is not None]
    return round(min(known) / 100) if known else None
