"""Whether Globus works as configured, looked at step by step. For `apsdm doctor --globus`."""

import logging
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from apsdm_bluesky.config import GlobusConfig
from apsdm_bluesky.durable import make_folder
from apsdm_bluesky.errors import ApsdmError

from ._globus import Globus
from ._globus_ends import Ends
from ._globus_service import GlobusService
from ._protocol import Direction, TaskReport, TaskStatus, TransferItem, TransferRequest

log = logging.getLogger(__name__)

_FOLDER = "apsdm-doctor"
_POLL_S = (0.05, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at. `advice` is there where `ok` is false."""

    subject: str
    ok: bool
    found: str
    advice: str = ""


def check_globus(config: GlobusConfig, folder: Path, *, timeout_s: float = 300.0) -> Iterator[Check]:
    """Login, collections, and a small file there and back. Ends with the first that fails.

    Parameters
    ----------
    folder
        The one that the agent's `Globus` has: tokens are shared.
    timeout_s
        For each way of the file; the transfer goes on when it is over.
    """
    subject = "globus login"
    service = GlobusService(config, folder)
    ends = Ends(config, service)
    try:
        service.new_submission_id()
        who = f"application {config.client_id}" if config.login == "service" else "the user who logged in"
        yield Check(subject=subject, ok=True, found=f"Globus answers to {who}")
        for subject, collection in (
            ("globus local", config.local_collection),
            ("globus remote", config.collection),
        ):
            name = service.collection(collection).get("display_name")
            yield Check(subject=subject, ok=True, found=f"{name or collection} is known")
        subject = "globus paths"
        path = ends.local(folder)
        yield Check(subject=subject, ok=True, found=f"the state folder is {path} on the local collection")
        subject = "globus trip"
        took_s = _round_trip(config, folder, service, ends, timeout_s)
        yield Check(subject=subject, ok=True, found=f"a small file went there and back in {took_s:.1f} s")
    except (ApsdmError, OSError) as error:
        yield Check(subject=subject, ok=False, found=str(error), advice=_advice(subject))
    finally:
        service.close()


def _advice(subject: str) -> str:
    if subject == "globus paths":
        return "bundles are sent from the state folder: put it under archive.globus.local_root"
    return "see docs/how-to/archive-with-globus.md; what waits for Globus goes on when this is mended"


def _round_trip(
    config: GlobusConfig, folder: Path, service: GlobusService, ends: Ends, timeout_s: float
) -> float:
    """Seconds that a small file took there and back; its copy is removed if that is allowed."""
    begin = time.monotonic()
    make_folder(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix="doctor-") as place:
        mover = Globus(config, folder=folder, records=Path(place) / "tasks")
        source, back = Path(place) / "sent.txt", Path(place) / "back.txt"
        source.write_text(f"apsdm doctor {uuid.uuid4()}\n")
        remote = f"{_FOLDER}/{uuid.uuid4()}.txt"
        try:
            _move(mover, Direction.SEND, TransferItem(local=source, remote=remote), timeout_s)
            found = mover.stat(remote)
            if found is None or found.size != source.stat().st_size:
                raise ApsdmError(f"{remote}: was sent, but the destination tells {found}")
            _move(mover, Direction.FETCH, TransferItem(local=back, remote=remote), timeout_s)
            if back.read_bytes() != source.read_bytes():
                raise ApsdmError(f"{remote}: came back with other content")
            _remove(service, config, ends.remote(remote))
        finally:
            mover.close()
    return time.monotonic() - begin


def _remove(service: GlobusService, config: GlobusConfig, path: str) -> None:
    """Remove the file; an archive that lets nobody remove anything keeps it, and that is no fault."""
    try:
        service.remove(service.new_submission_id(), config.collection, [path])
    except ApsdmError as error:
        log.info("%s stays: %s", path, error)


def _move(mover: Globus, direction: Direction, item: TransferItem, timeout_s: float) -> None:
    request = TransferRequest(
        submission_id=mover.new_submission_id(), direction=direction, items=(item,), label="apsdm doctor"
    )
    report = _end_of(mover, mover.submit(request), timeout_s)
    if report.status is not TaskStatus.SUCCEEDED:
        raise ApsdmError(report.detail or f"task {report.task_id} is {report.status}")


def _end_of(mover: Globus, task_id: str, timeout_s: float) -> TaskReport:
    deadline, pause = time.monotonic() + timeout_s, _POLL_S[0]
    while time.monotonic() < deadline:
        report = mover.status(task_id)
        if report is None:
            raise ApsdmError(f"task {task_id}: Globus does not know it any more")
        if report.status in (TaskStatus.SUCCEEDED, TaskStatus.FAILED) or report.needs_person:
            return report
        time.sleep(pause)
        pause = min(2 * pause, _POLL_S[1])
    raise ApsdmError(f"task {task_id}: has not ended after {timeout_s:g} s; look at it at app.globus.org")
