"""The verbs for holds, protections, moratoriums, and for leaving the program."""

from typing import Annotated, Any, Literal

import typer

from edge import cli_context as context
from edge.cli_context import COMMON
from edge.console import Failure

restraints_app = typer.Typer()
hold_app = typer.Typer(help="Holds: dated reasons not to disconnect an account.", no_args_is_help=True, epilog=COMMON)
moratorium_app = typer.Typer(help="Ordered moratoriums: nobody is disconnected.", no_args_is_help=True, epilog=COMMON)
restraints_app.add_typer(hold_app, name="hold")
restraints_app.add_typer(moratorium_app, name="moratorium")

Account = Annotated[str, typer.Argument(metavar="ID")]
Until = Annotated[str | None, typer.Option(help="When it ends, such as 2026-10-14T09:00:00-05:00; else it is open.")]
From = Annotated[str | None, typer.Option("--from", help="When it begins; else now.")]
HoldName = Literal["dispute", "settlement", "aid_pending", "operator"]
ProtectionName = Literal["medical", "life_support", "life_threatening", "elderly_disabled"]

HOLD_COLUMNS = ("hold_id", "account_id", "kind", "state", "from", "until", "registered_late", "reason", "by", "outcome")
MORATORIUM_COLUMNS = ("order", "state", "from", "until", "reason", "ordered_by", "recorded_at", "by")


@hold_app.command("add", epilog=COMMON)
def hold_add(
    account_id: Account,
    kind: Annotated[HoldName, typer.Option(help="What the hold is for.")],
    reason: Annotated[str, typer.Option(help="In words, for whoever asks later.")],
    until: Until = None,
    starts_at: From = None,
    hold_id: Annotated[str | None, typer.Option(help="Its own id; with that of a hold, a new end of it.")] = None,
) -> None:
    """Hold disconnects of an account back. A dispute that comes late holds all the same, and is marked."""
    body = {"account_id": account_id, "kind": kind, "reason": reason, "until": _time(until, "--until")}
    body |= {"from": _time(starts_at, "--from"), "hold_id": hold_id}
    context.print_one(_ask("/v1/holds", body))


@hold_app.command("release", epilog=COMMON)
def hold_release(
    hold_id: Annotated[str, typer.Argument(metavar="HOLD_ID")],
    outcome: Annotated[
        Literal["released", "honoured", "broken"], typer.Option(help="Of a settlement agreement: honoured or broken.")
    ] = "released",
    reason: Annotated[str, typer.Option(help="In words.")] = "",
) -> None:
    """End a hold now."""
    context.print_one(_ask(f"/v1/holds/{hold_id}/release", {"outcome": outcome, "reason": reason}))


@restraints_app.command(epilog=COMMON)
def holds(account_id: Annotated[str | None, typer.Argument(metavar="[ID]")] = None) -> None:
    """All holds, or those of an account, past ones too."""
    from edge import inventory
    from edge.store import customers, restraints

    settings = context.settings()
    with context.database(settings) as database:
        if account_id is not None and customers.account(database, account_id) is None:
            raise Failure(1, f"there is no account {account_id}; 'ami-edge accounts' lists them")
        found = restraints.recorded_holds(database, account_id)
    context.print_many([inventory.hold_view(hold, settings, context.now()) for hold in found], HOLD_COLUMNS)


@restraints_app.command(epilog=COMMON)
def protect(
    account_id: Account,
    kind: Annotated[ProtectionName, typer.Option(help="Why the customer is protected.")],
) -> None:
    """Never disconnect this customer for credit; reconnects at once, and the account leaves the program."""
    context.print_one(_ask("/v1/protections", {"account_id": account_id, "kind": kind, "protected": True}))


@restraints_app.command(epilog=COMMON)
def unprotect(
    account_id: Account,
    kind: Annotated[ProtectionName | None, typer.Option(help="The one that ends; else all of them.")] = None,
) -> None:
    """End a customer's protections; the account stays out of the program."""
    context.print_one(_ask("/v1/protections", {"account_id": account_id, "kind": kind, "protected": False}))


@moratorium_app.command("start", epilog=COMMON)
def moratorium_start(
    reason: Annotated[str, typer.Option(help="In words.")],
    until: Until = None,
    starts_at: From = None,
    order: Annotated[str | None, typer.Option(help="The order's own name or number.")] = None,
    ordered_by: Annotated[str, typer.Option(help="Who ordered it; else whoever runs this.")] = "",
) -> None:
    """Disconnect nobody from now on."""
    body = {"reason": reason, "until": _time(until, "--until"), "from": _time(starts_at, "--from")}
    context.print_one(_ask("/v1/moratoriums", body | {"order": order, "ordered_by": ordered_by}))


@moratorium_app.command("end", epilog=COMMON)
def moratorium_end(
    order: Annotated[str | None, typer.Argument(metavar="[ORDER]", help="Needed where several stand.")] = None,
) -> None:
    """End an ordered moratorium now."""
    context.print_one(_ask("/v1/moratoriums/end", {"order": order}))


@restraints_app.command(epilog=COMMON)
def moratoriums() -> None:
    """The ordered moratoriums, past ones too."""
    from edge import inventory
    from edge.store import restraints

    settings = context.settings()
    with context.database(settings) as database:
        found = restraints.recorded_moratoriums(database)
    rows = [inventory.moratorium_view(recorded, settings, context.now()) for recorded in found]
    context.print_many(rows, MORATORIUM_COLUMNS)


@restraints_app.command(epilog=COMMON)
def unenroll(
    account_id: Account,
    reason: Annotated[str, typer.Option(help="In words.")] = "the customer's wish",
) -> None:
    """Let an account leave the program; it is charged through today."""
    context.print_one(_ask(f"/v1/accounts/{account_id}/unenroll", {"reason": reason}))


def _ask(path: str, body: dict[str, Any]) -> dict[str, Any]:
    return context.ask_daemon(context.settings(), "POST", path, body)


def _time(text: str | None, name: str) -> str | None:
    return None if text is None else context.instant(text, name).isoformat()
