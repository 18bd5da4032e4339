"""The verbs for money beside the days: payments, returns, charges, credits, instalments, refunds, another tariff."""

from typing import Annotated, Any

import typer

from edge import cli_context as context
from edge.cli_context import COMMON
from edge.console import Failure

money_app = typer.Typer()

AMOUNTS = {"ignore_unknown_options": True}  # so that -5.00 is an amount, which is then refused as one

Account = Annotated[str, typer.Argument(metavar="ID")]
Amount = Annotated[str, typer.Argument(help="Dollars and cents, such as 25.00.")]
Reason = Annotated[str, typer.Option(help="In words, for whoever asks later.")]


@money_app.command(epilog=COMMON, context_settings=AMOUNTS)
def pay(
    account_id: Account,
    amount: Amount,
    payment_id: Annotated[str, typer.Option(help="The payment's own id: the same id again posts nothing.")],
    channel: Annotated[str, typer.Option(help="Where it was taken; else: field.")] = "",
    source: Annotated[
        str,
        typer.Option(help="Whose money: customer, LIHEAP, third_party_tariff (under a tariff provision), third_party."),
    ] = "",
    paid_at: Annotated[
        str | None, typer.Option(help="When an agent took it, such as 2026-10-14T09:00:00-05:00.")
    ] = None,
) -> None:
    """Take a payment in the field; idempotent on the payment id."""
    body = {
        "payment_id": payment_id,
        "account_id": account_id,
        "amount": _amount(amount, f"payment {payment_id}"),
        "channel": channel,
        "source": source,
        "paid_at": None if paid_at is None else context.instant(paid_at, "--paid-at").isoformat(),
    }
    context.print_one(_ask("/v1/payments", body))


@money_app.command("return-payment", epilog=COMMON)
def return_payment(
    payment_id: Annotated[str, typer.Argument(metavar="PAYMENT_ID")],
    reason: Annotated[str, typer.Option(help="What the bank said.")],
    fee: Annotated[str | None, typer.Option(help="Dollars and cents that are charged at once.")] = None,
) -> None:
    """Take back a payment that the bank did not honour; the customer has one business day from being told."""
    context.print_one(_ask("/v1/returned-payments", {"payment_id": payment_id, "fee": fee, "reason": reason}))


@money_app.command(epilog=COMMON, context_settings=AMOUNTS)
def charge(
    account_id: Account,
    amount: Amount,
    kind: Annotated[str, typer.Option(help="What is charged, such as cut_seal; never a disconnect or a reconnect.")],
    reason: Reason,
    charge_id: Annotated[str, typer.Option(help="The charge's own id: the same id again posts nothing.")],
) -> None:
    """Charge something beside the tariff, at once."""
    body = {"charge_id": charge_id, "account_id": account_id, "kind": kind, "reason": reason}
    context.print_one(_ask("/v1/charges", body | {"amount": _amount(amount, f"charge {charge_id}")}))


@money_app.command(epilog=COMMON, context_settings=AMOUNTS)
def credit(
    account_id: Account,
    amount: Amount,
    reason: Reason,
    credit_id: Annotated[str, typer.Option(help="The credit's own id: the same id again posts nothing.")],
    reverses: Annotated[str | None, typer.Option(help="The charge that it takes back, in whole or in part.")] = None,
) -> None:
    """Give a credit, at once."""
    body = {"credit_id": credit_id, "account_id": account_id, "reason": reason, "reverses": reverses}
    context.print_one(_ask("/v1/credits", body | {"amount": _amount(amount, f"credit {credit_id}")}))


@money_app.command(epilog=COMMON, context_settings=AMOUNTS)
def instalments(
    account_id: Account,
    amount: Amount,
    reason: Reason,
    agreement_id: Annotated[str, typer.Option(help="The agreement's own id: the same id again posts nothing.")],
) -> None:
    """Let what an under-estimate cost too little be paid by the program's share of later payments."""
    body = {"agreement_id": agreement_id, "account_id": account_id, "reason": reason}
    context.print_one(_ask("/v1/instalments", body | {"amount": _amount(amount, f"agreement {agreement_id}")}))


@money_app.command(epilog=COMMON)
def refund(
    account_id: Account,
    refund_id: Annotated[str, typer.Option(help="The refund's own id: the same id again posts nothing.")],
    channel: Annotated[str, typer.Option(help="How the rest goes back.")] = "refund",
) -> None:
    """Settle an account that has left, after its final bill: old debt first, the rest back to the customer."""
    body = {"refund_id": refund_id, "account_id": account_id, "channel": channel}
    context.print_one(_ask("/v1/refunds", body))


@money_app.command(epilog=COMMON)
def tariff(
    account_id: Account,
    name: Annotated[str, typer.Argument(metavar="TARIFF")],
    first_day: Annotated[str | None, typer.Option("--from", help="The first civil day of it; else today.")] = None,
) -> None:
    """Give an account another tariff from today or a later day on."""
    context.print_one(_ask(f"/v1/accounts/{account_id}/tariff", {"tariff": name, "from": first_day}))


def _amount(text: str, named: str) -> str:
    """An amount above zero, as it was typed. Raises Failure 2."""
    from edge.core.money import format_cents, parse_cents

    try:
        cents = parse_cents(text)
    except ValueError as problem:
        raise Failure(2, f"{named}: {problem}") from None
    if cents <= 0:
        raise Failure(2, f"{named}: the amount {format_cents(cents)} is not above zero")
    return text


def _ask(path: str, body: dict[str, Any]) -> dict[str, Any]:
    return context.ask_daemon(context.settings(), "POST", path, body)
