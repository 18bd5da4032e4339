"""What is physically so in a running simulator, told on a unix socket of the user who runs it; faults are set there.

The socket lies in a directory of that user's own, one per process, so that ``meter-sim truth`` finds the only one
running; the ready file names it too. One JSON object a line is asked (``{"ask": "truth"}``), one is answered.
"""

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from meter_sim.fault_desk import FaultDesk, FaultRefused
from meter_sim.meter import SimulatedMeter

_ANSWER_WITHIN_S = 5.0
_ANSWER_BYTES_MAX = 1 << 30


class NoSimulator(Exception):
    """No simulator runs, or the one that was named does not answer."""


class SeveralSimulators(Exception):
    """More than one simulator runs, and nothing says which is meant."""


def runtime_dir() -> Path:
    """The directory of this user's running simulators; made where it is missing, for this user alone.

    Raises NoSimulator where something else, or somebody else's, stands in its place.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base) / "meter-sim" if base and Path(base).is_dir() else Path(f"/tmp/meter-sim-{os.getuid()}")  # noqa: S108 - owner and mode are checked
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise NoSimulator(f"{folder} is not a directory of this user alone: remove it, then start meter-sim again")
    return folder


def truth_of(meters: Iterable[SimulatedMeter], at: datetime) -> list[dict[str, Any]]:
    """What is physically so at ``at``: per meter its relay, register, power and last 1,000 transitions."""
    told = []
    for meter in meters:
        meter.advance(at)
        told.append(
            {
                "meter_id": meter.meter_id,
                "relay": meter.relay.value,
                "energy_import_wh": meter.energy_import_wh,
                "power_w": meter.power_w(),
                "transitions": [
                    {"at": change.at.isoformat(), "relay": change.relay.value, "cause": change.cause.value}
                    for change in meter.transitions
                ],
            }
        )
    return told


@asynccontextmanager
async def telling(
    meters: Mapping[str, SimulatedMeter], desk: FaultDesk, now: Callable[[], datetime]
) -> AsyncIterator[Path]:
    """Tell the truth about ``meters``, and take faults for them, on the socket that is yielded.

    Raises NoSimulator, OSError.
    """
    path = runtime_dir() / f"{os.getpid()}.sock"
    path.unlink(missing_ok=True)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                question = await reader.readline()
                writer.write(json.dumps(_answer(question, meters, desk, now)).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, OSError, ValueError):
            return  # who asked has gone, or asked nothing
        finally:
            writer.close()

    server = await asyncio.start_unix_server(answer, path)
    path.chmod(0o600)
    try:
        yield path
    finally:
        server.close()
        path.unlink(missing_ok=True)


def _answer(
    question: bytes, meters: Mapping[str, SimulatedMeter], desk: FaultDesk, now: Callable[[], datetime]
) -> dict[str, Any]:
    try:
        asked = json.loads(question)
    except ValueError:
        return {"error": "the question is not JSON"}
    try:
        match asked:
            case {"ask": "truth"}:
                return {"meters": truth_of(meters.values(), now())}
            case {
                "ask": "fault set",
                "meter_id": str(meter_id),
                "fault": str(kind),
                "seconds": float() | None as seconds,
            }:
                return {"faults": desk.set(meter_id, kind, seconds)}
            case {"ask": "fault clear", "meter_id": str() | None as one}:
                return {"faults": desk.clear(one)}
            case {"ask": "fault list"}:
                return {"faults": desk.list()}
    except FaultRefused as refused:
        return {"error": str(refused)}
    return {"error": "that question is not known"}


def ask(question: dict[str, Any], ready_file: Path | None = None) -> dict[str, Any]:
    """Ask the simulator of ``ready_file``, or the only one running.

    Raises NoSimulator, SeveralSimulators; ValueError where the ready file is none.
    """
    if ready_file is not None:
        path = _socket_named_in(ready_file)
        answer = _ask_at(path, question)
        if answer is None:
            raise NoSimulator(f"the simulator of {ready_file} does not run any more: start it again")
        return answer
    answers = [answer for path in sorted(runtime_dir().glob("*.sock")) if (answer := _ask_at(path, question))]
    if not answers:
        raise NoSimulator("no simulator runs under this user: start one with meter-sim run")
    if len(answers) > 1:
        raise SeveralSimulators(f"{len(answers)} simulators run under this user: say which one with --ready-file")
    return answers[0]


def _socket_named_in(ready_file: Path) -> Path:
    try:
        content = json.loads(ready_file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise NoSimulator(
            f"{ready_file}: cannot be read: {problem.strerror}; a running simulator keeps it, so start one"
        ) from None
    except ValueError:
        raise ValueError(f"{ready_file}: is not JSON") from None
    named = content.get("truth") if isinstance(content, dict) else None
    if not isinstance(named, str):
        raise ValueError(f"{ready_file}: truth - is missing; this is no ready file of meter-sim")
    return Path(named)


def _runs(process_id: str) -> bool:
    return process_id.isdigit() and Path(f"/proc/{process_id}").exists()


def _ask_at(path: Path, question: dict[str, Any]) -> dict[str, Any] | None:
    """The answer from one socket; None where nobody answers there. A socket without owner is tidied away."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ANSWER_WITHIN_S)
        try:
            connection.connect(str(path))
        except ConnectionRefusedError:
            if not _runs(path.stem):
                path.unlink(missing_ok=True)
            return None
        except OSError:
            return None
        try:
            connection.sendall(json.dumps(question).encode() + b"\n")
            with connection.makefile("rb") as answer:
                told = json.loads(answer.readline(_ANSWER_BYTES_MAX))
        except (OSError, ValueError):
            return None
    return told if isinstance(told, dict) else None
