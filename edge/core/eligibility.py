"""Who may enrol in a prepaid program, and what becomes of the debt and the deposit that are brought along.

A program's figures are data (``[eligibility]``, ``[arrears]``); the rules are here, one a function, and every refusal
names its rule. An account that is taken over from a former head end was examined there: its debt, its first payment and
its protections are not asked about again, its class, its switch and the program's room are (domain-rules R8-R10, C14).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge.core.model import Protection
from edge.core.money import format_cents
from edge.core.programs import Program


@dataclass(frozen=True, slots=True)
class Applicant:
    """An account that is to be enrolled, money in cents. ``None`` is unknown.

    ``past_due_cents`` is old debt, ``unbilled_cents`` use that no bill has named yet, ``deposit_cents`` what the
    utility holds; ``opening_cents`` is credit (or, below zero, debt) on a prepaid balance elsewhere.
    """

    customer_class: str
    remote_disconnect: bool | None
    protected: tuple[Protection, ...]
    past_due_cents: int
    unbilled_cents: int | None
    deposit_cents: int
    opening_cents: int
    first_payment_cents: int
    time_of_use: bool
    takeover: bool


@dataclass(frozen=True, slots=True)
class Participants:
    """How many accounts are enrolled in a program, by the kind of their rate."""

    standard: int
    time_of_use: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """One rule that an applicant does not meet: its code, a sentence for a person, its source."""

    code: str
    text: str
    source: str


Rule = Callable[[Applicant, Participants, Program], Iterator[Refusal]]


def refusals(applicant: Applicant, participants: Participants, program: Program) -> tuple[Refusal, ...]:
    """Every rule of the program that keeps the applicant out; empty when the account may be enrolled."""
    rules = RULES if applicant.takeover else RULES + RULES_FOR_NEW_CUSTOMERS
    return tuple([refusal for rule in rules for refusal in rule(applicant, participants, program)])


def deposit_split(deposit_cents: int, debt_cents: int) -> tuple[int, int]:
    """Cents of a deposit to old debt, which comes first, and to the balance (domain-rules section 3, row 7; C10)."""
    to_debt = min(deposit_cents, debt_cents)
    return to_debt, deposit_cents - to_debt


def half_with_room(participants: Participants, program: Program) -> bool | None:
    """Which kind of rate the next participant gets, True for time of use; None where the program has no halves.

    The smaller half, the standard one when they are equal (domain-rules section 3, rows 18 and 41; seed 002, OG&E:
    "330 customers on time-of-use and 330 customers on standard").
    """
    return participants.time_of_use < participants.standard if program.rate_halves else None


def _customer_class(applicant: Applicant, _: Participants, program: Program) -> Iterator[Refusal]:
    """R10, C14; seed 002, OG&E: residential only."""
    if applicant.customer_class not in program.customer_classes:
        known = ", ".join(program.customer_classes)
        text = f"the customer class is {applicant.customer_class!r}; the program is for {known}"
        yield Refusal("customer_class", text, program.eligibility_source)


def _remote_switch(applicant: Applicant, _: Participants, program: Program) -> Iterator[Refusal]:
    """R10; seed 002, OG&E: "must have a remote-disconnect smart meter"."""
    if applicant.remote_disconnect is not True:
        text = "the meter has no remote switch, or none that is known"
        yield Refusal("no_remote_switch", text, program.sources["no_remote_switch"])


def _room(applicant: Applicant, participants: Participants, program: Program) -> Iterator[Refusal]:
    """First come, first served up to the cap, and in each half up to its half (R10; section 3, rows 18 and 20)."""
    most = program.max_participants
    if most is None:
        return
    if participants.standard + participants.time_of_use >= most:
        yield Refusal("program_full", f"all {most} places of the program are taken", program.eligibility_source)
        return
    if not program.rate_halves:
        return
    half = most // 2
    places, taken, kind = most - half, participants.standard, "standard"
    if applicant.time_of_use:
        places, taken, kind = half, participants.time_of_use, "time-of-use"
    if taken >= places:
        text = f"all {places} places on a {kind} rate are taken"
        yield Refusal("rate_half_full", text, program.eligibility_source)


def _protection(applicant: Applicant, _: Participants, program: Program) -> Iterator[Refusal]:
    """R8, C8; seed 002, OCC: customers with medical equipment are prohibited from prepaying."""
    if applicant.protected:
        kinds = ", ".join(kind.value for kind in applicant.protected)
        text = f"the customer is protected ({kinds}) and may not prepay"
        yield Refusal("protected", text, program.sources["protected"])


def _debt(applicant: Applicant, _: Participants, program: Program) -> Iterator[Refusal]:
    """What is past due, and what would be carried along, after the deposit has paid what it can (R10, C9, row 81)."""
    past_due, _rest = _after_deposit(applicant)
    if program.account_current:
        yield from _not_current(applicant, program)
    elif past_due > program.max_past_due_cents:
        limit = format_cents(program.max_past_due_cents)
        text = f"{format_cents(past_due)} is past due; at most {limit} may be"
        yield Refusal("past_due", text, program.eligibility_source)
    elif (carried := _carried(applicant)) > program.max_carried_arrears_cents:
        limit = format_cents(program.max_carried_arrears_cents)
        text = f"a debt of {format_cents(carried)} would be carried along; at most {limit} may be"
        yield Refusal("carried_debt", text, program.arrears_source)


def _not_current(applicant: Applicant, program: Program) -> Iterator[Refusal]:
    """Seed 002, Lake Region: "your account current including any unbilled usage" (section 3, row 81)."""
    source = program.eligibility_source
    if applicant.unbilled_cents is None:
        text = (
            "what use is unbilled is not known, and the account must be current with it: say 0.00 where there is none"
        )
        yield Refusal("not_current", text, source)
    elif owed := _carried(applicant):
        text = f"{format_cents(owed)} is owed, unbilled use included, after the deposit; the account must be current"
        yield Refusal("not_current", text, source)


def _minimum_activation(applicant: Applicant, _: Participants, program: Program) -> Iterator[Refusal]:
    """$25 to start (seed 002, OG&E and OEC; section 3, rows 26 and 46); a deposit's rest is an advance payment."""
    _due, advance = _after_deposit(applicant)
    start = applicant.first_payment_cents + max(0, applicant.opening_cents) + advance
    if start < program.minimum_activation_cents:
        needed = format_cents(program.minimum_activation_cents)
        text = f"the account would start with {format_cents(start)} paid; the minimum activation is {needed}"
        yield Refusal("minimum_activation", text, program.eligibility_source)


def _after_deposit(applicant: Applicant) -> tuple[int, int]:
    """Cents past due after the deposit, and what is left of the deposit when unbilled use is paid too."""
    paid, rest = deposit_split(applicant.deposit_cents, applicant.past_due_cents)
    return applicant.past_due_cents - paid, deposit_split(rest, applicant.unbilled_cents or 0)[1]


def _carried(applicant: Applicant) -> int:
    """Cents of debt that would be carried into the program: past due and unbilled, less the deposit."""
    debt = applicant.past_due_cents + (applicant.unbilled_cents or 0)
    return debt - deposit_split(applicant.deposit_cents, debt)[0]


RULES: tuple[Rule, ...] = (_customer_class, _remote_switch, _room)
RULES_FOR_NEW_CUSTOMERS: tuple[Rule, ...] = (_protection, _debt, _minimum_activation)
