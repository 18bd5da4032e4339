"""The local API's part for a database that cannot be written, and for one that was put back from a backup."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from edge.api_parts import Body, Words, caller
from edge.gateway import Gateway
from edge.requests import confirm_replay
from edge.store.base import StoreError


class ReplayedBody(Body):
    """Why somebody says that all is on the books again."""

    reason: Words = ""


def add_recovery(app: FastAPI, gateway: Gateway) -> None:
    """Add this endpoint to the application; what could not be written is answered by 503 with its sentence."""

    @app.exception_handler(StoreError)
    async def not_written(_: Request, problem: StoreError) -> JSONResponse:
        return JSONResponse({"detail": str(problem)}, 503)

    @app.post("/v1/replayed")
    async def post_replayed(body: ReplayedBody, request: Request) -> dict[str, Any]:
        """Say that all was sent again that came after the backup; disconnects become possible again."""
        restored_at = gateway.restored_at
        await confirm_replay(gateway, None, caller(request), body.reason)
        return {"restored_at": None if restored_at is None else restored_at.isoformat(), "replayed": True}
