"""What both programs' command lines share: failures with exit codes, common options anywhere, tables and JSON."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_WITH_VALUE = ("--config", "--state-dir")
_FLAGS = ("--json",)


class Failure(Exception):
    """A verb ends here. ``code``: 1 refused or failed, 2 bad usage or input, 3 the daemon cannot be reached."""

    def __init__(self, code: int, *sentences: str) -> None:
        self.code = code
        self.sentences = sentences
        super().__init__(*sentences)


def hoist_common_options(arguments: Sequence[str]) -> list[str]:
    """The arguments with the options that every verb takes moved to the front, wherever they stood."""
    common: list[str] = []
    rest: list[str] = []
    index = 0
    while index < len(arguments):
        argument = arguments[index]
        if argument == "--":
            rest.extend(arguments[index:])
            break
        if argument in _FLAGS or argument.startswith(tuple(f"{name}=" for name in _WITH_VALUE)):
            common.append(argument)
        elif argument in _WITH_VALUE:
            common.extend(arguments[index : index + 2])
            index += 1
        else:
            rest.append(argument)
        index += 1
    return common + rest


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2 if sys.stdout.isatty() else None))


def print_record(record: Mapping[str, Any]) -> None:
    """A record for a person, a line a key."""
    width = max(len(key) for key in record)
    for key, value in record.items():
        print(f"{key.replace('_', ' '):<{width}}  {text_of(value)}")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """A table for a person: with colour on a terminal, plain columns elsewhere."""
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        _print_rich_table(rows, columns)
        return
    cells = [[column.replace("_", " ") for column in columns]]
    cells += [[text_of(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _print_rich_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "))
    colours = {"disconnected": "red", "connected": "green", "failing": "red", "negative": "red", "good": "green"}
    for row in rows:
        texts = [text_of(row.get(column)) for column in columns]
        table.add_row(*(f"[{colours[text]}]{text}[/]" if text in colours else text for text in texts))
    Console().print(table)


def text_of(value: object) -> str:
    """A value for a person."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(text_of(item) for item in value) or "-"
    if isinstance(value, dict):
        return " ".join(f"{key}={text_of(inner)}" for key, inner in value.items())
    return str(value)
