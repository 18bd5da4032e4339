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
from edge.catalog import Catalog, check_accounts
from edge.clock import SystemClock
from edge.daemon import Ports, notify_systemd, run
from edge.gateway import Gateway
from edge.links import build_links, head_end_session
from edge.mail import MailSender, smtp_transport
from edge.settings import Settings
from edge.store.engine import Store, open_for_reading
from edge.weather_service import WeatherFetching

log = structlog.get_logger()


def run_daemon(settings: Settings, catalog: Catalog) -> None:
    """Run the daemon until SIGTERM or SIGINT.

    Raises StoreError when the state directory is not ours, ConfigError when accounts have what is no longer configured.
    """
    wanted = settings.site.clock
    clock = SystemClock(wanted.trust, timedelta(minutes=wanted.settle_minutes))
    configure_logging(clock)
    store = Store(settings.database, threaded=True)
    try:
        with contextlib.closing(open_for_reading(settings.database)) as database:
            check_accounts(database, settings, catalog)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, catalog, clock, store))
    finally:
        store.close()


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

    services = [local_api, announce, *map(beside, companions)]
    if transport is not None:
        services.append(mail)
    wanted = settings.site.weather.http
    if wanted is not None:
        services.append(lambda gateway: WeatherFetching(gateway, wanted).run())
    ports = Ports(clock, store, links, head_end_session(settings), services)
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
