"""The local API's part for registers: meter exchanges, reads that customers report, edited days, the manual queue."""

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, HTTPException, Request
from pydantic import Field

from edge import metering
from edge.api_parts import Body, Words, caller, instant
from edge.gateway import Gateway
from edge.metering import EditRequest, ExchangeRequest
from edge.rate_whatif import parse_day, parse_wh

T = TypeVar("T")
Register = Annotated[int, Field(ge=0, lt=10**15)]
Serial = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]


class ExchangeBody(Body):
    """Another meter in the same place; registers in Wh, ``at`` None: just now."""

    new_serial: Serial
    final_register_wh: Register
    initial_register_wh: Register
    reason: Words = ""
    at: str | None = None
    old_serial: Serial | None = None


class CustomerReadBody(Body):
    """A register in Wh that a customer read; ``at`` None: just now."""

    register_wh: Register
    at: str | None = None


class EditBody(Body):
    """A day's use in kWh, a decimal string. ``standing`` None: an estimate where no reads cover the day, else final."""

    kwh: str
    reason: Reason
    standing: Literal["estimate", "final"] | None = None


class WithdrawalBody(Body):
    """Why an edit no longer stands."""

    reason: Reason


def add_metering(app: FastAPI, gateway: Gateway) -> None:
    """Add these endpoints to the application; what is refused answers 404, 409 or 422 with its sentence."""

    @app.post("/v1/meters/{meter_id}/exchanges")
    async def post_exchange(meter_id: str, body: ExchangeBody, request: Request) -> dict[str, Any]:
        """Record that a meter was exchanged for another."""
        at = None if body.at is None else _or_422(instant, body.at, "at")
        wanted = ExchangeRequest(
            meter_id,
            body.new_serial,
            body.final_register_wh,
            body.initial_register_wh,
            body.reason,
            at,
            body.old_serial,
        )
        return await metering.exchange_meter(gateway, wanted, caller(request))

    @app.post("/v1/accounts/{account_id}/reads")
    async def post_read(account_id: str, body: CustomerReadBody, request: Request) -> dict[str, Any]:
        """Take a register read that the customer reports."""
        at = None if body.at is None else _or_422(instant, body.at, "at")
        return await metering.report_read(gateway, account_id, body.register_wh, at, caller(request))

    @app.post("/v1/accounts/{account_id}/days/{day}")
    async def post_day(account_id: str, day: str, body: EditBody, request: Request) -> dict[str, Any]:
        """Say what a day's use was."""
        energy_wh = _or_422(parse_wh, body.kwh)
        wanted = EditRequest(account_id, _day(day), energy_wh, body.reason, body.standing)
        return await metering.edit_day(gateway, wanted, caller(request))

    @app.post("/v1/accounts/{account_id}/days/{day}/withdrawal")
    async def post_withdrawal(account_id: str, day: str, body: WithdrawalBody, request: Request) -> dict[str, Any]:
        """Take back what was said of a day's use."""
        wanted = EditRequest(account_id, _day(day), 0, body.reason, "withdrawn")
        return await metering.edit_day(gateway, wanted, caller(request))


def _day(text: str) -> date:
    return _or_422(parse_day, text)


def _or_422(parse: Callable[..., T], *words: str) -> T:
    try:
        return parse(*words)
    except ValueError as problem:
        raise HTTPException(422, str(problem)) from None
