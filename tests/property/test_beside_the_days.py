"""Whatever is paid, returned, charged, taken back, deferred and settled: nothing appears, nothing is lost."""

from datetime import date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from edge.catalog import load_catalog
from edge.core import ledger
from edge.core.arrears import split_payment
from edge.core.miscellaneous import charge_name
from edge.core.payments import CLOCK_SLACK, OLDEST, Source, paid_when, source_of
from edge.settings import load_settings

PROGRAMS = [program for program, _ in load_catalog(load_settings(None, None)).rulebook.programs.values()]
DAY = date(2026, 10, 13)
NOW = datetime.fromisoformat("2026-10-13T10:00:00-05:00")
programs = st.sampled_from(PROGRAMS)
cents = st.integers(1, 1_000_000)
debts = st.integers(0, 100_000)
balances = st.integers(-100_000, 100_000)


@given(cents, balances, debts, programs)
def test_a_payment_is_split_within_share_and_debt_and_assistance_not_at_all(amount, balance, debt, program):
    to_arrears, to_balance = split_payment(amount, balance, debt, program)
    assert to_arrears + to_balance == amount
    assert 0 <= to_arrears <= min(debt, amount * program.arrears_share_ppm // 1_000_000)
    for source in set(Source) - {Source.CUSTOMER}:
        assert split_payment(amount, balance, debt, program, source) == (0, amount)


@given(
    st.lists(cents, min_size=1, max_size=6), balances, debts, st.sampled_from(Source), st.integers(0, 5_000), programs
)
def test_payments_that_are_all_returned_leave_the_fees_alone(amounts, balance, debt, source, fee, program):
    first = (balance, debt)
    transactions = []
    for number, amount in enumerate(amounts):
        to_arrears, to_balance = split_payment(amount, balance, debt, program, source)
        paid = ledger.payment(
            account_id="A",
            day=DAY,
            payment_id=str(number),
            channel="web",
            to_arrears_cents=to_arrears,
            to_balance_cents=to_balance,
            source=source,
        )
        balance, debt = balance + to_balance, debt - to_arrears
        transactions += [paid, ledger.returned_payment(of=paid, transaction_id=number, day=DAY, fee_cents=fee)]
    fees = fee * len(amounts)
    assert first[0] + sum(ledger.effect_on_prepaid(each, "A") for each in transactions) == first[0] - fees
    assert sum(ledger.effect_on_arrears(each, "A") for each in transactions) == 0
    money = [p for each in transactions for p in each.postings if p.ledger_account.startswith("assets:")]
    assert sum(posting.amount_cents for posting in money) == 0


@given(cents, st.lists(st.integers(1, 1000), max_size=5))
def test_a_charge_that_is_taken_back_in_parts_leaves_what_is_left(amount, weights):
    charged = ledger.miscellaneous_charge(
        account_id="A", day=DAY, charge_id="C", name="cut_seal", amount_cents=amount, note="n"
    )
    left = amount
    found = [charged]
    for number, weight in enumerate(weights):
        part = min(left, amount * weight // 1000)
        if part:
            found.append(
                ledger.credit(
                    account_id="A",
                    day=DAY,
                    credit_id=str(number),
                    amount_cents=part,
                    note="n",
                    name="cut_seal",
                    reverses=1,
                )
            )
            left -= part
    assert sum(ledger.effect_on_prepaid(each, "A") for each in found) == -left
    revenue = [p.amount_cents for each in found for p in each.postings if p.ledger_account == "revenue:cut_seal"]
    assert sum(revenue) == -left


@given(balances, debts, debts)
def test_a_settled_account_has_nothing_and_owes_what_it_owed(balance, deposit, debt):
    settled = ledger.settlement_of(balance, deposit, debt)
    done = ledger.refund(account_id="A", day=DAY, refund_id="R", channel="check", settlement=settled)
    assert balance + ledger.effect_on_prepaid(done, "A") == 0
    left = debt + ledger.effect_on_arrears(done, "A")
    assert left == max(0, debt - balance - deposit)
    assert settled.refunded_cents == max(0, balance + deposit - debt)
    assert not (settled.refunded_cents and left)


@given(cents, balances, debts)
def test_instalments_move_debt_and_make_none(amount, balance, debt):
    deferred = ledger.instalments(account_id="A", day=DAY, agreement_id="I", amount_cents=amount, note="n")
    assert ledger.effect_on_prepaid(deferred, "A") == ledger.effect_on_arrears(deferred, "A") == amount


@given(st.none() | st.timedeltas(timedelta(days=-9_999), timedelta(days=9_999)))
def test_a_payment_is_never_made_in_the_future_and_a_remark_says_why(told):
    paid_at = None if told is None else NOW + told
    made_at, remark = paid_when(paid_at, NOW)
    believed = told is not None and -OLDEST <= told <= timedelta()
    assert made_at == (paid_at if believed else NOW)
    assert bool(remark) == (told is not None and not -OLDEST <= told <= CLOCK_SLACK)


@given(st.sampled_from(Source), st.sampled_from([str.upper, str.lower, str.title]), st.sampled_from("_ -"))
def test_a_source_is_known_in_every_spelling(source, case, between):
    assert source_of(case(source.value).replace("_", between)) is source


@given(st.text(max_size=40), st.sampled_from(["disconnect", "Re-connect", "RECONNECTION", "switch on", "turn-off"]))
def test_no_spelling_lets_a_switching_fee_through(around, word):
    for told in (word, f"{around} {word}", f"{word} {around}"):
        try:
            name = charge_name(told)
        except ValueError:
            continue
        raise AssertionError(name)
