"""Runs a task by a keeper that is killed one durable step later each time: ``python dying_keeper.py FOLDER``.

Prints a line of JSON each time: what is recorded, how often the task ran, and what is left of it.
"""

import json
import os
import signal
import sys
from pathlib import Path

from apsdm_bluesky.workflows.executors._warden import _records, _tree
from apsdm_bluesky.workflows.executors._warden._keeper import HEARD, Keeper
from apsdm_bluesky.workflows.executors._warden._messages import Order, Settings
from tests.dying import die_at


def keep(order: Order, settings: Settings, step: int) -> int:
    """The exit code of a keeper that is killed at `step`, or minus the signal; it runs no more after that."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        die_at(step, (os, ("fsync", "replace", "open", "close", "wait4")))
        Keeper(order, settings).run(parent)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    while _tree.children(parent):  # as the warden does with what a killed keeper leaves
        _tree.send(_tree.descendants(parent), signal.SIGKILL)
        os.waitpid(-1, 0)
    return code


def main(folder: Path) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    _tree.adopt_orphans()
    settings = Settings(
        folder=str(folder),
        parent=os.getppid(),
        parallel=1,
        memory_bytes=None,
        cpus=None,
        output_bytes=1000,
        grace_s=1.0,
        mark="APSDM_WARDEN=dying",
    )
    code, step = -signal.SIGKILL, 0
    while code:
        step += 1
        (work := folder / str(step)).mkdir()
        command, place = ["/bin/sh", "-c", "printf x >> effects"], str(work)
        order = Order(id="a", command=command, environment={}, folder=place, work=place, timeout_s=None)
        code = keep(order, settings, step)
        started, ended = _records.started(work) is not None, _records.ended(work)
        keep(order, settings, 0)  # started again after the crash
        said = {
            "step": step,
            "code": code,
            "started": started,
            "ended": ended and json.loads(ended)["status"],
        }
        ran = "".join(path.read_text() for path in work.glob("effects"))
        print(json.dumps({**said, "again": _records.ended(work) == ended, "ran": ran}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
