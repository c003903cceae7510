"""The two files that a warden keeps of a task in the task's folder."""

import json
import os
from pathlib import Path
from typing import Any

STARTED = "started"
"""Empty: that it is there says all, and its time says when."""
ENDED = "ended.json"
"""Whole, or not there."""


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
    with part.open("w", encoding="utf-8") as file:
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


def ended(folder: Path) -> dict[str, Any] | None:
    """How the task ended; None where it did not. Raises OSError, and ValueError where the file is damaged."""
    try:
        return dict(json.loads((folder / ENDED).read_bytes()))
    except FileNotFoundError:
        return None
    except TypeError as error:
        raise ValueError("no JSON object") from error


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
