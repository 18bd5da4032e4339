"""``meter-sim``: simulated meters for test benches. Verbs of contract.md, section 3.

Exit codes: 0 done; 1 refused or failed; 2 bad usage or bad input; 3 no simulator runs. Heavy imports happen inside the
verbs that need them, so that ``--help`` and ``truth`` answer at once.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from meter_sim.faults import FaultKind

if TYPE_CHECKING:
    from meter_sim.feeder import Feeder
    from protocols.profile import Profile

_WAITING_IS_WORTH_TELLING_S = 2.0
_COUNT_MAX = 10_000

app = typer.Typer(
    name="meter-sim",
    help="Simulated electricity meters that speak the real devices' protocols.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
fault_app = typer.Typer(help="Let meters of a running simulator misbehave.", no_args_is_help=True)
app.add_typer(fault_app, name="fault")

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
ReadyFile = Annotated[Path | None, typer.Option("--ready-file", help="Where a running simulator tells what listens.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"meter-sim {version('ami-edge')}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    as_json: Json = False,
    version: Annotated[  # noqa: ARG001 - the callback of the option does it all
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Simulated electricity meters that speak the real devices' protocols."""
    context.obj = {"json": as_json}


@app.command()
def run(
    config: Annotated[Path | None, typer.Argument(help="A feeder file; without one, the feeder that ships.")] = None,
    profile: Annotated[str | None, typer.Option(help="Meters of this profile instead of a feeder file.")] = None,
    count: Annotated[int | None, typer.Option(min=1, max=_COUNT_MAX, help="How many of them.")] = None,
    host: Annotated[str | None, typer.Option(help="Address on which Modbus TCP meters listen.")] = None,
    broker: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="The broker of the MQTT meters.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed: other households.")] = None,
    ready_file: ReadyFile = None,
) -> None:
    """Serve meters until interrupted; the ready file is written when all listen.

    A Modbus meter listens when its port or serial line is open, an MQTT meter when it is connected to the broker.
    """
    import uvloop

    from meter_sim.feeder import FeederError, moved
    from meter_sim.running import LineUnavailable, profile_faults
    from meter_sim.truth import NoSimulator

    if ready_file is not None and not ready_file.absolute().parent.is_dir():
        _fail(2, f"--ready-file {ready_file}: there is no directory {ready_file.absolute().parent}")
    if ready_file is not None and ready_file.is_dir():
        _fail(2, f"--ready-file {ready_file}: is a directory; name a file")
    profiles = _profiles()
    try:
        feeder, name = _chosen_feeder(config, profile, count, profiles)
        feeder = moved(feeder, host=host, broker=_host_and_port(broker), seed=seed)
        if faults := [f"{name}: {fault}" for fault in profile_faults(feeder, profiles)]:
            raise FeederError(faults)
    except FeederError as problem:
        _fail(2, *problem.faults)
    _raise_open_files_limit()
    try:
        uvloop.run(_serve_until_told(feeder, profiles, ready_file))
    except (LineUnavailable, NoSimulator) as problem:
        _fail(1, str(problem))


def _chosen_feeder(
    config: Path | None, profile: str | None, count: int | None, profiles: "dict[str, Profile]"
) -> "tuple[Feeder, str]":
    """The feeder that is meant, and its name in messages. Raises FeederError."""
    from edge.settings import packaged_config
    from meter_sim.feeder import generated_feeder, load_feeder

    if profile is None:
        if count is not None:
            _fail(2, "--count needs --profile: a feeder file says itself how many meters there are")
        file = config or packaged_config() / "sim" / "default.toml"
        return load_feeder(file), str(file)
    if config is not None:
        _fail(2, "give a feeder file or --profile, not both")
    if profile not in profiles:
        _fail(2, f"--profile: there is no profile {profile!r}; there are {', '.join(profiles)}")
    return generated_feeder(profile, profiles[profile].transport, count or 1), f"--profile {profile}"


def _host_and_port(broker: str | None) -> tuple[str, int] | None:
    if broker is None:
        return None
    host, _, port = broker.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        _fail(2, f"--broker {broker}: is not HOST:PORT, such as 127.0.0.1:1883")
    return host, int(port)


def _profiles() -> "dict[str, Profile]":
    """Every profile that ships. A simulator may imitate also what is not verified well enough to be commanded."""
    from edge.settings import packaged_config
    from protocols.profile import ProfileError, load_profiles

    try:
        return load_profiles(packaged_config() / "meters", allow_unverified_relay=True)
    except ProfileError as problem:
        _fail(2, str(problem))


