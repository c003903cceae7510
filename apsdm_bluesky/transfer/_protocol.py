"""The boundary to whatever moves files: the messages, and what an implementation promises."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class Direction(StrEnum):
    """Which way the files of a request go."""

    SEND = "send"
    """From local paths to the destination."""
    FETCH = "fetch"
    """From the destination back to local paths."""


class TaskStatus(StrEnum):
    """The state of a task, in Globus' words."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    """Stopped by something that may pass (a pause, an expired credential): wait, do not submit again."""
    SUCCEEDED = "SUCCEEDED"
    """The mover says that it is done. That is a claim, not a proof: look at the destination."""
    FAILED = "FAILED"


class Residency(StrEnum):
    """Where the bytes of a file at the destination lie, as far as the destination tells."""

    ON_DISK = "on_disk"
    ON_TAPE = "on_tape"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferItem:
    """One file to move.

    Parameters
    ----------
    local
        Absolute path on this machine.
    remote
        POSIX path relative to the destination's root.
    md5
        Hexadecimal MD5 of the content, where it is known: other content is not delivered.
    """

    local: Path
    remote: str
    md5: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRequest:
    """What is asked for, under a submission id that was stored before it was used."""

    submission_id: str
    direction: Direction
    items: tuple[TransferItem, ...]
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReport:
    """What is known of a task.

    Parameters
    ----------
    detail
        Why it waits or failed, and what to do; empty where there is nothing to tell.
    needs_person
        A person must act before the task, or another one for the same files, can succeed.
    bytes_done
        Bytes delivered so far; for progress only.
    content_differs
        Of a task that FAILED: what arrives is not what the sending end's checksum tells, try after try.
    md5_checked
        The destination computed the MD5 of each file that one was announced for, and found it.
    """

    task_id: str
    status: TaskStatus
    detail: str = ""
    needs_person: bool = False
    bytes_done: int = 0
    content_differs: bool = False
    md5_checked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file at the destination: size in bytes; MD5 (hexadecimal) where the destination tells one."""

    path: str
    size: int
    md5: str | None = None


class Transfer(Protocol):
    """Moves files between this machine and one destination. Nothing here waits for a copy to end.

    A submission is safe against a crash at any instant: take an id, store it durably, then submit. To submit
    the same request under the same id again gives the same task, whether or not the first answer was seen.

    Existing files are never overwritten: identical content is adopted, other content makes the task FAILED
    with `needs_person`.

    Every method raises `ServiceError` where the mover does not answer or refuses for now, `StorageError` if
    it cannot keep its records, and `FormatError` for a path or a request that it refuses for good. Any other
    `ApsdmError` is an instruction for a person, who must log in, consent or give permission first.
    """

    @property
    def collection(self) -> str:
        """The destination's name, as records and manifests give it."""
        ...

    def new_submission_id(self) -> str:
        """An id for one request."""
        ...

    def submit(self, request: TransferRequest) -> str:
        """Start the request, or find it again, under its submission id; returns the task's id."""
        ...

    def status(self, task_id: str) -> TaskReport | None:
        """The task now; None where the destination does not know it (any more)."""
        ...

    def cancel(self, task_id: str) -> None:
        """Ask the task to end; it ends FAILED unless it had ended already."""
        ...

    def stat(self, path: str) -> RemoteFile | None:
        """The file at `path`; None where there is none."""
        ...

    def list_files(self, prefix: str = "") -> Iterator[RemoteFile]:
        """The plain files in the folder `prefix` and in those below it; '' is the destination's root.

        Hidden files and folders are left out, links are not followed. There is nothing where there is no such
        folder. Errors come while it is iterated; what is changed meanwhile may be missing.
        """
        ...

    def residency(self, path: str) -> Residency:
        """Where the file's bytes lie. Never guessed: UNKNOWN unless the destination tells."""
        ...

    def close(self) -> None:
        """Stop working in this process. Tasks that have not ended go on when they are asked for again."""
        ...
