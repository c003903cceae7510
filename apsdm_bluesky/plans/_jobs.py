"""Plan stubs that start a workflow's job, and wait for it."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from bluesky import plan_stubs as bps

from apsdm_bluesky.errors import ServiceError, WorkflowError
from apsdm_bluesky.workflows import Variable
from apsdm_bluesky.workflows.jobs import Job, has_ended_well

from ._series import Plan

log = logging.getLogger(__name__)

_LOOK_S = 0.02  # whether a thread has ended
_POLL_S = 0.5  # at a job
_PATIENCE_S = 60.0  # with a database whose server does not answer


class Jobs(Protocol):
    """What these plans need of `session.workflows`. They call it from a thread."""

    def submit(self, workflow: str, arguments: Mapping[str, Variable], *, run: str | None = None) -> str:
        """Start a job; returns its id."""

    def job(self, uid: str) -> Job:
        """The job."""


def start_job(
    jobs: Jobs,
    workflow: str,
    arguments: Mapping[str, Variable] | None = None,
    *,
    run: str | None = None,
    tell: bool = False,
) -> Plan:
    """Start a job of a workflow. Pausing does not start it twice.

    Put the id of a job that is started before a run into the run's metadata: ``md={"job": job}``.

    Parameters
    ----------
    jobs
        ``session.workflows``.
    workflow
        Its name, or owner/name.
    run
        The uid of the run that the job is for: ``session.workflows.jobs(run=uid)`` finds it.
    tell
        Have an event in the stream ``jobs`` of the open run tell of it. Not between `create` and `save`.

    Returns
    -------
    str
        The job's id.

    Raises
    ------
    WorkflowError
        The workflow is not known, or an argument is missing, not known, or cannot be used.
    StorageError, ServiceError
        The jobs' database does not take it.
    """
    given = arguments or {}
    job = yield from _in_thread(lambda: jobs.submit(workflow, given, run=run))
    if tell:
        yield from bps.create(_Started.name)
        yield from bps.read(_Started(job=job, workflow=workflow, arguments=json.dumps(given)))
        yield from bps.save()
        yield from bps.checkpoint()  # a resumed run must not tell it again
    return job


def wait_for_job(jobs: Jobs, uid: str, timeout_s: float | None = None) -> Plan:
    """Wait until a job has ended. It may be paused and resumed; a plan that is aborted lets the job go on.

    Parameters
    ----------
    jobs
        ``session.workflows``.
    uid
        As `start_job` returned it.
    timeout_s
        Seconds after which the plan fails; the job goes on. None: never.

    Returns
    -------
    Job
        Done, or skipped.

    Raises
    ------
    WorkflowError
        The job failed, was aborted, or has not ended in time; the message has its reason.
    StorageError, ServiceError
        The jobs' database cannot be read; its server has not answered for a minute.
    """
    begin = time.monotonic()
    while not has_ended_well(job := (yield from _look_at(jobs, uid))):
        if timeout_s is not None and time.monotonic() - begin > timeout_s:
            raise WorkflowError(f"job {job.id} is {job.state} after {timeout_s:g} s: does the agent run?")
        yield from _pause()
    return job


def _look_at(jobs: Jobs, uid: str) -> Plan:
    """The job. A server that is started anew does not end an experiment."""
    deadline, told = time.monotonic() + _PATIENCE_S, False
    while True:
        try:
            return (yield from _in_thread(lambda: jobs.job(uid)))
        except ServiceError as error:
            if time.monotonic() > deadline:
                raise
            if not told:
                log.warning("job %s: %s", uid, error)
                told = True
        yield from _pause()


def _pause() -> Plan:
    yield from bps.sleep(_POLL_S)
    yield from bps.checkpoint()  # a resumed plan goes on from here: it does not sleep it all again


def _in_thread(work: Callable[[], Any]) -> Plan:
    """What `work` returns or raises. The RunEngine goes on meanwhile: a database may be slow to answer."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="jobs")
    try:
        future = pool.submit(work)
        while not future.done():
            yield from bps.sleep(_LOOK_S)
        return future.result()
    finally:
        pool.shutdown(wait=False)


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True)
class _Started:
    """Reads as a job that was started. All are equal: one stream has one readable."""

    name = "jobs"
    parent = None

    job: str = field(compare=False)
    workflow: str = field(compare=False)
    arguments: str = field(compare=False)

    def read(self) -> dict[str, dict[str, Any]]:
        """The job."""
        now = time.time()
        return {key: {"value": value, "timestamp": now} for key, value in self._values().items()}

    def describe(self) -> dict[str, dict[str, Any]]:
        """Data keys, all text."""
        return {key: {"source": "jobs", "dtype": "string", "shape": []} for key in self._values()}

    def read_configuration(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}

    def _values(self) -> dict[str, str]:
        return {"job_id": self.job, "job_workflow": self.workflow, "job_arguments": self.arguments}
