"""Jobs as they stand: what any process may ask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from apsdm_bluesky.database import Database
from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows._definition import Workflow

from ._definitions import Definitions
from ._job import ENDED, Attempt, Job, StageEntry, State
from ._rows import attempt_of, job_of, stage_of
from ._tables import TABLES, attempts, jobs, stages, transitions

_LAST = "\U0010ffff"  # no character comes after it
UNFINISHED = tuple(state for state in State if state not in ENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs are listed; what is None or empty does not restrict.

    Parameters
    ----------
    limit, skip
        So many at most, the latest first, after so many.
    """

    owner: str | None = None
    states: Sequence[State] = ()
    workflow: str | None = None
    run: str | None = None
    parent: str | None = None
    limit: int | None = 100
    skip: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One line of a job's history; `told` is what was told with the event."""

    time: float
    event: str
    state: State
    stage: int
    told: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """When a job that has not ended goes on, and whether it was changed since."""

    state: State
    wake: float | None
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OldJob:
    """What is told of a job that is removed."""

    id: str
    workflow: str
    state: str


class JobReader:
    """What is known of jobs and workflows; see `JobStore`."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self._root = folder
        self._database = Database(folder, TABLES, url)
        self.definitions = Definitions(self._database)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def folder(self, job: str) -> Path:
        """Where a job's files lie; it need not exist."""
        return self._root / job

    def workflow_of(self, job: Job, *, latest: bool = False) -> Workflow:
        """What a job ran, or the last version; that, too, where none was known when a rule asked for it.

        Raises
        ------
        WorkflowError
            It is not known.
        """
        version = None if latest else job.version or None
        return self.definitions.get(job.workflow, owner=job.workflow_owner or None, version=version)

    def get(self, uid: str) -> Job:
        """The job whose id begins with `uid`.

        Raises
        ------
        WorkflowError
            There is none, or more than one.
        """
        query = sa.select(jobs).where(jobs.c.id >= uid, jobs.c.id < f"{uid}{_LAST}").limit(2)
        with self._database.read() as connection:
            found = [job_of(row) for row in connection.execute(query)]
        if not uid or not found:
            raise WorkflowError(f"job {uid!r} is not known; see 'apsdm job ls'")
        if len(found) > 1:
            raise WorkflowError(f"job {uid!r}: more than one begins so; write more of its id")
        return found[0]

    def list(self, wanted: JobFilter = JobFilter()) -> Sequence[Job]:
        """The jobs of all stations that fit, the latest first."""
        query = sa.select(jobs).order_by(jobs.c.created.desc(), jobs.c.id)
        for name in ("owner", "workflow", "run", "parent"):
            if (value := getattr(wanted, name)) is not None:
                query = query.where(jobs.c[name] == value)
        if wanted.states:
            query = query.where(jobs.c.state.in_(wanted.states))
        with self._database.read() as connection:
            found = connection.execute(query.limit(wanted.limit).offset(wanted.skip))
            return [job_of(row) for row in found]

    def stages(self, job: Job) -> "Sequence[StageEntry]":
        """What became of each stage; those that the job has not come to are pending."""
        query = sa.select(stages).where(stages.c.job == job.id)
        with self._database.read() as connection:
            entries = [stage_of(row) for row in connection.execute(query)]
        known = {entry.index: entry for entry in entries}
        return [known.get(i, StageEntry(index=i, name=name)) for i, name in enumerate(job.stages)]

    def attempts(self, job: str, stage: int | None = None) -> "Sequence[Attempt]":
        """The processes of a job, or of one of its stages, in the order in which they were prepared."""
        query = sa.select(attempts).where(attempts.c.job == job)
        if stage is not None:
            query = query.where(attempts.c.stage == stage)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(attempts.c.stage, attempts.c.number))
            return [attempt_of(row) for row in found]

    def attempt(self, job: str, uid: str) -> Attempt:
        """The process of a job with this id; `WorkflowError` where there is none."""
        query = sa.select(attempts).where(attempts.c.job == job, attempts.c.id == uid)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise WorkflowError(f"job {job} has no process {uid!r}; see 'apsdm job show {job}'")
        return attempt_of(row)

    def history(self, job: str) -> "Sequence[HistoryEntry]":
        """What happened to a job, in order."""
        query = sa.select(transitions).where(transitions.c.job == job).order_by(transitions.c.id)
        with self._database.read() as connection:
            return [_line(row) for row in connection.execute(query)]

    def unfinished(self) -> Mapping[str, Unfinished]:
        """The station's jobs that have not ended, by id, the oldest first."""
        query = sa.select(jobs.c.id, jobs.c.state, jobs.c.wake, jobs.c.revision)
        query = query.where(jobs.c.state.in_(UNFINISHED), jobs.c.station == self._database.station)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(jobs.c.created)).all()
        return {
            row.id: Unfinished(state=State(row.state), wake=row.wake, revision=row.revision) for row in rows
        }

    def counts(self) -> Mapping[State, int]:
        """How many jobs are in each state."""
        query = sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
        with self._database.read() as connection:
            return {State(state): number for state, number in connection.execute(query)}

    def old(self, *, before: float, keep: int, most: int) -> "Sequence[OldJob]":
        """Jobs that ended, not pinned: before a time, or beyond the latest `keep`; `most` of them."""
        columns = (jobs.c.id, jobs.c.workflow, jobs.c.state)
        query = sa.select(*columns).where(
            jobs.c.state.in_(ENDED), jobs.c.pinned.is_(False), jobs.c.station == self._database.station
        )
        newest = query.order_by(jobs.c.created.desc())
        with self._database.read() as connection:
            aged = connection.execute(query.where(jobs.c.ended < before).limit(most)).all()
            many = connection.execute(newest.offset(keep).limit(most)).all()
        found = {row.id: OldJob(id=row.id, workflow=row.workflow, state=row.state) for row in [*aged, *many]}
        return list(found.values())[:most]


def _line(row: sa.Row[Any]) -> HistoryEntry:
    return HistoryEntry(
        time=row.time,
        event=row.event,
        state=State(row.state),
        stage=row.stage,
        told=row.told,
        actor=row.actor,
    )
