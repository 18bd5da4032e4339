"""What every verb of ``ami-edge`` needs: the common options, settings, a database to read, a daemon to ask."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.console import Failure, print_json, print_record, print_table

if TYPE_CHECKING:
    import sqlite3
    from datetime import datetime

    from edge.catalog import Catalog
    from edge.settings import Settings

COMMON = "Accepted before and after every verb: --config FILE, --state-dir DIR, --json."


class Common:
    """The options that every verb takes."""

    config: Path | None = None
    state_dir: Path | None = None
    json: bool = False


def settings() -> "Settings":
    """The site's settings. Raises Failure 2 with every fault."""
    from edge.settings import ConfigError, load_settings

    try:
        return load_settings(Common.config, Common.state_dir)
    except ConfigError as problem:
        raise Failure(2, *problem.faults) from None


def catalog(settings: "Settings") -> "Catalog":
    """Programs, tariffs and profiles. Raises Failure 2 with every fault."""
    from edge.catalog import load_catalog
    from edge.settings import ConfigError

    try:
        return load_catalog(settings)
    except ConfigError as problem:
        raise Failure(2, *problem.faults) from None


def database(settings: "Settings") -> "sqlite3.Connection":
    """The gateway's database, read-only. Raises Failure 1."""
    from edge.store.engine import StoreError, open_for_reading

    try:
        return open_for_reading(settings.database)
    except StoreError as problem:
        raise Failure(1, str(problem)) from None


def ask_daemon(settings: "Settings", method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the daemon answers. Raises Failure 3 when it cannot be reached, 1 when it refuses, 2 for bad input."""
    import httpx

    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(settings.socket)), timeout=30) as client:
            answer = client.request(method, f"http://ami-edge{path}", json=body)
    except httpx.TransportError:
        raise Failure(
            3,
            f"the daemon cannot be reached at {settings.socket}: start it with 'ami-edge run', or name its --state-dir",
        ) from None
    if answer.is_success:
        found: dict[str, Any] = answer.json()
        return found
    detail = (
        answer.json().get("detail", answer.text) if "json" in answer.headers.get("content-type", "") else answer.text
    )
    if isinstance(detail, list):
        detail = "; ".join(f"{'.'.join(map(str, fault['loc'][1:]))} - {fault['msg']}" for fault in detail)
    raise Failure(2 if answer.status_code == 422 else 1, str(detail))


def now() -> "datetime":
    """The present instant."""
    from edge.clock import SystemClock

    return SystemClock().now()


def print_one(view: dict[str, Any]) -> None:
    """A record, as JSON or for a person."""
    print_json(view) if Common.json else print_record(view)


def print_many(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """Rows, as JSON with all their keys or as a table of some columns."""
    print_json(rows) if Common.json else print_table(rows, columns)
