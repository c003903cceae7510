"""Follow a job until it has ended."""

import time
from typing import TYPE_CHECKING

from apsdm_bluesky.texts import plain, seconds_text
from apsdm_bluesky.workflows.jobs import ENDED, Job, JobStore, StageEntry, State

from ._archive_jobs import check_agent, going_on

if TYPE_CHECKING:
    from apsdm_bluesky.config import BeamlineConfig

_POLL_S = 0.3
_LOOK_FOR_AGENT_S = 5.0


def follow(settings: "BeamlineConfig", store: JobStore, uid: str, *, quiet: bool) -> Job:
    """The job when it has ended; each change of a stage is told in one line unless `quiet`.

    Raises
    ------
    ApsdmError
        No agent runs; the job is kept.
    """
    told: dict[int, str] = {}
    looked = float("-inf")
    with going_on(uid):
        while True:
            job = store.get(uid)
            if not quiet:
                _tell(job, store, told)
            if job.state in ENDED:
                return job
            if time.monotonic() - looked > _LOOK_FOR_AGENT_S:
                check_agent(settings, uid)
                looked = time.monotonic()
            time.sleep(_POLL_S)


def _tell(job: Job, store: JobStore, told: dict[int, str]) -> None:
    for entry in store.stages(job)[job.first :]:
        line = _line(job, entry)
        if line and told.get(entry.index) != line:
            told[entry.index] = line
            print(plain(f"stage {entry.index + 1}/{len(job.stages)} {entry.name}: {line}"), flush=True)


def _line(job: Job, entry: StageEntry) -> str:
    """What is new of a stage; '' where the job has not come to it."""
    if entry.state in ENDED:
        took = f" in {seconds_text(entry)}" if entry.state is State.DONE else ""
        return f"{entry.state}{took}{_because(entry.reason)}"
    if entry.index != job.stage or (entry.state is State.PENDING and not job.reason):
        return ""
    return f"{entry.state}{_because(job.reason)}"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
