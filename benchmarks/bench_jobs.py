"""1,000 queued jobs of 3 short stages, beside the same processes without any record of them."""

import itertools
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from apsdm_bluesky.agent import jobs_thread
from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.workflows import Stage, Workflow
from apsdm_bluesky.workflows.jobs import JobStore, State

from ._bench import Bench, Race, Sample, Target

JOBS = 1_000
STAGES = 3
PARALLEL = 4  # as many jobs at a time as processes: none waits for another one's
OVERHEAD_S = 0.030
FIRST_S = 1.0


@contextmanager
def bench() -> Iterator[Bench]:
    samples: list[Sample] = []
    yield Bench(
        races=[
            Race(
                name="from the end of a process to the start of the next stage's (median)",
                unit="s",
                better="lower",
                ours=lambda: _remembered(samples),
                peers={},
                targets=[Target(limit=OVERHEAD_S)],
            ),
            Race(
                name="from the submission of the first job to the start of its process",
                unit="s",
                better="lower",
                ours=lambda: _first(samples),
                peers={},
                targets=[Target(limit=FIRST_S, by="every sample")],
            ),
            Race(
                name="time a stage, all together",
                unit="s",
                better="lower",
                ours=lambda: Sample(value=samples[-1].extra["stage_s"]),
                peers={"bare processes": _bare},
            ),
        ],
        packages=("sqlalchemy",),
        notes=[
            f"{JOBS:,} jobs of {STAGES} stages of `true`, {PARALLEL} at a time; SQLite, every commit synced",
            "bare processes: subprocess.run of as many, from as many threads, nothing written",
        ],
        repeats=3,
    )


def _remembered(samples: list[Sample]) -> Sample:
    samples.append(run())
    return samples[-1]


def _first(samples: list[Sample]) -> Sample:
    return Sample(value=samples[-1].extra["first_s"])


def run() -> Sample:
    """One round: the gap between stages, and what else came out."""
    with tempfile.TemporaryDirectory() as folder:
        config = BeamlineConfig(
            home=Path(folder), workflows={"at_once": PARALLEL, "local": {"parallel": PARALLEL}}
        )
        store = JobStore(config.folders.jobs)
        stages = tuple(Stage(name=f"s{number}", command="true") for number in range(STAGES))
        made = store.definitions.add(Workflow(name="bench", owner="me", stages=stages), actor="me")
        with jobs_thread(config, actor="bench"):
            begin = time.time()
            submitted = [store.submit(made, {}, owner="me") for _ in range(JOBS)]
            while store.unfinished():
                time.sleep(0.1)
            wall = time.time() - begin
        ids = [job.id for job in submitted if job is not None]
        if store.counts() != {State.DONE: JOBS}:
            raise RuntimeError(f"not all jobs are done: {dict(store.counts())}")
        gaps = [gap for uid in ids for gap in _gaps(store, uid)]
        first = store.attempts(ids[0])[0].started or 0.0
        store.close()
    extra = {"first_s": first - begin, "stage_s": wall / (JOBS * STAGES), "worst_s": max(gaps)}
    return Sample(value=statistics.median(gaps), extra=extra)


def _gaps(store: JobStore, uid: str) -> Iterator[float]:
    processes = store.attempts(uid)
    for before, after in itertools.pairwise(processes):
        yield (after.started or 0.0) - (before.ended or 0.0)


def _bare() -> Sample:
    count = JOBS * STAGES
    begin = time.perf_counter()
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(lambda _: subprocess.run(["true"], check=True, capture_output=True), range(count)))
    return Sample(value=(time.perf_counter() - begin) / count)
