"""Double entry as values: transactions whose postings sum to zero, and the hash that chains the stored entries.

Debit is positive. A customer's credit is the utility's liability, so it is negative on ``liabilities:prepaid:<id>``;
carried debt is positive on ``assets:arrears:<id>``. Functions that speak of a customer use the customer's sign.
Nothing is ever changed: a correction is a transaction of its own (architecture sections 0.3 and 12.2). There is no
constructor for a disconnect or reconnect fee, because no program charges one (domain-rules R4; seed 002).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from json.encoder import encode_basestring_ascii

from edge.core.payments import Source

GENESIS_HASH = "0" * 64  # what stands before the first entry of the chain
OPENING = "clearing:opening"


@dataclass(frozen=True, slots=True)
class Posting:
    """An amount in cents on one account of the ledger; debit positive, never zero."""

    ledger_account: str
    amount_cents: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """What happened, on which civil day, and its postings. ``ref`` is unique in a ledger: the same fact posts once.

    ``reverses``: the id under which the transaction that this one undoes was stored. A charge of nothing has no
    postings. Raises ValueError when the postings do not sum to zero or one of them is zero.
    """

    kind: str
    account_id: str
    day: date
    ref: str
    postings: tuple[Posting, ...]
    estimated: bool = False
    note: str = ""
    reverses: int | None = None

    def __post_init__(self) -> None:
        total = 0
        for posting in self.postings:
            if posting.amount_cents == 0:
                raise ValueError(f"{self.ref}: a posting of nothing on {posting.ledger_account}")
            total += posting.amount_cents
        if total != 0:
            raise ValueError(f"{self.ref}: the postings sum to {total} cents, not to zero")


def prepaid(account_id: str) -> str:
    """The ledger account of a customer's credit."""
    return f"liabilities:prepaid:{account_id}"


def arrears(account_id: str) -> str:
    """The ledger account of a customer's carried debt."""
    return f"assets:arrears:{account_id}"


def deposits(account_id: str) -> str:
    """The ledger account of a customer's deposit."""
    return f"liabilities:deposits:{account_id}"


def cash(channel: str) -> str:
    """The ledger account of money taken through a channel; its name is reduced to letters, digits and dashes."""
    return f"assets:cash:{re.sub(r'[^a-z0-9]+', '-', channel.lower()).strip('-') or 'unknown'}"


def assistance(source: Source) -> str:
    """The ledger account of money that others pay for customers: what the program or agency of a source hands over."""
    return f"assets:assistance:{source.value.lower().replace('_', '-')}"


def income(kind: str) -> str:
    """The ledger account that a kind of charge goes to: taxes are owed on, everything else is revenue."""
    return f"liabilities:{kind}" if kind.startswith("tax:") else f"revenue:{kind}"


def _postings(*amounts: tuple[str, int]) -> tuple[Posting, ...]:
    return tuple([Posting(account, cents) for account, cents in amounts if cents])


def payment(
    *,
    account_id: str,
    day: date,
    payment_id: str,
    channel: str,
    to_arrears_cents: int,
    to_balance_cents: int,
    source: Source = Source.CUSTOMER,
    note: str = "",
) -> Transaction:
    """Money taken, split between old debt and balance as the program says (domain-rules R6); ref ``payment:<id>``.

    A customer's money comes in by its channel; assistance stands on an account of its own, by whose it is. Raises
    ValueError when a part is below zero or both are nothing.
    """
    if to_arrears_cents < 0 or to_balance_cents < 0 or to_arrears_cents + to_balance_cents == 0:
        raise ValueError(f"payment {payment_id}: the parts {to_arrears_cents} and {to_balance_cents} make no payment")
    postings = _postings(
        (cash(channel) if source is Source.CUSTOMER else assistance(source), to_arrears_cents + to_balance_cents),
        (arrears(account_id), -to_arrears_cents),
        (prepaid(account_id), -to_balance_cents),
    )
    return Transaction("payment", account_id, day, f"payment:{payment_id}", postings, note=note)


def charge(
    *, account_id: str, day: date, charges: Mapping[str, int], estimated: bool = False, note: str = ""
) -> Transaction:
    """A civil day's charges (kind to cents) against the balance; ref ``charge:<account_id>:<day>``."""
    return _charges("charge", account_id, day, f"charge:{account_id}:{day.isoformat()}", charges, estimated, note)


def correction(
    *,
    account_id: str,
    day: date,
    corrects: date,
    charges: Mapping[str, int],
    ref: str,
    estimated: bool = False,
    note: str = "",
    reverses: int | None = None,
) -> Transaction:
    """An adjustment by kind, posted on ``day``, of what an earlier day was charged (architecture section 8).

    ``charges``: the difference by kind. ``reverses``: the transaction that brought the day's charges where they were.
    """
    text = f"corrects {corrects.isoformat()}" + (f": {note}" if note else "")
    transaction = _charges("adjustment", account_id, day, ref, charges, estimated, text)
    return transaction if reverses is None else replace(transaction, reverses=reverses)


