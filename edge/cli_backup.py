"""Verbs of ``ami-edge`` for the life of the database: ``backup``, ``restore``, ``replayed``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from edge import cli_context as context
from edge.cli_context import COMMON, Common
from edge.console import Failure, print_json

backup_app = typer.Typer()


@backup_app.command(epilog=COMMON)
def backup(file: Annotated[Path, typer.Argument(metavar="FILE", help="What is there is replaced.")]) -> None:
    """Copy the database, while the daemon runs or not; the copy is checked before it gets its name."""
    from edge.recovery import take_backup
    from edge.store.base import StoreError

    settings = context.settings()
    try:
        view = take_backup(settings, file.absolute(), context.now()).view()
    except StoreError as problem:
        raise Failure(1, str(problem)) from None
    _print(
        view, f"{view['file']}: {view['entries']} entries, {view['accounts']} accounts, {view['bytes']} bytes, checked"
    )


@backup_app.command(epilog=COMMON)
def restore(file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")]) -> None:
    """Put a backup in the database's place, while no daemon runs; the present database is set aside."""
    from edge.recovery import restore as put_back
    from edge.store.base import StoreError

    settings = context.settings()
    try:
        view = put_back(settings, file.absolute(), context.now())
    except StoreError as problem:
        raise Failure(1, str(problem)) from None
    aside = f"; what was there is {view['set_aside']}" if view["set_aside"] else ""
    _print(view, f"the books are those of {view['taken_at']}: {view['entries']} entries{aside}")


@backup_app.command(epilog=COMMON)
def replayed(
    reason: Annotated[str, typer.Option(help="How that is known.")] = "",
) -> None:
    """After a restore: say that all payments since the backup are on the books again; disconnects go on (daemon)."""
    answer = context.ask_daemon(context.settings(), "POST", "/v1/replayed", {"reason": reason})
    _print(answer, f"the database was put back at {answer['restored_at']}; disconnects are possible again")


def _print(view: dict[str, Any], sentence: str) -> None:
    print_json(view) if Common.json else print(sentence)
