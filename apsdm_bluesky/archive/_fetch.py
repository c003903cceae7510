"""Moving files while somebody waits for them."""

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from apsdm_bluesky.errors import ServiceError
from apsdm_bluesky.transfer import (
    Direction,
    RemoteFile,
    TaskReport,
    TaskStatus,
    Transfer,
    TransferItem,
    TransferRequest,
)

log = logging.getLogger(__name__)

_BATCH = 500  # files of one task
_PAUSE_S = (0.02, 5.0)  # between two looks, doubled up to the longest
_SILENCE_S = 600.0  # a mover that does not answer for so long is given up


def fetch(
    transfer: Transfer, files: Sequence[RemoteFile], folder: Path
) -> tuple[dict[str, Path], dict[str, str]]:
    """Fetch files into `folder`, under new names; waits until all are there.

    Returns
    -------
    Where each is, and why the others are not there; by their paths at the destination.

    Raises
    ------
    ServiceError
        The mover does not answer.
    """
    stem = uuid.uuid4().hex
    places = {file.path: folder / f"{stem}-{number}" for number, file in enumerate(files)}
    faults: dict[str, str] = {}
    for first in range(0, len(files), _BATCH):
        batch = [file.path for file in files[first : first + _BATCH]]
        if _end_of(transfer, Direction.FETCH, batch, places).status is TaskStatus.SUCCEEDED:
            continue
        for path in batch:  # which of them it was
            report = _end_of(transfer, Direction.FETCH, [path], places)
            if report.status is not TaskStatus.SUCCEEDED:
                faults[path] = report.detail
    return {path: place for path, place in places.items() if path not in faults}, faults


def send(transfer: Transfer, local: Path, remote: str) -> str:
    """Send one file and wait until it is there; returns why it is not, '' where it is.

    Raises
    ------
    ServiceError
        The mover does not answer.
    """
    report = _end_of(transfer, Direction.SEND, [remote], {remote: local})
    return "" if report.status is TaskStatus.SUCCEEDED else report.detail


def _end_of(
    transfer: Transfer, direction: Direction, paths: Sequence[str], places: Mapping[str, Path]
) -> TaskReport:
    request = TransferRequest(
        submission_id=transfer.new_submission_id(),
        direction=direction,
        items=tuple(TransferItem(local=places[path], remote=path) for path in paths),
        label=f"{direction} {len(paths)} files",
    )
    return _wait(transfer, transfer.submit(request))


def _wait(transfer: Transfer, task: str) -> TaskReport:
    pause, longest = _PAUSE_S
    answered, told = time.monotonic(), ""
    while True:
        try:
            report = _report(transfer, task)
            answered = time.monotonic()
            if report.status in (TaskStatus.SUCCEEDED, TaskStatus.FAILED):
                return report
            detail = report.detail
        except ServiceError as error:
            if time.monotonic() - answered > _SILENCE_S:
                raise
            detail = str(error)
        if detail and detail != told:
            log.warning("%s: task %s: %s", transfer.collection, task, detail)
            told = detail
        time.sleep(pause)
        pause = min(2 * pause, longest)


def _report(transfer: Transfer, task: str) -> TaskReport:
    """The task now; one that is forgotten has failed."""
    detail = f"task {task} is not known any more; start again"
    return transfer.status(task) or TaskReport(task_id=task, status=TaskStatus.FAILED, detail=detail)
