"""Has DAQs worked on again and again, killed (as by kill -9) one durable step later each time.

``python -m tests.daq.dying porter|handover FOLDER``. Prints a line of JSON for each step, after a second
life has done the work: how the first one ended, and what is there. Ends when one was not killed. Everything
is imported once; each life is a fork, some of them at a time.
"""

import json
import os
import shutil
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from apsdm_bluesky.agent._daq_jobs import DaqJobs
from apsdm_bluesky.agent._deliver import OwnRuns
from apsdm_bluesky.daq import (
    BatchStore,
    DaqOptions,
    DaqStore,
    FileState,
    Handover,
    Kind,
    NewDaq,
    Settings,
    WorkStore,
    _pool,
)
from apsdm_bluesky.daq._copier import CopyProcess
from apsdm_bluesky.daq._porter import _Porter
from apsdm_bluesky.daq._work import Change
from apsdm_bluesky.spool import Spool, SpoolSession
from apsdm_bluesky.spool import _disk as spool_disk
from apsdm_bluesky.spool import _whole_run as spool_run
from apsdm_bluesky.workflows import Stage, Workflow
from apsdm_bluesky.workflows.jobs import JobFilter, JobStore
from tests.dying import die_at
from tests.waiting import wait_for

DEADLINE_S = 60
AT_ONCE = 8
FILES = {"a.dat": b"a", "b.dat": b"bb" * 200_000, "c/a.dat": b"", "d.dat": b"a"}
HANDED = ("a.dat", "c/b.dat")
COPYING = (
    (os, ("link", "unlink", "utime", "mkdir")),
    (WorkStore, ("add", "apply", "revive", "set_drained", "hinder")),
    (_pool, ("sync_file_system",)),
)
HANDING_ON = (
    (BatchStore, ("_make", "settle")),
    (WorkStore, ("end", "stop_due")),
    (JobStore, ("submit", "refuse", "_insert")),
    (SpoolSession, ("put_run",)),
    (spool_run, ("sync",)),
    (spool_disk, ("sync",)),
    (Path, ("rename", "replace", "unlink")),
)


def new_daq(home: Path, **options: Any) -> NewDaq:
    """Of what lies in `source`."""
    return NewDaq(
        kind=Kind.UPLOAD,
        experiment="exp-1",
        station="test",
        source=home / options.pop("source", "source"),
        root=home / "exp-1",
        owner="eva",
        options=DaqOptions(**options),
    )


def prepare(home: Path) -> DaqStore:
    """An experiment, and a folder with files."""
    (home / "exp-1/data").mkdir(parents=True)
    for name, content in FILES.items():
        path = home / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return DaqStore(home / "daq")


def prepare_porter(home: Path) -> None:
    """An upload that nobody has begun."""
    store = prepare(home)
    store.start(new_daq(home), actor="eva")
    store.close()


def porter(home: Path, step: int) -> None:
    """The process that copies, until there is nothing to copy."""
    if step:
        die_at(step, *COPYING, after=True)
    settings = Settings(
        folder=str(home / "daq"),
        station="here",
        url=None,
        watch="poll",
        poll_s=1,
        settle_s=0.01,
        rules={},
        parallel=1,
        sources=[],
        home=str(home / "daq"),
    )
    work = _Porter(settings, [CopyProcess("here-0", [])])
    threading.Thread(target=_end_when_drained, args=(home,), daemon=True).start()
    work.run()


def _end_when_drained(home: Path) -> None:
    work = WorkStore(home / "daq")
    wait_for(lambda: not work.undrained(), DEADLINE_S, "the end of what is copied")
    os._exit(0)


