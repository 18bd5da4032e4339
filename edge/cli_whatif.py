"""``ami-edge whatif``: the pure rules on given facts; no state is touched."""

import gc
import io
import json
import sys
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from edge import cli_context as context
from edge.cli_context import COMMON, Common
from edge.console import Failure, print_json, print_table

whatif_app = typer.Typer(help="The rules on given facts; no state is touched.", no_args_is_help=True, epilog=COMMON)


@whatif_app.callback()
def whatif() -> None:
    """The rules on given facts; no state is touched."""


@whatif_app.command("decide", epilog=COMMON)
def decide(
    case: Annotated[str, typer.Option("--case", metavar="FILE", help="A case; - for stdin.")] = "-",
    jsonl: Annotated[bool, typer.Option("--jsonl", help="One case a line in, one answer a line out.")] = False,
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")] = None,
) -> None:
    """Decide a case: facts in; action, blocks and next times out."""
    from edge.whatif import CaseError, answer

    setting = dict(_override(text) for text in overrides or [])
    with _open(case) as source:
        if jsonl:
            raise typer.Exit(_decide_lines(source, setting))
        try:
            print_json(answer(json.load(source), setting))
        except (ValueError, RecursionError) as problem:
            raise Failure(2, f"{case}: is not one JSON document: {problem}") from None
        except CaseError as problem:
            raise Failure(2, f"{case}: {problem}") from None


@whatif_app.command("rate", epilog=COMMON)
def rate(
    tariff: Annotated[str, typer.Option(metavar="NAME_OR_FILE", help="A tariff's name, or its TOML file.")],
    usage: Annotated[Path, typer.Option(metavar="FILE", help="CSV with columns day,kwh or start,kwh.")],
) -> None:
    """Rate use by a tariff: each day's charge, and each month's sum beside the postpaid bill."""
    from edge import rate_whatif
    from edge.tariffs import TariffError, find_tariff

    settings = context.settings()
    try:
        prices = find_tariff(tariff, *settings.folders("tariffs"))
        answer = rate_whatif.rate(prices, usage, settings.zone)
    except (TariffError, rate_whatif.UsageError) as problem:
        raise Failure(2, *problem.faults) from None
    if Common.json:
        print_json(answer)
        return
    print_table(answer["days"], ("day", "kwh", "charge"))
    print()
    print_table(answer["months"], ("month", "kwh", "prepaid_total", "postpaid_bill"))


@whatif_app.command("estimate", epilog=COMMON)
def estimate(
    history: Annotated[Path, typer.Option(metavar="FILE", help="CSV with columns day,kwh,quality.")],
    day: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="The day without a read.")],
) -> None:
    """Estimate a day's use from the days around it; manual where no rule gives one."""
    from edge import rate_whatif

    try:
        wanted = rate_whatif.parse_day(day)
    except ValueError as problem:
        raise Failure(2, f"--day - {problem}") from None
    try:
        context.print_one(rate_whatif.estimate(history, wanted))
    except rate_whatif.UsageError as problem:
        raise Failure(2, *problem.faults) from None


@whatif_app.command("payment", epilog=COMMON)
def payment(
    amount: Annotated[str, typer.Option(help="Dollars and cents, such as 25.00.")],
    balance: Annotated[str, typer.Option(help="The prepaid balance before it; below zero is owed.")],
    arrears: Annotated[str, typer.Option(help="The carried debt before it.")] = "0.00",
    program: Annotated[str, typer.Option(help="A program's name.")] = "default",
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")] = None,
) -> None:
    """Split a payment between old debt and the balance, and tell whether it brings power back."""
    from edge import rate_whatif
    from edge.core.arrears import split_payment
    from edge.core.reconnects import pays_enough
    from edge.programs import ProgramError, find_program

    setting = dict(_override(text) for text in overrides or [])
    try:
        rules, _ = find_program(program, setting, *context.settings().folders("programs"))
        answer = rate_whatif.payment(
            amount,
            balance,
            arrears,
            split=lambda paid, before, debt: split_payment(paid, before, debt, rules),
            reconnects=lambda paid, after: pays_enough(paid, after, rules),
        )
    except (ProgramError, rate_whatif.UsageError) as problem:
        raise Failure(2, *problem.faults) from None
    context.print_one(answer)


def _decide_lines(source: TextIO, setting: dict[str, Any]) -> int:
    from edge.whatif import answer_lines

    gc.freeze()  # what is loaded by now stays: a collection then looks at the cases alone,
    gc.set_threshold(50_000)  # and seldom, since they leave no cycles
    all_good = True
    for text, good in answer_lines(source, setting):
        sys.stdout.write(text + "\n")
        all_good = all_good and good
    return 0 if all_good else 2


def _open(name: str) -> TextIO:
    # What is not UTF-8 is replaced, so that it spoils its own line and no other.
    if name == "-":
        return io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="replace")
    try:
        return Path(name).open(encoding="utf-8", errors="replace")
    except OSError as problem:
        raise Failure(2, f"{name}: cannot be read: {problem.strerror}") from None


def _override(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator:
        raise Failure(2, f"--set - {text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
