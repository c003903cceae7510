"""What is known of each task at Globus Compute: two JSON files in its folder, which survive any crash."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from apsdm_bluesky.durable import make_folder, sync
from apsdm_bluesky.errors import StorageError

from ._protocol import Blame, Ended, Lost, Task

_RECORD, _REPORT = "compute.json", "report.json"
Kept = TypeVar("Kept")


class Step(StrEnum):
    """What is done to get the results."""

    LISTING = "listing"
    """`ended.json` is fetched."""
    FILES = "files"
    """The files that it tells are fetched."""
    PUBLISH = "publish"
    """All came as they should; they get their final names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """How far the results are; each attempt has a folder of its own, each step a submission id."""

    step: Step
    submission: str
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Calls of our function for one purpose.

    Parameters
    ----------
    group
        The task group, chosen before the first submission: what was submitted is found in it.
    ids
        The calls that are known; more than one where a reply was lost.
    submitted
        When the last one was, in seconds since the Unix epoch.
    """

    group: str
    ids: tuple[str, ...] = ()
    submitted: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A task and how far it is.

    Parameters
    ----------
    run, stop
        The calls that run the command, and that end it; or settle what became of it, unless `is_stopped`.
    is_stopped
        Somebody asked for its end.
    began
        When a worker was first seen at it, in seconds since the Unix epoch.
    failure
        What Compute tells of the failure of `run`.
    """

    run: Call
    stop: Call
    is_stopped: bool = False
    began: float | None = None
    failure: str = ""
    fetch: Fetch | None = None


def read_record(task: Task) -> Record | None:
    """The record; None where the task was never started."""
    return _read(task.folder / _RECORD, _record)


def write_record(task: Task, record: Record) -> Record:
    """Replace the record durably; returns it."""
    _write(task.folder / _RECORD, dataclasses.asdict(record))
    return record


def read_report(task: Task) -> Ended | Lost | None:
    """How the task ended; None where it is not known to have."""
    return _read(task.folder / _REPORT, _report)


def write_report(task: Task, report: Ended | Lost) -> None:
    """Keep how the task ended."""
    _write(task.folder / _REPORT, dataclasses.asdict(report))


def _record(data: dict[str, Any]) -> Record:
    calls = {key: Call(**data[key] | {"ids": tuple(data[key]["ids"])}) for key in ("run", "stop")}
    told = data["fetch"]
    fetch = None if told is None else Fetch(**told | {"step": Step(told["step"])})
    return Record(**data | calls | {"fetch": fetch})


def _report(data: dict[str, Any]) -> Ended | Lost:
    if "ended" not in data:
        return Lost(**data)
    return Ended(**data | {"blame": None if data["blame"] is None else Blame(data["blame"])})


def _read(path: Path, decode: Callable[[dict[str, Any]], Kept]) -> Kept | None:
    try:
        return decode(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}; make it readable") from error
    except (ValueError, KeyError, TypeError) as error:
        reason = f"is damaged ({type(error).__name__}: {error}); run it anew as another task"
        raise StorageError(f"{path}: {reason}") from error


def _write(path: Path, data: dict[str, Any]) -> None:
    part = path.with_suffix(".new")
    try:
        make_folder(path.parent)
        part.write_text(json.dumps(data), encoding="utf-8")
        sync(part)
        part.replace(path)
        sync(path.parent)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}; free space, or give write permission") from error
