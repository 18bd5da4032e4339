"""The database as the daemon finds it: sound, damaged or gone; backups, and putting one back in its place.

A damaged database is never opened for writing and never deleted: it is set aside under a name with the time, and the
newest backup that passes every check takes its place. Putting back has one point of no return: the checked copy gets
the name ``edge.db.restoring-<time>``; from then on, whoever starts next finishes the job. Without a good backup
nothing is started, so that no command goes out and power stays as it is.
"""

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from edge.settings import Settings
from edge.store import copies, disk
from edge.store.base import StoreError
from edge.store.copies import CopyFacts
from edge.store.engine import Store, Watch, has_begun, take_lock
from edge.switch_journal import SwitchJournal

log = structlog.get_logger()

RESERVE_BYTES = 8 << 20
_STAMP = "%Y%m%dT%H%M%SZ"
_BESIDE = ("", "-wal", "-shm")  # a database's files; SQLite finds the others by the first one's name


def _no_step(_: str) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of the database that was taken and checked."""

    file: Path
    size: int
    facts: CopyFacts

    def view(self) -> dict[str, Any]:
        """For interfaces."""
        facts = self.facts
        return {
            "file": str(self.file),
            "bytes": self.size,
            "taken_at": facts.taken_at.isoformat() if facts.taken_at else None,
            "accounts": facts.accounts,
            "entries": facts.entries,
            "last_hash": facts.last_hash,
            "last_payment_id": facts.last_payment_id,
            "verified": True,
        }


def take_backup(settings: Settings, target: Path, now: datetime, step: Callable[[str], None] = _no_step) -> Backup:
    """Copy the database to a file that appears whole, checked and forced to the disk, or not at all.

    It waits for nobody and nobody waits for it; a file of that name is replaced. Raises StoreError.
    """
    if target.resolve().parent == settings.state_dir.resolve() and target.name.startswith(settings.database.name):
        raise StoreError(f"{target} belongs to the live database: give the backup another name")
    if not target.parent.is_dir():
        raise StoreError(f"there is no directory {target.parent}: make it, or name another file")
    partial = target.with_name(f"{target.name}.partial")
    try:
        copies.copy_database(settings.database, partial, now, lambda: step("copying"))
        problems = copies.check_copy(partial)
        if problems:
            raise StoreError(f"the copy is not good, no backup was made: {problems[0]}")
        facts = copies.copy_facts(partial)
        step("rename")
        disk.rename_durably(partial, target)
    except (sqlite3.Error, OSError) as problem:
        raise StoreError(f"no backup was made at {target}: {problem}") from None
    finally:
        partial.unlink(missing_ok=True)
    return Backup(target, target.stat().st_size, facts)


def scheduled_name(settings: Settings, at: datetime) -> Path:
    """The file of a scheduled backup."""
    return settings.backup_directory / f"edge-{at.strftime(_STAMP)}.db"


def scheduled_backups(settings: Settings) -> list[Path]:
    """The files of scheduled backups, newest first."""
    return sorted(settings.backup_directory.glob("edge-*Z.db"), reverse=True)


def restore(settings: Settings, backup: Path, now: datetime, step: Callable[[str], None] = _no_step) -> dict[str, Any]:
    """Put a backup in the database's place; the present one is set aside.

    Raises StoreError while a daemon has the database, and when the backup is not good: then nothing is changed.
    """
    if not backup.exists():
        raise StoreError(f"there is no file {backup}")
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
    lock = take_lock(settings.database)
    try:
        finish_restore(settings.database)
        problems = copies.check_copy(backup)
        if problems:
            raise StoreError(f"the backup is not good, nothing was changed: {problems[0]}")
        return _put_back(settings, backup, now, "an operator restored it", step)
    finally:
        os.close(lock)


def _put_back(
    settings: Settings, backup: Path, now: datetime, reason: str, step: Callable[[str], None]
) -> dict[str, Any]:
    """With the lock held: a checked backup takes the database's place. Raises StoreError."""
    database = settings.database
    stamp = now.strftime(_STAMP)
    partial = database.with_name(f"{database.name}.restore.partial")
    set_aside = f"{database.name}.set-aside-{stamp}" if database.exists() else None
    told = {"reason": reason, "backup": backup.name, "set_aside": set_aside}
    try:
        copies.copy_database(backup, partial, None)
        facts = copies.copy_facts(partial)
        commanded = SwitchJournal(settings.switch_journal).commanded_since(facts.taken_at)
        copies.mark_restored(partial, now, facts, told, {sent.meter_id: sent.cause for sent in commanded})
        _give_to_owner(settings.state_dir, partial)
        step("restore ready")
        disk.rename_durably(partial, database.with_name(f"{database.name}.restoring-{stamp}"))
        finish_restore(database, step)
    except (sqlite3.Error, OSError) as problem:
        raise StoreError(f"the backup {backup} could not be put back: {problem}; nothing was lost, try again") from None
    answer = Backup(database, database.stat().st_size, facts).view()
    return {**answer, "backup": str(backup), "set_aside": set_aside, "commands_since": len(commanded)}


