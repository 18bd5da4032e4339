"""The verbs for who looks into the books: exports for auditors, statements for customers."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from edge import cli_context as context
from edge.cli_context import COMMON, Common
from edge.console import Failure, print_json, print_record, print_table

books_app = typer.Typer()
export_app = typer.Typer(help="The books in formats of others.", no_args_is_help=True, epilog=COMMON)


@export_app.command("ledger", epilog=COMMON)
def export_ledger(
    form: Annotated[
        Literal["hledger", "csv", "json"] | None,
        typer.Option("--format", help="An hledger journal, CSV with a row a posting, or one JSON document."),
    ] = None,
    account: Annotated[str | None, typer.Option(metavar="ID", help="Only this account's transactions.")] = None,
    output: Annotated[Path | None, typer.Option(help="A file, written whole or not at all; else stdout.")] = None,
) -> None:
    """The ledger for auditors: every transaction with its cause, exact amounts, debit positive."""
    from edge.export import ledger_text

    if Common.json and output is None and form not in (None, "json"):
        raise Failure(2, f"--format {form} is no JSON: leave out --json, or name an --output file")
    wanted = form or ("json" if Common.json else "hledger")
    settings = context.settings()
    with context.database(settings) as database:
        account_id = None if account is None else context.account_id(database, account)
        pieces = ledger_text(database, wanted, account_id)
        if output is None:
            _to_stdout(pieces)
        else:
            _to_file(output, pieces)
            if Common.json:
                print_json({"file": str(output), "format": wanted, "account_id": account_id})


def _to_stdout(pieces: Iterator[str]) -> None:
    """Write; whoever stops to listen, such as ``head``, wants no more."""
    try:
        sys.stdout.writelines(pieces)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes nowhere
        raise Failure(1) from None


def _to_file(output: Path, pieces: Iterator[str]) -> None:
    """Write beside the file and put it in its place when it is whole. Raises Failure 1."""
    unfinished = output.with_name(f".{output.name}.unfinished")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
        unfinished.replace(output)
    except OSError as problem:
        unfinished.unlink(missing_ok=True)
        raise Failure(1, f"{output}: cannot be written: {problem.strerror}") from None


@books_app.command("statement", epilog=COMMON)
def statement(
    account: Annotated[str, typer.Argument(metavar="ID")],
    month: Annotated[str, typer.Option(help="Such as 2026-10; one that still runs is told to date.")],
) -> None:
    """A month for the customer: balances, payments, charges by kind, days, and everything else by its name."""
    from edge.statement_views import statement_view

    settings = context.settings()
    tariffs = context.catalog(settings).tariffs
    today = context.now().astimezone(settings.zone).date()
    with context.database(settings) as database:
        account_id = context.account_id(database, account)
        try:
            view = statement_view(database, account_id, month, today, tariffs)
        except ValueError as problem:
            raise Failure(2, f"--month - {problem}") from None
    print_json(view) if Common.json else _print_statement(view)


def _print_statement(view: dict[str, Any]) -> None:
    print_record({key: value for key, value in view.items() if key not in ("payments", "adjustments", "days")})
    columns = {
        "payments": ("day", "amount", "to_arrears", "to_balance", "source", "channel", "payment_id"),
        "adjustments": ("day", "kind", "amount", "corrects", "kwh_before", "kwh_after", "note"),
        "days": ("day", "kwh", "charged", "cost", "quality", "method", "reason"),
    }
    for name, shown in columns.items():
        if view[name]:
            print(f"\n{name}")
            print_table(view[name], shown)
