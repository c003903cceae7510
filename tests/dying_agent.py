"""Runs the agent on a state folder again and again, killed (as by kill -9) one durable step later each time.

``python -m tests.dying_agent HOME TEMPLATE``. Prints a line of JSON each time, after a second agent has done
the work: what the ledger, the tape and the state folder hold. The folder is then put back to what it was.
Ends when an agent was not killed. Everything is imported once; each agent is a fork.
"""

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apsdm_bluesky import agent
from apsdm_bluesky.archive import Ledger, State
from apsdm_bluesky.archive._reading_table import ReadingTable
from apsdm_bluesky.archive._runs import RunTable
from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.workflows.jobs import JobStore
from tests.dying import die_at

DEADLINE_S = 30.0


STEPS = (
    (os, ("fsync", "replace", "rename", "link", "mkdir", "unlink", "rmdir")),
    (Ledger, ("apply", "plan")),
    (RunTable, ("add", "apply")),
    (ReadingTable, ("apply",)),
)


@contextmanager
def no_jobs(config: BeamlineConfig, **_: str) -> Iterator[JobStore]:
    """In place of the thread that runs workflows: `tests.workflows.jobs.dying_jobs` kills that one."""
    store = JobStore(config.folders.jobs)
    yield store
    store.close()


@contextmanager
def no_daqs(config: BeamlineConfig, *_: object, **__: object) -> Iterator[None]:
    """In place of the thread that hands on files of DAQs, which tests of their own kill."""
    yield


def work(home: Path, step: int) -> None:
    """An agent that ends when all is verified."""
    agent._agent.jobs_thread = no_jobs
    agent._agent.daqs_thread = no_daqs
    if step:
        die_at(step, *STEPS)
    stop = threading.Event()
    config = BeamlineConfig(home=home, name="test")

    def watch() -> None:
        ledger = Ledger(config.folders.archive)
        stop.wait(0.02)
        while not stop.is_set():
            records = ledger.list()
            if records and all(record.state is State.VERIFIED for record in records):
                stop.set()
            stop.wait(0.02)

    watcher = threading.Thread(target=watch, daemon=True)
    agent.Agent(config, uri=None, api_key=None).run(stop, watcher.start)
    watcher.join()


def in_fork(work: Callable[[Path, int], None], home: Path, step: int) -> int:
    """The exit code of `work` in a fork, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(int(DEADLINE_S))
        work(home, step)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def summary(home: Path) -> dict[str, Any]:
    ledger = Ledger(home / "archive")
    records = ledger.list()
    ledger.close()
    tasks = [json.loads(path.read_bytes()) for path in (home / "tape/.apsdm-transfer").glob("*.json")]
    files = [path for path in home.rglob("*") if path.is_file() and "spool" not in path.parts]
    return {
        "records": {record.uid: [record.state, record.sha256] for record in records},
        "sent": sum(task["request"]["direction"] == "send" for task in tasks),
        "tape": sorted(path.name for path in (home / "tape/test").rglob("*") if path.is_file()),
        "left": [path.name for path in files if path.suffix in (".part", ".new")],
        "bundles": sorted(path.name for path in (home / "archive/bundles").iterdir()),
        "readback": [path.name for path in (home / "archive/readback").iterdir()],
    }


def main(home: Path, template: Path) -> None:
    home.rename(template)
    code, step = -signal.SIGKILL, 0
    while code:
        step += 1
        shutil.copytree(template, home)
        code = in_fork(work, home, step)
        again = in_fork(work, home, 0)
        print(json.dumps({"step": step, "code": code, "again": again, **summary(home)}), flush=True)
        shutil.rmtree(home)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
