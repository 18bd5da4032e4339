"""The local API's part for money beside the days: payments, charges, credits, instalments, refunds, tariffs."""

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from edge import adjustments
from edge.adjustments import Adjusted, ItemRequest
from edge.api_parts import Body, Identifier, Words, caller, instant
from edge.core.money import format_cents, parse_cents
from edge.gateway import Gateway
from edge.payments import PaymentRequest, Receipt, take_payment
from edge.returned_payments import return_payment
from edge.settlement import refund
from edge.terms import change_tariff

Name = Annotated[str, Field(max_length=64)]


class PaymentBody(Body):
    """A payment; ``amount`` is a decimal string in dollars and cents, ``paid_at`` when an agent took it."""

    payment_id: Identifier
    account_id: Identifier
    amount: str
    paid_at: str | None = None
    channel: Name = ""
    source: Name = ""


class ReturnedPaymentBody(Body):
    """A payment that the bank took back; ``fee`` is a decimal string in dollars and cents."""

    payment_id: Identifier
    returned_at: str | None = None
    fee: str | None = None
    reason: Words = ""


class ChargeBody(Body):
    """A charge such as a cut seal; ``amount`` is a decimal string in dollars and cents."""

    charge_id: Identifier
    account_id: Identifier
    amount: str
    kind: Name
    reason: Words


class CreditBody(Body):
    """A credit; ``reverses``: the charge that it takes back, in whole or in part."""

    credit_id: Identifier
    account_id: Identifier
    amount: str
    reason: Words
    reverses: Identifier | None = None


class InstalmentsBody(Body):
    """An under-estimate that is to be paid in instalments."""

    agreement_id: Identifier
    account_id: Identifier
    amount: str
    reason: Words


class RefundBody(Body):
    """The settlement of an account that has left; ``channel``: how the rest goes back."""

    refund_id: Identifier
    account_id: Identifier
    channel: Annotated[str, Field(min_length=1, max_length=64)] = "refund"


class TariffBody(Body):
    """Another tariff, from a civil day on; None: from today on."""

    tariff: Identifier
    first_day: Annotated[str | None, Field(alias="from")] = None


def add_money(app: FastAPI, gateway: Gateway) -> None:
    """Add these endpoints to the application; what is refused answers 404, 409 or 422 with its sentence."""
    _add_payments(app, gateway)
    _add_returned_payments(app, gateway)
    _add_adjustments(app, gateway)
    _add_ends_and_changes(app, gateway)


def _add_payments(app: FastAPI, gateway: Gateway) -> None:
    @app.post("/v1/payments")
    async def post_payment(body: PaymentBody, request: Request) -> JSONResponse:
        """Post a payment; the same content again answers the same, other content under the same id is a conflict."""
        named = f"payment {body.payment_id}"
        paid_at = _instant(named, body.paid_at, "paid_at")
        amount_cents = _cents(named, body.amount)
        wanted = PaymentRequest(body.payment_id, body.account_id, amount_cents, paid_at, body.channel, body.source)
        receipt = await take_payment(gateway, wanted, caller(request))
        if receipt.status == "conflict":
            raise HTTPException(409, receipt.reason)
        if receipt.status == "refused":
            raise HTTPException(404 if "there is no account" in receipt.reason else 422, receipt.reason)
        return JSONResponse(_receipt_view(receipt))


def _receipt_view(receipt: Receipt) -> dict[str, Any]:
    """A receipt in the contract's words (section 3, ``pay``)."""
    view = {
        "payment_id": receipt.payment_id,
        "posted": True,
        "duplicate": receipt.status == "duplicate",
        "to_arrears": format_cents(receipt.to_arrears_cents),
        "to_balance": format_cents(receipt.to_balance_cents),
        "balance": format_cents(receipt.balance_cents),
    }
    return view | ({"remark": receipt.reason} if receipt.reason else {})


