"""Runs a job again and again, its agent killed (as by kill -9) one durable step later each time.

``python -m tests.workflows.jobs.dying_jobs HOME``. Prints a line of JSON each time, after a second agent has
brought the job to its end: what is recorded, and what stands in its folder. Ends when none was killed.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apsdm_bluesky.agent import jobs_thread
from apsdm_bluesky.workflows.executors import LocalProcesses
from apsdm_bluesky.workflows.jobs import ENDED, JobStore
from tests.dying import die_at
from tests.workflows.jobs.samples import Bench, shell, workflow

DEADLINE_S = 60.0
STEPS = (
    (os, ("fsync", "rename", "mkdir")),
    (JobStore, ("save",)),
    (LocalProcesses, ("start", "look")),
)
# It notes each time that it runs, and leaves a child that would outlive it.
COMMAND = "echo $id-$stage >> $log; setsid sleep 1000 & echo result > file; echo made=$stage"


def work(home: Path, step: int) -> None:
    """An agent that ends when the job has."""
    if step:
        die_at(step, *STEPS)
    bench = Bench(home)
    deadline = time.monotonic() + DEADLINE_S
    with jobs_thread(bench.config, actor="agent"):
        while bench.store.list()[0].state not in ENDED and time.monotonic() < deadline:
            time.sleep(0.005)


def in_child(function: Callable[..., None], *args: Any) -> int:
    """The signal that ended it, 0 where it ended by itself."""
    pid = os.fork()
    if pid == 0:
        function(*args)
        sys.stdout.flush()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def submit(home: Path) -> None:
    stages = [shell(name, COMMAND, outputs=(r"made=(?P<made>\w+)",)) for name in ("one", "two")]
    bench = Bench(home)
    bench.submit(workflow(*stages, arguments={"log": None}), log=str(home / "log"))
    bench.store.close()


def tell(home: Path, killed: bool) -> None:
    """What came of it."""
    bench = Bench(home)
    (job,) = bench.store.list()
    events = [entry.event for entry in bench.store.history(job.id)]
    print(
        json.dumps(
            {
                "killed": killed,
                "state": job.state,
                "events": events,
                "well": [attempt.stage for attempt in bench.store.attempts(job.id) if attempt.well],
                "results": sorted(path.name for path in bench.folder(job).glob("[!.]*")),
                "files": [(bench.folder(job) / name / "file").read_text() for name in ("one", "two")],
                "runs": len((home / "log").read_text().split()),
            }
        ),
        flush=True,
    )
    bench.store.close()


def main(root: Path) -> None:
    killed, step = True, 0
    while killed:
        step += 1
        home = root / str(step)
        in_child(submit, home)
        killed = in_child(work, home, step) == -signal.SIGKILL
        if killed:
            in_child(work, home, 0)
        tell(home, killed)
        shutil.rmtree(home)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
