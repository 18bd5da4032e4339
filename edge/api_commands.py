"""The local API's part for what a person asks of a switch."""

from typing import Annotated, Any

from fastapi import FastAPI, Request
from pydantic import Field

from edge import commands, quarantine
from edge.api_parts import Body, caller
from edge.gateway import Gateway

Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]


class DisconnectBody(Body):
    """Why a supply is to be disconnected; ``safety``: for a hazard, apart from the rules."""

    reason: Reason
    safety: bool = False


class ConnectBody(Body):
    """Why a supply is to be connected; ``safety_cleared``: the hazard for which it was disconnected is over."""

    reason: Reason
    safety_cleared: bool = False


class ReleaseBody(Body):
    """Why a quarantine is to be released."""

    reason: Reason


def add_commands(app: FastAPI, gateway: Gateway) -> None:
    """Add these endpoints to the application."""

    @app.post("/v1/meters/{meter_id}/disconnect")
    async def post_disconnect(meter_id: str, body: DisconnectBody, request: Request) -> dict[str, Any]:
        """Disconnect a supply, if every rule allows it or safety asks for it; answers the command's record."""
        return await commands.disconnect(gateway, meter_id, body.reason, caller(request), safety=body.safety)

    @app.post("/v1/meters/{meter_id}/connect")
    async def post_connect(meter_id: str, body: ConnectBody, request: Request) -> dict[str, Any]:
        """Connect a supply that we opened; answers the command's record."""
        by = caller(request)
        return await commands.connect(gateway, meter_id, body.reason, by, safety_cleared=body.safety_cleared)

    @app.post("/v1/quarantine/request-release")
    async def post_request(body: ReleaseBody, request: Request) -> dict[str, Any]:
        """Ask for the release of the quarantine in force."""
        return await quarantine.request_release(gateway, body.reason, caller(request))

    @app.post("/v1/quarantine/release")
    async def post_release(body: ReleaseBody, request: Request) -> dict[str, Any]:
        """Release the quarantine that another person asked to be released."""
        return await quarantine.release(gateway, body.reason, caller(request))
