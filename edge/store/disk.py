"""Files that survive a power cut: written in full, forced to the disk, and only then given their name."""

import os
from pathlib import Path

FILE_MODE = 0o640  # the service's group may read; nobody else


def force_to_disk(path: Path) -> None:
    """Return when a file's content, or a directory's names, are on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename_durably(source: Path, target: Path) -> None:
    """Give a file another name in one step, replacing what has it, and have the disk know of it. Raises OSError."""
    source.replace(target)
    force_to_disk(target.parent)


def create_durably(path: Path) -> None:
    """Make an empty file that only the service may write, unless it is there. Raises OSError."""
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
        force_to_disk(path.parent)


def allocate(path: Path, size: int) -> None:
    """Hold ``size`` bytes of the disk in a file, really taken. Raises OSError, and then nothing is held."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(handle)
