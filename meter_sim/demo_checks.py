"""The demonstration's checks: what must hold at its end, each with a sentence of evidence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from edge.core import rating
from edge.core.money import format_cents
from edge.store import books, customers, fleet, records, usage
from meter_sim.demo_cast import ADA, BEN, CLARA, CUSTOMERS, ELENA, FRANK, HENRY, Customer, on
from meter_sim.demo_evidence import Evidence, dollars, faults_of, warned_at
from meter_sim.demo_journal import civil
from meter_sim.demo_rules import grace_ends, permitted
from meter_sim.demo_site import ZONE

RECONNECTED_WITHIN_S = 2.0
DISCONNECTS_PLAYED = 4
RECONNECTIONS_PLAYED = 5
REGISTER_STEP_WH = 10


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold, whether it does, and the evidence in a sentence."""

    name: str
    ok: bool
    detail: str


def summary(evidence: Evidence, extra: Sequence[Check] = ()) -> dict[str, Any]:
    """The demonstration's answer (contract section 3, ``demo``); ``extra``: checks made elsewhere."""
    checks = [*(check(evidence) for check in CHECKS), *extra]
    seconds = sorted(one.seconds for one in evidence.journal.reconnections if one.seconds is not None)
    return {
        "disconnects": len(evidence.cuts),
        "reconnects": evidence.closings,
        "wrongful_disconnects": sum(1 for cut in evidence.cuts if faults_of(cut, evidence)),
        "reconnect_seconds": {
            "p50": _at_rank(seconds, 50),
            "p95": _at_rank(seconds, 95),
            "max": seconds[-1] if seconds else None,
        },
        "ledger_imbalance": format_cents(books.imbalance_cents(evidence.database)),
        "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks],
    }


