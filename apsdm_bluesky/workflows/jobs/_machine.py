"""The states of a job, as a machine without I/O: event in, new job out.

`TABLE` is the only place that says which event leads where.
"""

import dataclasses
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from ._events import (
    Began,
    Cancelled,
    Event,
    Hindered,
    ProcessLost,
    Resumed,
    StageEntered,
    StageFailed,
    StagePassed,
    StageRepeats,
    StageRetried,
    StageSkipped,
    Stopped,
)
from ._job import ENDED, Job, State

Change = Callable[[Job, Any], dict[str, Any]]


class TransitionError(ValueError):
    """An event that cannot happen in the job's state: a defect of the driver."""


class Instruction(StrEnum):
    """What is to be done with a job now."""

    BEGIN = "begin"
    ENTER = "enter"
    """Look whether the stage is to run, and prepare its processes."""
    SETTLE = "settle"
    """Start and look at its processes; when all have ended, tell what came of it."""
    STOP = "stop"
    REST = "rest"


_QUIET: dict[str, Any] = {"reason": "", "blame": None, "wake": None}
_NEXT_STAGE: dict[str, Any] = {"entered": False, "round": 0, "retry": 0, "lost": 0}


def _began(job: Job, event: Began) -> dict[str, Any]:
    return {"state": State.RUNNING, "started": event.at, "stage": job.first}


def _entered(_: Job, __: StageEntered) -> dict[str, Any]:
    return {"entered": True}


def _advanced(job: Job, event: Event, variables: Mapping[str, Any], last: State) -> dict[str, Any]:
    changed = {"variables": {**job.variables, **variables}}
    if job.stage + 1 == len(job.stages):
        return {**changed, "entered": False, "state": last, "ended": event.at}
    return {**changed, **_NEXT_STAGE, "stage": job.stage + 1}


def _skipped(job: Job, event: StageSkipped) -> dict[str, Any]:
    return _advanced(job, event, {}, State.DONE if job.ran else State.SKIPPED)


def _passed(job: Job, event: StagePassed) -> dict[str, Any]:
    return {**_advanced(job, event, event.outputs, State.DONE), "ran": True}


def _repeats(job: Job, event: StageRepeats) -> dict[str, Any]:
    changed = {"entered": False, "round": job.round + 1, "retry": 0, "lost": 0, "wake": event.wake}
    return {**changed, "variables": {**job.variables, **event.outputs}}


def _retried(job: Job, event: StageRetried) -> dict[str, Any]:
    told = {"reason": event.reason, "blame": event.blame, "wake": event.wake}
    return {"entered": False, "retry": job.retry + 1, **told}


def _lost(job: Job, event: ProcessLost) -> dict[str, Any]:
    return {"entered": False, "lost": job.lost + event.counts, "reason": event.reason}


def _failed(_: Job, event: StageFailed) -> dict[str, Any]:
    return {"state": State.FAILED, "ended": event.at, "reason": event.reason, "blame": event.blame}


def _hindered(_: Job, event: Hindered) -> dict[str, Any]:
    return {"wake": event.wake, "reason": event.reason, "blame": event.blame}


def _resumed(_: Job, __: Resumed) -> dict[str, Any]:
    return {}


def _resumed_stop(job: Job, _: Resumed) -> dict[str, Any]:
    return {"reason": job.reason}


def _hindered_stop(job: Job, event: Hindered) -> dict[str, Any]:
    return {"wake": event.wake, "reason": job.reason}


def _cancelled(_: Job, event: Cancelled) -> dict[str, Any]:
    return {"state": State.ABORTING, "reason": event.reason}


def _cancelled_before(_: Job, event: Cancelled) -> dict[str, Any]:
    return {"state": State.ABORTED, "reason": event.reason, "ended": event.at}


def _stopped(job: Job, event: Stopped) -> dict[str, Any]:
    return {"state": State.ABORTED, "ended": event.at, "reason": job.reason}


TABLE: Mapping[tuple[State, type[Event]], Change] = {
    (State.PENDING, Began): _began,
    (State.PENDING, Hindered): _hindered,
    (State.PENDING, StageFailed): _failed,
    (State.PENDING, Cancelled): _cancelled_before,
    (State.RUNNING, StageEntered): _entered,
    (State.RUNNING, StageSkipped): _skipped,
    (State.RUNNING, StagePassed): _passed,
    (State.RUNNING, StageRepeats): _repeats,
    (State.RUNNING, StageRetried): _retried,
    (State.RUNNING, ProcessLost): _lost,
    (State.RUNNING, StageFailed): _failed,
    (State.RUNNING, Hindered): _hindered,
    (State.RUNNING, Resumed): _resumed,
    (State.RUNNING, Cancelled): _cancelled,
    (State.ABORTING, Hindered): _hindered_stop,
    (State.ABORTING, Resumed): _resumed_stop,
    (State.ABORTING, Stopped): _stopped,
}

_NEEDS_ENTERED = (StagePassed, StageRepeats, StageRetried, ProcessLost)


def apply(job: Job, event: Event) -> Job:
    """The job after `event`.

    Raises
    ------
    TransitionError
        The event cannot happen in the job's state.
    """
    change = TABLE.get((job.state, type(event)))
    if change is None or not _possible(job, event):
        raise TransitionError(f"job {job.id}: {type(event).__name__} cannot happen in {job.state} now")
    return dataclasses.replace(job, **{**_QUIET, **change(job, event)})


def next_instruction(job: Job) -> Instruction:
    """What is to be done with the job now, derived from it alone: a crash loses no instruction."""
    if job.state in ENDED:
        return Instruction.REST
    if job.state is State.PENDING:
        return Instruction.BEGIN
    if job.state is State.ABORTING:
        return Instruction.STOP
    return Instruction.SETTLE if job.entered else Instruction.ENTER


def _possible(job: Job, event: Event) -> bool:
    if isinstance(event, _NEEDS_ENTERED):
        return job.entered
    return not (isinstance(event, StageEntered | StageSkipped) and job.entered)
