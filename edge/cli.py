"""``ami-edge``: the daemon and its verbs for field technicians and auditors.

Reading verbs open the database read-only, with or without the daemon; verbs that change something ask the daemon over
its socket. Heavy imports stay inside the verbs, so that ``ami-edge status`` answers at once.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge import __version__
from edge import cli_context as context
from edge.cli_backup import backup_app
from edge.cli_books import books_app, export_app
from edge.cli_commands import commands_app, quarantine_app
from edge.cli_context import COMMON, Common
from edge.cli_metering import metering_app, usage_app
from edge.cli_money import money_app
from edge.cli_restraints import restraints_app
from edge.cli_whatif import whatif_app
from edge.console import Failure, hoist_common_options, print_json, text_of

if TYPE_CHECKING:
    import sqlite3
    from datetime import datetime

    from edge.catalog import Catalog
    from edge.settings import Settings

NAME = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="ami-edge",
    help="Prepaid electricity at the edge: the daemon and its tools.",
    no_args_is_help=True,
    context_settings=NAME,
    epilog=COMMON,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
meter_app = typer.Typer(help="One meter.", no_args_is_help=True, epilog=COMMON)
account_app = typer.Typer(help="One account.", no_args_is_help=True, epilog=COMMON)
app.add_typer(meter_app, name="meter")
app.add_typer(account_app, name="account")
app.add_typer(whatif_app, name="whatif")
app.add_typer(restraints_app)
app.add_typer(money_app)
app.add_typer(books_app)
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(usage_app, name="usage")
app.add_typer(export_app, name="export")
meter_app.registered_commands += commands_app.registered_commands + metering_app.registered_commands
app.add_typer(backup_app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ami-edge {__version__}")
        raise typer.Exit


@app.callback()
def common_options(
    config: Annotated[Path | None, typer.Option(help="The site's edge.toml.")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Where the gateway's database and socket live.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False,  # noqa: ARG001
) -> None:
    """Prepaid electricity at the edge: the daemon and its tools."""
    Common.config, Common.state_dir, Common.json = config, state_dir, json


def main() -> None:
    """Entry point of ``ami-edge``."""
    try:
        app(args=hoist_common_options(sys.argv[1:]), prog_name="ami-edge")
    except Failure as failure:
        for sentence in failure.sentences:
            print(sentence, file=sys.stderr)
        sys.exit(failure.code)


# The daemon and its configuration.


@app.command(epilog=COMMON)
def run() -> None:
    """Run the daemon in the foreground."""
    from edge.main import run_daemon
    from edge.settings import ConfigError
    from edge.store.engine import StoreError

    settings = context.settings()
    catalog = context.catalog(settings)
    try:
        run_daemon(settings, catalog)
    except ConfigError as problem:
        raise Failure(2, *problem.faults) from None
    except StoreError as problem:
        raise Failure(1, str(problem)) from None


@app.command("check-config", epilog=COMMON)
def check_config() -> None:
    """Validate all configuration; every fault is named with file and key."""
    from edge.catalog import load_catalog
    from edge.settings import ConfigError, load_settings

    errors: tuple[str, ...] = ()
    try:
        settings = load_settings(Common.config, Common.state_dir)
        load_catalog(settings)
    except ConfigError as problem:
        errors = problem.faults
    if Common.json:
        print_json({"ok": not errors, "errors": list(errors)})
    elif not errors:
        print(f"{settings.config_file}: all configuration is good")
    if errors:
        raise Failure(2, *(() if Common.json else errors))


@app.command(epilog=COMMON)
def status() -> None:
    """The daemon, its clock, broker and feeds, and counts."""
    from edge import inventory

    settings = context.settings()
    view = context.ask_if_running(settings, "/v1/status")
    if view is None:
        with context.database(settings) as database:
            view = {"daemon": "stopped", **inventory.status_view(database, settings)}
    context.print_one(view)


# Meters.


@app.command(epilog=COMMON)
def meters() -> None:
    """The inventory, with each meter's last read, relay and link."""
    from edge import inventory

    settings = context.settings()
    with context.database(settings) as database:
        rows = [inventory.meter_view(database, meter, settings) for meter in settings.site.meters]
    columns = ("meter_id", "profile", "account_id", "relay", "energy_import_wh", "power_w", "last_read_at", "link")
    context.print_many(rows, columns)


