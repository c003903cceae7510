"""Workflows and their jobs for people who work in Python: `session.workflows`."""

import html
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.texts import plain
from apsdm_bluesky.workflows._definition import Variable

from ._definitions import Definitions
from ._job import ENDED, Job, State
from ._reader import JobFilter
from ._store import JobStore

_POLL_S = 0.2
_SHOWN = 10
_HEADINGS = ("id", "workflow", "state", "stage", "created", "reason")
_LONGEST = 60  # characters of a cell


class Workflows:
    """Starts jobs, and tells of them. Its methods raise `StorageError` and `ServiceError` as `JobStore` does.

    The agent runs the jobs: without one (`apsdm up`, `apsdm agent`) they stay pending.

    Parameters
    ----------
    owner
        Whose the jobs are that are started here.

    Attributes
    ----------
    definitions
        The workflows that are known.
    """

    def __init__(self, store: JobStore, *, owner: str) -> None:
        self._store = store
        self._owner = owner
        self.definitions: Definitions = store.definitions

    def start(self, workflow: str, /, **arguments: Variable) -> str:
        """Have a workflow run; returns the job's id. See `submit`."""
        return self.submit(workflow, arguments)

    def submit(self, workflow: str, arguments: Mapping[str, Variable], *, run: str | None = None) -> str:
        """Have a workflow run; returns the job's id.

        Parameters
        ----------
        workflow
            Its name, or owner/name.
        run
            The uid of the run that the job is for.

        Raises
        ------
        WorkflowError
            It is not known, or an argument is missing, not known, or cannot be used.
        """
        owner, _, name = workflow.rpartition("/")
        found = self.definitions.get(name, owner=owner or None)
        job = self._store.submit(found, arguments, owner=self._owner, run=run)
        if job is None:  # only a trigger's rule starts no second job
            raise WorkflowError(f"workflow {workflow}: was started for run {run} already")
        return job.id

    def job(self, uid: str) -> Job:
        """The job whose id begins with `uid`; `WorkflowError` where there is none, or more than one."""
        return self._store.get(uid)

    def jobs(self, **wanted: Any) -> "JobTable":
        """Jobs, the latest first; `wanted` restricts them by fields of `JobFilter`."""
        return JobTable(tuple(self._store.list(JobFilter(**wanted))))

    def wait(self, uid: str, timeout_s: float | None = None) -> Job:
        """The job when it has ended well.

        Raises
        ------
        WorkflowError
            It failed, was aborted, or has not ended in time; the message has its reason.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not has_ended_well(job := self.job(uid)):
            if deadline is not None and time.monotonic() > deadline:
                raise WorkflowError(f"job {job.id} is {job.state} after {timeout_s:g} s: does the agent run?")
            time.sleep(_POLL_S)
        return job

    def cancel(self, uid: str) -> Job:
        """Have a job end, with all its processes; `WorkflowError` where it has ended already."""
        return self._store.cancel(uid, actor=self._owner)

    def resubmit(self, uid: str, /, first: str | None = None, **arguments: Variable) -> str:
        """Run a job again, in another one; returns that one's id.

        Parameters
        ----------
        first
            The stage to begin with; the results of those before it are taken over. None: the first one.
        arguments
            Those that differ.

        Raises
        ------
        WorkflowError
            The job has not ended, did not come that far, or an argument cannot be used.
        """
        parent = self.job(uid)
        return self._store.resubmit(
            parent, self._store.workflow_of(parent), first=first, arguments=arguments, owner=self._owner
        ).id

    def __repr__(self) -> str:
        return repr(self.jobs(limit=_SHOWN))

    def _repr_html_(self) -> str:
        return self.jobs(limit=_SHOWN)._repr_html_()


@dataclass(frozen=True, slots=True)
class JobTable(Sequence[Job]):
    """Jobs; IPython and Jupyter show them as a table."""

    jobs: tuple[Job, ...]

    def __len__(self) -> int:
        return len(self.jobs)

    def __getitem__(self, index: Any) -> Any:
        return self.jobs[index]

    def __repr__(self) -> str:
        if not self.jobs:
            return "no jobs"
        rows = [_HEADINGS, *(_row(job) for job in self.jobs)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
        lines = (zip(row, widths, strict=True) for row in rows)
        return "\n".join("  ".join(f"{cell:{width}}" for cell, width in line).rstrip() for line in lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{heading}</th>" for heading in _HEADINGS)
        rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in _row(job)) for job in self.jobs)
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def has_ended_well(job: Job) -> bool:
    """Whether a job has ended, and did what it was to do or had nothing to do.

    Raises
    ------
    WorkflowError
        It has ended otherwise.
    """
    if job.state in (State.FAILED, State.ABORTED):
        told = f"{_SAID[job.state]}: {plain(job.reason) or 'no reason is told'}"
        raise WorkflowError(f"job {job.id} ({plain(job.workflow)}) {told}; see 'apsdm job show {job.id}'")
    return job.state in ENDED


_SAID = {State.FAILED: "failed", State.ABORTED: "was aborted"}


def _row(job: Job) -> tuple[str, ...]:
    created = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.created))
    cells = (
        job.id[:8],
        f"{job.workflow_owner}/{job.workflow}",
        job.state,
        job.stage_name,
        created,
        job.reason,
    )
    return tuple(
        cut if len(cut := plain(cell)) <= _LONGEST else f"{cut[: _LONGEST - 3]}..." for cell in cells
    )
