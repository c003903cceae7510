"""All that is known of a job, and what a person is told of it: whose fault, what next, the last words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from apsdm_bluesky.workflows.executors import Blame

from ._job import Attempt, Job, StageEntry, State
from ._reader import HistoryEntry, JobFilter
from ._store import JobStore

_FAULTS = {
    Blame.COMMAND: "of the command, its arguments or its input",
    Blame.SYSTEM: "of the machine that it ran on",
    Blame.NETWORK: "of the network, the remote or the login there",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """A job with all that is known of it.

    Parameters
    ----------
    children
        Jobs that it was resubmitted as.
    attempts
        The processes of all its stages.
    folder
        Where its files lie.
    """

    job: Job
    children: Sequence[Job]
    stages: Sequence[StageEntry]
    attempts: Sequence[Attempt]
    history: Sequence[HistoryEntry]
    folder: Path

    @classmethod
    def of(cls, store: JobStore, uid: str) -> Self:
        """The report of the job whose id begins with `uid`; errors as of `JobStore.get`."""
        job = store.get(uid)
        return cls(
            job=job,
            children=store.list(JobFilter(parent=job.id)),
            stages=store.stages(job),
            attempts=store.attempts(job.id),
            history=store.history(job.id),
            folder=store.folder(job.id),
        )

    @property
    def fault(self) -> str:
        """Whose fault it is that the job failed or waits; empty where that is nobody's."""
        return "" if self.job.blame is None else _FAULTS[self.job.blame]

    @property
    def can_be_mended(self) -> bool:
        """Whether it ended before it was done, so that running it again can help."""
        return self.job.state in (State.FAILED, State.ABORTED)

    @property
    def remedy(self) -> str:
        """What comes before it is run again; empty where nothing does."""
        if self.job.blame is None:
            return ""
        return "correct it" if self.job.blame is Blame.COMMAND else "mend that"

    @property
    def actors(self) -> Sequence[str]:
        """Who submitted it."""
        return [line.actor for line in self.history if line.event == "Submitted"]

    def processes(self, stage: int, most: int) -> tuple[Sequence[Attempt], Sequence[Attempt]]:
        """The processes of a stage: `most` of them, bad ones first, and all."""
        own = [one for one in self.attempts if one.stage == stage]
        shown = sorted(own, key=lambda one: (one.well, -one.number))[:most]
        return sorted(shown, key=lambda one: one.number), own

    def last_words(self, most: int) -> tuple[str, Sequence[str]]:
        """In which file what are the last lines of the failed process; none where no process is to blame."""
        bad = [one for one in self.attempts if one.ended is not None and not one.well]
        if self.job.blame is None or not bad or bad[-1].stage != self.job.stage:
            return "", ()
        last = bad[-1]
        name, text = ("stderr", last.stderr) if last.stderr.strip() else ("stdout", last.stdout)
        return name, text.rstrip().splitlines()[-most:]


def status_text(one: Attempt) -> str:
    """What became of a process."""
    if one.lost:
        return "lost"
    if one.ended is None:
        return "waits" if one.started is None else f"runs, pid {one.pid or '-'} on {one.host or '-'}"
    return "never ran" if one.status is None else f"exit status {one.status}"
