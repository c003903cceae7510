"""The states of a reading, as a machine without I/O: event in, new reading and next instruction out."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._events import Blocked, Event, Resumed, Waiting
from ._machine import TransitionError
from ._reading import Purpose, Reading, ReadingInstruction, ReadingState
from ._reading_events import (
    Cancelled,
    Checked,
    ContentDiffers,
    FetchAccepted,
    Fetched,
    FetchFailed,
    FetchLost,
    FetchPrepared,
    FetchRefused,
    ManifestFetched,
    Published,
)

_FETCH = ("submission_id", "task_id", "manifest_only")


@dataclass(frozen=True, slots=True)
class Step:
    """Where an event leads.

    Parameters
    ----------
    to
        The new state; None: the state that a parked reading goes on from.
    needs, lacks
        A field that must be known, or not yet known, for the event to be possible.
    clears
        Fields that are no longer true.
    manifest_only
        What the present task must fetch for the event to be possible; None: either.
    resume_at
        The state to go on from where it leads to PARKED; None: the present one.
    """

    to: ReadingState | None
    needs: str | None = None
    lacks: str | None = None
    clears: tuple[str, ...] = ()
    manifest_only: bool | None = None
    resume_at: ReadingState | None = None


_S = ReadingState
_WORKING = (_S.WAITING, _S.STAGING, _S.FETCHED)

TABLE: Mapping[tuple[ReadingState, type[Event]], Step] = {
    (_S.WAITING, FetchPrepared): Step(_S.WAITING, lacks="submission_id"),
    (_S.WAITING, ContentDiffers): Step(_S.FAILED),
    (_S.WAITING, FetchAccepted): Step(_S.STAGING, needs="submission_id"),
    (_S.STAGING, FetchFailed): Step(_S.WAITING, clears=_FETCH),
    (_S.STAGING, FetchLost): Step(_S.WAITING, clears=_FETCH),
    (_S.STAGING, FetchRefused): Step(_S.PARKED, clears=_FETCH, resume_at=_S.WAITING),
    (_S.STAGING, ManifestFetched): Step(_S.WAITING, clears=_FETCH, manifest_only=True),
    (_S.STAGING, Fetched): Step(_S.FETCHED, manifest_only=False),
    (_S.STAGING, ContentDiffers): Step(_S.FAILED),
    (_S.FETCHED, FetchLost): Step(_S.WAITING, clears=_FETCH),
    (_S.FETCHED, Published): Step(_S.RESTORED),
    (_S.FETCHED, Checked): Step(_S.CHECKED),
    (_S.FETCHED, ContentDiffers): Step(_S.FAILED),
    **{(state, Waiting): Step(state) for state in _WORKING},
    **{(state, Blocked): Step(_S.PARKED) for state in _WORKING},
    **{(state, Cancelled): Step(_S.CANCELLED) for state in (*_WORKING, _S.PARKED)},
    (_S.PARKED, Resumed): Step(None),
}


def apply_reading(reading: Reading, event: Event) -> Reading:
    """The reading after `event`.

    Raises
    ------
    TransitionError
        The event cannot happen in the reading's state.
    """
    step = TABLE.get((reading.state, type(event)))
    if step is None or not _possible(step, reading, event):
        raise TransitionError(
            f"reading {reading.uid}: {type(event).__name__} cannot happen in {reading.state} now"
        )
    known = {entry.name: entry.default for entry in dataclasses.fields(Reading)}
    fields: dict[str, Any] = {"reason": "", "needs_person": False}
    fields |= {name: known[name] for name in step.clears}
    fields |= {name: getattr(event, name) for name in known.keys() & _names(event)}
    changed = dataclasses.replace(reading, **fields)
    if isinstance(event, Fetched) and (wrong := _wrong(changed, event)):
        return dataclasses.replace(changed, state=_S.FAILED, reason=wrong)
    resume_at = (step.resume_at or reading.state) if step.to is _S.PARKED else None
    return dataclasses.replace(changed, state=step.to or _resumed(reading), resume_at=resume_at)


def next_reading_instruction(reading: Reading) -> ReadingInstruction:
    """What is to be done with the reading now, derived from it alone: a crash loses no instruction."""
    match reading.state:
        case ReadingState.WAITING:
            prepared = reading.submission_id is not None
            return ReadingInstruction.FETCH if prepared else ReadingInstruction.PREPARE
        case ReadingState.STAGING:
            return ReadingInstruction.POLL
        case ReadingState.FETCHED:
            restores = reading.purpose is Purpose.RESTORE
            return ReadingInstruction.PUBLISH if restores else ReadingInstruction.CHECK
        case ReadingState.PARKED:
            return ReadingInstruction.WAIT if reading.needs_person else ReadingInstruction.RESUME
        case _:
            return ReadingInstruction.REST


def _possible(step: Step, reading: Reading, event: Event) -> bool:
    if step.needs is not None and getattr(reading, step.needs) is None:
        return False
    if step.lacks is not None and getattr(reading, step.lacks) is not None:
        return False
    if step.manifest_only not in (None, reading.manifest_only):
        return False
    restores = reading.purpose is Purpose.RESTORE
    return restores if isinstance(event, Published) else not (restores and isinstance(event, Checked))


def _wrong(reading: Reading, event: Fetched) -> str:
    """What is wrong with the evidence; '' where nothing is."""
    if event.found_sha256 != event.known_sha256:
        return f"bundle {reading.bundle} came with sha256 {event.found_sha256}, not {event.known_sha256}"
    if event.found_manifest_sha256 != event.known_manifest_sha256:
        return f"the manifest of bundle {reading.bundle} came with another content"
    return ""


def _names(event: Event) -> set[str]:
    return {entry.name for entry in dataclasses.fields(event)}


def _resumed(reading: Reading) -> ReadingState:
    if reading.resume_at is None:
        raise TransitionError(f"reading {reading.uid}: is parked without a state to go on from")
    return reading.resume_at