def _charges(
    kind: str, account_id: str, day: date, ref: str, charges: Mapping[str, int], estimated: bool, note: str
) -> Transaction:
    credits_ = [(income(name), -cents) for name, cents in charges.items() if cents]
    total = -sum([cents for _, cents in credits_])
    postings = _postings((prepaid(account_id), total), *credits_)
    return Transaction(kind, account_id, day, ref, postings, estimated, note)


def opening(
    *, account_id: str, day: date, balance_cents: int, arrears_cents: int, deposit_cents: int = 0, note: str = ""
) -> Transaction:
    """Balance (customer's sign), carried debt and deposit that an account brings in; ref ``opening:<account_id>``."""
    postings = _postings(
        (prepaid(account_id), -balance_cents),
        (arrears(account_id), arrears_cents),
        (deposits(account_id), -deposit_cents),
        (OPENING, balance_cents - arrears_cents + deposit_cents),
    )
    return Transaction("opening", account_id, day, f"opening:{account_id}", postings, note=note)


def adjustment(
    *, account_id: str, day: date, amount_cents: int, ref: str, note: str, against: str = "revenue:adjustments"
) -> Transaction:
    """A change of the balance by ``amount_cents`` in the customer's sign: a credit given, or a charge if below zero."""
    postings = _postings((prepaid(account_id), -amount_cents), (against, amount_cents))
    return Transaction("adjustment", account_id, day, ref, postings, note=note)


def miscellaneous_charge(
    *, account_id: str, day: date, charge_id: str, name: str, amount_cents: int, note: str
) -> Transaction:
    """A charge such as a cut seal, applied at once, against ``revenue:<name>`` (domain-rules R5); ref ``misc:<id>``.

    Raises ValueError when the amount is not above zero.
    """
    if amount_cents <= 0:
        raise ValueError(f"charge {charge_id}: the amount {amount_cents} is not above zero")
    postings = _postings((prepaid(account_id), amount_cents), (income(name), -amount_cents))
    return Transaction("miscellaneous_charge", account_id, day, f"misc:{charge_id}", postings, note=note)


def credit(
    *,
    account_id: str,
    day: date,
    credit_id: str,
    amount_cents: int,
    note: str,
    name: str = "adjustments",
    reverses: int | None = None,
) -> Transaction:
    """A credit given at once, of a charge's ``name`` where it takes one back (``reverses``); ref ``credit:<id>``.

    Raises ValueError when the amount is not above zero.
    """
    if amount_cents <= 0:
        raise ValueError(f"credit {credit_id}: the amount {amount_cents} is not above zero")
    postings = _postings((prepaid(account_id), -amount_cents), (income(name), amount_cents))
    return Transaction("credit", account_id, day, f"credit:{credit_id}", postings, note=note, reverses=reverses)


