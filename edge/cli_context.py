"""What every verb of ``ami-edge`` needs: the common options, settings, a database to read, a daemon to ask."""

import http.client
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

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
    from edge.store.base import StoreError, open_for_reading

    try:
        return open_for_reading(settings.database)
    except StoreError as problem:
        raise Failure(1, str(problem)) from None


def account_id(database: "sqlite3.Connection", given: str) -> str:
    """The account of an id, or the account that the meter of that id serves. Raises Failure 1."""
    from edge.store import customers

    account = customers.account(database, given) or customers.account_of_meter(database, given)
    if account is None:
        raise Failure(1, f"there is no account {given}; 'ami-edge accounts' lists them")
    return account.account_id


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over the daemon's unix socket; the standard library's client starts at once."""

    def __init__(self, path: Path) -> None:
        super().__init__("ami-edge", timeout=30)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask_daemon(settings: "Settings", method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the daemon answers. Raises Failure 3 when it cannot be reached, 1 when it refuses, 2 for bad input."""
    connection = _SocketConnection(settings.socket)
    try:
        connection.connect()
    except OSError:
        raise Failure(
            3,
            f"the daemon cannot be reached at {settings.socket}: start it with 'ami-edge run', or name its --state-dir",
        ) from None
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, quote(path), payload, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError):
        raise Failure(
            3,
            "the daemon ended before it answered: whether this was done is not known;"
            " ask again the same way once it runs (a payment counts once, whatever happened)",
        ) from None
    finally:
        connection.close()
    if answer.status < 300:
        found: dict[str, Any] = content
        return found
    detail = content.get("detail", content)
    if isinstance(detail, list):
        detail = "; ".join(f"{'.'.join(map(str, fault['loc'][1:]))} - {fault['msg']}" for fault in detail)
    raise Failure(2 if answer.status == 422 else 1, str(detail))


def ask_if_running(settings: "Settings", path: str) -> dict[str, Any] | None:
    """What the running daemon answers; None when none runs, so that the caller looks into the database."""
    try:
        return ask_daemon(settings, "GET", path)
    except Failure as failure:
        if failure.code == 3:
            return None
        raise


def now() -> "datetime":
    """The present instant."""
    from edge.clock import SystemClock

    return SystemClock().now()


def instant(text: str, name: str) -> "datetime":
    """A time with its offset, as an option called ``name`` gives it. Raises Failure 2."""
    from datetime import datetime

    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Failure(2, f"{name} - {text!r} is not a time such as 2026-10-14T09:00:00-05:00") from None
    if at.tzinfo is None:
        raise Failure(2, f"{name} - {text!r} has no offset from UTC")
    return at


def print_one(view: dict[str, Any]) -> None:
    """A record, as JSON or for a person."""
    print_json(view) if Common.json else print_record(view)


def print_many(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """Rows, as JSON with all their keys or as a table of some columns."""
    print_json(rows) if Common.json else print_table(rows, columns)
