"""The verbs for registers and use: a meter exchange, customers' reads, edited days, and the days left to a person."""

from typing import Annotated, Any, Literal

import typer

from edge import cli_context as context
from edge.cli_context import COMMON
from edge.console import Failure

metering_app = typer.Typer()
usage_app = typer.Typer(help="Daily use: shown, edited, reported by customers.", no_args_is_help=True, epilog=COMMON)

Account = Annotated[str, typer.Argument(metavar="ID")]
Reason = Annotated[str, typer.Option(help="In words, for whoever asks later.")]
At = Annotated[str | None, typer.Option(help="When, such as 2026-10-14T09:00:00-05:00; else now.")]
DAY_COLUMNS = ("day", "kwh", "quality", "charge", "estimated", "revision", "reason")
QUEUE_COLUMNS = ("account_id", "day", "why", "last_year_kwh", "last_month_kwh", "like_premises_kwh", "reason")


@metering_app.command("swap", epilog=COMMON)
def meter_swap(
    meter_id: Annotated[str, typer.Argument(metavar="ID")],
    new_serial: Annotated[str, typer.Option(help="The new meter's serial number.")],
    final_register_wh: Annotated[int, typer.Option(min=0, help="The old meter's last register, in Wh.")],
    initial_register_wh: Annotated[int, typer.Option(min=0, help="The new meter's first register, in Wh.")],
    old_serial: Annotated[str | None, typer.Option(help="The old meter's serial number, to make sure.")] = None,
    reason: Annotated[str, typer.Option(help="In words, for whoever asks later.")] = "",
    at: At = None,
) -> None:
    """Record that a meter was exchanged: use goes on from one register to the other."""
    body = {
        "new_serial": new_serial,
        "final_register_wh": final_register_wh,
        "initial_register_wh": initial_register_wh,
        "old_serial": old_serial,
        "reason": reason,
        "at": _time(at),
    }
    context.print_one(_ask(f"/v1/meters/{meter_id}/exchanges", body))


@usage_app.command("show", epilog=COMMON)
def usage_show(
    account_id: Account,
    month: Annotated[str | None, typer.Option(help="Such as 2026-10; else all days that are on the books.")] = None,
) -> None:
    """An account's days: use, where it came from, and what it cost."""
    from edge.usage_views import days_view

    settings = context.settings()
    with context.database(settings) as database:
        try:
            rows = days_view(database, account_id, month, settings)
        except LookupError as problem:
            raise Failure(1, str(problem)) from None
        except ValueError as problem:
            raise Failure(2, f"--month - {problem}") from None
    context.print_many(rows, DAY_COLUMNS)


@usage_app.command("edit", epilog=COMMON)
def usage_edit(
    account_id: Account,
    day: Annotated[str, typer.Option(help="The civil day, such as 2026-10-14.")],
    kwh: Annotated[str, typer.Option(help="What was used, such as 31.25.")],
    reason: Reason,
    standing: Annotated[
        Literal["estimate", "final"] | None,
        typer.Option("--as", help="estimate: until reads cover the day; final: whatever they say. Else by the reads."),
    ] = None,
) -> None:
    """Say what a day's use was; what it cost is corrected."""
    body = {"kwh": kwh, "reason": reason, "standing": standing}
    context.print_one(_ask(f"/v1/accounts/{account_id}/days/{day}", body))


@usage_app.command("withdraw", epilog=COMMON)
def usage_withdraw(
    account_id: Account,
    day: Annotated[str, typer.Option(help="The civil day, such as 2026-10-14.")],
    reason: Reason,
) -> None:
    """Take back what was said of a day's use."""
    context.print_one(_ask(f"/v1/accounts/{account_id}/days/{day}/withdrawal", {"reason": reason}))


@usage_app.command("report", epilog=COMMON)
def usage_report(
    account_id: Account,
    register_wh: Annotated[int, typer.Option(min=0, help="What the customer read off the meter, in Wh.")],
    at: At = None,
) -> None:
    """Take a register read that the customer reports."""
    context.print_one(_ask(f"/v1/accounts/{account_id}/reads", {"register_wh": register_wh, "at": _time(at)}))


@usage_app.command("queue", epilog=COMMON)
def usage_queue() -> None:
    """The days that no rule may estimate, with what a person may go by."""
    from edge.usage_views import queue_view

    settings = context.settings()
    with context.database(settings) as database:
        rows = queue_view(database, settings)
    context.print_many(rows, QUEUE_COLUMNS)


def _time(text: str | None) -> str | None:
    return None if text is None else context.instant(text, "--at").isoformat()


def _ask(path: str, body: dict[str, Any]) -> dict[str, Any]:
    return context.ask_daemon(context.settings(), "POST", path, body)
