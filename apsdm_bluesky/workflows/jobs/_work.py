"""A job in the hands of the agent: what happened to it since it was read, kept in one transaction."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from apsdm_bluesky.workflows._definition import Stage, Variable
from apsdm_bluesky.workflows._output_file import tail
from apsdm_bluesky.workflows.executors import Ended, Lost, Running

from ._events import Event
from ._job import Attempt
from ._machine import apply
from ._prepare import known_variables
from ._settle import latest
from ._store import JobStore

TAIL = 4096
"""Bytes of the output that the record keeps."""


class Work:
    """A job, the processes of the stage that it is at, and what is new about them.

    Parameters
    ----------
    folder
        The job's.
    """

    def __init__(self, store: JobStore, uid: str, *, actor: str) -> None:
        self._store = store
        self._actor = actor
        self._kept = self.job = store.get(uid)
        self.folder: Path = store.folder(self.job.id)
        self._events: list[Event] = []
        self._new: dict[str, Attempt] = {}
        self._changed: dict[str, Attempt] = {}
        self._attempts = {attempt.id: attempt for attempt in store.attempts(uid, self.job.stage)}

    @property
    def stage(self) -> Stage:
        """The stage that it is at.

        Raises
        ------
        WorkflowError
            The definition is not there, or cannot be read.
        """
        job = self.job
        made = self._store.definitions.get(job.workflow, owner=job.workflow_owner, version=job.version)
        return made.stages[job.stage]

    @property
    def values(self) -> Mapping[str, Variable]:
        """The variables that the stage knows."""
        return known_variables(self.job, self.folder)

    def of_round(self) -> Sequence[Attempt]:
        """The attempts of this round of the stage."""
        at = (self.job.stage, self.job.round)
        return [attempt for attempt in self._attempts.values() if (attempt.stage, attempt.round) == at]

    def current(self) -> Sequence[Attempt]:
        """The last attempt at each child in this round."""
        return latest(self.of_round())

    def next_number(self) -> int:
        """Of the next attempt at this stage."""
        stage = self.job.stage
        return 1 + max((each.number for each in self._attempts.values() if each.stage == stage), default=0)

    def put(self, event: Event) -> None:
        """Something happened to the job."""
        self.job = apply(self.job, event)
        self._events.append(event)

    def add(self, attempts: Sequence[Attempt]) -> None:
        """Processes were prepared."""
        self._attempts |= {attempt.id: attempt for attempt in attempts}
        self._new |= {attempt.id: attempt for attempt in attempts}

    def ask(self, attempts: Sequence[Attempt], *, at: float) -> None:
        """The executor is about to be asked to start processes."""
        for attempt in attempts:
            self._replace(dataclasses.replace(attempt, asked=at))

    def tell(self, attempt: Attempt, report: Running | Ended | Lost) -> None:
        """What the executor tells of a process."""
        self._replace(_after(attempt, report, self.folder))

    def save(self) -> None:
        """Keep what is new.

        Raises
        ------
        StaleError
            Somebody else changed the job: what is new is void.
        """
        if not (self._events or self._new or self._changed):
            return
        self._kept = self._store.save(
            self._kept,
            self._events,
            new=list(self._new.values()),
            changed=list(self._changed.values()),
            actor=self._actor,
        )
        self.job = self._kept
        self._events, self._new, self._changed = [], {}, {}

    def _replace(self, attempt: Attempt) -> None:
        self._attempts[attempt.id] = attempt
        place = self._new if attempt.id in self._new else self._changed
        place[attempt.id] = attempt


def _after(attempt: Attempt, report: Running | Ended | Lost, folder: Path) -> Attempt:
    if isinstance(report, Running):
        return dataclasses.replace(attempt, started=report.started, host=report.host, pid=report.pid)
    own = folder / attempt.folder
    attempt = dataclasses.replace(attempt, stdout=_tail(own / "stdout"), stderr=_tail(own / "stderr"))
    if isinstance(report, Lost):
        return dataclasses.replace(attempt, ended=time.time(), lost=True, reason=report.reason)
    return dataclasses.replace(
        attempt,
        started=report.started,
        ended=report.ended,
        status=report.status,
        host=report.host,
        pid=report.pid,
        cpu_s=report.cpu_s,
        memory=report.memory,
        blame=report.blame,
        reason=report.reason,
    )


def _tail(path: Path) -> str:
    """As text; bytes that are no UTF-8 become U+FFFD."""
    return tail(path, TAIL).decode(errors="replace")
