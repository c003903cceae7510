"""What may be observed of a bundle."""

from dataclasses import dataclass, field

from ._record import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something observed. Fields that a `Record` has are kept there; the others only serve to check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundled(Event):
    """The bundle and its manifest are on the local disk."""

    destination: str
    size: int
    sha256: str
    md5: str
    manifest_size: int
    manifest_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Event):
    """The ledger was lost: a manifest tells of the bundle, and the destination has both in these sizes."""

    destination: str
    size: int
    sha256: str
    md5: str
    manifest_size: int
    manifest_sha256: str
    found_size: int
    found_md5: str | None
    found_manifest_size: int
    residency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundHarmed(Event):
    """The ledger was lost: a manifest tells of the bundle, but the destination does not have it so."""

    destination: str
    size: int
    sha256: str
    md5: str
    manifest_size: int
    manifest_sha256: str
    reason: str
    needs_person: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundMissing(Event):
    """The ledger was lost: other parts tell that there is this one, but no manifest of it was found."""

    reason: str
    needs_person: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleLost(Event):
    """The local bundle is not there as it was made: it is made again."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDiffers(Event):
    """The files are not what the documents say."""

    reason: str
    needs_person: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPrepared(Event):
    """A submission id for sending was taken."""

    submission_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendAccepted(Event):
    """The mover has the task."""

    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendFailed(Event):
    """The task ended without success; another one may succeed."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRefused(Event):
    """The task ended without success, and so will every other until a person has acted."""

    reason: str
    needs_person: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived(Event):
    """What stands at the destination after the task."""

    found_size: int
    found_md5: str | None
    found_manifest_size: int
    residency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationMissing(Event):
    """The bundle or its manifest is not at the destination (any more): it is sent again."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MigratedToTape(Event):
    """The destination says that the bytes are on tape."""

    residency: str = field(default="on_tape", init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPrepared(Event):
    """A submission id for reading back was taken."""

    read_submission_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAccepted(Event):
    """The mover has the task that reads back."""

    read_task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFailed(Event):
    """The reading back ended without success; another one may succeed."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRefused(Event):
    """The reading back ended without success, and so will every other until a person has acted."""

    reason: str
    needs_person: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack(Event):
    """The digests of what was read back from the destination."""

    found_sha256: str
    found_manifest_sha256: str
    evidence: Evidence = field(default=Evidence.RESTORED_SHA256, init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Md5Told(Event):
    """The bundle's MD5 as the destination tells it."""

    found_md5: str
    evidence: Evidence = field(default=Evidence.DESTINATION_MD5, init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAgain(Event):
    """The digest of a verified bundle that was read back once more: for a drill, or on request.

    Parameters
    ----------
    found_manifest_sha256
        Of the manifest beside it; None where that was not read.
    """

    found_sha256: str
    found_manifest_sha256: str | None = None
    evidence: Evidence = field(default=Evidence.RESTORED_SHA256, init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundWrong(Event):
    """A verified bundle is not what it was: gone, of another size, or not what its manifest says."""

    reason: str
    needs_person: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(Event):
    """Nothing can be done now; it may pass."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked(Event):
    """An instruction failed: a full disk (which may pass), or something that needs a person."""

    reason: str
    needs_person: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Event):
    """Try again: space came back, or a person acted."""