def _add_returned_payments(app: FastAPI, gateway: Gateway) -> None:
    @app.post("/v1/returned-payments")
    async def post_returned_payment(body: ReturnedPaymentBody, request: Request) -> dict[str, Any]:
        """Take a payment back, its fee too; one that has not come yet is taken back when it comes."""
        named = f"payment {body.payment_id}"
        returned_at = _instant(named, body.returned_at, "returned_at")
        fee_cents = None if body.fee is None else _cents(f"{named}: fee", body.fee)
        found = await return_payment(gateway, body.payment_id, returned_at, fee_cents, body.reason, caller(request))
        return {
            "payment_id": body.payment_id,
            "account_id": found.account_id,
            "duplicate": found.status == "duplicate",
            "awaited": found.status == "awaited",
            "balance": None if found.balance_cents is None else format_cents(found.balance_cents),
        }


def _add_adjustments(app: FastAPI, gateway: Gateway) -> None:
    @app.post("/v1/charges")
    async def post_charge(body: ChargeBody, request: Request) -> dict[str, Any]:
        """Charge something beside the tariff, at once."""
        cents = _cents(f"charge {body.charge_id}", body.amount)
        wanted = ItemRequest(body.charge_id, body.account_id, cents, body.reason, kind=body.kind)
        return _adjusted_view("charge_id", await adjustments.charge(gateway, wanted, caller(request)))

    @app.post("/v1/credits")
    async def post_credit(body: CreditBody, request: Request) -> dict[str, Any]:
        """Give a credit, at once; it may take back a charge."""
        cents = _cents(f"credit {body.credit_id}", body.amount)
        wanted = ItemRequest(body.credit_id, body.account_id, cents, body.reason, reverses=body.reverses)
        return _adjusted_view("credit_id", await adjustments.credit(gateway, wanted, caller(request)))

    @app.post("/v1/instalments")
    async def post_instalments(body: InstalmentsBody, request: Request) -> dict[str, Any]:
        """Let an under-estimate be paid by the program's share of later payments."""
        cents = _cents(f"agreement {body.agreement_id}", body.amount)
        found = await adjustments.defer(
            gateway, body.account_id, body.agreement_id, cents, body.reason, caller(request)
        )
        return _adjusted_view("agreement_id", found)


def _adjusted_view(id_key: str, found: Adjusted) -> dict[str, Any]:
    return {
        id_key: found.item_id,
        "account_id": found.account_id,
        "posted": True,
        "duplicate": found.duplicate,
        "amount": format_cents(found.amount_cents),
        "balance": format_cents(found.balance_cents),
        "arrears": format_cents(found.arrears_cents),
    }


def _add_ends_and_changes(app: FastAPI, gateway: Gateway) -> None:
    @app.post("/v1/refunds")
    async def post_refund(body: RefundBody, request: Request) -> dict[str, Any]:
        """Settle the account of somebody who has left."""
        settled = await refund(gateway, body.account_id, body.refund_id, body.channel, caller(request))
        parts = settled.refund.settlement
        return {
            "refund_id": body.refund_id,
            "account_id": body.account_id,
            "posted": True,
            "duplicate": settled.duplicate,
            "refunded": format_cents(parts.refunded_cents),
            "to_arrears": format_cents(parts.to_arrears_cents),
            "billed": format_cents(parts.billed_cents),
            "arrears": format_cents(settled.arrears_cents),
        }

    @app.post("/v1/accounts/{account_id}/tariff")
    async def post_tariff(account_id: str, body: TariffBody, request: Request) -> dict[str, Any]:
        """Give an account another tariff from a day on."""
        try:
            first_day = None if body.first_day is None else date.fromisoformat(body.first_day)
        except ValueError:
            raise HTTPException(422, f"from {body.first_day!r} is not a day such as 2026-10-14") from None
        found = await change_tariff(gateway, account_id, body.tariff, first_day, caller(request))
        return {
            "account_id": account_id,
            "tariff": found.tariff,
            "from": found.first_day.isoformat(),
            "duplicate": found.duplicate,
        }


def _cents(named: str, amount: str) -> int:
    try:
        return parse_cents(amount)
    except ValueError as problem:
        raise HTTPException(422, f"{named}: {problem}") from None


def _instant(named: str, text: str | None, key: str) -> datetime | None:
    try:
        return None if text is None else instant(text, key)
    except ValueError as problem:
        raise HTTPException(422, f"{named}: {problem}") from None
