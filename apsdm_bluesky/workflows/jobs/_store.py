"""The durable truth about jobs: each with its stages, its processes and its history."""

import dataclasses
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from apsdm_bluesky.database import Database
from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows._definition import Variable, Workflow
from apsdm_bluesky.workflows.executors import Blame

from ._arguments import job_values
from ._changes import log_event, save_attempts, save_stage
from ._definitions import Definitions
from ._events import Cancelled, Event, StageFailed
from ._job import ENDED, Attempt, Job, StageEntry, State
from ._machine import apply
from ._rows import attempt_of, job_of, stage_of, values_of
from ._tables import TABLES, attempts, jobs, stages, transitions

_LAST = "\U0010ffff"  # no character comes after it
_UNFINISHED = tuple(state for state in State if state not in ENDED)


class StaleError(Exception):
    """Somebody else changed the job in the meantime: look at it anew."""


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


class JobStore:
    """Jobs and the workflows that they run. Any process may read and submit; one agent a station drives them.

    Every method raises `StorageError` where the database cannot be read or written, `ServiceError` where its
    server does not answer.

    Parameters
    ----------
    folder, url
        See `Database`. The jobs' own folders lie in `folder`.

    Attributes
    ----------
    definitions
        The workflows.
    """

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

    def submit(
        self,
        workflow: Workflow,
        arguments: Mapping[str, Variable],
        *,
        owner: str,
        run: str | None = None,
        rule: str | None = None,
        actor: str | None = None,
    ) -> Job | None:
        """Have a workflow run.

        Parameters
        ----------
        workflow
            As `definitions` gave it.
        owner
            Whose job it is; also the actor, where none is given.
        rule
            The trigger's rule that starts it: one job a run and rule.

        Returns
        -------
        The job; None where the rule has started one for that run already.

        Raises
        ------
        WorkflowError
            An argument is missing, not known, or cannot be used.
        """
        job = Job(
            id=uuid.uuid4().hex,
            owner=owner,
            workflow_owner=workflow.owner,
            workflow=workflow.name,
            version=workflow.version,
            stages=tuple(stage.name for stage in workflow.stages),
            arguments=job_values(workflow, arguments),
            run=run,
            rule=rule,
            created=time.time(),
        )
        return self._insert(job, [], actor=actor or owner)

    def refuse(
        self,
        workflow: Workflow,
        arguments: Mapping[str, Variable],
        *,
        reason: str,
        run: str,
        rule: str,
        actor: str,
    ) -> Job | None:
        """Keep what a trigger's rule cannot submit, as a job that has failed at once.

        Resubmitted, it runs.

        Parameters
        ----------
        workflow
            One of version 0, with what is known of its owner and without stages, where it is not known.
        reason
            What hinders it.

        Returns
        -------
        The job; None where the rule has started one for that run already.
        """
        job = Job(
            id=uuid.uuid4().hex,
            owner=workflow.owner or actor,
            workflow_owner=workflow.owner,
            workflow=workflow.name,
            version=workflow.version,
            stages=tuple(stage.name for stage in workflow.stages),
            arguments=arguments,
            run=run,
            rule=rule,
            created=time.time(),
        )
        failure = StageFailed(at=job.created, reason=reason, blame=Blame.COMMAND)
        return self._insert(apply(job, failure), [], actor=actor, event=failure)

    def resubmit(
        self,
        parent: Job,
        workflow: Workflow,
        *,
        first: str | None = None,
        arguments: Mapping[str, Variable] = {},
        owner: str,
    ) -> Job:
        """Run a job again, in another one.

        Parameters
        ----------
        workflow
            What it runs: the version that the parent ran, or another one with the same stages before `first`.
        first
            The stage to begin with, where those before it are done; the parent's results of these are taken
            over. None: the first one.
        arguments
            Those that differ from the parent's.

        Raises
        ------
        WorkflowError
            The parent has not ended, did not come that far, or an argument cannot be used.
        """
        inherited = self._inherited(parent, workflow, first)
        found = {name: value for entry in inherited for name, value in entry.outputs.items()}
        job = Job(
            id=uuid.uuid4().hex,
            owner=owner,
            workflow_owner=workflow.owner,
            workflow=workflow.name,
            version=workflow.version,
            stages=tuple(stage.name for stage in workflow.stages),
            arguments=job_values(workflow, {**parent.arguments, **arguments}),
            run=parent.run,
            parent=parent.id,
            first=len(inherited),
            stage=len(inherited),
            ran=any(entry.state is State.DONE for entry in inherited),
            variables=found,
            created=time.time(),
        )
        self._insert(job, inherited, actor=owner)
        return job

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

    def cancel(self, uid: str, *, actor: str) -> Job:
        """Have a job end, with all its processes; one that has ended is refused.

        Raises
        ------
        WorkflowError
            It has ended, or there is none.
        """
        while True:
            job = self.get(uid)
            if job.state in ENDED:
                raise WorkflowError(f"job {job.id} is {job.state} already: there is nothing to cancel")
            if job.state is State.ABORTING:
                return job
            event = Cancelled(at=time.time(), reason=f"cancelled by {actor}")
            try:
                return self.save(job, [event], actor=actor)
            except StaleError:
                continue

    def pin(self, uid: str, pinned: bool) -> Job:
        """Keep a job whatever its age, or no longer.

        Raises
        ------
        WorkflowError
            It is being removed, or there is none.
        """
        job = self.get(uid)
        same = (jobs.c.id == job.id, jobs.c.removing.is_(False))
        with self._database.begin() as connection:
            if connection.execute(sa.update(jobs).where(*same).values(pinned=pinned)).rowcount != 1:
                raise WorkflowError(f"job {job.id} is being removed for its age: it is too late to pin it")
        return dataclasses.replace(job, pinned=pinned)

    def unfinished(self) -> "Sequence[tuple[str, State, float | None, int]]":
        """Id, state, wake and revision of the station's jobs that have not ended, the oldest first."""
        query = sa.select(jobs.c.id, jobs.c.state, jobs.c.wake, jobs.c.revision)
        query = query.where(jobs.c.state.in_(_UNFINISHED), jobs.c.station == self._database.station)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(jobs.c.created)).all()
        return [(row.id, State(row.state), row.wake, row.revision) for row in rows]

    def counts(self) -> Mapping[State, int]:
        """How many jobs are in each state."""
        query = sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
        with self._database.read() as connection:
            return {State(state): number for state, number in connection.execute(query)}

    def save(
        self,
        job: Job,
        events: Sequence[Event],
        *,
        new: Sequence[Attempt] = (),
        changed: Sequence[Attempt] = (),
        actor: str,
    ) -> Job:
        """Put a job through `events` and keep them and its processes, or nothing; returns the job after them.

        Raises
        ------
        StaleError
            The job is no longer as it was read.
        """
        with self._database.begin() as connection:
            after = job
            for event in events:
                before, after = after, apply(after, event)
                save_stage(connection, before, after, event)
                log_event(connection, after, event, actor=actor)
            after = dataclasses.replace(after, revision=job.revision + 1)
            values = {name: value for name, value in values_of(after).items() if name != "pinned"}
            same = (jobs.c.id == job.id, jobs.c.revision == job.revision)
            if connection.execute(sa.update(jobs).where(*same).values(values)).rowcount != 1:
                raise StaleError(job.id)
            save_attempts(connection, new, changed)
        return after

    def begin_removal(self, job: Job) -> bool:
        """Have a job never be pinned any more, so that its files can be removed; False where it is pinned."""
        same = (jobs.c.id == job.id, jobs.c.pinned.is_(False))
        with self._database.begin() as connection:
            return connection.execute(sa.update(jobs).where(*same).values(removing=True)).rowcount == 1

    def remove(self, job: Job) -> None:
        """Forget a job, whose files are removed."""
        with self._database.begin() as connection:
            for table in (stages, attempts, transitions):
                connection.execute(sa.delete(table).where(table.c.job == job.id))
            connection.execute(sa.delete(jobs).where(jobs.c.id == job.id))

    def old(self, *, before: float, keep: int) -> "Sequence[Job]":
        """Jobs of the station that ended, not pinned: before a time, or beyond the `keep` latest."""
        query = sa.select(jobs).where(
            jobs.c.state.in_(ENDED), jobs.c.pinned.is_(False), jobs.c.station == self._database.station
        )
        newest = query.order_by(jobs.c.created.desc())
        with self._database.read() as connection:
            aged = connection.execute(query.where(jobs.c.ended < before)).all()
            many = connection.execute(newest.offset(keep).limit(1_000_000)).all()
        found = {row.id: job_of(row) for row in [*aged, *many]}
        return list(found.values())

    def parents(self, ids: Collection[str]) -> set[str]:
        """Which of these jobs are what a job that has not ended takes its results from."""
        query = sa.select(jobs.c.parent).where(jobs.c.state.in_(_UNFINISHED), jobs.c.parent.in_(ids))
        with self._database.read() as connection:
            return {parent for parent in connection.execute(query).scalars() if parent is not None}

    def _insert(
        self, job: Job, inherited: "Sequence[StageEntry]", *, actor: str, event: Event | None = None
    ) -> Job | None:
        values: dict[str, Any] = values_of(job) | {"station": self._database.station}
        try:
            with self._database.begin() as connection:
                connection.execute(sa.insert(jobs).values(values))
                for entry in inherited:
                    connection.execute(sa.insert(stages).values(values_of(entry) | {"job": job.id}))
                log_event(connection, job, event, actor=actor)
        except IntegrityError:
            if job.rule is None:
                raise
            return None
        return job

    def _inherited(self, parent: Job, workflow: Workflow, first: str | None) -> "Sequence[StageEntry]":
        if parent.state not in ENDED:
            raise WorkflowError(f"job {parent.id} is {parent.state}: wait until it has ended, or cancel it")
        if first is None:
            return []
        names = [stage.name for stage in workflow.stages]
        if first not in names:
            raise WorkflowError(f"stage {first!r} is not in {workflow.name}: it has {', '.join(names)}")
        before = self.stages(parent)[: names.index(first)]
        if [entry.name for entry in before] != names[: len(before)]:
            raise WorkflowError(f"the stages before {first!r} are not those of job {parent.id}: start anew")
        undone = [entry.name for entry in before if entry.state not in (State.DONE, State.SKIPPED)]
        if undone:
            raise WorkflowError(f"stage {undone[0]!r} of job {parent.id} is not done: begin there, or before")
        return [dataclasses.replace(entry, inherited=entry.inherited or parent.id) for entry in before]


def _line(row: sa.Row[Any]) -> HistoryEntry:
    return HistoryEntry(
        time=row.time,
        event=row.event,
        state=State(row.state),
        stage=row.stage,
        told=row.told,
        actor=row.actor,
    )
