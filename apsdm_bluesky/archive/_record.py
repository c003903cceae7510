"""A bundle in the archive: its states, and what is recorded of it."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What is known of a bundle, never better than what was observed.

    A run's state is that of the bundle of it that is worst off; RELEASED is a run's only.
    """

    QUEUED = "QUEUED"
    BUNDLED = "BUNDLED"
    SUBMITTED = "SUBMITTED"
    COPIED = "COPIED"
    """The destination has files of the right sizes (and MD5, where it tells one)."""
    ON_TAPE = "ON_TAPE"
    """The destination says that the bytes are on tape."""
    VERIFIED = "VERIFIED"
    """The destination's content was compared; `Record.evidence` says how."""
    RELEASED = "RELEASED"
    """Of a run: verified, and the local copy was removed."""
    PARKED = "PARKED"
    """Stopped; `Record.reason` says why and what to do. It goes on by itself unless `needs_person`."""
    QUARANTINED = "QUARANTINED"
    """The files are not what the documents say."""


class Evidence(StrEnum):
    """What VERIFIED rests on."""

    DESTINATION_MD5 = "destination-md5"
    """The destination told the bundle's MD5, which may be a stored attribute."""
    RESTORED_SHA256 = "restored-sha256"
    """The content was read back and hashed."""


class Instruction(StrEnum):
    """What the driver is to do next. Each may be done again after a crash."""

    BUNDLE = "bundle"
    PREPARE_SEND = "prepare-send"
    SEND = "send"
    POLL_SEND = "poll-send"
    PREPARE_READ = "prepare-read"
    READ = "read"
    POLL_READ = "poll-read"
    RESUME = "resume"
    WAIT = "wait"
    """Until a person has acted."""
    REST = "rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One bundle. Sizes in bytes, digests hexadecimal, times in seconds since the Unix epoch.

    Parameters
    ----------
    uid
        Of its first run; with ``.2of3`` behind it where a run fills several bundles.
    runs
        The uids of the runs in it, in their order.
    part, parts
        This is bundle `part` of `parts` (from 1) that hold the runs.
    destination, size, sha256, md5, manifest_size, manifest_sha256
        The bundle and the manifest beside it.
    submission_id, task_id
        The transfer to the destination; the id is kept before it is used.
    read_submission_id, read_task_id
        The transfer that reads the bundle back.
    residency
        Where the destination last said that the bytes lie: 'on_disk', 'on_tape' or 'unknown'.
    resume_at
        The state a parked record goes on from.
    verified
        When the evidence was seen.
    """

    uid: str
    collection: str
    runs: tuple[str, ...] = ()
    part: int = 1
    parts: int = 1
    state: State = State.QUEUED
    reason: str = ""
    needs_person: bool = False
    resume_at: State | None = None
    destination: str | None = None
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    manifest_size: int | None = None
    manifest_sha256: str | None = None
    submission_id: str | None = None
    task_id: str | None = None
    residency: str = "unknown"
    read_submission_id: str | None = None
    read_task_id: str | None = None
    evidence: Evidence | None = None
    verified: float | None = None
    created: float = 0.0
    updated: float = 0.0
