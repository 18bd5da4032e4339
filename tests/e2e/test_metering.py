"""A technician exchanges a meter, a customer reports a read, a clerk edits a day: on the command line."""

from pathlib import Path

from tests.brokers import RunningBroker
from tests.e2e.bench_site import Site, running, until_async


async def test_exchanges_reads_and_edits_on_the_command_line(tmp_path: Path, broker: RunningBroker) -> None:
    site = Site(tmp_path, broker, {"A-1": {"meter_id": "M-1", "opening_balance": "25.00"}}, meters={"M-1": "tcp"})
    async with running(site):

        async def was_read() -> bool:
            return (await site.cli("meter", "show", "M-1"))["energy_import_wh"] is not None

        await until_async(was_read, site.log)
        register = (await site.cli("meter", "show", "M-1"))["energy_import_wh"]
        reported = await site.cli("usage", "report", "A-1", "--register-wh", "0", code=1)
        assert "does not fit the gateway's own read" in reported or "before account A-1 was enrolled" in reported

        swap = ("meter", "swap", "M-1", "--new-serial", "N-2", "--initial-register-wh", "0", "--reason", "dark")
        assert "does not follow the last read" in await site.cli(*swap, "--final-register-wh", "0", code=1)
        record = await site.cli(*swap, "--final-register-wh", str(register + 10))
        assert (record["new_serial"], record["initial_register_wh"]) == ("N-2", 0)
        assert "already has the serial number" in await site.cli(
            *swap, "--final-register-wh", str(register + 10), code=1
        )
        assert "there is no meter M-9" in await site.cli(
            "meter", "swap", "M-9", *swap[3:], "--final-register-wh", "0", code=1
        )

        edit = ("usage", "edit", "A-1", "--day", "2020-01-01", "--kwh", "3.5", "--reason", "x")
        assert "is not a past day of account A-1" in await site.cli(*edit, code=1)
        assert "is not a use in kWh" in await site.cli(*edit[:6], "three", "--reason", "x", code=2)
        assert await site.cli("usage", "show", "A-1") == []
        assert await site.cli("usage", "queue") == []
        assert "there is no account A-9" in await site.cli("usage", "show", "A-9", code=1)
        assert (await site.cli("verify"))["ok"] is True
