"""What is known of each request to Globus: one JSON file a request, which survives any crash."""

import dataclasses
import json
import uuid
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from apsdm_bluesky.durable import make_folder, sync
from apsdm_bluesky.errors import FormatError, StorageError

from ._protocol import TaskReport, TaskStatus, TransferRequest
from ._tasks import decode_request, encode_request, storage_refused


class Stage(StrEnum):
    """What the present Globus task of a request does."""

    COMPARE = "compare"
    """Fetches what stands at the destination under the final names, for a comparison with what is sent."""
    MOVE = "move"
    """Moves files to their part names."""
    PUBLISH = "publish"
    """No task: all parts were seen in full at the destination, they are renamed."""
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobusRecord:
    """A request and how far it is.

    Parameters
    ----------
    parts
        Where each item goes first: a destination path for SEND, a local path for FETCH.
    sizes
        Of each item when the request was made [bytes].
    standing
        Indices of items of a SEND under whose names files of the same size stand at the destination.
    submission_id, task_id
        Of the stage's Globus task; its id is None until Globus told it.
    first_task_id
        The id of the whole request's task, as callers know it.
    verdict
        Why the stage's task was or is to be cancelled; '' where it is not.
    verdict_content_differs
        The report's `content_differs` when it has been cancelled.
    report
        How it ended.
    """

    request: TransferRequest
    stage: Stage
    submission_id: str
    parts: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    standing: tuple[int, ...] = ()
    task_id: str | None = None
    first_task_id: str | None = None
    verdict: str = ""
    verdict_needs_person: bool = False
    verdict_content_differs: bool = False
    report: TaskReport | None = None

    @property
    def moved(self) -> tuple[int, ...]:
        """Indices of the items that the stage's task moves."""
        if self.stage is Stage.COMPARE:
            return self.standing
        return tuple(number for number in range(len(self.request.items)) if number not in self.standing)


class RecordStore:
    """The records in `folder`, by the submission id of their request, and by the id of their first task."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str) -> GlobusRecord | None:
        """The record with this submission or task id; None where there is none."""
        path = self._path(key)
        try:
            return _decode(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_refused(path, error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path}: is no task record ({error}); move it away, then retry") from error

    def write(self, record: GlobusRecord) -> GlobusRecord:
        """Replace the record durably: its old or its new content survives any crash."""
        path = self._path(record.request.submission_id)
        temporary = path.with_suffix(".new")
        try:
            make_folder(self._folder)
            temporary.write_text(json.dumps(_encode(record)), encoding="utf-8")
            sync(temporary)
            self._link(path, record.first_task_id)
            temporary.replace(path)
            sync(self._folder)
        except OSError as error:
            raise storage_refused(path, error) from error
        return record

    def _link(self, path: Path, task_id: str | None) -> None:
        """Make the record known by its task's id, too: before it tells the id: a crash comes at any time."""
        if task_id is None or (link := self._path(task_id)) == path or link.is_symlink():
            return
        link.symlink_to(path.name)
        sync(self._folder)

    def _path(self, key: str) -> Path:
        try:
            return self._folder / f"{uuid.UUID(key)}.json"
        except ValueError:
            raise FormatError(f"task id {key!r} is no UUID; take one from new_submission_id") from None


def _encode(record: GlobusRecord) -> dict[str, Any]:
    return dataclasses.asdict(record) | {"request": encode_request(record.request)}


def _decode(data: dict[str, Any]) -> GlobusRecord:
    report = data["report"]
    if report is not None:
        report = TaskReport(**report | {"status": TaskStatus(report["status"])})
    sequences = {key: tuple(data[key]) for key in ("parts", "sizes", "standing")}
    request = decode_request(data["request"])
    return GlobusRecord(
        **data | sequences | {"request": request, "stage": Stage(data["stage"]), "report": report}
    )
