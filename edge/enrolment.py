"""Enrolment: each row of a file is accepted or refused with the reason; a refused row costs no other row anything."""

import sqlite3
from dataclasses import dataclass, replace
from datetime import datetime

from edge import enrolment_file as cell
from edge.core import ledger
from edge.core.eligibility import Applicant, Participants, Refusal, deposit_split, half_with_room, refusals
from edge.core.model import Protection
from edge.core.money import format_cents
from edge.core.programs import Program
from edge.enrolment_file import Row
from edge.facts import Circumstances
from edge.gateway import Gateway
from edge.notices import tell_balance
from edge.payments import PaymentRequest, post_payment
from edge.store import books, customers, fleet, records, restraints
from edge.store.books import Posted
from edge.store.customers import Account


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row: accepted, or refused with the reason and the rules that it does not meet."""

    where: str
    account_id: str
    accepted: bool
    reason: str
    refusals: tuple[Refusal, ...] = ()


async def enroll(gateway: Gateway, rows: list[Row], by: str) -> list[Outcome]:
    """Enrol each row in a transaction of its own, in their order: first come, first served (domain-rules R10)."""
    outcomes = []
    for row in rows:
        around = gateway.circumstances()
        account_id = row.cells.get("account_id", "")
        try:
            await gateway.record(lambda database, row=row: _enroll(database, gateway, row, around, by))  # type: ignore[misc]  # noqa: B023
            outcomes.append(Outcome(row.where, account_id, accepted=True, reason=""))
        except _NotEligible as problem:
            outcomes.append(Outcome(row.where, account_id, False, f"{row.where}: {problem}", problem.refusals))
        except ValueError as problem:
            outcomes.append(Outcome(row.where, account_id, accepted=False, reason=f"{row.where}: {problem}"))
    gateway.facts_changed.set()
    return outcomes


class _NotEligible(Exception):
    """Rules of the program keep an applicant out."""

    def __init__(self, program: Program, refusals: tuple[Refusal, ...]) -> None:
        self.refusals = refusals
        told = "; ".join(f"{refusal.text} ({refusal.source})" for refusal in refusals)
        super().__init__(f"not eligible for {program.name} - {told}")


@dataclass(frozen=True, slots=True)
class _Application:
    account: Account
    opening_cents: int
    arrears_cents: int
    unbilled_cents: int | None
    deposit_cents: int
    first_payment_cents: int
    first_payment_id: str
    protected: tuple[Protection, ...]
    disconnected_for_credit: bool
    takeover: bool

    @property
    def debt_cents(self) -> int:
        """Old debt and use that no bill has named yet."""
        return self.arrears_cents + (self.unbilled_cents or 0)


def _enroll(database: sqlite3.Connection, gateway: Gateway, row: Row, around: Circumstances, by: str) -> None:
    """Inside a transaction: enrol a row. Raises ValueError or _NotEligible, and nothing is kept of it."""
    application = _read_application(database, gateway, row, around.now)
    account = application.account
    _check(database, gateway, application)
    _check_eligibility(database, gateway, application)
    customers.add_account(database, account, by)
    for kind in application.protected:
        restraints.add_protection(database, account.account_id, kind, protected=True, at=around.now, by=by)
    if application.disconnected_for_credit:
        fleet.add_relay_change(database, account.meter_id, around.now, "disconnected", "credit", None)
    posted = _open_books(database, application, around, by)
    data = {
        "account_id": account.account_id,
        "meter_id": account.meter_id,
        "program": account.program,
        "tariff": account.tariff,
        "takeover": application.takeover,
        "balance": format_cents(posted.balance_cents),
        "by": by,
    }
    records.add_event(database, "enrolled", around.now, data)
    if application.protected:
        told = {"account_id": account.account_id, "protected": True, "changed": ";".join(application.protected)}
        records.add_event(database, "protected", around.now, {**told, "by": by})
    if application.first_payment_cents:
        _take_first_payment(database, gateway, application, around, by)
    else:
        tell_balance(database, gateway, account, posted, around)
    gateway.rule(database, account.account_id, around)


def _open_books(database: sqlite3.Connection, application: _Application, around: Circumstances, by: str) -> Posted:
    """Post what the account brings along, and let its deposit pay old debt first (domain-rules section 3, row 7)."""
    account = application.account
    transaction = ledger.opening(
        account_id=account.account_id,
        day=account.first_day,
        balance_cents=application.opening_cents,
        arrears_cents=application.debt_cents,
        deposit_cents=application.deposit_cents,
    )
    posted = books.post(database, transaction, posted_at=around.now, received_at=around.now, by=by)
    if not application.deposit_cents:
        return posted
    to_arrears, to_balance = deposit_split(application.deposit_cents, application.debt_cents)
    transaction = ledger.deposit_application(
        account_id=account.account_id,
        day=account.first_day,
        to_arrears_cents=to_arrears,
        to_balance_cents=to_balance,
        ref=f"deposit:{account.account_id}",
    )
    applied = books.post(database, transaction, posted_at=around.now, received_at=around.now, by=by)
    return replace(applied, before_cents=posted.before_cents)


def _take_first_payment(
    database: sqlite3.Connection, gateway: Gateway, application: _Application, around: Circumstances, by: str
) -> None:
    """Post the payment that activates the account, as every other payment is posted."""
    request = PaymentRequest(
        application.first_payment_id,
        application.account.account_id,
        application.first_payment_cents,
        None,
        "",
        "",
        usual_channel="enrolment",
    )
    receipt = post_payment(database, gateway, request, around, by)
    if receipt.status != "posted":
        known = f"payment {request.payment_id} was posted before"
        raise ValueError(f"first_payment - {receipt.reason or known}")


def _read_application(database: sqlite3.Connection, gateway: Gateway, row: Row, now: datetime) -> _Application:
    cells = row.cells
    defaults = gateway.settings.site.defaults
    account_id = cell.identifier(cells.get("account_id", ""), "account_id")
    level = cells.get("low_balance_level", "")
    program = cells.get("program") or defaults.program
    account = Account(
        account_id=account_id,
        meter_id=cell.identifier(cells.get("meter_id", ""), "meter_id"),
        name=cells.get("name", ""),
        customer_class=cells.get("customer_class") or "residential",
        tariff=cells.get("tariff") or _assigned_tariff(database, gateway, program) or defaults.tariff,
        program=program,
        low_balance_cents=cell.money(level, "low_balance_level") if level else None,
        enrolled_at=now,
        first_day=now.astimezone(gateway.settings.zone).date(),
        active=True,
        email=cell.email(cells.get("email", "")),
        phone=cell.phone(cells.get("phone", "")),
        notice_channels=cell.channels(cells.get("notice_channels", ""), cells.get("email", "")),
    )
    opening_cents = cell.money(cells.get("opening_balance") or "0.00", "opening_balance")
    cut = cell.yes_or_no(cells.get("disconnected_for_credit", ""), "disconnected_for_credit")
    said = cells.get("takeover", "")
    return _Application(
        account=account,
        opening_cents=opening_cents,
        arrears_cents=cell.amount(cells, "arrears"),
        unbilled_cents=cell.amount(cells, "unbilled") if cells.get("unbilled") else None,
        deposit_cents=cell.amount(cells, "deposit"),
        first_payment_cents=cell.amount(cells, "first_payment"),
        first_payment_id=cell.identifier(cells.get("first_payment_id") or f"first-{account_id}", "first_payment_id"),
        protected=cell.protections(cells.get("protected", "")),
        disconnected_for_credit=cut,
        takeover=cell.yes_or_no(said, "takeover") if said else cut or opening_cents < 0,
    )


def _check(database: sqlite3.Connection, gateway: Gateway, application: _Application) -> None:
    account = application.account
    earlier = customers.account(database, account.account_id)
    if earlier is not None and earlier.last_day is not None:
        left = earlier.last_day.isoformat()
        raise ValueError(f"account {account.account_id} left on {left}: enrol it again under a new id")
    if earlier is not None:
        raise ValueError(f"account {account.account_id} is already enrolled")
    if account.meter_id not in gateway.switchgear:
        raise ValueError(f"there is no meter {account.meter_id} in edge.toml")
    other = customers.account_served_by(database, account.meter_id)
    if other is not None and other.last_day is None:
        raise ValueError(f"meter {account.meter_id} already serves account {other.account_id}")
    if other is not None and other.last_day is not None and other.last_day >= account.first_day:
        raise ValueError(f"meter {account.meter_id} serves account {other.account_id} until the end of the day")
    if account.program not in gateway.rulebook.programs:
        raise ValueError(f"program - there is no program {account.program!r}")
    if account.tariff not in gateway.tariffs:
        raise ValueError(f"tariff - there is no tariff {account.tariff!r}")
    try:
        gateway.tariffs[account.tariff].version(account.first_day)
    except ValueError as problem:
        raise ValueError(f"tariff - {problem}") from None


def _check_eligibility(database: sqlite3.Connection, gateway: Gateway, application: _Application) -> None:
    account = application.account
    program, _ = gateway.rulebook.programs[account.program]
    applicant = Applicant(
        customer_class=account.customer_class,
        remote_disconnect=gateway.switchgear[account.meter_id].remote_disconnect,
        protected=application.protected,
        past_due_cents=application.arrears_cents,
        unbilled_cents=application.unbilled_cents,
        deposit_cents=application.deposit_cents,
        opening_cents=application.opening_cents,
        first_payment_cents=application.first_payment_cents,
        time_of_use=gateway.tariffs[account.tariff].time_of_use,
        takeover=application.takeover,
    )
    if found := refusals(applicant, _participants(database, gateway, account.program), program):
        raise _NotEligible(program, found)


def _participants(database: sqlite3.Connection, gateway: Gateway, program: str) -> Participants:
    """How many are enrolled in a program; those on a tariff that is no longer there count as standard."""
    by_tariff = customers.participants(database, program)
    time_of_use = sum(
        count
        for name, count in by_tariff.items()
        if (tariff := gateway.tariffs.get(name)) is not None and tariff.time_of_use
    )
    return Participants(sum(by_tariff.values()) - time_of_use, time_of_use)


def _assigned_tariff(database: sqlite3.Connection, gateway: Gateway, program_name: str) -> str | None:
    """The tariff that a program with halves assigns to whoever names none (domain-rules section 3, row 41)."""
    if program_name not in gateway.rulebook.programs:
        return None
    program, _ = gateway.rulebook.programs[program_name]
    half = half_with_room(_participants(database, gateway, program_name), program)
    return None if half is None else program.time_of_use_tariff if half else program.standard_tariff
