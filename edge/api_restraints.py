"""The local API's part for what keeps accounts from being disconnected, and for what takes them out of the program."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from edge import restraints
from edge.api_parts import Body, Identifier, Words, caller, instant
from edge.core.model import HoldKind, Protection
from edge.core.money import format_cents
from edge.gateway import Gateway
from edge.inventory import hold_view, moratorium_view, time_text
from edge.leaving import unenroll
from edge.refusals import NotThere, RequestRefused
from edge.restraints import HoldRequest, MoratoriumRequest
from edge.store import books
from edge.store import restraints as store


class HoldBody(Body):
    """A hold; ``until`` None: no end; ``hold_id`` None: the gateway names it, else it may bring a new end."""

    account_id: Identifier
    kind: Literal["dispute", "settlement", "aid_pending", "operator"]
    starts_at: Annotated[str | None, Field(alias="from")] = None
    until: str | None = None
    reason: Words = ""
    hold_id: Identifier | None = None


class ReleaseBody(Body):
    """How a hold ends; a settlement agreement is ``honoured`` or ``broken``."""

    outcome: Literal["released", "honoured", "broken"] = "released"
    reason: Words = ""


class ProtectionBody(Body):
    """A protection that begins or ends; ``kind`` None, for an end: all of them."""

    account_id: Identifier
    kind: Literal["medical", "life_support", "life_threatening", "elderly_disabled"] | None = None
    protected: bool


class MoratoriumBody(Body):
    """A moratorium order; ``order`` None: the gateway names it; ``until`` None: no end."""

    order: Identifier | None = None
    starts_at: Annotated[str | None, Field(alias="from")] = None
    until: str | None = None
    reason: Words
    ordered_by: Words = ""


class MoratoriumEndBody(Body):
    """Which moratorium ends; ``order`` None: the only one."""

    order: Identifier | None = None


class UnenrolmentBody(Body):
    """Why an account leaves the program."""

    reason: Words = ""


def add_restraints(app: FastAPI, gateway: Gateway) -> None:
    """Add these endpoints to the application; a request that is refused answers 404 or 409 with its sentence."""

    @app.exception_handler(RequestRefused)
    async def refused(_: Request, problem: RequestRefused) -> JSONResponse:
        return JSONResponse({"detail": str(problem)}, 404 if isinstance(problem, NotThere) else 409)

    _add_holds(app, gateway)
    _add_protections(app, gateway)
    _add_moratoriums(app, gateway)
    _add_departures(app, gateway)


def _add_holds(app: FastAPI, gateway: Gateway) -> None:
    settings, clock = gateway.settings, gateway.clock

    @app.post("/v1/holds")
    async def post_hold(body: HoldBody, request: Request) -> dict[str, Any]:
        """Record a hold, or a new end of one that is there under its id."""
        starts_at, until = _instant(body.starts_at, "from"), _end(body.until, clock.now())
        wanted = HoldRequest(body.account_id, HoldKind(body.kind), starts_at, until, body.reason, body.hold_id)
        return hold_view(await restraints.add_hold(gateway, wanted, caller(request)), settings, clock.now())

    @app.post("/v1/holds/{hold_id:path}/release")
    async def post_release(hold_id: str, body: ReleaseBody, request: Request) -> dict[str, Any]:
        """End a hold now."""
        by = caller(request)
        released = await restraints.release_hold(gateway, hold_id, clock.now(), by, body.outcome, body.reason)
        return hold_view(released, settings, clock.now())

    @app.get("/v1/holds")
    async def get_holds(account_id: str | None = None) -> list[dict[str, Any]]:
        """All holds, or those of an account."""
        found = await gateway.store.read(lambda database: store.recorded_holds(database, account_id))
        return [hold_view(recorded, settings, clock.now()) for recorded in found]


def _add_protections(app: FastAPI, gateway: Gateway) -> None:
    @app.post("/v1/protections")
    async def post_protection(body: ProtectionBody, request: Request) -> dict[str, Any]:
        """Begin or end a protection; where one begins, the account leaves the program."""
        if body.kind is None and body.protected:
            raise HTTPException(422, f"account {body.account_id}: kind - a protection that begins needs its kind")
        kinds = list(Protection) if body.kind is None else [Protection(body.kind)]
        now = gateway.clock.now()
        in_force = await restraints.set_protection(
            gateway, body.account_id, kinds, body.protected, now, caller(request)
        )
        return {"account_id": body.account_id, "protected": [kind.value for kind in in_force]}

    @app.get("/v1/protections")
    async def get_protections() -> list[dict[str, Any]]:
        """Every beginning and end of a protection, oldest first."""
        return [
            {
                "account_id": told.account_id,
                "kind": told.kind.value,
                "protected": told.protected,
                "at": time_text(told.at, gateway.settings),
                "by": told.by,
            }
            for told in await gateway.store.read(store.recorded_protections)
        ]


def _add_moratoriums(app: FastAPI, gateway: Gateway) -> None:
    settings, clock = gateway.settings, gateway.clock

    @app.post("/v1/moratoriums")
    async def post_moratorium(body: MoratoriumBody, request: Request) -> dict[str, Any]:
        """Record a moratorium order, or a new end of one."""
        starts_at, until = _instant(body.starts_at, "from"), _end(body.until, clock.now())
        wanted = MoratoriumRequest(body.order, starts_at, until, body.reason, body.ordered_by)
        recorded = await restraints.order_moratorium(gateway, wanted, caller(request))
        return moratorium_view(recorded, settings, clock.now())

    @app.post("/v1/moratoriums/end")
    async def post_moratorium_end(body: MoratoriumEndBody, request: Request) -> dict[str, Any]:
        """End a moratorium now."""
        ended = await restraints.end_moratorium(gateway, body.order, caller(request))
        return moratorium_view(ended, settings, clock.now())

    @app.get("/v1/moratoriums")
    async def get_moratoriums() -> list[dict[str, Any]]:
        """All moratorium orders."""
        found = await gateway.store.read(store.recorded_moratoriums)
        return [moratorium_view(recorded, settings, clock.now()) for recorded in found]


def _add_departures(app: FastAPI, gateway: Gateway) -> None:
    @app.post("/v1/accounts/{account_id}/unenroll")
    async def post_unenrolment(account_id: str, body: UnenrolmentBody, request: Request) -> dict[str, Any]:
        """Let an account leave the program now."""
        last_day = await unenroll(gateway, account_id, body.reason, caller(request))
        balance = await gateway.store.read(lambda database: books.balance_cents(database, account_id))
        return {"account_id": account_id, "last_day": last_day.isoformat(), "balance": format_cents(balance)}


def _instant(text: str | None, key: str) -> datetime | None:
    try:
        return None if text is None else instant(text, key)
    except ValueError as problem:
        raise HTTPException(422, str(problem)) from None


def _end(text: str | None, now: datetime) -> datetime | None:
    """An end that somebody gives by hand: one that has passed is a slip of the pen."""
    until = _instant(text, "until")
    if until is not None and until <= now:
        raise HTTPException(422, f"until {text} lies in the past")
    return until
