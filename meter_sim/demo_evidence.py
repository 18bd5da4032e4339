"""The demonstration's evidence: what the meters measured themselves, what went over the wire, and the gateway's books.

The three know nothing of each other. A disconnect is judged here by the demonstration's own reading of the rules
(``demo_rules``), on the facts that the gateway had been told by then.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from edge.core.money import format_cents
from edge.core.rating import Tariff
from edge.store import books
from meter_sim.demo_cast import CUSTOMERS, Customer
from meter_sim.demo_journal import Journal, civil
from meter_sim.demo_rules import frost_within_a_day, grace_ends, permitted
from meter_sim.meter import Cause, SimulatedMeter
from protocols.link import RelayState


@dataclass(frozen=True, slots=True)
class Cut:
    """A relay that opened by command, as the meter itself recorded it."""

    customer: Customer
    at: datetime


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the checks look at."""

    database: sqlite3.Connection
    journal: Journal
    meters: Mapping[str, SimulatedMeter]
    tariffs: Mapping[str, Tariff]

    @property
    def cuts(self) -> list[Cut]:
        """Every opening of a relay by command."""
        return sorted(
            (
                Cut(customer, change.at)
                for customer in CUSTOMERS
                for change in self.meters[customer.meter_id].transitions
                if change.cause is Cause.COMMAND and change.relay is RelayState.DISCONNECTED
            ),
            key=lambda cut: cut.at,
        )

    @property
    def closings(self) -> int:
        """How many times a relay closed by command."""
        return sum(
            change.cause is Cause.COMMAND and change.relay is RelayState.CONNECTED
            for meter in self.meters.values()
            for change in meter.transitions
        )


def dollars(cents: int) -> str:
    """An amount as people write it: -$1.85."""
    return f"{'-' * (cents < 0)}${format_cents(abs(cents))}"


def faults_of(cut: Cut, evidence: Evidence) -> list[str]:
    """What the rules have against a disconnect, on the facts that the gateway had been told by then."""
    account_id = cut.customer.account_id
    faults = []
    if not permitted(cut.at):
        faults.append("outside the window")
    balance = books.balance_at(evidence.database, account_id, cut.at)
    if balance >= 0:
        faults.append(f"with a balance of {dollars(balance)}")
    warned = warned_at(account_id, cut.at, evidence)
    if warned is None:
        faults.append("without a warning")
    elif cut.at < grace_ends(warned):
        faults.append(f"before its grace ended on {civil(grace_ends(warned))}")
    if account_id in _protected(evidence.journal, cut.at):
        faults.append("though protected")
    if account_id in _held(evidence.journal, cut.at):
        faults.append("though the bill is disputed")
    forecast = [told for told in evidence.journal.told if told.kind == "weather" and told.at <= cut.at][-1:]
    if not forecast or frost_within_a_day(cut.at, **forecast[0].content):
        faults.append("with frost or nothing forecast")
    return faults


def warned_at(account_id: str, before: datetime, evidence: Evidence) -> datetime | None:
    """When the customer was told of the zero balance that lasted until ``before``; None where nobody told."""
    positive = [
        line.posted_at
        for line in books.statement(evidence.database, account_id)
        if line.balance_cents > 0 and line.posted_at <= before
    ]
    since = positive[-1] if positive else None
    told = [
        datetime.fromisoformat(notice["created_at"])
        for notice in evidence.journal.notices
        if (notice["account_id"], notice["type"]) == (account_id, "zero")
    ]
    return next((at for at in told if at <= before and (since is None or at > since)), None)


def _protected(journal: Journal, at: datetime) -> set[str]:
    protected = {customer.account_id for customer in CUSTOMERS if customer.protected}
    for told in journal.told:
        if told.kind == "protected" and told.at <= at:
            (protected.add if told.content["protected"] else protected.discard)(told.content["account_id"])
    return protected


def _held(journal: Journal, at: datetime) -> set[str]:
    held: dict[str, str] = {}
    for told in journal.told:
        if told.kind == "holds" and told.at <= at:
            if "released_at" in told.content:
                held.pop(told.content["hold_id"], None)
            else:
                held[told.content["hold_id"]] = told.content["account_id"]
    return set(held.values())
