"""What an event changes beside the job itself, in the transaction that changes the job."""

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ._events import (
    Began,
    Cancelled,
    Event,
    Hindered,
    StageEntered,
    StageFailed,
    StagePassed,
    StageSkipped,
    Stopped,
)
from ._job import Attempt, Job, StageEntry, State
from ._rows import values_of
from ._tables import attempts, stages, transitions

_ENDS: dict[type[Event], State] = {
    StageSkipped: State.SKIPPED,
    StagePassed: State.DONE,
    StageFailed: State.FAILED,
    Stopped: State.ABORTED,
}


def save_stage(connection: sa.Connection, before: Job, after: Job, event: Event) -> None:
    """What an event tells of the stage that the job is at."""
    if isinstance(event, Began | Cancelled | Hindered):
        return
    key = (stages.c.job == before.id, stages.c.index == before.stage)
    found = connection.execute(sa.select(stages.c.started).where(*key)).one_or_none()
    if found is None:
        entry = StageEntry(index=before.stage, name=before.stage_name, started=event.at)
        connection.execute(sa.insert(stages).values(values_of(entry) | {"job": before.id}))
    connection.execute(sa.update(stages).where(*key).values(_told(after, event)))


def _told(after: Job, event: Event) -> dict[str, Any]:
    state = _ENDS.get(type(event), State.RUNNING)
    values: dict[str, Any] = {"state": state, "reason": getattr(event, "reason", after.reason)}
    if state is not State.RUNNING:
        values["ended"] = event.at
    if isinstance(event, StagePassed):
        entry = StageEntry(index=0, name="", outputs=event.outputs)
        values["outputs"] = values_of(entry)["outputs"]
    return values


def log_event(connection: sa.Connection, job: Job, event: Event | None, *, actor: str) -> None:
    """One line of history; None: the job was submitted."""
    name = "Submitted" if event is None else type(event).__name__
    told = getattr(event, "reason", "")
    if isinstance(event, StageEntered):
        told = f"{event.processes} processes" if event.processes > 1 else ""
    line = {
        "job": job.id,
        "time": time.time() if event is None else event.at,
        "event": name,
        "state": job.state,
        "stage": job.stage,
        "told": told,
        "actor": actor,
    }
    connection.execute(sa.insert(transitions).values(line))


def save_attempts(connection: sa.Connection, new: Sequence[Attempt], changed: Sequence[Attempt]) -> None:
    """Processes that were prepared, and those of which more is known."""
    if new:
        connection.execute(sa.insert(attempts), [values_of(attempt) for attempt in new])
    for attempt in changed:
        same = attempts.c.id == attempt.id
        connection.execute(sa.update(attempts).where(same).values(values_of(attempt)))
