"""Reconciles runs and jobs again and again, killed (as by kill -9) before or after one durable step more.

``python dying_trigger.py HOME TEMPLATE``. Prints a line of JSON each time, after another process has
reconciled: which jobs there are, as (run, rule), how many that process made, and whether the run is marked.
Ends when the first was not killed. Everything is imported once; each process is a fork.
"""

import json
import shutil
import signal
import sys
from pathlib import Path

from apsdm_bluesky.spool import RunFile, Spool
from apsdm_bluesky.workflows.jobs import JobStore, TriggerRequests
from tests.dying import die_at
from tests.dying_agent import in_fork

STEPS = ((JobStore, ("submit", "refuse")), (RunFile, ("mark_triggered",)))


def work(home: Path, step: int) -> None:
    if step:
        die_at(step, *STEPS, after=True)
    store = JobStore(home / "jobs")
    TriggerRequests(Spool(home / "spool"), store, actor="agent").reconcile()
    store.close()


def main(home: Path, template: Path) -> None:
    home.rename(template)
    code, step = -signal.SIGKILL, 0
    while code:
        step += 1
        shutil.copytree(template, home)
        code, again = in_fork(work, home, step), in_fork(work, home, 0)
        store = JobStore(home / "jobs")
        jobs = sorted([job.run, job.rule, job.state] for job in store.list())
        store.close()
        marked = [run.triggered for run in Spool(home / "spool").runs()]
        print(json.dumps({"code": code, "again": again, "jobs": jobs, "marked": marked}), flush=True)
        shutil.rmtree(home)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
