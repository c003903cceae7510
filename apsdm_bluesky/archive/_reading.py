"""A bundle that is read back for somebody: its states, and what is recorded of it."""

from dataclasses import dataclass
from enum import StrEnum


class Purpose(StrEnum):
    """What a bundle is read back for."""

    RESTORE = "restore"
    """Its files are wanted."""
    VERIFY = "verify"
    """Somebody wants to know whether all of it is right still."""
    DRILL = "drill"
    """A sample of the archive is tried."""


class ReadingState(StrEnum):
    """How far a reading is."""

    WAITING = "WAITING"
    """Nothing is asked of the destination yet."""
    STAGING = "STAGING"
    """The mover has the task; from tape it may wait for hours."""
    FETCHED = "FETCHED"
    """The whole bundle is here, with the sha256 of its record."""
    RESTORED = "RESTORED"
    """Every file that was asked for stands in its place, with the sha256 of the manifest."""
    CHECKED = "CHECKED"
    """Of a drill and a verification: the content is what the record and the manifest say."""
    FAILED = "FAILED"
    """The content at the destination is not what the record or the manifest says."""
    CANCELLED = "CANCELLED"
    """Given up; `Reading.reason` says why. It tells nothing of the content."""
    PARKED = "PARKED"
    """Stopped; `Reading.reason` says why and what to do. It goes on by itself unless `needs_person`."""


ENDED = (ReadingState.RESTORED, ReadingState.CHECKED, ReadingState.FAILED, ReadingState.CANCELLED)
"""The states that nothing leads out of."""


class ReadingInstruction(StrEnum):
    """What the driver is to do next. Each may be done again after a crash."""

    PREPARE = "prepare"
    FETCH = "fetch"
    POLL = "poll"
    PUBLISH = "publish"
    CHECK = "check"
    RESUME = "resume"
    WAIT = "wait"
    """Until a person has acted."""
    REST = "rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One bundle that is read back. Times in seconds since the Unix epoch.

    Parameters
    ----------
    job
        Readings that were asked for together share it.
    run
        Whose files are wanted; None for a drill.
    members
        The names in bundles that are wanted, of files or of folders of them; None: all of the run.
    target
        The folder that gets the files; None: the places they were recorded at.
    resume_at
        The state that a parked reading goes on from.
    manifest_only
        The present task fetches the manifest alone, to see whether the bundle is needed.
    submission_id, task_id
        Of the present task; the id is stored before it is used.
    """

    uid: str
    job: str
    purpose: Purpose
    bundle: str
    run: str | None = None
    members: tuple[str, ...] | None = None
    target: str | None = None
    state: ReadingState = ReadingState.WAITING
    reason: str = ""
    needs_person: bool = False
    resume_at: ReadingState | None = None
    manifest_only: bool = False
    submission_id: str | None = None
    task_id: str | None = None
    created: float = 0.0
    updated: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether nothing is done any more."""
        return self.state in ENDED

    @property
    def brings_run_back(self) -> bool:
        """Whether it is of a job that puts all files of a run back in their places."""
        return self.purpose is Purpose.RESTORE and self.target is None and self.members is None