def _raise_open_files_limit() -> None:
    """Ten thousand connections need as many open files: take what this user is allowed."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve_until_told(feeder: "Feeder", profiles: "dict[str, Profile]", ready_file: Path | None) -> None:
    """Serve the feeder until SIGINT or SIGTERM, then tidy up: ready file, sockets, links, sessions."""
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(_serve(feeder, profiles, ready_file))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, serving.cancel)
    with suppress(asyncio.CancelledError):
        await serving


async def _serve(feeder: "Feeder", profiles: "dict[str, Profile]", ready_file: Path | None) -> None:
    from edge.clock import SystemClock, pause
    from meter_sim.fault_desk import FaultDesk
    from meter_sim.running import running_feeder
    from meter_sim.truth import telling

    clock = SystemClock()
    loop = asyncio.get_running_loop()
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)  # an old one would tell who waits for it what is not so any more
    brokers = sorted({f"{line.host}:{line.port or 1883}" for line in feeder.lines if line.transport == "mqtt"})
    note = f"waiting for the broker at {' and '.join(brokers)}; Modbus meters, where there are any, serve already"
    waiting = loop.call_later(_WAITING_IS_WORTH_TELLING_S, _tell, note) if brokers else None
    try:
        async with running_feeder(feeder, profiles=profiles, now=clock.now, pause=pause) as running:
            if waiting is not None:
                waiting.cancel()
            plugs = [entry["meter_id"] for entry in running.ready if entry["transport"] == "mqtt"]
            desk = FaultDesk(running.meters, plugs, clock.now)
            async with telling(running.meters, desk, clock.now) as truth:
                with _published(ready_file, {"meters": running.ready, "truth": str(truth), "pid": os.getpid()}):
                    for line in _what_listens(running.ready):
                        _tell(line)
                    await (running.plugs or loop.create_future())
    finally:
        if waiting is not None:
            waiting.cancel()


@contextmanager
def _published(ready_file: Path | None, content: dict[str, Any]) -> Iterator[None]:
    """The ready file, there as a whole or not at all, gone when the simulator is."""
    if ready_file is None:
        yield
        return
    draft = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        draft.replace(ready_file)
    except OSError as problem:
        _fail(1, f"--ready-file {ready_file}: cannot be written: {problem.strerror}; name another place")
    try:
        yield
    finally:
        ready_file.unlink(missing_ok=True)


def _what_listens(ready: Sequence[dict[str, Any]]) -> Iterable[str]:
    """One line an address: how many meters are there."""
    counts: dict[str, int] = {}
    for entry in ready:
        address = entry.get("device") or entry.get("broker") or f"{entry['host']}:{entry['port']}"
        key = f"{entry['transport']} {address}"
        counts[key] = counts.get(key, 0) + 1
    for key, number in counts.items():
        yield f"{key}: {number} meter{'s' if number > 1 else ''}"
    yield "all listen; stop with Ctrl-C"


@app.command()
def truth(context: typer.Context, as_json: Json = False, ready_file: ReadyFile = None) -> None:
    """Show what is physically so in a running simulator: the only one, or that of the ready file."""
    meters = _asked({"ask": "truth"}, ready_file)["meters"]
    if as_json or context.obj["json"]:
        typer.echo(json.dumps(meters))
        return
    _show(
        ("meter", "relay", "energy Wh", "power W", "last transition", "cause"),
        [
            (
                meter["meter_id"],
                meter["relay"],
                str(meter["energy_import_wh"]),
                str(meter["power_w"]),
                meter["transitions"][-1]["at"],
                meter["transitions"][-1]["cause"],
            )
            for meter in meters
        ],
    )


def _asked(question: dict[str, Any], ready_file: Path | None) -> dict[str, Any]:
    """What a running simulator answers; leaves with a sentence where it does not, or refuses."""
    from meter_sim.truth import NoSimulator, SeveralSimulators, ask

    try:
        answer = ask(question, ready_file)
    except NoSimulator as problem:
        _fail(3, str(problem))
    except SeveralSimulators as problem:
        _fail(1, str(problem))
    except ValueError as problem:
        _fail(2, str(problem))
    if "error" in answer:
        _fail(2, answer["error"])
    return answer


@fault_app.command("set")
def fault_set(
    context: typer.Context,
    meter: Annotated[str, typer.Argument(metavar="METER", help="A meter of the running simulator.")],
    kind: Annotated[str, typer.Argument(metavar="KIND", help=", ".join(FaultKind))],
    seconds: Annotated[float | None, typer.Option("--for", metavar="S", min=0.0, help="End by itself so late.")] = None,
    as_json: Json = False,
    ready_file: ReadyFile = None,
) -> None:
    """Let a meter misbehave, instead of as before, for some seconds or until it is cleared."""
    question = {"ask": "fault set", "meter_id": meter, "fault": kind, "seconds": seconds}
    _show_faults(context, _asked(question, ready_file), as_json)


@fault_app.command("clear")
def fault_clear(
    context: typer.Context,
    meter: Annotated[str | None, typer.Argument(metavar="METER", help="One meter; without it, all.")] = None,
    as_json: Json = False,
    ready_file: ReadyFile = None,
) -> None:
    """Let a meter, or all, behave again; shows which did not."""
    _show_faults(context, _asked({"ask": "fault clear", "meter_id": meter}, ready_file), as_json)


@fault_app.command("list")
def fault_list(context: typer.Context, as_json: Json = False, ready_file: ReadyFile = None) -> None:
    """Show the meters that misbehave."""
    _show_faults(context, _asked({"ask": "fault list"}, ready_file), as_json)


def _show_faults(context: typer.Context, answer: dict[str, Any], as_json: bool) -> None:
    if as_json or context.find_root().obj["json"]:
        typer.echo(json.dumps(answer["faults"]))
        return
    rows = [[told[key] or "" for key in ("meter_id", "fault", "since", "until")] for told in answer["faults"]]
    _show(("meter", "fault", "since", "until"), rows)


@app.command()
def profiles(context: typer.Context, as_json: Json = False) -> None:
    """List the meter models that can be simulated."""
    known = _profiles().values()
    if as_json or context.obj["json"]:
        told = [{"id": one.id, "transport": one.transport, "vendor": one.vendor, "models": one.models} for one in known]
        typer.echo(json.dumps(told))
        return
    _show(("id", "transport", "models"), [(one.id, one.transport, ", ".join(one.models)) for one in known])


@app.command()
def simulate(
    context: typer.Context,
    meters: Annotated[int, typer.Option(min=1, max=_COUNT_MAX, help="How many meters, one account each.")] = 20,
    days: Annotated[int, typer.Option(min=1, max=3660, help="How many civil days.")] = 7,
    start: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="The first day.")] = "2026-10-12",
    seed: Annotated[int, typer.Option(help="One seed decides everything.")] = 1,
    program: Annotated[str, typer.Option(help="The program of all accounts.")] = "default",
    faults: Annotated[str, typer.Option(help="none, normal or harsh.")] = "normal",
    events: Annotated[Path | None, typer.Option(help="Write what happened, as JSON Lines.")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Leave the state there, for ami-edge to read.")] = None,
    as_json: Json = False,
) -> None:
    """Run the very daemon in virtual time against meters in this process, and judge what it did."""
    from edge.settings import ConfigError
    from edge.store.base import StoreError
    from meter_sim.mixes import mix_of
    from meter_sim.simulate import good, parse_start, simulate
    from meter_sim.world import Plan

    if state_dir is not None and (state_dir / "edge.db").exists():
        _fail(2, f"--state-dir {state_dir}: has a database already; name an empty directory")
    try:
        mix_of(faults)
        plan = Plan(meters, days, parse_start(start), seed, program, faults)
        answer, _ = simulate(plan, events, state_dir)
    except ValueError as problem:
        _fail(2, str(problem))
    except ConfigError as problem:
        _fail(2, *problem.faults)
    except (StoreError, OSError) as problem:
        _fail(1, str(problem))
    if as_json or context.obj["json"]:
        typer.echo(json.dumps(answer))
    else:
        for key, value in answer.items():
            typer.echo(f"{key.replace('_', ' '):<22} {value}")
    if not good(answer):
        raise typer.Exit(1)


@app.command()
def demo(
    context: typer.Context,
    fast: Annotated[bool, typer.Option("--fast", help="A minute's version.")] = False,
    as_json: Json = False,
) -> None:
    """Show the whole main job: simulated meters on real sockets, the daemon, a week of payments and disconnects."""
    from meter_sim.demo import demonstrate

    raise typer.Exit(demonstrate(fast=fast, as_json=as_json or context.obj["json"]))


def _show(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for a person; aligned plain text where nobody looks at a terminal."""
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        from rich.console import Console
        from rich.table import Table

        table = Table(*headings)
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        return
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    for row in (headings, *rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _tell(line: str) -> None:
    typer.echo(f"meter-sim: {line}", err=True)


def _fail(code: int, *sentences: str) -> NoReturn:
    """Say on standard error what is wrong, a line each, and leave."""
    for sentence in sentences:
        _tell(sentence)
    raise typer.Exit(code)


def main() -> None:
    """The program's entry point."""
    app()


if __name__ == "__main__":
    main()
