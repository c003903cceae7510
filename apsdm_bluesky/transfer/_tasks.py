"""Task records of a local folder: one JSON file a task, which survives restarts."""

import dataclasses
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsdm_bluesky.durable import make_folder, sync
from apsdm_bluesky.errors import FormatError, StorageError

from ._protocol import Direction, TaskReport, TaskStatus, TransferItem, TransferRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """A request and what became of it."""

    request: TransferRequest
    report: TaskReport


class TaskStore:
    """The records in `folder`. A task's id is its submission id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, request: TransferRequest) -> TaskRecord:
        """The record of `request`, new or found.

        Raises
        ------
        FormatError
            The submission id is not one of ours, or was used for another request.
        """
        known = self.read(request.submission_id)
        if known is None:
            known = TaskRecord(
                request=request, report=TaskReport(task_id=request.submission_id, status=TaskStatus.ACTIVE)
            )
            self.write(known)
        elif known.request != request:
            raise FormatError(
                f"submission id {request.submission_id} was used for another request; take a new one"
            )
        return known

    def read(self, task_id: str) -> TaskRecord | None:
        """The record of a task; None where there is none."""
        path = self.path(task_id, "json")
        try:
            return _decode(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_refused(path, error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path}: is no task record ({error}); move it away, then retry") from error

    def write(self, record: TaskRecord) -> None:
        """Replace the record durably: its old or its new content survives any crash."""
        path = self.path(record.report.task_id, "json")
        temporary = path.with_suffix(".new")
        try:
            make_folder(self._folder)
            temporary.write_text(json.dumps(_encode(record)), encoding="utf-8")
            sync(temporary)
            temporary.replace(path)
            sync(self._folder)
        except OSError as error:
            raise storage_refused(path, error) from error

    def ask_cancel(self, task_id: str) -> None:
        """Leave the wish that a task ends, for whichever process works on it."""
        path = self.path(task_id, "cancel")
        try:
            path.touch()
        except OSError as error:
            raise storage_refused(path, error) from error

    def cancel_asked(self, task_id: str) -> bool:
        """Whether somebody wishes that the task ends."""
        return self.path(task_id, "cancel").exists()

    def tidy(self, task_id: str) -> None:
        """Remove what served the work on a task that has ended.

        Whoever has opened its lock before, or makes it again, finds the task ended.
        """
        for suffix in ("cancel", "lock"):
            path = self.path(task_id, suffix)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise storage_refused(path, error) from error

    def path(self, task_id: str, suffix: str) -> Path:
        """A file of the task. `FormatError` where `task_id` is no UUID."""
        try:
            name = str(uuid.UUID(task_id))
        except ValueError:
            raise FormatError(f"task id {task_id!r} is no UUID; take one from new_submission_id") from None
        return self._folder / f"{name}.{suffix}"


def encode_request(request: TransferRequest) -> dict[str, Any]:
    """The request as JSON-able values."""
    items = [dataclasses.asdict(item) | {"local": str(item.local)} for item in request.items]
    return dataclasses.asdict(request) | {"items": items}


def decode_request(data: dict[str, Any]) -> TransferRequest:
    """The request of `encode_request`."""
    items = tuple(TransferItem(**item | {"local": Path(item["local"])}) for item in data["items"])
    return TransferRequest(**data | {"items": items, "direction": Direction(data["direction"])})


def storage_refused(path: Path, error: OSError) -> StorageError:
    """A record that cannot be read or written."""
    return StorageError(f"{path}: {error.strerror or error}; free space or give write permission there")


def _encode(record: TaskRecord) -> dict[str, Any]:
    return {"request": encode_request(record.request), "report": dataclasses.asdict(record.report)}


def _decode(data: dict[str, Any]) -> TaskRecord:
    report = data["report"]
    return TaskRecord(
        request=decode_request(data["request"]),
        report=TaskReport(**report | {"status": TaskStatus(report["status"])}),
    )
