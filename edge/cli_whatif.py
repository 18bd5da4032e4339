"""``ami-edge whatif``: the pure rules on given facts; no state is touched."""

import io
import json
import sys
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from edge.cli_context import COMMON
from edge.console import Failure, print_json

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


def _decide_lines(source: TextIO, setting: dict[str, Any]) -> int:
    from edge.whatif import answer_lines

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
