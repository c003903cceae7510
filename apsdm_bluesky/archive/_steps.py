"""What each instruction does, and what it observes. Every one may be done again after a crash."""

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from apsdm_bluesky.errors import ApsdmError
from apsdm_bluesky.spool import RunFile
from apsdm_bluesky.transfer import (
    Direction,
    RemoteFile,
    Residency,
    TaskReport,
    TaskStatus,
    Transfer,
    TransferItem,
    TransferRequest,
)

from ._bundle import Contents, make_bundle, manifest_path
from ._events import (
    Arrived,
    Bundled,
    BundleLost,
    DestinationMissing,
    Event,
    Md5Told,
    MigratedToTape,
    ReadAccepted,
    ReadBack,
    ReadFailed,
    ReadPrepared,
    ReadRefused,
    SendAccepted,
    SendFailed,
    SendPrepared,
    SendRefused,
    Waiting,
)
from ._progress import Stage, progress_of
from ._record import Evidence, Instruction, Record, State
from ._requests import Requests
from ._work import counted, sha256_of, waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivePlaces:
    """Where the archive works.

    Parameters
    ----------
    folder
        Bundles under construction, and what was read back.
    roots
        The only folders raw files are taken from.
    prefix
        First part of every path at the destination.
    target
        Bytes that a bundle is to have.
    """

    folder: Path
    roots: Sequence[Path]
    prefix: str
    target: int

    @property
    def bundles(self) -> Path:
        """Bundles under construction, and the manifests of all."""
        return self.folder / "bundles"

    def contents(self, record: Record) -> Contents:
        """Which files of its runs a bundle takes."""
        return Contents(roots=self.roots, target=self.target, part=record.part, parts=record.parts)


