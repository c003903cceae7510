"""The states of a bundle, as a machine without I/O: event in, new record and next instruction out.

`TABLE` is the only place that says which event leads where. A state is reached on evidence alone: what an
event reports is compared with what the record knows, and evidence that does not fit parks the record.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ._events import (
    Arrived,
    Blocked,
    Bundled,
    BundleLost,
    DestinationMissing,
    Event,
    Found,
    FoundHarmed,
    FoundMissing,
    FoundWrong,
    Md5Told,
    MigratedToTape,
    ReadAccepted,
    ReadAgain,
    ReadBack,
    ReadFailed,
    ReadPrepared,
    ReadRefused,
    Resumed,
    SendAccepted,
    SendFailed,
    SendPrepared,
    SendRefused,
    SourceDiffers,
    Waiting,
)
from ._record import Instruction, Record, State


class TransitionError(ValueError):
    """An event that cannot happen in the record's state: a defect of the driver."""


def _fits_size_and_md5(record: Any, event: Any) -> str:
    if event.found_size != record.size:
        return f"{record.destination} has {event.found_size} bytes at the destination, not {record.size}"
    if event.found_md5 not in (None, record.md5):
        return f"{record.destination} has MD5 {event.found_md5} at the destination, not {record.md5}"
    if event.found_manifest_size != record.manifest_size:
        return f"the manifest of {record.destination} has another size at the destination"
    return ""


def _fits_what_it_tells(_: Record, event: Any) -> str:
    """What was found by its manifest has no record yet: the event alone tells what it should be."""
    return _fits_size_and_md5(event, event)


def _fits_sha256(record: Record, event: Any) -> str:
    if event.found_sha256 != record.sha256:
        return f"{record.destination} was read back with sha256 {event.found_sha256}, not {record.sha256}"
    if event.found_manifest_sha256 != record.manifest_sha256:
        return f"the manifest of {record.destination} was read back with another content"
    return ""


def _fits_sha256_again(record: Record, event: Any) -> str:
    if event.found_sha256 != record.sha256:
        return f"{record.destination} was read again with sha256 {event.found_sha256}, not {record.sha256}"
    if event.found_manifest_sha256 not in (None, record.manifest_sha256):
        return f"the manifest of {record.destination} was read again with another content"
    return ""


def _fits_md5(record: Record, event: Any) -> str:
    if event.found_md5 != record.md5:
        return f"{record.destination} has MD5 {event.found_md5} at the destination, not {record.md5}"
    return ""


_READ = ("read_submission_id", "read_task_id")
_EVIDENCE = ("evidence", "verified", *_READ)
_SEND = ("submission_id", "task_id", "residency", *_READ)
_BUNDLE = ("destination", "size", "sha256", "md5", "manifest_size", "manifest_sha256", *_SEND)


@dataclass(frozen=True, slots=True)
class Transition:
    """Where an event leads.

    Parameters
    ----------
    to
        The new state; None: the state that a parked record goes on from.
    needs, lacks
        A field of the record that must be known, or not yet known, for the event to be possible.
    clears
        Fields of the record that are no longer true.
    fits
        Says what is wrong with the event's evidence; '' where nothing is. Wrong evidence leads to PARKED.
    resume_at
        The state to go on from where it leads to PARKED; None: the present one.
    """

    to: State | None
    needs: str | None = None
    lacks: str | None = None
    clears: tuple[str, ...] = ()
    fits: Callable[[Record, Any], str] | None = None
    resume_at: State | None = None


_WORKING = (State.QUEUED, State.BUNDLED, State.SUBMITTED, State.COPIED, State.ON_TAPE)
_DELIVERED = (State.COPIED, State.ON_TAPE)

