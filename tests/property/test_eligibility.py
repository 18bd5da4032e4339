"""Promises about enrolment: more money never hurts, more debt never helps, nothing unknown lets anybody in."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edge.core.eligibility import Applicant, Participants, deposit_split, refusals
from edge.core.model import Protection
from edge.programs import find_program

PROGRAMS = [find_program(name, {})[0] for name in ("default", "oge-pay-as-you-go", "lake-region", "strict")]
cents = st.integers(0, 1_000_00)
more = st.integers(0, 1_000_00)
programs = st.sampled_from(PROGRAMS)
applicants = st.builds(
    Applicant,
    customer_class=st.sampled_from(["residential", "commercial", ""]),
    remote_disconnect=st.sampled_from([True, False, None]),
    protected=st.lists(st.sampled_from(Protection), unique=True).map(tuple),
    past_due_cents=cents,
    unbilled_cents=st.none() | cents,
    deposit_cents=cents,
    opening_cents=st.integers(-1_000_00, 1_000_00),
    first_payment_cents=cents,
    time_of_use=st.booleans(),
    takeover=st.booleans(),
)
taken = st.builds(Participants, st.integers(0, 400), st.integers(0, 400))


@given(applicants, taken, programs, more, st.sampled_from(["deposit_cents", "first_payment_cents", "opening_cents"]))
def test_more_money_never_keeps_anybody_out(applicant, participants, program, amount, key) -> None:
    before = {refusal.code for refusal in refusals(applicant, participants, program)}
    richer = replace(applicant, **{key: getattr(applicant, key) + amount})
    after = {refusal.code for refusal in refusals(richer, participants, program)}
    # A deposit may bring what is past due under its limit and so bring to light what is carried along.
    assert after <= before or after <= before - {"past_due"} | {"carried_debt"}
    assert not (after and not before)


@given(applicants, taken, programs, more)
def test_more_debt_never_lets_anybody_in(applicant, participants, program, amount) -> None:
    deeper = replace(applicant, past_due_cents=applicant.past_due_cents + amount)
    if refusals(applicant, participants, program):
        assert refusals(deeper, participants, program)


@given(applicants, taken, programs)
def test_a_switch_that_is_not_known_lets_nobody_in(applicant, participants, program) -> None:
    unknown = replace(applicant, remote_disconnect=None)
    assert "no_remote_switch" in {refusal.code for refusal in refusals(unknown, participants, program)}


@given(applicants, taken, programs)
def test_whoever_is_let_in_meets_the_figures(applicant, participants, program) -> None:
    if refusals(applicant, participants, program):
        return
    assert applicant.customer_class in program.customer_classes
    if program.max_participants is not None:
        assert participants.standard + participants.time_of_use < program.max_participants
    if not applicant.takeover:
        assert applicant.protected == ()
        owed = applicant.past_due_cents + (applicant.unbilled_cents or 0)
        assert owed - applicant.deposit_cents <= program.max_carried_arrears_cents
        assert applicant.past_due_cents - applicant.deposit_cents <= program.max_past_due_cents


@given(cents, cents)
def test_a_deposit_is_spent_to_the_cent(deposit: int, debt: int) -> None:
    to_debt, rest = deposit_split(deposit, debt)
    assert to_debt + rest == deposit
    assert rest == 0 or to_debt == debt