class Steps:
    """The instructions as methods that return the event observed, or None where there is nothing new.

    Parameters
    ----------
    transfers
        By the name of their collection.
    should_stop
        Asked during long work; when it is true, the work is given up and done again later.
    verify
        What VERIFIED is to rest on. Where the destination tells no MD5, the bundle is read back all the same.
    """

    def __init__(
        self,
        places: ArchivePlaces,
        *,
        requests: Requests,
        transfers: Mapping[str, Transfer],
        should_stop: Callable[[], bool],
        verify: Evidence = Evidence.RESTORED_SHA256,
    ) -> None:
        self._places = places
        self._requests = requests
        self._transfers = transfers
        self._should_stop = should_stop
        self._bundles = places.bundles
        self._verify = verify
        self._progress = progress_of(places.folder)
        self._readback = places.folder / "readback"
        self._of: Mapping[Instruction, Callable[[Record], Event | None]] = {
            Instruction.BUNDLE: self._bundle,
            Instruction.PREPARE_SEND: self._prepare_send,
            Instruction.SEND: self._send,
            Instruction.POLL_SEND: self._poll_send,
            Instruction.PREPARE_READ: self._prepare_read,
            Instruction.READ: self._read,
            Instruction.POLL_READ: self._poll_read,
        }

    def take(self, instruction: Instruction, record: Record) -> Event | None:
        """Do the instruction and return what was observed.

        Raises
        ------
        StoppedError
            The process is to end.
        ApsdmError, OSError
            What hindered it.
        """
        step = self._of.get(instruction)
        return None if step is None else step(record)

    def tidy(self) -> None:
        """Forget what a killed agent told of its progress."""
        self._progress.clear()

    def left(self) -> set[str]:
        """The uids of the bundles of which there is a tar, or something read back, on this side."""
        tars = {path.stem for path in self._bundles.glob("*.tar")}
        return tars | {path.name for path in self._readback.glob("*")}

    def remove_local(self, record: Record) -> None:
        """Remove the tar, a copy of what the raw folder has and the destination proved to have."""
        self._progress.forget(record.uid)
        self._remove_readback(record)
        self._local(record)[0].unlink(missing_ok=True)

    def _bundle(self, record: Record) -> Event | None:
        runs = [self._requests.run(uid) for uid in record.runs]
        with self._progress.of(record.uid, "bundling") as advance:
            bundle = make_bundle(
                runs,
                folder=self._bundles,
                destination=_destination(self._places.prefix, record, runs[0]),
                collection=record.collection,
                contents=self._places.contents(record),
                progress=counted(self._should_stop, advance),
            )
        return Bundled(
            destination=bundle.manifest.path,
            size=bundle.manifest.size,
            sha256=bundle.manifest.sha256,
            md5=bundle.manifest.md5,
            manifest_size=bundle.manifest_size,
            manifest_sha256=bundle.manifest_sha256,
        )

    def _prepare_send(self, record: Record) -> Event:
        for path, size in zip(self._local(record), (record.size, record.manifest_size), strict=True):
            if not path.is_file() or path.stat().st_size != size:
                return BundleLost(reason=f"{path}: is not there as it was made; it is made again")
        return SendPrepared(submission_id=self._transfer(record).new_submission_id())

    def _send(self, record: Record) -> Event:
        task_id = self._submit(record, Direction.SEND, str(record.submission_id), self._local(record))
        return SendAccepted(task_id=task_id)

    def _poll_send(self, record: Record) -> Event | None:
        report = self._transfer(record).status(str(record.task_id))
        if report is None or report.status is TaskStatus.SUCCEEDED:
            return self._look(record)
        if report.status is TaskStatus.FAILED:
            kind = SendRefused if report.needs_person else SendFailed
            return kind(reason=report.detail)
        return self._moving(record, report, "sending")

    def _look(self, record: Record) -> Event:
        """What a task brought to the destination, whatever the task says."""
        found = self._stat(record)
        if isinstance(found, DestinationMissing):
            return found
        tar, manifest = found
        residency = self._transfer(record).residency(tar.path)
        return Arrived(
            found_size=tar.size,
            found_md5=tar.md5,
            found_manifest_size=manifest.size,
            residency=residency.value,
        )

    def _prepare_read(self, record: Record) -> Event:
        found = self._stat(record)
        if isinstance(found, DestinationMissing):
            return found
        transfer = self._transfer(record)
        if record.state is State.COPIED and transfer.residency(found[0].path) is Residency.ON_TAPE:
            return MigratedToTape()
        if self._verify is Evidence.DESTINATION_MD5 and (md5 := self._destination_md5(record, found[0])):
            return Md5Told(found_md5=md5)
        self._remove_readback(record)
        return ReadPrepared(read_submission_id=transfer.new_submission_id())

    def _destination_md5(self, record: Record, tar: RemoteFile) -> str | None:
        """The tar's MD5 as the destination computed it; None where it tells none."""
        report = self._transfer(record).status(str(record.task_id))
        return record.md5 if report is not None and report.md5_checked else tar.md5

    def _read(self, record: Record) -> Event:
        task_id = self._submit(record, Direction.FETCH, str(record.read_submission_id), self._back(record))
        return ReadAccepted(read_task_id=task_id)

    def _poll_read(self, record: Record) -> Event | None:
        report = self._transfer(record).status(str(record.read_task_id))
        if report is None:
            return ReadFailed(reason=f"task {record.read_task_id} is not known any more; read again")
        if report.status is TaskStatus.FAILED:
            kind = ReadRefused if report.needs_person else ReadFailed
            return kind(reason=report.detail)
        if report.status is not TaskStatus.SUCCEEDED:
            return self._moving(record, report, "reading back")
        tar, manifest = self._back(record)
        if not (tar.is_file() and manifest.is_file()):
            return ReadFailed(reason=f"{tar}: was read back, but is gone; read again")
        with self._progress.of(record.uid, "hashing", record.size) as advance:
            digests = [self._sha256(path, advance) for path in (tar, manifest)]
        return ReadBack(found_sha256=digests[0], found_manifest_sha256=digests[1])

    def _transfer(self, record: Record) -> Transfer:
        transfer = self._transfers.get(record.collection)
        if transfer is None:
            known = ", ".join(self._transfers)
            raise ApsdmError(f"no collection {record.collection!r} is configured (only {known}); add it")
        return transfer

    def _submit(
        self, record: Record, direction: Direction, submission_id: str, places: tuple[Path, Path]
    ) -> str:
        md5 = (record.md5, None)
        items = tuple(
            TransferItem(local=local, remote=remote, md5=digest)
            for local, remote, digest in zip(places, _remote(record), md5, strict=True)
        )
        request = TransferRequest(
            submission_id=submission_id, direction=direction, items=items, label=f"bundle {record.uid}"
        )
        return self._transfer(record).submit(request)

    def _stat(self, record: Record) -> tuple[RemoteFile, RemoteFile] | DestinationMissing:
        """The tar and the manifest at the destination."""
        tar, manifest = (self._transfer(record).stat(path) for path in _remote(record))
        if tar is None or manifest is None:
            return DestinationMissing(reason=f"{record.destination}: is not at the destination; sent again")
        return tar, manifest

    def _local(self, record: Record) -> tuple[Path, Path]:
        name = Path(str(record.destination)).name
        return self._bundles / name, self._bundles / manifest_path(name)

    def _back(self, record: Record) -> tuple[Path, Path]:
        tar, manifest = self._local(record)
        folder = self._readback / tar.stem
        return folder / tar.name, folder / manifest.name

    def _remove_readback(self, record: Record) -> None:
        folder = self._back(record)[0].parent
        if folder.exists():
            shutil.rmtree(folder)

    def _sha256(self, path: Path, advance: Callable[[int], None]) -> str:
        with path.open("rb") as file:
            return sha256_of(file, counted(self._should_stop, advance))

    def _moving(self, record: Record, report: TaskReport, doing: str) -> Event | None:
        """Tell of a task that goes on."""
        self._progress.tell(record.uid, Stage(doing=doing, done=report.bytes_done, total=record.size))
        return _told(record, report)


def _destination(prefix: str, record: Record, run: RunFile) -> str:
    """The tar's path at the destination: ``<prefix>/<year>/<month>/<uid>.tar``, when its first run began."""
    return f"{first_part(prefix)}/{datetime.fromtimestamp(run.start['time'], UTC):%Y/%m}/{record.uid}.tar"


def first_part(prefix: str) -> str:
    """The folder at the destination that all of a beamline's bundles lie in."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", prefix).strip("-") or "beamline"


def _remote(record: Record) -> tuple[str, str]:
    tar = str(record.destination)
    return tar, manifest_path(tar)


def _told(record: Record, report: TaskReport) -> Waiting | None:
    return waiting(record.reason, report.detail) if report.detail else None
