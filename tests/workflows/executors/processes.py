"""Processes that tests start and look for."""

import uuid
from pathlib import Path
from typing import Any

from apsdm_bluesky.workflows.executors import Ended, Executor, Lost, Task
from tests.waiting import wait_for

# Ignores SIGTERM, and so does its daemon, in a session of its own and without the environment that marks it.
STUBBORN = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    if "bare" in sys.argv:
        code = "import sys, time; open(sys.argv[1], 'w'); time.sleep(600)"
        os.execve(sys.executable, [sys.executable, "-ISc", code, *sys.argv[1:]], {})
    pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""


def shell(folder: Path, script: str, **fields: Any) -> Task:
    return task(folder, "/bin/sh", "-c", script, **fields)


def task(folder: Path, *command: str, **fields: Any) -> Task:
    name = uuid.uuid4().hex
    return Task(id=name, command=command, folder=folder / "tasks" / name, **fields)


def run(executor: Executor, one: Task) -> Ended:
    executor.start(one)
    return wait_ended(executor, one)


def wait_ended(executor: Executor, one: Task) -> Ended:
    wait_for(lambda: isinstance(executor.look(one), Ended | Lost), message=f"the end of {one.command}")
    report = executor.look(one)
    assert isinstance(report, Ended), report
    return report


def alive(token: str) -> list[int]:
    """The processes that have `token` in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if token.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
