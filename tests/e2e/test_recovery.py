"""The restore drill on a running site: life, a backup, more life, the database lost; all is paid exactly once."""

import signal
from pathlib import Path
from typing import Any

from tests.brokers import RunningBroker
from tests.e2e.bench_site import Site, running, until
from tests.e2e.test_live import relay_is, site_of


def bad_pages(file: Path) -> None:
    with file.open("r+b") as handle:
        handle.seek(4096 * 2)
        handle.write(b"\xa5" * 4096 * 30)


async def told(site: Site, heard: list[tuple[str, dict[str, Any]]], kind: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        return [content for where, content in heard if where == "events" and content["kind"] == kind]

    await until(lambda: bool(found()), site.log)
    return found()[-1]


async def test_the_restore_drill(tmp_path: Path, broker: RunningBroker) -> None:
    site = site_of(tmp_path, broker)
    async with running(site) as head_end:
        await head_end.pay("P-1", "A-1", "25.00")
        assert (await head_end.receipt("P-1"))["status"] == "posted"
        (site.state / "backups").mkdir()
        backup = await site.cli("backup", str(site.state / "backups" / "edge-20261014T000000Z.db"))
        assert (backup["verified"], backup["last_payment_id"]) == (True, "P-1")
        await head_end.pay("P-2", "A-2", "25.00")
        assert (await head_end.receipt("P-2"))["status"] == "posted"
        await relay_is(site, "M-2", "connected")
        assert "another daemon" in await site.cli("restore", backup["file"], code=1)

        site.kill_daemon(signal.SIGTERM)  # the log is written back: else it would mend the file
        bad_pages(site.state / "edge.db")
        site.start_daemon()
        await site.daemon_is_up()

        event = await told(site, head_end.heard, "database_restored")
        assert event["last_payment_id"] == "P-1"
        assert (site.state / event["set_aside"]).exists()
        assert "payments_stale" in [block["code"] for block in (await site.cli("why", "A-2"))["blocks"]]
        for name, account in (("P-1", "A-1"), ("P-2", "A-2")):
            await head_end.pay(name, account, "25.00")
        await until(lambda: len(head_end.receipts("P-1")) == len(head_end.receipts("P-2")) == 2, site.log)
        assert head_end.receipts("P-1")[1]["status"] == "duplicate"
        assert head_end.receipts("P-2")[1]["status"] == "posted"
        await head_end.say("replayed", {"restored_at": event["restored_at"]})
        await told(site, head_end.heard, "database_replayed")
        assert (await site.cli("status"))["restored_at"] is None
        for account in ("A-1", "A-2"):
            assert (await site.cli("account", "show", account))["balance"] == "20.80"
        assert (await site.cli("verify"))["ok"] is True
        assert "nothing waits" in await site.cli("replayed", code=1)
