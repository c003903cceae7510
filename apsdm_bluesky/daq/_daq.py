"""What a DAQ and an upload are: files that are brought from a folder into an experiment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """A DAQ watches a folder until it is stopped; an upload takes what is there, and ends."""

    DAQ = "daq"
    UPLOAD = "upload"


class DaqState(StrEnum):
    """Where a DAQ or an upload stands. DONE, FAILED and ABORTED are ends."""

    RUNNING = "running"
    STOPPING = "stopping"
    """No new files are looked for; what is complete is brought to its end."""
    DONE = "done"
    FAILED = "failed"
    """It ended, and some files were not taken."""
    ABORTED = "aborted"
    """It was cancelled: what was not taken stays where it is."""


class FileState(StrEnum):
    """Where a file stands. STORED and CATALOGUED are of a file that was taken; the last three are ends."""

    WAITING = "waiting"
    """Seen, but not complete yet, or not yet copied."""
    STORED = "stored"
    """In the experiment's folder, with its hash."""
    CATALOGUED = "catalogued"
    """Handed on to the catalogue and the archive, as part of a run."""
    FAILED = "failed"
    """It cannot be taken; `reason` tells why."""
    SKIPPED = "skipped"
    """Not to be taken: a link, a device, a name that is no UTF-8; `reason` tells which."""
    VANISHED = "vanished"
    """It was seen, and was gone before it was taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaqOptions:
    """What is taken, where it goes, and what is done with it. Names as in the DM system's DAQ.

    Parameters
    ----------
    include, exclude
        Shell patterns of paths relative to the folder, or of names alone; without include: all. What is
        excluded stays out, whatever includes it.
    hidden
        Whether names that begin with a dot are taken.
    existing
        Whether files that were there when the DAQ began are taken.
    destination
        The folder under the experiment's `data`; '' for that itself.
    workflow, workflow_owner, arguments
        Started for each file (`each`), or once at the end; arguments may hold `$filePath` and the like.
    max_run_time_s
        It stops by itself then [s].
    upload_on_exit
        When it stops, everything in the folder is taken once more, also what it has not seen yet.
    skip_transfer
        Files stay where they are, which must be under the experiment's folder.
    skip_checksum, skip_catalogue, skip_archive
        What is left out.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    existing: bool = True
    destination: str = ""
    workflow: str | None = None
    workflow_owner: str | None = None
    each: bool = True
    arguments: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    max_run_time_s: float | None = None
    upload_on_exit: bool = False
    skip_transfer: bool = False
    skip_checksum: bool = False
    skip_catalogue: bool = False
    skip_archive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDaq:
    """A DAQ or an upload that is to be.

    Parameters
    ----------
    source
        The folder that is watched; of an upload also a single file. Absolute.
    root
        The experiment's folder: files go to `root/data/destination`.
    owner
        Whose it is, and whose the workflow's jobs are.
    """

    kind: Kind = Kind.DAQ
    experiment: str
    station: str
    source: Path
    root: Path
    owner: str
    options: DaqOptions = DaqOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many files stand where, and the bytes of those that were taken. Each version counts."""

    waiting: int = 0
    stored: int = 0
    catalogued: int = 0
    failed: int = 0
    skipped: int = 0
    vanished: int = 0
    bytes: int = 0

    @property
    def taken(self) -> int:
        """In the experiment's folder."""
        return self.stored + self.catalogued


@dataclass(frozen=True, slots=True, kw_only=True)
class Daq(NewDaq):
    """A DAQ or an upload. Times in seconds since the Unix epoch.

    Parameters
    ----------
    id
        32 hexadecimal digits.
    reason
        What hinders it now, or why it ended as it did.
    stop_at
        When it stops by itself.
    """

    id: str
    state: DaqState = DaqState.RUNNING
    reason: str = ""
    created: float
    ended: float | None = None
    stop_at: float | None = None
    counts: Counts = Counts()


@dataclass(frozen=True, slots=True, kw_only=True)
class DaqFile:
    """A file that a DAQ has seen.

    Parameters
    ----------
    name
        Its path in the watched folder; where that is no UTF-8, with escapes.
    size, mtime_ns
        As it was taken, or last seen.
    path
        Where it is stored, relative to the experiment's `data`; None where it is not.
    version
        1, or how often its content has changed since, and one more.
    run
        The uid of the run that it was catalogued and archived with.
    """

    name: str
    state: FileState
    size: int
    mtime_ns: int
    path: str | None = None
    version: int = 1
    sha256: str | None = None
    run: str | None = None
    reason: str = ""
    updated: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that happened to a file and that somebody may want to know: it was changed, it shrank."""

    time: float
    name: str
    text: str
