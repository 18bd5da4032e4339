"""The switch journal: every relay command that was sent, in a file of its own, so that it outlives the database.

After the database was put back from a backup, the books do not know of commands since. A home that was disconnected in
that time would look as if somebody else had opened its relay, and nobody would ever close it again. So each command is
appended here and forced to the disk before the wire is used. A line says which meter, which action, when, which order,
and carries a digest, so that a line which a power cut tore is told from a whole one.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from edge.store import disk

SHORTEN_ABOVE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class SentCommand:
    """A command that was about to go out. ``cause``: whose an open relay is afterwards: credit, manual, safety."""

    at: datetime
    meter_id: str
    account_id: str
    action: str
    cause: str
    order_id: int


class SwitchJournal:
    """The file; ``note`` is called before a command goes out."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def note(self, sent: SentCommand) -> None:
        """Return when the command is on the disk. Raises OSError."""
        new = not self._file.exists()
        handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, disk.FILE_MODE)
        try:
            os.write(handle, b"\n" + _line(sent))  # the newline first: a torn line before it stays alone
            os.fsync(handle)
        finally:
            os.close(handle)
        if new:
            disk.force_to_disk(self._file.parent)

    def commanded_since(self, since: datetime | None) -> list[SentCommand]:
        """The last command of each meter that was commanded at or after an instant; None: ever."""
        last = {sent.meter_id: sent for sent in self._commands()}
        return [sent for sent in last.values() if since is None or sent.at >= since]

    def shorten(self) -> None:
        """Keep only each meter's last command, once the file has grown long. Raises OSError."""
        if not self._file.exists() or self._file.stat().st_size < SHORTEN_ABOVE_BYTES:
            return
        shorter = self._file.with_name(f"{self._file.name}.partial")
        shorter.write_bytes(b"\n".join(map(_line, self.commanded_since(None))))
        shorter.chmod(disk.FILE_MODE)
        disk.force_to_disk(shorter)
        disk.rename_durably(shorter, self._file)

    def _commands(self) -> Iterator[SentCommand]:
        if not self._file.exists():
            return
        for line in self._file.read_bytes().splitlines():
            sent = _sent(line)
            if sent is not None:
                yield sent


def _line(sent: SentCommand) -> bytes:
    said = {**asdict(sent), "at": sent.at.isoformat()}
    return json.dumps({"sent": said, "digest": _digest(json.dumps(said))}).encode()


def _digest(said: str) -> str:
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _sent(line: bytes) -> SentCommand | None:
    """The command of a line; None where the line is torn or altered."""
    try:
        found = json.loads(line)
        said = found["sent"]
        if found["digest"] != _digest(json.dumps(said)):
            return None
        return SentCommand(**{**said, "at": datetime.fromisoformat(said["at"])})
    except (ValueError, KeyError, TypeError):
        return None
