"""Starting the daemon as a process: logging, event loop, signals, systemd."""

import asyncio
import contextlib
import logging
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import timedelta
from typing import Any

import structlog
import uvloop

from edge import __version__, api
from edge.backups import run_schedule
from edge.catalog import Catalog, check_accounts
from edge.clock import SystemClock
from edge.daemon import Ports, notify_systemd, run
from edge.enduring import watch_room
from edge.gateway import Gateway
from edge.links import build_links, head_end_session
from edge.mail import MailSender, smtp_transport
from edge.recovery import open_store
from edge.settings import Settings
from edge.store.base import StoreCorrupt, StoreError, open_for_reading
from edge.store.engine import Store, Watch
from edge.switch_journal import SwitchJournal
from edge.weather_service import WeatherFetching

log = structlog.get_logger()

CHECK_SECONDS_MAX = 900  # what looking through a large database, and putting a backup back, may add to a start


def run_daemon(settings: Settings, catalog: Catalog, watch: Watch | None = None) -> None:
    """Run the daemon until SIGTERM or SIGINT; where its database breaks on the way, go on with a backup.

    ``watch`` is told of every step towards a commit or a restore. Raises StoreError when the state directory is not
    ours, or when its database is damaged and no backup is good; ConfigError when accounts have what is no longer
    configured.
    """
    wanted = settings.site.clock
    clock = SystemClock(wanted.trust, timedelta(minutes=wanted.settle_minutes))
    configure_logging(clock)
    notify_systemd(f"EXTEND_TIMEOUT_USEC={CHECK_SECONDS_MAX * 1_000_000}")
    broken: str | None = None
    while True:
        store = open_store(settings, clock.now(), watch, thorough=broken is not None)
        try:
            malformed = _run_on(store, settings, catalog, clock)
        finally:
            store.close()
        if malformed is None:
            return
        log.error("database malformed", problem=malformed)
        if broken is not None:
            raise StoreError(f"{malformed}, and not for the first time since the start: look at the disk")
        broken = malformed


def _run_on(store: Store, settings: Settings, catalog: Catalog, clock: SystemClock) -> str | None:
    """Run on one store; None once the daemon was told to stop, else what SQLite says of the database."""
    with contextlib.closing(open_for_reading(settings.database)) as database:
        check_accounts(database, settings, catalog)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, catalog, clock, store))
    except* StoreCorrupt:
        log.error("daemon ends", problem=store.malformed)
    return store.malformed


async def _serve(settings: Settings, catalog: Catalog, clock: SystemClock, store: Store) -> None:
    links, companions = build_links(settings, catalog.profiles)
    listening = asyncio.Event()

    async def local_api(gateway: Gateway) -> None:
        await api.serve(gateway, settings.socket, __version__, listening)

    def beside(companion: Callable[[], Awaitable[None]]) -> Callable[[Gateway], Awaitable[None]]:
        async def service(_: Gateway) -> None:
            await companion()

        return service

    transport = smtp_transport(settings)

    async def mail(gateway: Gateway) -> None:
        assert transport is not None
        assert settings.site.email is not None
        await MailSender(gateway, transport, settings.site.email.sender).run()

    async def announce(_: Gateway) -> None:
        await listening.wait()
        notify_systemd("READY=1")
        log.info("ready", meters=len(settings.site.meters), socket=str(settings.socket))

    services = [local_api, announce, run_schedule, watch_room, *map(beside, companions)]
    if transport is not None:
        services.append(mail)
    wanted = settings.site.weather.http
    if wanted is not None:
        services.append(lambda gateway: WeatherFetching(gateway, wanted).run())
    journal = SwitchJournal(settings.switch_journal)
    ports = Ports(clock, store, links, head_end_session(settings), services, switch_journal=journal)
    log.info("starting", version=__version__, sqlite=sqlite3.sqlite_version, state=str(settings.state_dir))
    work = asyncio.ensure_future(run(settings, catalog, ports, lambda _: None))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await work
    notify_systemd("STOPPING=1")
    log.info("stopped")


def configure_logging(clock: SystemClock) -> None:
    """One JSON line an event on stderr, stamped by the injected clock; journald keeps them."""

    def stamp(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["at"] = clock.now().isoformat(timespec="milliseconds")
        return event

    structlog.configure(
        processors=[structlog.processors.add_log_level, stamp, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # its faults come to us as exceptions