def _at_rank(ascending: Sequence[float], percent: int) -> float | None:
    """The value at a percentile, by nearest rank."""
    return ascending[max(0, -(-percent * len(ascending) // 100) - 1)] if ascending else None


# The checks, in the order in which they are told.


def _played_out(evidence: Evidence) -> Check:
    cuts = evidence.cuts
    told = "; ".join(f"{cut.customer.name} {civil(cut.at)} ({cut.customer.speaks})" for cut in cuts)
    return Check(
        "Whoever owes, was warned and is not protected is disconnected",
        len(cuts) == DISCONNECTS_PLAYED,
        f"{len(cuts)} of {DISCONNECTS_PLAYED}: {told or 'nobody was'}",
    )


def _inside_windows(evidence: Evidence) -> Check:
    cuts = evidence.cuts
    inside = sum(permitted(cut.at) for cut in cuts)
    return Check(
        "No switch opens outside the permitted hours",
        inside == len(cuts),
        f"{inside} of {len(cuts)} openings, as the meters recorded them, lie inside a window",
    )


def _nothing_wrongful(evidence: Evidence) -> Check:
    judged = [(cut.customer.name, faults_of(cut, evidence)) for cut in evidence.cuts]
    wrong = [f"{name} {', '.join(faults)}" for name, faults in judged if faults]
    return Check(
        "No disconnect is wrongful",
        not wrong,
        "; ".join(wrong) or "window, balance, warning, grace, protection, hold and forecast were right for each",
    )


def _grace_was_full(evidence: Evidence) -> Check:
    spans = [(cut, warned_at(cut.customer.account_id, cut.at, evidence)) for cut in evidence.cuts]
    ok = bool(spans) and all(warned is not None and cut.at >= grace_ends(warned) for cut, warned in spans)
    told = "; ".join(f"{cut.customer.name} {civil(warned)} to {civil(cut.at)}" for cut, warned in spans if warned)
    return Check("Every disconnect comes after a warning and the whole grace", ok, told or "there was no disconnect")


def _held_back_on(evidence: Evidence, at: datetime, customer: Customer, code: str) -> bool:
    """Whether a decision in force at an instant names this reason for an account that owes and has power."""
    decided = records.last_decision(evidence.database, customer.account_id, at)
    owes = books.balance_at(evidence.database, customer.account_id, at) < 0
    relay = fleet.relay_change(evidence.database, customer.meter_id, at)
    powered = relay is not None and relay.relay == "connected"
    return decided is not None and code in decided.codes and owes and powered


def _calendar_holds(evidence: Evidence) -> Check:
    cases = (
        (on((10, 9), "15:00"), HENRY, "outside_window", "Friday afternoon"),
        (on((10, 10), "10:00"), BEN, "weekend", "Saturday"),
        (on((10, 11), "10:00"), BEN, "weekend", "Sunday"),
        (on((10, 12), "11:00"), FRANK, "holiday", "Columbus Day"),
    )
    held = [f"{one.name} on {day}" for at, one, code, day in cases if _held_back_on(evidence, at, one, code)]
    return Check(
        "Friday afternoon, weekend and holiday hold disconnects back",
        len(held) == len(cases),
        f"held back: {', '.join(held) or 'nobody'}",
    )


def _frost_holds(evidence: Evidence) -> Check:
    at = on((10, 13), "11:00")
    held = [one.name for one in (BEN, FRANK) if _held_back_on(evidence, at, one, "weather_cold")]
    cut = [cut for cut in evidence.cuts if cut.at.astimezone(ZONE).date() == at.date()]
    return Check(
        "A forecast of frost holds everybody back",
        len(held) == 2 and not cut,
        f"Tuesday, window open, {' and '.join(held) or 'nobody'} kept power; {len(cut)} disconnects that day",
    )


def _medical_keeps_power(evidence: Evidence) -> Check:
    changes = len(evidence.meters[CLARA.meter_id].transitions) - 1
    balance = books.balance_cents(evidence.database, CLARA.account_id)
    return Check(
        "A medical customer keeps power, whatever she owes",
        changes == 0 and balance < 0,
        f"{CLARA.name} owes {dollars(-balance)}; her switch moved {changes} times",
    )


def _power_comes_back(evidence: Evidence) -> Check:
    told = evidence.journal.reconnections
    seconds = [one.seconds for one in told if one.seconds is not None]
    ok = len(seconds) == len(told) == RECONNECTIONS_PLAYED and max(seconds) <= RECONNECTED_WITHIN_S
    slowest = f"{max(seconds):.2f} s at most" if seconds else "never"
    return Check(
        "Power is back within two seconds of a payment or a protection, at any hour",
        ok,
        f"{len(seconds)} of {RECONNECTIONS_PLAYED} times, {slowest}",
    )


def _half_a_payment(evidence: Evidence) -> Check:
    paid = [line for line in books.statement(evidence.database, ELENA.account_id) if line.kind == "payment"]
    ok = len(paid) == 2 and paid[0].balance_cents <= 0 < paid[1].balance_cents
    debt = books.arrears_cents(evidence.database, ELENA.account_id)
    told = " then ".join(dollars(line.balance_cents) for line in paid)
    return Check(
        "Too small a payment reconnects nobody; old debt gets its share",
        ok and debt < 12_000,
        f"{ELENA.name}'s balance after her payments: {told or 'none came'}; debt from $120.00 to {dollars(debt)}",
    )


def _counted_once(evidence: Evidence) -> Check:
    receipts = evidence.journal.receipts
    twice = [[one["status"] for one in answers] for answers in receipts.values() if len(answers) > 1]
    told = "; ".join(" and ".join(statuses) for statuses in twice)
    posted = [line for line in books.statement(evidence.database, ADA.account_id) if line.kind == "payment"]
    return Check(
        "A payment that is delivered twice counts once",
        twice == [["posted", "duplicate"]] and len(posted) == 1,
        f"receipts {told or 'none'}; {len(posted)} posting for {ADA.name}",
    )


def _refused_with_a_reason(evidence: Evidence) -> Check:
    refused = [one for answers in evidence.journal.receipts.values() for one in answers if one["status"] == "refused"]
    reasons = "; ".join(one["reason"] for one in refused)
    return Check(
        "A payment for nobody is refused with the reason", len(refused) == 1 and bool(reasons), reasons or "none"
    )


def _books_balance(evidence: Evidence) -> Check:
    problems = list(books.audit(evidence.database))
    imbalance = books.imbalance_cents(evidence.database)
    _, entries = books.counts(evidence.database)
    return Check(
        "The ledger sums to zero, and every balance is the sum of its postings",
        not problems and imbalance == 0,
        "; ".join(problems[:3]) or f"{entries} entries recomputed, hash chain whole",
    )


def _charges_equal_the_bill(evidence: Evidence) -> Check:
    wrong, days, total = [], 0, 0
    for account in customers.accounts(evidence.database):
        closed = usage.days(evidence.database, account.account_id, date(2026, 10, 1), date(2026, 10, 31))
        charged = sum(day.charge_cents for day in closed)
        days, total = days + len(closed), total + charged
        if (
            not closed
            or rating.bill(evidence.tariffs[account.tariff], [day.usage for day in closed]).total_cents != charged
        ):
            wrong.append(account.name)
    return Check(
        "The daily charges equal the ordinary bill to the cent",
        not wrong and days > 0,
        f"wrong for {', '.join(wrong)}" if wrong else f"{dollars(total)} for {days} days of {len(CUSTOMERS)} customers",
    )


def _meters_agree(evidence: Evidence) -> Check:
    """Switches, and what was charged in Wh against what the meters' registers counted."""
    differing = []
    for customer in CUSTOMERS:
        meter = evidence.meters[customer.meter_id]
        change = fleet.relay_change(evidence.database, customer.meter_id)
        closed = usage.last_day(evidence.database, customer.account_id)
        read = fleet.last_read(evidence.database, customer.meter_id, accepted_only=True)
        if change is None or change.relay != meter.relay.value:
            differing.append(f"{customer.name}'s switch")
        if (
            closed is None
            or read is None
            or not closed.end_register_wh <= read.energy_wh <= meter.energy_import_wh + REGISTER_STEP_WH
        ):
            differing.append(f"{customer.name}'s register")
    return Check(
        "Switches and registers stand where the gateway believes",
        not differing,
        f"differing: {', '.join(differing)}" if differing else f"{len(CUSTOMERS)} meters over four transports compared",
    )


CHECKS: tuple[Callable[[Evidence], Check], ...] = (
    _played_out,
    _inside_windows,
    _nothing_wrongful,
    _grace_was_full,
    _calendar_holds,
    _frost_holds,
    _medical_keeps_power,
    _power_comes_back,
    _half_a_payment,
    _counted_once,
    _refused_with_a_reason,
    _books_balance,
    _charges_equal_the_bill,
    _meters_agree,
)