def _give_to_owner(state_dir: Path, file: Path) -> None:
    """A restore by root leaves a file that the service can write."""
    if os.geteuid() == 0:
        owner = state_dir.stat()
        os.chown(file, owner.st_uid, owner.st_gid)


def finish_restore(database: Path, step: Callable[[str], None] = _no_step) -> None:
    """Finish what a restore began, wherever it was interrupted: old files aside, the copy in their place."""
    for ready in sorted(database.parent.glob(f"{database.name}.restoring-*")):
        stamp = ready.name.rpartition("-")[2]
        for beside in reversed(_BESIDE):  # the database itself last: it goes together with its log
            old = Path(f"{database}{beside}")
            if old.exists():
                old.replace(Path(f"{database}.set-aside-{stamp}{beside}"))
                step("restore set aside")
        disk.rename_durably(ready, database)
        step("restore renamed")


def open_store(settings: Settings, now: datetime, watch: Watch | None = None, *, thorough: bool = False) -> Store:
    """The store of the daemon, with the newest good backup put in place where the database is damaged or gone.

    ``thorough``: SQLite called it malformed while it was in use. Raises StoreError, in one sentence, where another
    daemon runs, and where there is no good backup.
    """
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
    lock = take_lock(settings.database)
    step: Callable[[str], None] = _no_step if watch is None else lambda name: watch(name, "")
    try:
        Path(f"{settings.database}.reserve").unlink(missing_ok=True)  # of a daemon that died; a full disk needs it now
        finish_restore(settings.database, step)
        damage = copies.find_damage(settings.database, thorough=thorough)
        fresh = not has_begun(lock) and _is_empty(settings.database) and not scheduled_backups(settings)
        if damage is not None and not fresh:
            _replace_damaged(settings, now, damage, step)
        SwitchJournal(settings.switch_journal).shorten()
    except BaseException:
        os.close(lock)
        raise
    return Store(settings.database, threaded=True, lock=lock, reserve_bytes=RESERVE_BYTES, watch=watch)


def _is_empty(database: Path) -> bool:
    return not database.exists() or database.stat().st_size == 0


def _replace_damaged(settings: Settings, now: datetime, damage: str, step: Callable[[str], None]) -> None:
    log.error("database damaged", database=str(settings.database), damage=damage)
    refused = []
    for backup in scheduled_backups(settings):
        try:
            problems = copies.check_copy(backup)
        except StoreError as problem:
            problems = [str(problem)]
        if not problems:
            _put_back(settings, backup, now, f"the database was damaged: {damage}", step)
            log.warning("database restored", backup=str(backup))
            return
        log.error("backup not usable", backup=str(backup), problem=problems[0])
        refused.append(backup.name)
    tried = f"none of the backups is good ({', '.join(refused)})" if refused else "there is no backup"
    raise StoreError(
        f"the database {settings.database} is damaged: {damage}; in {settings.backup_directory} {tried}:"
        " put a good one in place with 'ami-edge restore FILE'; until then nothing is switched, power stays as it is"
    )
