"""The local API: HTTP on a unix socket, for the command line, kiosks and Prometheus. Nothing here decides.

Who may ask is a matter of the socket's mode and group; who asked is the peer's uid, and it goes into the records.
"""

import asyncio
import contextlib
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge import inventory, views
from edge.api_commands import add_commands
from edge.api_metering import add_metering
from edge.api_money import add_money
from edge.api_parts import Body, caller
from edge.api_recovery import add_recovery
from edge.api_restraints import add_restraints
from edge.enrolment import enroll
from edge.enrolment_file import EnrolmentError, read_rows
from edge.explain import explain
from edge.gateway import Gateway
from edge.metrics import render
from edge.store import books
from protocols.link import LinkError

MAX_BODY = 1_000_000


class EnrolmentBody(Body):
    """The text of an enrolment file and its name, which faults are reported with."""

    name: str
    text: str


def build_app(gateway: Gateway, version: str) -> FastAPI:
    """The application over one gateway."""
    app = FastAPI(title="ami-edge", version=version, docs_url=None, redoc_url=None)
    add_money(app, gateway)
    _add_readers(app, gateway)
    _add_field_work(app, gateway)
    add_restraints(app, gateway)
    add_recovery(app, gateway)
    add_commands(app, gateway)
    add_metering(app, gateway)
    return app


def _add_readers(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/v1/accounts/{account_id}")
    async def get_account(account_id: str) -> dict[str, Any]:
        """One account."""
        around = gateway.circumstances()

        def view(database: Any) -> dict[str, Any]:
            return views.account_view(
                database,
                account_id,
                gateway.rulebook,
                gateway.switchgear,
                gateway.tariffs,
                around,
                gateway.settings,
            )

        try:
            return await gateway.store.read(view)
        except LookupError as problem:
            raise HTTPException(404, str(problem)) from None

    @app.get("/v1/accounts/{account_id}/why")
    async def get_why(account_id: str) -> dict[str, Any]:
        """Why this account is or is not cut now."""
        around = gateway.circumstances()
        try:
            return await gateway.store.read(
                lambda database: explain(
                    database, account_id, gateway.rulebook, gateway.switchgear, around, gateway.settings
                )
            )
        except LookupError as problem:
            raise HTTPException(404, str(problem)) from None

    @app.get("/v1/meters/{meter_id}")
    async def get_meter(meter_id: str) -> dict[str, Any]:
        """One meter of the inventory."""
        meter = next((meter for meter in gateway.settings.site.meters if meter.id == meter_id), None)
        if meter is None:
            raise HTTPException(404, f"there is no meter {meter_id}")
        return await gateway.store.read(lambda database: inventory.meter_view(database, meter, gateway.settings))

    @app.get("/v1/status")
    async def get_status() -> dict[str, Any]:
        """The gateway in numbers, as it is now."""
        return await _live_status(gateway)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Answers while the daemon's event loop and its store do."""
        await gateway.store.read(books.counts)
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus's text."""
        status = await _live_status(gateway)
        return Response(render(gateway, status), media_type=CONTENT_TYPE_LATEST)


async def _live_status(gateway: Gateway) -> dict[str, Any]:
    around = gateway.circumstances()
    feed = inventory.time_text(around.payments_feed_seen_at, gateway.settings)
    live = {
        "clock_trusted": around.clock_trusted,
        "broker_connected": gateway.head_end.connected,
        "payments_feed_seen_at": feed,
        "restored_at": inventory.time_text(gateway.restored_at, gateway.settings),
        "disk_full": gateway.store.out_of_room,
    }
    recorded = await gateway.store.read(lambda database: inventory.status_view(database, gateway.settings))
    return {"daemon": "running", **recorded, **live}


def _add_field_work(app: FastAPI, gateway: Gateway) -> None:
    @app.post("/v1/meters/{meter_id}/read")
    async def read_meter(meter_id: str) -> dict[str, Any]:
        """Read a meter now; the reading is shown, and the next poll saves one."""
        link = gateway.links.get(meter_id)
        if link is None:
            raise HTTPException(404, f"there is no meter {meter_id}")
        try:
            readout = await link.read()
        except LinkError as problem:
            raise HTTPException(502, f"meter {meter_id}: {problem}") from None
        return {
            "meter_id": meter_id,
            "at": inventory.time_text(gateway.clock.now(), gateway.settings),
            "energy_import_wh": readout.energy_import_wh,
            "relay": readout.relay.value,
            "power_w": readout.power_w,
            "voltage_mv": readout.voltage_mv,
            "current_ma": readout.current_ma,
            "frequency_mhz": readout.frequency_mhz,
            "serial": readout.serial,
        }

    @app.post("/v1/enrolments")
    async def post_enrolments(body: EnrolmentBody, request: Request) -> dict[str, Any]:
        """Enrol the accounts of a file, row by row."""
        try:
            rows = read_rows(body.text, body.name)
        except EnrolmentError as problem:
            raise HTTPException(422, str(problem)) from None
        outcomes = await enroll(gateway, rows, caller(request))
        return {
            "accepted": [outcome.account_id for outcome in outcomes if outcome.accepted],
            "refused": [
                {
                    "where": outcome.where,
                    "account_id": outcome.account_id,
                    "reason": outcome.reason,
                    "rules": [{"code": r.code, "text": r.text, "source": r.source} for r in outcome.refusals],
                }
                for outcome in outcomes
                if not outcome.accepted
            ],
        }


class _PeerAwareProtocol(H11Protocol):
    """Tells the application the uid of the process at the other end of the unix socket, as the client's port."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer: socket.socket | None = transport.get_extra_info("socket")
        if peer is not None and peer.family == socket.AF_UNIX:
            credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            self.client = ("unix", struct.unpack("3i", credentials)[1])


class _Server(uvicorn.Server):
    """A server inside somebody else's event loop: signals are the daemon's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signal handlers alone."""
        yield


async def serve(gateway: Gateway, path: Path, version: str, ready: asyncio.Event) -> None:
    """Serve the local API on a unix socket until cancelled. Raises OSError when the path is something else."""
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o660)
    config = uvicorn.Config(
        build_app(gateway, version),
        http=_PeerAwareProtocol,
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    ready.set()
    try:
        await server.serve(sockets=[listener])
    finally:
        server.should_exit = True
        listener.close()
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _remove_stale(path: Path) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(f"{path} is in the way of the local API's socket: move it away")
    path.unlink()
