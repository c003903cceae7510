"""The two files that a warden keeps of a task in the task's folder."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

STARTED = "started"
"""Empty: that it is there says all, and its time says when."""
ENDED = "ended.json"
"""Whole, or not there; or of the task itself, which can write here too."""
DAMAGED = "its report is damaged: its command wrote to ended.json, which is not its own"

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_FILE = (errno.ELOOP, errno.ENXIO)  # a link, a socket
_LARGEST = 1 << 16


def claim(folder: Path) -> bool:
    """Record that the task starts; False where it was started before. Raises OSError."""
    try:
        os.close(os.open(folder / STARTED, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    except FileExistsError:
        return False
    _sync(folder)
    return True


def conclude(folder: Path, facts: dict[str, Any]) -> None:
    """Record how the task ended. Raises OSError."""
    part = folder / f".{ENDED}"
    part.unlink(missing_ok=True)  # a pipe that the task left there would be waited for
    with part.open("x", encoding="utf-8") as file:
        json.dump(facts, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / ENDED)
    _sync(folder)


def started(folder: Path) -> float | None:
    """When the task was started, in seconds since the Unix epoch; None where it was not. Raises OSError."""
    try:
        return (folder / STARTED).stat().st_mtime
    except FileNotFoundError:
        return None


def ended(folder: Path) -> bytes | None:
    """How the task ended, as it was written; None where it did not.

    Raises
    ------
    OSError
        It cannot be read now.
    ValueError
        It is none of ours: no plain file, or too large.
    """
    return read(folder / ENDED)


def read(path: Path) -> bytes | None:
    """A small file that the task can write to, which may be anything; None, and errors, as of `ended`."""
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in _NO_FILE:
            raise ValueError("no plain file") from error
        raise
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            raise ValueError("no plain file, or too large")
        return os.read(fd, _LARGEST)
    finally:
        os.close(fd)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
