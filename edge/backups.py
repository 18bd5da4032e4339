"""The task that takes backups by the clock, in a process of its own: neither payments nor polling wait for the check.

Each backup is also the gateway's regular look through its whole database: a copy has the pages of its source.
"""

import asyncio
import contextlib
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from edge.gateway import Gateway
from edge.recovery import scheduled_backups, scheduled_name
from edge.store import disk, records
from edge.store.base import StoreError

log = structlog.get_logger()

FIRST_AFTER = timedelta(minutes=5)  # a daemon that has just started has better things to do
AGAIN_AFTER = timedelta(minutes=30)  # after a failure


class BackupSchedule:
    """Takes a backup every so many hours and keeps the newest ones."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def run(self) -> None:
        """Take backups for as long as the daemon runs; where the site wants none, return."""
        every = timedelta(hours=self._gateway.settings.site.backup.every_hours)
        if not every:
            return
        clock = self._gateway.clock
        due = clock.now() + FIRST_AFTER
        known = await self._gateway.store.read(records.state)
        if "last_backup" in known:
            due = max(due, known["last_backup"][1] + every)
        while True:
            await clock.wait(due)
            due = clock.now() + (every if await self.take() else AGAIN_AFTER)

    async def take(self) -> bool:
        """Take one backup now and forget the oldest; a failure is an event and an alarm. True: it was taken."""
        gateway = self._gateway
        settings, now = gateway.settings, gateway.clock.now()
        target = scheduled_name(settings, now)
        try:
            if not settings.backup_directory.exists():
                settings.backup_directory.mkdir(parents=True, mode=0o750)
                disk.force_to_disk(settings.backup_directory.parent)
            for leftover in settings.backup_directory.glob("edge-*.partial"):
                leftover.unlink()
            answer = await self._in_another_process(target)
            for old in scheduled_backups(settings)[settings.site.backup.keep :]:
                old.unlink()
        except (OSError, StoreError) as problem:
            log.error("backup failed", problem=str(problem))
            data = {"file": target.name, "problem": str(problem)}
            await gateway.record(lambda database: records.add_event(database, "backup_failed", now, data))
            return False
        log.info("backup", file=str(target), bytes=answer["bytes"], entries=answer["entries"])
        await gateway.store.write(lambda database: records.set_state(database, {"last_backup": target.name}, now))
        return True

    async def _in_another_process(self, target: Path) -> dict[str, Any]:
        """What ``ami-edge backup`` answers. Raises StoreError with its sentence."""
        settings = self._gateway.settings
        where = ("--config", str(settings.config_file), "--state-dir", str(settings.state_dir))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "edge.cli", *where, "--json", "backup", str(target)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await process.communicate()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        if process.returncode != 0:
            raise StoreError(err.decode(errors="replace").strip() or "the backup's process ended early")
        answer: dict[str, Any] = json.loads(out)
        return answer


async def run_schedule(gateway: Gateway) -> None:
    """The schedule as a service of the daemon."""
    await BackupSchedule(gateway).run()
