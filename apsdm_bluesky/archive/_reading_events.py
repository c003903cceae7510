"""What may be observed of a reading; beside these `Waiting`, `Blocked` and `Resumed`, as of a bundle."""

from dataclasses import dataclass

from ._events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPrepared(Event):
    """A submission id was taken, for the whole bundle or for its manifest alone."""

    submission_id: str
    manifest_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchAccepted(Event):
    """The mover has the task."""

    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFailed(Event):
    """The task ended without success; another one may succeed."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRefused(Event):
    """The task ended without success, and so will every other until a person has acted."""

    reason: str
    needs_person: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLost(Event):
    """What was fetched is not here any more as it came: it is fetched again."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFetched(Event):
    """The manifest is here, and is that of the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched(Event):
    """Digests of what came, and those that the bundle's record has."""

    found_sha256: str
    found_manifest_sha256: str
    known_sha256: str | None
    known_manifest_sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published(Event):
    """Every file stands in its place: how many were written, how many stood there already, bytes of both."""

    written: int
    adopted: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked(Event):
    """So many members of the bundle have the sha256 of the manifest."""

    compared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentDiffers(Event):
    """What stands at the destination is not what the record or the manifest says."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(Event):
    """Nobody wants it any more, or it has no purpose."""

    reason: str
