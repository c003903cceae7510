"""The local copy of a run's raw data, as a machine without I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ._events import Event
from ._machine import TransitionError
from ._record import State


class LocalCopy(StrEnum):
    """Where a run's raw data are on this side."""

    HELD = "HELD"
    """In their place, as far as the archive knows."""
    RELEASING = "RELEASING"
    """Being removed: some files may be gone."""
    RELEASED = "RELEASED"
    """Removed, against a verified manifest."""
    RESTORING = "RESTORING"
    """Being brought back from the archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseAsked(Event):
    """Somebody wants the space: `rule` says why it is allowed."""

    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRefused(Event):
    """Nothing was removed: a file is not what the manifest says, or the run is not verified any more."""

    local_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseBlocked(Event):
    """Files are in the way of the removal, which has begun; it goes on when they are not."""

    local_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRemoved(Event):
    """The files are gone: how many, and how many bytes."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreAsked(Event):
    """Somebody wants the files back in their place; `job` does it."""

    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRestored(Event):
    """The files are back, with the sha256 of the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreGivenUp(Event):
    """Not all files are back, and nobody brings them any more."""

    local_reason: str


TABLE: Mapping[tuple[LocalCopy, type[Event]], LocalCopy] = {
    (LocalCopy.HELD, ReleaseAsked): LocalCopy.RELEASING,
    (LocalCopy.RELEASING, ReleaseRefused): LocalCopy.HELD,
    (LocalCopy.RELEASING, ReleaseBlocked): LocalCopy.RELEASING,
    (LocalCopy.RELEASING, LocalRemoved): LocalCopy.RELEASED,
    (LocalCopy.RELEASED, RestoreAsked): LocalCopy.RESTORING,
    (LocalCopy.RESTORING, LocalRestored): LocalCopy.HELD,
    (LocalCopy.RESTORING, RestoreGivenUp): LocalCopy.RELEASED,
}


def apply_local(uid: str, state: LocalCopy, verified: State, event: Event) -> LocalCopy:
    """The state after `event`. Only a run that is verified now is ever released.

    Raises
    ------
    TransitionError
        The event cannot happen in this state.
    """
    after = TABLE.get((state, type(event)))
    if after is None or (isinstance(event, ReleaseAsked) and verified is not State.VERIFIED):
        raise TransitionError(
            f"run {uid}: {type(event).__name__} cannot happen while it is {verified} and {state} here"
        )
    return after