@meter_app.command("show", epilog=COMMON)
def meter_show(meter_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """One meter with all that is known of it."""
    from edge import inventory

    settings = context.settings()
    with context.database(settings) as database:
        wanted = _meter_id(database, settings, meter_id)
        meter = next(meter for meter in settings.site.meters if meter.id == wanted)
        context.print_one(inventory.meter_view(database, meter, settings))


@meter_app.command("read", epilog=COMMON)
def meter_read(meter_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Read a meter now, through the daemon."""
    settings = context.settings()
    context.print_one(context.ask_daemon(settings, "POST", f"/v1/meters/{meter_id}/read"))


def _meter_id(database: "sqlite3.Connection", settings: "Settings", given: str) -> str:
    """The meter of an id, or the meter that serves the account of that id."""
    from edge.store import customers

    if any(meter.id == given for meter in settings.site.meters):
        return given
    account = customers.account(database, given)
    if account is None:
        raise Failure(1, f"there is no meter {given}; 'ami-edge meters' lists them")
    return account.meter_id


# Accounts.


@app.command(epilog=COMMON)
def accounts() -> None:
    """All accounts with balance, days left and state."""
    from edge.store import customers

    settings = context.settings()
    catalog = context.catalog(settings)
    with context.database(settings) as database:
        rows = [_account_view(database, settings, catalog, row.account_id) for row in customers.accounts(database)]
    columns = ("account_id", "meter_id", "balance", "available", "arrears", "days_left", "state", "amount_to_reconnect")
    context.print_many(rows, columns)


@account_app.command("show", epilog=COMMON)
def account_show(account_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """One account: balance, what is available, days left, holds, and what a reconnect takes."""
    from edge.statement_views import recent_view

    settings = context.settings()
    catalog = context.catalog(settings)
    with context.database(settings) as database:
        wanted = context.account_id(database, account_id)
        recent = recent_view(database, wanted, context.now().astimezone(settings.zone).date())
        context.print_one({**_account_view(database, settings, catalog, wanted), **recent})


def _account_view(
    database: "sqlite3.Connection", settings: "Settings", catalog: "Catalog", account_id: str
) -> dict[str, Any]:
    from edge import views
    from edge.catalog import switchgear_of

    around = views.stored_circumstances(database, settings, context.now())
    return views.account_view(
        database, account_id, catalog.rulebook, switchgear_of(settings, catalog), catalog.tariffs, around, settings
    )


@app.command(epilog=COMMON)
def enroll(file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with a header, or TOML.")]) -> None:
    """Enrol accounts; each row is accepted or refused with the reason."""
    settings = context.settings()
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise Failure(2, f"{file}: cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise Failure(2, f"{file}: is not UTF-8 text") from None
    answer = context.ask_daemon(settings, "POST", "/v1/enrolments", {"name": file.name, "text": text})
    if Common.json:
        print_json(answer)
    else:
        print(f"enrolled {len(answer['accepted'])}: {', '.join(answer['accepted']) or 'nobody'}")
        for refusal in answer["refused"]:
            print(f"refused: {refusal['reason']}")
    if answer["refused"]:
        raise Failure(1, f"{len(answer['refused'])} of the rows were refused; the others are enrolled")


@app.command(epilog=COMMON)
def ledger(account_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """An account's postings with the balance after each."""
    from edge import inventory
    from edge.store import books

    settings = context.settings()
    with context.database(settings) as database:
        lines = books.statement(database, context.account_id(database, account_id))
    columns = ("entry_id", "posted_at", "day", "kind", "amount", "balance", "ref", "estimated")
    context.print_many(inventory.ledger_view(lines, settings), columns)


@app.command(epilog=COMMON)
def why(
    account_id: Annotated[str, typer.Argument(metavar="ID")],
    at: Annotated[str | None, typer.Option(help="A past instant, such as 2026-10-14T09:00:00-05:00.")] = None,
) -> None:
    """Why this account is or is not cut now, or was at a past time."""
    from edge.explain import why_now

    settings = context.settings()
    catalog = context.catalog(settings)
    with context.database(settings) as database:
        wanted = context.account_id(database, account_id)
        if at is not None:
            answer = _past(database, wanted, settings, catalog, context.instant(at, "--at"))
        else:
            answer = context.ask_if_running(settings, f"/v1/accounts/{wanted}/why") or why_now(
                database, wanted, settings, catalog, context.now()
            )
    if Common.json:
        print_json(answer)
    else:
        _print_why(answer)


def _past(
    database: "sqlite3.Connection", account_id: str, settings: "Settings", catalog: "Catalog", at: "datetime"
) -> dict[str, Any]:
    from edge.explain import why_then

    try:
        return why_then(database, account_id, settings, catalog, at)
    except LookupError as problem:
        raise Failure(1, str(problem)) from None


def _print_why(answer: dict[str, Any]) -> None:
    print(f"{answer['account_id']}  balance {answer['balance']}  relay {answer['relay']}  at {answer['decided_at']}")
    print(f"decision: {answer['action']}")
    if answer["blocks"]:
        print("a disconnect is held back by:")
        for block in answer["blocks"]:
            print(f"  {block['code']:<24}{block['text']}\n  {'':<24}({block['source']})")
    if answer["next_possible_disconnect"]:
        print(f"next possible disconnect: {answer['next_possible_disconnect']}")
    if answer["amount_to_reconnect"]:
        print(f"a payment of {answer['amount_to_reconnect']} reconnects")
    if answer["known"]:
        print("known:")
        for fact, value in answer["known"].items():
            print(f"  {fact.replace('_', ' '):<28}{text_of(value)}")
    for event in answer["last_command"]:
        print(f"command {event['action']} {event['state']} at {event['at']} {event['detail']}".rstrip())


@app.command(epilog=COMMON)
def verify() -> None:
    """Recompute ledger sums, balances, the hash chain, closed days and the command journal."""
    from edge.store import books

    settings = context.settings()
    with context.database(settings) as database:
        problems = list(books.audit(database))
        accounts_count, entries = books.counts(database)
    view = {"ok": not problems, "accounts": accounts_count, "entries": entries, "problems": problems}
    if Common.json:
        print_json(view)
    else:
        verdict = "the books do not fit" if problems else "the books are good"
        print(f"{verdict}: {accounts_count} accounts, {entries} entries")
    if problems:
        raise Failure(1, *(() if Common.json else problems))


if __name__ == "__main__":
    main()
