"""What a task at the remote left behind: fetched, compared with what the remote told of it, put in place."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from apsdm_bluesky.durable import make_folder, sync
from apsdm_bluesky.errors import FormatError, StorageError
from apsdm_bluesky.transfer import (
    Direction,
    TaskStatus,
    Transfer,
    TransferItem,
    TransferRequest,
    resolve_inside,
)

from ._facts import Facts, Holder, advised
from ._globus_compute_record import Fetch, Record, Step, write_record
from ._protocol import Blame, Ended, Lost, Running, Task
from ._warden import _records

_LISTING = "ended.json"
_ATTEMPTS = 5
_CHUNK = 1 << 20


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^(stdout|stderr|work/.+)$")]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Listing(Facts):
    """The remote's word on how a task ended."""

    model_config = ConfigDict(extra="forbid")

    lost: bool
    files: tuple[_File, ...]


class _UnfitError(Exception):
    """What came is not what it should be; another attempt mends it."""


def tidy(task: Task) -> None:
    """Remove what was needed to fetch the results."""
    shutil.rmtree(task.folder / ".fetch", ignore_errors=True)


class Results:
    """Brings results to the folders of tasks; each call goes as far as it gets without waiting."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer

    def collect(self, task: Task, record: Record) -> Ended | Lost | Running | None:
        """How the task ended, when all its files are in place; None where the remote has no word on it.

        Raises
        ------
        ApsdmError
            See `Transfer`.
        StorageError
            The task's folder cannot be written.
        """
        if record.fetch is None:
            if self._transfer.stat(f"{task.id}/{_LISTING}") is None:
                return None
            record = self._begin(task, record, Step.LISTING, 0)
        try:
            return self._go_on(task, record)
        except _UnfitError as error:
            return self._again(task, record, str(error))
        except OSError as error:
            raise StorageError(f"{task.folder}: {error}; free space, or give write permission") from error

    def _go_on(self, task: Task, record: Record) -> Ended | Lost | Running:
        fetch, staging = _fetch_of(record), _staging(task, record)
        if fetch.step is Step.PUBLISH:
            _publish(task, staging)
            return _report(task, _listing(staging), record)
        names = [_LISTING] if fetch.step is Step.LISTING else [file.name for file in _listing(staging).files]
        waits_for = self._move(task, fetch, staging, names)
        if waits_for:
            return _fetching(record, waits_for)
        if fetch.step is Step.LISTING:
            _listing(staging)
            return self._go_on(task, self._begin(task, record, Step.FILES, fetch.attempt))
        _verify(staging, _listing(staging))
        return self._go_on(task, self._begin(task, record, Step.PUBLISH, fetch.attempt))

    def _move(self, task: Task, fetch: Fetch, staging: Path, names: list[str]) -> str:
        """Fetch files; returns what there is to wait for, or '' when they are here."""
        items = tuple(
            TransferItem(local=resolve_inside(staging, name), remote=f"{task.id}/{name}") for name in names
        )
        for item in items:
            make_folder(item.local.parent)
        label = f"results of task {task.id}"
        request = TransferRequest(
            submission_id=fetch.submission, direction=Direction.FETCH, items=items, label=label
        )
        report = self._transfer.status(self._transfer.submit(request))
        if report is None or report.status is TaskStatus.FAILED:
            raise _UnfitError(report.detail if report else "the transfer is not known any more")
        if report.status is TaskStatus.SUCCEEDED:
            return ""
        return report.detail or "results are being fetched"

    def _begin(self, task: Task, record: Record, step: Step, attempt: int) -> Record:
        submission = "" if step is Step.PUBLISH else self._transfer.new_submission_id()
        return write_record(
            task, replace(record, fetch=Fetch(step=step, submission=submission, attempt=attempt))
        )

    def _again(self, task: Task, record: Record, reason: str) -> Ended | Running:
        attempt = _fetch_of(record).attempt + 1
        if attempt < _ATTEMPTS:
            self._begin(task, record, Step.LISTING, attempt)
            return _fetching(record, f"results are fetched again: {reason}")
        text = f"results in {task.id} there cannot be fetched ({reason}); mend that, then run it again"
        return Ended(
            status=None,
            started=record.began,
            ended=record.began or record.run.submitted,
            blame=Blame.NETWORK,
            reason=text,
        )


def _fetch_of(record: Record) -> Fetch:
    if record.fetch is None:
        raise StorageError("the record of a task tells of no fetch; move compute.json away, then retry")
    return record.fetch


def _staging(task: Task, record: Record) -> Path:
    return task.folder / ".fetch" / str(_fetch_of(record).attempt)


def _fetching(record: Record, reason: str) -> Running:
    return Running(started=record.began or record.run.submitted, host="", reason=reason)


def _listing(staging: Path) -> _Listing:
    try:
        listing = _Listing.model_validate_json((staging / _LISTING).read_bytes())
        for file in listing.files:
            resolve_inside(staging, file.name)
    except (ValidationError, FormatError) as error:
        raise _UnfitError(f"{_LISTING}: {' '.join(str(error).split())[:300]}") from error
    return listing


def _verify(staging: Path, listing: _Listing) -> None:
    for file in listing.files:
        path = staging / file.name
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
        if path.stat().st_size != file.size or digest.hexdigest() != file.sha256:
            raise _UnfitError(f"{file.name}: is not what the remote wrote")


def _publish(task: Task, staging: Path) -> None:
    """Give the files their names; what is gone was given its name by a process that died then."""
    for name in ("stdout", "stderr", "work"):
        if (staging / name).exists():
            (staging / name).rename(task.folder / name)  # replaces a file, and an empty folder
    if task.working_folder is None:
        make_folder(task.folder / "work")
    sync(task.folder)


def read_in_place(task: Task, record: Record, *, is_over: bool) -> Ended | Lost | None:
    """How a task ended that worked in its folder here; None where the remote has no word on it.

    Parameters
    ----------
    is_over
        A call for it is over. Before, what is no word of the remote is of the command itself, which goes on.

    Raises
    ------
    StorageError
        The folder cannot be read.
    """
    try:
        data = _records.ended(task.folder)
        return None if data is None else _report(task, _Listing.model_validate_json(data), record)
    except OSError as error:
        raise StorageError(f"{task.folder}: {error.strerror}; make it readable") from error
    except ValueError:
        return Lost(reason=_records.DAMAGED) if is_over else None


def read_holder(task: Task) -> Holder | None:
    """Where the process runs, as the remote wrote it; None where that is not seen here, or overwritten."""
    path = task.folder / "lock"
    try:
        data = _records.read(path)
        return None if data is None else Holder.model_validate_json(data)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}; make it readable") from error
    except ValueError:
        return None


def _report(task: Task, listing: _Listing, record: Record) -> Ended | Lost:
    """The remote's word, with what Compute told where the remote was only asked because of it."""
    if listing.lost:
        return Lost(reason=f"{listing.said} (Globus Compute: {record.failure or 'it goes on'})")
    blame, reason = advised(task, listing)
    if record.failure and listing.started is None and not record.is_stopped:
        blame, reason = Blame.SYSTEM, f"the endpoint could not run it: {record.failure}"
    known = listing.model_dump(include={"status", "started", "ended", "host", "pid", "cpu_s", "memory"})
    return Ended(**known, blame=blame, reason=reason)