TABLE: Mapping[tuple[State, type[Event]], Transition] = {
    (State.QUEUED, Bundled): Transition(State.BUNDLED),
    (State.QUEUED, SourceDiffers): Transition(State.QUARANTINED),
    (State.QUEUED, Found): Transition(State.COPIED, fits=_fits_what_it_tells),
    (State.QUEUED, FoundHarmed): Transition(State.PARKED, resume_at=State.COPIED),
    (State.QUEUED, FoundMissing): Transition(State.PARKED),
    (State.BUNDLED, BundleLost): Transition(State.QUEUED, clears=_BUNDLE),
    (State.BUNDLED, SendPrepared): Transition(State.BUNDLED, lacks="submission_id"),
    (State.BUNDLED, SendAccepted): Transition(State.SUBMITTED, needs="submission_id"),
    (State.SUBMITTED, SendFailed): Transition(State.BUNDLED, clears=_SEND),
    (State.SUBMITTED, SendRefused): Transition(State.PARKED, clears=_SEND, resume_at=State.BUNDLED),
    (State.SUBMITTED, DestinationMissing): Transition(State.BUNDLED, clears=_SEND),
    (State.SUBMITTED, Arrived): Transition(State.COPIED, fits=_fits_size_and_md5),
    (State.COPIED, MigratedToTape): Transition(State.ON_TAPE),
    **{(state, DestinationMissing): Transition(State.BUNDLED, clears=_SEND) for state in _DELIVERED},
    **{(state, ReadPrepared): Transition(state, lacks="read_submission_id") for state in _DELIVERED},
    **{(state, ReadAccepted): Transition(state, needs="read_submission_id") for state in _DELIVERED},
    **{(state, ReadFailed): Transition(state, clears=_READ) for state in _DELIVERED},
    **{(state, ReadRefused): Transition(State.PARKED, clears=_READ) for state in _DELIVERED},
    **{
        (state, ReadBack): Transition(State.VERIFIED, needs="read_task_id", fits=_fits_sha256)
        for state in _DELIVERED
    },
    **{(state, Md5Told): Transition(State.VERIFIED, fits=_fits_md5) for state in _DELIVERED},
    (State.VERIFIED, ReadAgain): Transition(State.VERIFIED, fits=_fits_sha256_again, resume_at=State.COPIED),
    (State.VERIFIED, FoundWrong): Transition(State.PARKED, clears=_EVIDENCE, resume_at=State.COPIED),
    **{(state, Waiting): Transition(state) for state in _WORKING},
    **{(state, Blocked): Transition(State.PARKED) for state in _WORKING},
    (State.PARKED, Resumed): Transition(None),
    (State.QUARANTINED, Resumed): Transition(State.QUEUED),
}


def apply(record: Record, event: Event) -> Record:
    """The record after `event`.

    Raises
    ------
    TransitionError
        The event cannot happen in the record's state.
    """
    transition = TABLE.get((record.state, type(event)))
    if transition is None or not _possible(transition, record):
        raise TransitionError(
            f"bundle {record.uid}: {type(event).__name__} cannot happen in {record.state} now"
        )
    wrong = transition.fits(record, event) if transition.fits else ""
    if wrong:
        advice = "move what is wrong there away, then resume: it is sent and read again"
        resume_at = transition.resume_at or record.state
        return _park(_cleared(record, _EVIDENCE), f"{wrong}; {advice}", True, resume_at)
    told = {name: getattr(event, name) for name in _names(event) if name in _names(record)}
    changed = dataclasses.replace(_cleared(record, transition.clears), **_QUIET | told)
    if transition.to is State.PARKED:
        return _park(changed, changed.reason, changed.needs_person, transition.resume_at or record.state)
    return dataclasses.replace(changed, state=transition.to or _resumed(record), resume_at=None)


def next_instruction(record: Record) -> Instruction:
    """What is to be done with the record now, derived from it alone: a crash loses no instruction."""
    match record.state:
        case State.QUEUED:
            return Instruction.BUNDLE
        case State.BUNDLED:
            return Instruction.PREPARE_SEND if record.submission_id is None else Instruction.SEND
        case State.SUBMITTED:
            return Instruction.POLL_SEND
        case State.COPIED | State.ON_TAPE:
            if record.read_submission_id is None:
                return Instruction.PREPARE_READ
            return Instruction.READ if record.read_task_id is None else Instruction.POLL_READ
        case State.PARKED:
            return Instruction.WAIT if record.needs_person else Instruction.RESUME
        case _:
            return Instruction.REST


_QUIET: dict[str, Any] = {"reason": "", "needs_person": False}
_DEFAULTS = {entry.name: entry.default for entry in dataclasses.fields(Record)}


def _possible(transition: Transition, record: Record) -> bool:
    needed = transition.needs is None or getattr(record, transition.needs) is not None
    return needed and (transition.lacks is None or getattr(record, transition.lacks) is None)


def _names(message: Record | Event) -> set[str]:
    return {entry.name for entry in dataclasses.fields(message)}


def _cleared(record: Record, names: tuple[str, ...]) -> Record:
    return dataclasses.replace(record, **{name: _DEFAULTS[name] for name in names})  # type: ignore[arg-type]


def _resumed(record: Record) -> State:
    if record.resume_at is None:
        raise TransitionError(f"bundle {record.uid}: is parked without a state to go on from")
    return record.resume_at


def _park(record: Record, reason: str, needs_person: bool, resume_at: State) -> Record:
    return dataclasses.replace(
        record, state=State.PARKED, reason=reason, needs_person=needs_person, resume_at=resume_at
    )
