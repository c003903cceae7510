"""What each instruction for a reading does, and what it observes. Each may be done again after a crash."""

from collections.abc import Callable, Mapping
from pathlib import Path

from apsdm_bluesky.durable import make_folder
from apsdm_bluesky.errors import ApsdmError, StorageError
from apsdm_bluesky.transfer import (
    Direction,
    TaskReport,
    TaskStatus,
    Transfer,
    TransferItem,
    TransferRequest,
)

from ._bundle import manifest_path
from ._events import Event, FoundWrong, ReadAgain
from ._ledger import Ledger
from ._local_copy import LocalCopy
from ._manifests import Manifests
from ._progress import Stage, progress_of
from ._reading import Purpose, Reading, ReadingInstruction, ReadingState
from ._reading_content import ReadingContent, WrongContentError
from ._reading_events import (
    Cancelled,
    ContentDiffers,
    FetchAccepted,
    Fetched,
    FetchFailed,
    FetchLost,
    FetchPrepared,
    FetchRefused,
    ManifestFetched,
)
from ._record import Record, State
from ._scratch import Scratch
from ._selection import named_members
from ._steps import ArchivePlaces
from ._work import counted, sha256_of, waiting


class ReadingSteps:
    """The instructions as methods that return the event observed, or None where there is nothing new.

    Parameters
    ----------
    transfers
        By the name of their collection.
    should_stop
        Asked during long work; when it is true, the work is given up and done again later.
    """

    def __init__(
        self,
        places: ArchivePlaces,
        *,
        ledger: Ledger,
        transfers: Mapping[str, Transfer],
        should_stop: Callable[[], bool],
        actor: str,
    ) -> None:
        self._ledger = ledger
        self._transfers = transfers
        self._should_stop = should_stop
        self._actor = actor
        self.scratch = Scratch(places.folder)
        self._progress = progress_of(places.folder)
        self._manifests = Manifests(places.folder)
        self._content = ReadingContent(self.scratch, places.roots)
        self._of: Mapping[ReadingInstruction, Callable[[Reading, Record], Event | None]] = {
            ReadingInstruction.PREPARE: self._prepare,
            ReadingInstruction.FETCH: self._fetch,
            ReadingInstruction.POLL: self._poll,
            ReadingInstruction.PUBLISH: self._publish,
            ReadingInstruction.CHECK: self._check,
        }

    def take(self, instruction: ReadingInstruction, reading: Reading) -> Event | None:
        """Do the instruction and return what was observed.

        Raises
        ------
        StoppedError
            The process is to end.
        ApsdmError, OSError
            What hindered it.
        """
        step = self._of.get(instruction)
        return None if step is None else step(reading, self._record(reading))

    def tidy(self, reading: Reading) -> None:
        """Remove what is not needed any more of a reading that has ended."""
        self._progress.forget(reading.uid)
        record = self._record(reading)
        if reading.state is ReadingState.CANCELLED and reading.task_id is not None:
            self._transfer(record).cancel(reading.task_id)
        self._content.leave(reading, record)
        if not all(one.ended for one in self._ledger.readings.job(reading.job)):
            return
        if reading.brings_run_back and self._is_back(str(reading.run)):
            self._content.unmark(reading, record)
        self.scratch.remove(reading.uid)

    def _is_back(self, run: str) -> bool:
        entry = self._ledger.runs.get(run)
        return entry is not None and entry.local is LocalCopy.HELD

    def _prepare(self, reading: Reading, record: Record) -> Event | None:
        if record.state is not State.VERIFIED:
            return _not_now(reading, record)
        if (wrong := self._looks_wrong(record)) is not None:
            return self._blame(record, wrong)
        manifest = None if reading.members is None else self._manifests.read(record)
        if manifest is not None and not named_members(manifest, reading.members or ()):
            return Cancelled(reason=f"bundle {record.uid} holds none of the members asked for")
        manifest_only = reading.members is not None and manifest is None
        self.scratch.remove(reading.uid)
        self._check_room(record, manifest_only)
        submission_id = self._transfer(record).new_submission_id()
        return FetchPrepared(submission_id=submission_id, manifest_only=manifest_only)

    def _fetch(self, reading: Reading, record: Record) -> Event:
        local = self.scratch.files(reading, record)
        make_folder(self.scratch.folder(reading))  # it is tidied up as long as it is there
        items = [
            TransferItem(local=local[0], remote=str(record.destination)),
            TransferItem(local=local[1], remote=manifest_path(str(record.destination))),
        ]
        request = TransferRequest(
            submission_id=str(reading.submission_id),
            direction=Direction.FETCH,
            items=tuple(items[1:] if reading.manifest_only else items),
            label=f"bundle {record.uid} for a {reading.purpose}",
        )
        return FetchAccepted(task_id=self._transfer(record).submit(request))

    def _poll(self, reading: Reading, record: Record) -> Event | None:
        report = self._transfer(record).status(str(reading.task_id))
        if report is None:
            return FetchFailed(reason=f"task {reading.task_id} is not known any more; fetched again")
        if report.status is TaskStatus.FAILED and report.content_differs:
            return self._blame(record, report.detail)
        if report.status is TaskStatus.FAILED:
            kind = FetchRefused if report.needs_person else FetchFailed
            return kind(reason=report.detail)
        if report.status is not TaskStatus.SUCCEEDED:
            self._progress.tell(
                reading.uid, Stage(doing="fetching", done=report.bytes_done, total=record.size)
            )
            return _told(reading, report)
        wanted = self.scratch.files(reading, record)[1 if reading.manifest_only else 0 :]
        lost = next((path for path in wanted if not path.is_file()), None)
        if lost is not None:
            return FetchLost(reason=f"{lost}: was fetched, but is gone; fetched again")
        return self._manifest_came(reading, record) if reading.manifest_only else self._came(reading, record)

    def _manifest_came(self, reading: Reading, record: Record) -> Event:
        path = self.scratch.files(reading, record)[1]
        if self._sha256(path, self._pause) != record.manifest_sha256:
            return self._blame(record, f"the manifest of {record.destination} came with another content")
        self._manifests.keep(record, path.read_bytes())
        return ManifestFetched()

    def _came(self, reading: Reading, record: Record) -> Event:
        """The digests of what came. The bundle's record learns them first, the reading follows it."""
        with self._progress.of(reading.uid, "hashing", record.size) as advance:
            progress = counted(self._should_stop, advance)
            tar, manifest = (self._sha256(path, progress) for path in self.scratch.files(reading, record))
        if self._record(reading).state is State.VERIFIED:
            again = ReadAgain(found_sha256=tar, found_manifest_sha256=manifest)
            self._ledger.apply(record.uid, again, actor=self._actor)
        return Fetched(
            found_sha256=tar,
            found_manifest_sha256=manifest,
            known_sha256=record.sha256,
            known_manifest_sha256=record.manifest_sha256,
        )

    def _publish(self, reading: Reading, record: Record) -> Event:
        return self._use(reading, record, "writing files", self._content.publish)

    def _check(self, reading: Reading, record: Record) -> Event:
        return self._use(reading, record, "comparing members", self._content.check)

    def _use(
        self,
        reading: Reading,
        record: Record,
        doing: str,
        work: Callable[[Reading, Record, Callable[[int], None]], Event],
    ) -> Event:
        """Have something done with what came, which may have been harmed since."""
        tar, manifest = self.scratch.files(reading, record)
        if not (tar.is_file() and manifest.is_file()):
            return FetchLost(reason=f"{tar}: was fetched, but is gone; fetched again")
        try:
            with self._progress.of(reading.uid, doing) as advance:
                return work(reading, record, counted(self._should_stop, advance))
        except WrongContentError as error:
            digests = self._sha256(tar, self._pause), self._sha256(manifest, self._pause)
            if digests != (record.sha256, record.manifest_sha256):
                return FetchLost(reason=f"{tar}: is not what was fetched any more; fetched again")
            return self._blame(record, str(error))

    def _looks_wrong(self, record: Record) -> str | None:
        """What can be seen of a bundle's harm without reading it."""
        transfer, tar = self._transfer(record), str(record.destination)
        for path, size in ((tar, record.size), (manifest_path(tar), record.manifest_size)):
            found = transfer.stat(path)
            if found is None:
                return f"{path}: is not at the destination any more"
            if found.size != size:
                return f"{path}: has {found.size} bytes at the destination, not {size}"
        return None

    def _blame(self, record: Record, wrong: str) -> Event:
        """The bundle is verified no more; its record learns it first, the reading follows it."""
        if self._record_of(record.uid).state is State.VERIFIED:
            reason = f"{wrong}; look at it there, then resume: it is read again, and sent again where missing"
            self._ledger.apply(record.uid, FoundWrong(reason=reason), actor=self._actor)
        return ContentDiffers(reason=wrong)

    def _check_room(self, record: Record, manifest_only: bool) -> None:
        """A fetch must not fill the disk that a detector may be writing to."""
        needed = int((record.manifest_size or 0) + (0 if manifest_only else record.size or 0))
        free = self.scratch.free_bytes()
        if needed > free:
            raise StorageError(
                f"{self.scratch.root}: bundle {record.uid} needs {needed / 1e9:.3g} GB, {free / 1e9:.3g} GB "
                "are free; free space, it goes on by itself"
            )

    def _transfer(self, record: Record) -> Transfer:
        transfer = self._transfers.get(record.collection)
        if transfer is None:
            known = ", ".join(self._transfers)
            raise ApsdmError(f"no collection {record.collection!r} is configured (only {known}); add it")
        return transfer

    def _record(self, reading: Reading) -> Record:
        return self._record_of(reading.bundle)

    def _record_of(self, uid: str) -> Record:
        record = self._ledger.get(uid)
        if record is None:
            raise ApsdmError(f"bundle {uid}: is not in the ledger (any more); cancel this and ask again")
        return record

    def _sha256(self, path: Path, progress: Callable[[int], None]) -> str:
        with path.open("rb") as file:
            return sha256_of(file, progress)

    @property
    def _pause(self) -> Callable[[int], None]:
        """Ends work where the process is to end."""
        return counted(self._should_stop, lambda _: None)


def _not_now(reading: Reading, record: Record) -> Event | None:
    """A restore waits until its bundle is verified again; a drill and a verification have no purpose then."""
    reason = f"bundle {record.uid} is {record.state} now"
    if reading.purpose is not Purpose.RESTORE:
        return Cancelled(reason=reason)
    told = f"{reason}, it is restored when that is verified: {record.reason}".rstrip(": ")
    return waiting(reading.reason, told)


def _told(reading: Reading, report: TaskReport) -> Event | None:
    return waiting(reading.reason, report.detail) if report.detail else None
