"""Workflows of a few stages, and jobs of theirs that really run."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from apsdm_bluesky.agent import jobs_thread
from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.workflows import Stage, Workflow
from apsdm_bluesky.workflows.jobs import ENDED, Job, JobStore
from tests.waiting import wait_for


def workflow(*stages: Stage, **fields) -> Workflow:
    return Workflow(**{"name": "sample", "owner": "staff", "stages": stages} | fields)


def shell(name: str, command: str, **fields) -> Stage:
    return Stage(name=name, command=command, shell=True, **fields)


class Bench:
    """A store whose jobs are brought on as the agent does it."""

    def __init__(self, home: Path, **workflows) -> None:
        self.config = BeamlineConfig(home=home, workflows=workflows)
        self.store = JobStore(self.config.folders.jobs, self.config.workflows.database)

    def submit(self, made: Workflow, **arguments) -> Job:
        job = self.store.submit(self.store.definitions.add(made, actor="me"), arguments, owner="me")
        assert job is not None
        return job

    def ended(self, job: Job) -> Job:
        wait_for(lambda: self.store.get(job.id).state in ENDED, 60, f"the end of job {job.id}")
        return self.store.get(job.id)

    def run(self, made: Workflow, **arguments) -> Job:
        return self.ended(self.submit(made, **arguments))

    def folder(self, job: Job) -> Path:
        return self.store.folder(job.id)


@contextlib.contextmanager
def running(home: Path, **workflows) -> Iterator[Bench]:
    """The same, with the thread of the agent at work; afterwards none of its threads is left."""
    before = set(threading.enumerate())
    bench = Bench(home, **workflows)
    try:
        with jobs_thread(bench.config, actor="agent"):
            yield bench
    finally:
        bench.store.close()
    left = {thread for thread in threading.enumerate() if thread.name in ("jobs", "warden")}
    assert left <= before  # another bench's crew may have grown meanwhile
