"""An agent that is killed: ``python agent_to_kill.py FOLDER``.

Runs one task to its end, starts two that never end and one that waits, says their ids, and waits.
"""

import json
import os
import sys
import time
from pathlib import Path

from apsdm_bluesky.workflows.executors import Ended, LocalProcesses, Running, Task
from tests.workflows.executors.processes import STUBBORN, alive


def main(folder: Path) -> None:
    executor = LocalProcesses(folder / "executor", parallel=2, output_bytes=1 << 20, notify=lambda: None)
    done = Task(id="d0", command=("/bin/sh", "-c", "exit 3"), folder=folder / "tasks/d0")
    executor.start(done)
    while not isinstance(executor.look(done), Ended):
        time.sleep(0.01)
    for name in ("a1", "a2", "b3"):
        command = (sys.executable, "-ISc", STUBBORN, str(folder / name))
        executor.start(task := Task(id=name, command=command, folder=folder / "tasks" / name))
        while name != "b3" and not (isinstance(executor.look(task), Running) and (folder / name).exists()):
            time.sleep(0.01)
    if os.fork() == 0:  # holds all that this process has open for as long as a warden lives
        while alive(str(folder / "executor")):
            time.sleep(0.02)
        os._exit(0)
    print(json.dumps("ready"), flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