def prepare_handover(home: Path) -> None:
    """Two uploads whose files are stored: one with a job for each file, one with a job at the end."""
    store, work, jobs = prepare(home), WorkStore(home / "daq"), JobStore(home / "jobs")
    (home / "other").mkdir()
    workflow = Workflow(name="w", owner="eva", arguments=None, stages=(Stage(name="1", command="echo"),))
    jobs.definitions.add(workflow, actor="eva")
    for source, each in (("source", True), ("other", False)):
        daq = store.start(new_daq(home, source=source, workflow="w", each=each), actor="eva")
        names = [f"{source}/{name}" for name in HANDED]
        rows = [
            Change(name=name, state=FileState.STORED, size=1, mtime_ns=1, path=name, sha256="0" * 64)
            for name in names
        ]
        work.add(daq.id, rows, {name: name for name in names})
        work.set_drained(daq.id)
    for opened in (store, work, jobs):
        opened.close()


def handover(home: Path, step: int) -> None:
    """The agent's thread that hands on, until all has ended."""
    if step:
        die_at(step, *HANDING_ON, after=True)
    with ExitStack() as stack:
        store, work = DaqStore(home / "daq"), WorkStore(home / "daq")
        batches, jobs = BatchStore(home / "daq"), JobStore(home / "jobs")
        runs = OwnRuns(Spool(home / "spool"), None, None)
        for opened in (store, work, batches, jobs, runs):
            stack.callback(opened.close)
        handing = Handover(
            store,
            work,
            batches,
            beamline="test",
            collection="local",
            wait_s=0,
            put_run=runs.put,
            start_job=DaqJobs(jobs, actor="agent").start,
        )
        while work.drained():
            handing.look()
    os._exit(0)


def copy(template: Path, home: Path) -> Path:
    """The same, elsewhere."""
    shutil.copytree(template, home)
    connection = sqlite3.connect(home / "daq/daq.sqlite")
    change = "UPDATE daqs SET source = replace(source, ?1, ?2), root = replace(root, ?1, ?2)"
    connection.execute(change, (f"{template}/", f"{home}/"))
    connection.commit()
    connection.close()
    return home


def in_fork(life: Callable[[Path, int], None], home: Path, step: int) -> int:
    """Its process."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(DEADLINE_S)
        try:
            life(home, step)
        finally:
            os._exit(70)
    return pid


def code_of(pid: int) -> int:
    """The exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def summary(home: Path) -> dict[str, Any]:
    """What is there."""
    store = DaqStore(home / "daq")
    daqs = store.list()
    rows = [row for daq in daqs for row in store.files(daq.id, versions=True)]
    store.close()
    data = home / "exp-1/data"
    stored = [path for path in sorted(data.rglob("*")) if path.is_file()]
    documents = [item for run in Spool(home / "spool").runs() for item in run.documents()]
    return {
        "states": [daq.state for daq in daqs],
        "rows": sorted([row.name, row.state, row.version] for row in rows),
        "stored": {path.relative_to(data).as_posix(): path.stat().st_size for path in stored},
        "left": [path.name for path in (home / "exp-1").rglob("*.part")],
        "in_runs": sorted(doc["parameters"]["name"] for name, doc in documents if name == "stream_resource"),
        "rules": _rules(home),
    }


def _rules(home: Path) -> list[str]:
    if not (home / "jobs").exists():
        return []
    jobs = JobStore(home / "jobs")
    try:
        return sorted(str(job.rule).partition(": ")[2] for job in jobs.list(JobFilter(limit=None)))
    finally:
        jobs.close()


LIVES = {"porter": (prepare_porter, porter), "handover": (prepare_handover, handover)}


def main(what: str, folder: Path) -> None:
    make, life = LIVES[what]
    template = folder / "template"
    make(template)
    step, over = 0, False
    while not over:
        steps = range(step + 1, step + 1 + AT_ONCE)
        homes = {each: copy(template, folder / str(each)) for each in steps}
        codes = {each: in_fork(life, home, each) for each, home in homes.items()}
        codes = {each: code_of(pid) for each, pid in codes.items()}
        again = {each: in_fork(life, home, 0) for each, home in homes.items()}
        again = {each: code_of(pid) for each, pid in again.items()}
        for each, home in homes.items():
            told = {"step": each, "code": codes[each], "again": again[each], **summary(home)}
            print(json.dumps(told), flush=True)
        step, over = steps[-1], codes[steps[-1]] == 0


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
