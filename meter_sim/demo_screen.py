"""What one sees of the demonstration: a live screen on a terminal, else one plain line an event; and the summary."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from meter_sim.demo_journal import Line
from meter_sim.demo_site import ZONE
from meter_sim.demo_watch import AccountNow, Now

_TONES = {"story": "bold", "money": "cyan", "notice": "magenta", "off": "red", "on": "green", "calm": "default"}
_SIGNS = {"story": "►", "money": "$", "notice": "✉", "off": "○", "on": "●", "calm": " "}
_LINES_KEPT = 60
_MIDDLING = 96  # columns from which on a meter's protocol and power are shown
_ROOMY = 118  # columns from which on its id and the earliest disconnect are shown too
_AROUND_EVENTS = 21  # rows of the screen that are not events
_EVENTS_MIN = 3


class Audience(Protocol):
    """Who watches."""

    def __enter__(self) -> "Audience": ...

    def __exit__(self, *_: object) -> None: ...

    def tell(self, line: Line) -> None:
        """An event, as it happens."""
        ...

    def show(self, now: Now, doing: str, pace: float) -> None:
        """How everything stands, several times a second; ``pace``: clock seconds a second."""
        ...


class PlainLines:
    """One line an event, for files, pipes and terminals without colour."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._open: bool | None = None

    def __enter__(self) -> "PlainLines":
        return self

    def __exit__(self, *_: object) -> None:
        self._out.flush()

    def tell(self, line: Line) -> None:
        """Print it."""
        print(f"{line.when}  {line.text}", file=self._out, flush=True)

    def show(self, now: Now, doing: str, pace: float) -> None:  # noqa: ARG002 - plain lines tell what changes only
        """Print the window when it opens or closes."""
        if self._open not in (None, now.window_open):
            self.tell(Line(now.at, f"The disconnect window is {now.window}", "calm"))
        self._open = now.window_open