def instalments(*, account_id: str, day: date, agreement_id: str, amount_cents: int, note: str) -> Transaction:
    """What an under-estimate cost too little moves from the balance to the debt that payments pay off by their share.

    Seed 003, 6.04; domain-rules R62: "underestimate -> instalments on request". Ref ``instalments:<id>``. Raises
    ValueError when the amount is not above zero.
    """
    if amount_cents <= 0:
        raise ValueError(f"agreement {agreement_id}: the amount {amount_cents} is not above zero")
    postings = _postings((arrears(account_id), amount_cents), (prepaid(account_id), -amount_cents))
    return Transaction("instalments", account_id, day, f"instalments:{agreement_id}", postings, note=note)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What becomes of an account's money after its final bill, in cents.

    ``to_arrears``: of the credit, what pays carried debt. ``refunded``: the rest of it. ``billed``: what the balance
    and a deposit lack, which becomes debt that is billed outside the program.
    """

    balance_cents: int
    deposit_cents: int
    to_arrears_cents: int
    refunded_cents: int
    billed_cents: int


def settlement_of(balance_cents: int, deposit_cents: int, arrears_cents: int) -> Settlement:
    """How an account is settled on leaving: credit and deposit pay old debt first, the rest goes back (row 7)."""
    credit_cents = balance_cents + deposit_cents
    to_arrears = min(max(0, credit_cents), max(0, arrears_cents))
    refunded = max(0, credit_cents) - to_arrears
    return Settlement(balance_cents, deposit_cents, to_arrears, refunded, max(0, -credit_cents))


def refund(
    *, account_id: str, day: date, refund_id: str, channel: str, settlement: Settlement, note: str = ""
) -> Transaction:
    """The final bill settled: balance and deposit become nothing (domain-rules R9, row 6); ref ``refund:<id>``."""
    postings = _postings(
        (prepaid(account_id), settlement.balance_cents),
        (deposits(account_id), settlement.deposit_cents),
        (arrears(account_id), settlement.billed_cents - settlement.to_arrears_cents),
        (cash(channel), -settlement.refunded_cents),
    )
    return Transaction("refund", account_id, day, f"refund:{refund_id}", postings, note=note)


def reversal(*, of: Transaction, transaction_id: int, day: date, note: str) -> Transaction:
    """The transaction that undoes ``of``, which was stored as ``transaction_id``; ref ``reversal:<its ref>``."""
    postings = tuple([Posting(posting.ledger_account, -posting.amount_cents) for posting in of.postings])
    ref = f"reversal:{of.ref}"
    return Transaction("reversal", of.account_id, day, ref, postings, of.estimated, note, transaction_id)


def returned_payment(
    *, of: Transaction, transaction_id: int, day: date, fee_cents: int = 0, note: str = ""
) -> Transaction:
    """A payment that the bank did not honour: its split is undone and the fee charged at once (domain-rules R5, R22).

    Ref ``returned:<payment's ref>``. Raises ValueError when ``of`` is no payment or the fee is below zero.
    """
    if of.kind != "payment" or fee_cents < 0:
        raise ValueError(f"{of.ref} is no payment, or the fee {fee_cents} is below zero")
    amounts = {posting.ledger_account: -posting.amount_cents for posting in of.postings}
    customer = prepaid(of.account_id)
    amounts[customer] = amounts.get(customer, 0) + fee_cents
    postings = _postings(*amounts.items(), ("revenue:returned_payment_fee", -fee_cents))
    ref = f"returned:{of.ref}"
    return Transaction("returned_payment", of.account_id, day, ref, postings, note=note, reverses=transaction_id)


def deposit_application(
    *, account_id: str, day: date, to_arrears_cents: int, to_balance_cents: int, ref: str, note: str = ""
) -> Transaction:
    """A deposit that pays old debt first and the balance with the rest (domain-rules section 3, row 7; C10).

    Raises ValueError when a part is below zero or both are nothing.
    """
    if to_arrears_cents < 0 or to_balance_cents < 0 or to_arrears_cents + to_balance_cents == 0:
        raise ValueError(f"{ref}: the parts {to_arrears_cents} and {to_balance_cents} apply no deposit")
    postings = _postings(
        (deposits(account_id), to_arrears_cents + to_balance_cents),
        (arrears(account_id), -to_arrears_cents),
        (prepaid(account_id), -to_balance_cents),
    )
    return Transaction("deposit", account_id, day, ref, postings, note=note)


def effect_on_prepaid(transaction: Transaction, account_id: str) -> int:
    """What a transaction does to a customer's balance, in cents and in the customer's sign."""
    return -_sum_on(transaction, prepaid(account_id))


def effect_on_arrears(transaction: Transaction, account_id: str) -> int:
    """What a transaction does to a customer's carried debt, in cents."""
    return _sum_on(transaction, arrears(account_id))


def _sum_on(transaction: Transaction, ledger_account: str) -> int:
    return sum([posting.amount_cents for posting in transaction.postings if posting.ledger_account == ledger_account])


def seal(table: str, fields: Sequence[str | int | None]) -> str:
    """The hash of a row beside the ledger (a payment, a closed day): it tells whether any of its fields was changed."""
    return entry_hash(table, fields)


def entry_hash(previous_hash: str, fields: Sequence[str | int | None]) -> str:
    """The hash (SHA-256, hex) of a link of the chain, an entry or a transaction's head, and of the link before it.

    The text that is hashed is a JSON array of the previous hash and the fields, without spaces, in ASCII: it tells
    where a field ends, ``1`` from ``"1"``, and nothing from an empty text, so that no two entries have the same.
    """
    quoted = encode_basestring_ascii
    text = ",".join(
        [
            quoted(field) if isinstance(field, str) else "null" if field is None else repr(field)
            for field in (previous_hash, *fields)
        ]
    )
    return sha256(f"[{text}]".encode("ascii")).hexdigest()


def check_chain(rows: Iterable[tuple[Sequence[str | int | None], str]], first_hash: str = GENESIS_HASH) -> int | None:
    """The index of the first row (fields, stored hash) that does not fit; None when the chain holds."""
    previous = first_hash
    for index, (fields, stored) in enumerate(rows):
        if entry_hash(previous, fields) != stored:
            return index
        previous = stored
    return None
