"""The verbs with which a person moves a meter's switch."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge import cli_context as context
from edge.cli_context import COMMON
from edge.console import Failure

if TYPE_CHECKING:
    from edge.settings import Settings

commands_app = typer.Typer()
quarantine_app = typer.Typer(
    help="The quarantine: no disconnects, because too many were wanted at once.", no_args_is_help=True, epilog=COMMON
)

MeterId = Annotated[str, typer.Argument(metavar="ID")]
Reason = Annotated[str, typer.Option(help="In words, for whoever asks later.")]


@commands_app.command("disconnect", epilog=COMMON)
def meter_disconnect(
    meter_id: MeterId,
    reason: Reason,
    safety: Annotated[
        bool,
        typer.Option(
            "--safety", help="Hazard, essential repair or tampering: at any hour, whatever the rules; never by credit."
        ),
    ] = False,
) -> None:
    """Disconnect a supply now, if every rule allows it; refused with the reasons."""
    _command(meter_id, "disconnect", {"reason": reason, "safety": safety})


@commands_app.command("connect", epilog=COMMON)
def meter_connect(
    meter_id: MeterId,
    reason: Reason,
    safety_cleared: Annotated[
        bool, typer.Option("--safety-cleared", help="The hazard for which it was disconnected is over.")
    ] = False,
) -> None:
    """Connect a supply that we disconnected, whatever the balance; afterwards the rules apply as before."""
    _command(meter_id, "connect", {"reason": reason, "safety_cleared": safety_cleared})


def _command(given: str, action: str, body: dict[str, Any]) -> None:
    settings = context.settings()
    meter_id = _meter_id(settings, given)
    record = context.ask_daemon(settings, "POST", f"/v1/meters/{meter_id}/{action}", body)
    context.print_one(record)
    if record["state"] in ("cancelled", "expired", "failed"):
        raise Failure(1, f"the {action} of meter {meter_id} is {record['state']}: {record['detail']}")


def _meter_id(settings: "Settings", given: str) -> str:
    """The meter of an id, or the meter that serves the account of that id."""
    from edge.store import customers

    if any(meter.id == given for meter in settings.site.meters):
        return given
    with context.database(settings) as database:
        account = customers.account(database, given)
    return given if account is None else account.meter_id


@quarantine_app.command("show", epilog=COMMON)
def quarantine_show() -> None:
    """The quarantine in force, or the last one."""
    from edge.inventory import quarantine_view
    from edge.store import quarantines

    settings = context.settings()
    with context.database(settings) as database:
        context.print_one(quarantine_view(quarantines.last(database), settings))


@quarantine_app.command("request-release", epilog=COMMON)
def quarantine_request_release(reason: Reason) -> None:
    """Ask for the quarantine's end; another person grants it."""
    context.print_one(
        context.ask_daemon(context.settings(), "POST", "/v1/quarantine/request-release", {"reason": reason})
    )


@quarantine_app.command("release", epilog=COMMON)
def quarantine_release(reason: Reason) -> None:
    """Grant the end that another person asked for: disconnects go on."""
    context.print_one(context.ask_daemon(context.settings(), "POST", "/v1/quarantine/release", {"reason": reason}))