class LiveScreen:
    """The whole terminal: clock and window, accounts, what is happening, last events."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._lines: deque[Line] = deque(maxlen=_LINES_KEPT)

    def __enter__(self) -> "LiveScreen":
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def tell(self, line: Line) -> None:
        """Keep it for the next picture."""
        self._lines.append(line)

    def show(self, now: Now, doing: str, pace: float) -> None:
        """Draw the picture."""
        width, height = self._console.size
        parts = (_header(now, pace, width), _accounts(now, width), _happening(doing), self._events(width, height))
        self._live.update(Group(*parts), refresh=True)

    def _events(self, width: int, height: int) -> Panel:
        """The last events that fit, newest last; each whole, on as many rows as it needs."""
        rows = max(_EVENTS_MIN, height - _AROUND_EVENTS)
        shown: deque[Text] = deque()
        for line in reversed(self._lines):
            text = _event(line)
            needs = len(text.wrap(self._console, width - 4))
            if needs > rows:
                break
            rows -= needs
            shown.appendleft(text)
        return Panel(Group(*shown, *[Text()] * rows), title="what happened", title_align="left", border_style="dim")


def _header(now: Now, pace: float, width: int) -> Panel:
    local = now.at.astimezone(ZONE)
    colour = "green" if now.window_open else "yellow"
    middling = width >= _MIDDLING
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(justify="left")
    table.add_column(justify="center")
    table.add_column(justify="right")
    day = f"{local:%A} {local.day} {local:%B %Y}" if middling else f"{local:%a} {local.day} {local:%b %Y}"
    clock = Text(f"{day}  {local:%H:%M}", style="bold")
    window = Text.assemble(("disconnect window " if middling else "window ", "dim"), (now.window, f"bold {colour}"))
    weather = Text(f"{now.temperature_f:.0f} °F", style="dim" if now.temperature_f >= 32 else "bold cyan")
    table.add_row(clock, window, weather)
    return Panel(table, title="ami-edge: prepaid electricity, demonstration", subtitle=_pace_words(pace), style="")


def _pace_words(pace: float) -> str:
    if pace == 1:
        return "a relay is under command: the clock runs at the wall's pace"
    speed = f"{pace / 60:.0f} minutes" if pace < 7200 else f"{pace / 3600:.1f} hours"
    return f"simulated meters on real sockets · {speed} go by in a second"


def _accounts(now: Now, width: int) -> Table:
    middling, roomy = width >= _MIDDLING, width >= _ROOMY
    table = Table(expand=True, box=None, padding=(0, 1), header_style="dim")
    table.add_column("customer", no_wrap=True)
    if middling:
        table.add_column("meter", no_wrap=True, style="dim")
    table.add_column("balance", justify="right", no_wrap=True)
    table.add_column("switch", no_wrap=True)
    if middling:
        table.add_column("power", justify="right", no_wrap=True)
    table.add_column("what holds a disconnect back", ratio=1, no_wrap=True, overflow="ellipsis")
    if roomy:
        table.add_column("earliest cut", no_wrap=True)
    for account in now.accounts:
        table.add_row(*_row(account, middling, roomy))
    return table


def _row(account: AccountNow, middling: bool, roomy: bool) -> list[Text]:
    customer = account.customer
    powered = account.relay == "connected"
    balance = Text(f"${account.available}".replace("$-", "-$"), style="red" if account.owes else "green")
    if account.switching:
        switch = Text("◐ switching", style="bold yellow")
    elif powered:
        switch = Text("● on", style="green")
    else:
        switch = Text("○ OFF" if account.relay.startswith("disconnected") else "? unknown", style="bold red")
    why = Text(account.why, style="default" if account.owes or not powered else "dim")
    row = [Text(customer.name, style="bold"), balance, switch, why]
    if middling:
        power = "" if account.power_w is None else f"{account.power_w} W"
        row.insert(1, Text(f"{customer.meter_id} {customer.speaks}" if roomy else customer.speaks))
        row.insert(4, Text(power if powered else "0 W"))
    if roomy:
        row.append(Text(account.earliest, style="yellow"))
    return row


def _happening(doing: str) -> Panel:
    return Panel(Text(doing, style="bold", overflow="ellipsis", no_wrap=True), title="now", title_align="left")


def _event(line: Line) -> Text:
    return Text.assemble((line.when, "dim"), " ", (f"{_SIGNS[line.tone]} {line.text}", _TONES[line.tone]))


def audience_for(out: TextIO, no_color: bool) -> Audience:
    """A live screen where ``out`` is a terminal that may show colour, else plain lines."""
    if out.isatty() and not no_color:
        return LiveScreen(Console(file=out))
    return PlainLines(out)


def print_summary(answer: Mapping[str, Any], out: TextIO, no_color: bool) -> None:
    """The checks in words, and the figures."""
    coloured = out.isatty() and not no_color
    console = Console(file=out, highlight=False, no_color=not coloured, width=None if coloured else 1000)
    console.print()
    for check in answer["checks"]:
        mark = ("✓", "green") if check["ok"] else ("✗", "bold red")
        console.print(Text.assemble((f" {mark[0]} ", mark[1]), (check["name"], "bold")))
        console.print(Padding(Text(check["detail"], style="dim" if check["ok"] else "red"), (0, 0, 0, 3), expand=False))
    seconds = answer["reconnect_seconds"]
    took = "none" if seconds["max"] is None else f"{seconds['p50']:.2f} s typically, {seconds['max']:.2f} s at most"
    console.print()
    console.print(
        f" {answer['disconnects']} disconnects, {answer['wrongful_disconnects']} wrongful;"
        f" {answer['reconnects']} reconnects, {took}; ledger off by ${answer['ledger_imbalance']}"
    )
    failed = sum(not check["ok"] for check in answer["checks"])
    verdict = f"{failed} of {len(answer['checks'])} checks failed" if failed else "Every check holds"
    console.print(Text(f" {verdict}.", style="bold red" if failed else "bold green"))
