"""The durable truth about jobs: each with its stages, its processes and its history."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows._definition import Variable, Workflow
from apsdm_bluesky.workflows.executors import Blame

from ._changes import log_event, save_attempts, save_stage
from ._events import Cancelled, Event, Hindered, StageFailed
from ._job import ENDED, Attempt, Job, StageEntry, State
from ._machine import apply
from ._new_job import inherited_stages, job_values, new_job
from ._reader import UNFINISHED, JobReader
from ._rows import values_of
from ._tables import attempts, jobs, stages, transitions


class StaleError(Exception):
    """Somebody else changed the job in the meantime: look at it anew."""


class JobStore(JobReader):
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
        job = new_job(workflow, job_values(workflow, arguments), owner=owner, run=run, rule=rule)
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
        job = new_job(workflow, arguments, owner=workflow.owner or actor, run=run, rule=rule)
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
        inherited = inherited_stages(parent, self.stages(parent), workflow, first)
        values = job_values(workflow, {**parent.arguments, **arguments})
        job = dataclasses.replace(
            new_job(workflow, values, owner=owner, run=parent.run),
            parent=parent.id,
            first=len(inherited),
            stage=len(inherited),
            ran=any(entry.state is State.DONE for entry in inherited),
            variables={name: value for entry in inherited for name, value in entry.outputs.items()},
        )
        self._insert(job, inherited, actor=owner)
        return job

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
                if not (isinstance(event, Hindered) and event.reason == before.reason):  # told already
                    log_event(connection, after, event, actor=actor)
            after = dataclasses.replace(after, revision=job.revision + 1)
            values = {name: value for name, value in values_of(after).items() if name != "pinned"}
            same = (jobs.c.id == job.id, jobs.c.revision == job.revision)
            if connection.execute(sa.update(jobs).where(*same).values(values)).rowcount != 1:
                raise StaleError(job.id)
            save_attempts(connection, new, changed)
        return after

    def begin_removal(self, job: str) -> bool:
        """Have a job never be pinned, or taken over from, any more, so that its files can be removed.

        False where it is pinned, or a job that has not ended takes its results.
        """
        child = jobs.alias()
        needed = sa.exists().where(child.c.parent == job, child.c.state.in_(UNFINISHED))
        same = (jobs.c.id == job, jobs.c.pinned.is_(False), ~needed)
        with self._database.begin() as connection:
            self._lock(connection, job)
            return connection.execute(sa.update(jobs).where(*same).values(removing=True)).rowcount == 1

    def remove(self, job: str) -> None:
        """Forget a job, whose files are removed."""
        with self._database.begin() as connection:
            for table in (stages, attempts, transitions):
                connection.execute(sa.delete(table).where(table.c.job == job))
            connection.execute(sa.delete(jobs).where(jobs.c.id == job))

    def _insert(
        self, job: Job, inherited: "Sequence[StageEntry]", *, actor: str, event: Event | None = None
    ) -> Job | None:
        values: dict[str, Any] = values_of(job) | {"station": self._database.station}
        try:
            with self._database.begin() as connection:
                if inherited:
                    self._hold(connection, str(job.parent))
                connection.execute(sa.insert(jobs).values(values))
                for entry in inherited:
                    connection.execute(sa.insert(stages).values(values_of(entry) | {"job": job.id}))
                log_event(connection, job, event, actor=actor)
        except IntegrityError:
            if job.rule is None:
                raise
            return None
        return job

    @staticmethod
    def _lock(connection: sa.Connection, job: str) -> None:
        """Nobody else changes the job, or has another one take from it, before the end of the transaction."""
        connection.execute(sa.select(jobs.c.id).where(jobs.c.id == job).with_for_update())

    def _hold(self, connection: sa.Connection, parent: str) -> None:
        """Refuse to take over results that are going, or that lie on another station's disks."""
        self._lock(connection, parent)
        row = connection.execute(sa.select(jobs).where(jobs.c.id == parent)).one_or_none()
        if row is None or row.removing:
            raise WorkflowError(f"job {parent} is being removed for its age: start anew")
        if row.station != self._database.station:
            raise WorkflowError(f"job {parent} ran on another station: start anew, or resubmit it there")
