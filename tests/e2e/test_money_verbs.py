"""The verbs for money over the local API's real socket: what they print, and how they refuse."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from edge.api import serve
from edge.gateway import Gateway
from tests.scenario.money_site import a_gateway, enrolled

AMI_EDGE = str(Path(sys.executable).parent / "ami-edge")


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Gateway]:
    """A gateway whose local API listens in its state directory."""
    with a_gateway(folder) as gateway:
        ready = asyncio.Event()
        task = asyncio.create_task(serve(gateway, gateway.settings.socket, "0", ready))
        await ready.wait()
        yield gateway
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def cli(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a verb."""
    where = ("--config", str(folder / "edge.toml"), "--state-dir", str(folder), "--json")
    process = await asyncio.create_subprocess_exec(
        AMI_EDGE, *arguments, *where, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def answer(folder: Path, *arguments: str) -> dict[str, Any]:
    code, out, err = await cli(folder, *arguments)
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


async def test_money_is_charged_credited_and_paid_by_verbs(tmp_path: Path) -> None:
    async with served(tmp_path) as gateway:
        await enrolled(gateway, arrears="50.00")
        stamp = ("--paid-at", "2026-10-13T09:00:00-05:00")
        told = await answer(tmp_path, "pay", "A-1", "30.00", "--payment-id", "P-1", *stamp)
        assert (told["to_arrears"], told["to_balance"], told["duplicate"]) == ("9.00", "21.00", False)
        aid = await answer(tmp_path, "pay", "A-1", "10", "--payment-id", "P-2", "--source", "liheap")
        assert (aid["to_arrears"], aid["balance"]) == ("0.00", "31.00")
        seal = ("charge", "A-1", "12.00", "--kind", "cut-seal", "--reason", "found cut", "--charge-id", "C-1")
        assert (await answer(tmp_path, *seal))["balance"] == "19.00"
        back = ("credit", "A-1", "2.00", "--reason", "half ours", "--credit-id", "D-1", "--reverses", "C-1")
        assert (await answer(tmp_path, *back))["balance"] == "21.00"
        returned = await answer(tmp_path, "return-payment", "P-9", "--reason", "no funds", "--fee", "5.00")
        assert (returned["awaited"], returned["balance"]) == (True, None)
        changed = await answer(tmp_path, "tariff", "A-1", "time-of-use", "--from", "2026-11-01")
        assert (changed["tariff"], changed["from"]) == ("time-of-use", "2026-11-01")


async def test_a_verb_that_is_refused_says_why_in_one_sentence(tmp_path: Path) -> None:
    async with served(tmp_path) as gateway:
        await enrolled(gateway)
        charge = ("charge", "A-1", "12.00", "--reason", "r", "--charge-id", "C-1", "--kind")
        sentence = "charge C-1: kind - 'reconnect': no fee is ever charged for a disconnect or a reconnect\n"
        assert await cli(tmp_path, *charge, "reconnect") == (1, "", sentence)
        sentence = "refund R-1: account A-1 has not left the program: unenroll it\n"
        assert await cli(tmp_path, "refund", "A-1", "--refund-id", "R-1") == (1, "", sentence)
        sentence = "agreement I-1: 'ten' is not an amount in dollars and cents such as 25.00\n"
        deferred = ("instalments", "A-1", "ten", "--reason", "r", "--agreement-id", "I-1")
        assert await cli(tmp_path, *deferred) == (2, "", sentence)
        sentence = "payment P-1: the amount -5.00 is not above zero\n"
        assert await cli(tmp_path, "pay", "A-1", "-5.00", "--payment-id", "P-1") == (2, "", sentence)
        sentence = "from '1 May' is not a day such as 2026-10-14\n"
        assert await cli(tmp_path, "tariff", "A-1", "flat", "--from", "1 May") == (2, "", sentence)
