"""The two files that a warden keeps of a task in the task's folder. They are whole or not there."""

import json
import os
from pathlib import Path
from typing import Any

STARTED, ENDED = "started.json", "ended.json"


def claim(folder: Path, facts: dict[str, Any]) -> bool:
    """Record that the task starts; False where it was started before. Raises OSError."""
    part = _written(folder / f".{STARTED}", facts)
    try:
        os.link(part, folder / STARTED)
    except FileExistsError:
        return False
    finally:
        part.unlink()
    _sync(folder)
    return True


def conclude(folder: Path, facts: dict[str, Any]) -> None:
    """Record how the task ended. Raises OSError."""
    _written(folder / f".{ENDED}", facts).replace(folder / ENDED)
    _sync(folder)


def read(path: Path) -> dict[str, Any] | None:
    """The facts in a file; None where it is not there. Raises OSError and, where they are none, ValueError."""
    try:
        facts = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    if not isinstance(facts, dict):
        raise ValueError("no JSON object")
    return facts


def _written(part: Path, facts: dict[str, Any]) -> Path:
    with part.open("w", encoding="utf-8") as file:
        json.dump(facts, file)
        file.flush()
        os.fsync(file.fileno())
    return part


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
