"""Has a released run restored by agents that are killed (as by kill -9) one durable step later each time.

``python -m tests.dying_restore HOME TEMPLATE``. Prints a line of JSON each time, after a second agent
has finished the work: what the ledger, the raw folder and the state folder hold. The folder is then put back
to what it was. Ends when an agent was not killed. Everything is imported once; each agent is a fork.
"""

import json
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from apsdm_bluesky import agent
from apsdm_bluesky.archive import Ledger
from apsdm_bluesky.config import BeamlineConfig
from tests.archive.reading import contents
from tests.dying import die_at
from tests.dying_agent import STEPS, in_fork


def work(home: Path, step: int) -> None:
    """An agent that ends when everything has ended and is tidied up."""
    if step:
        die_at(step, *STEPS)
    stop = threading.Event()
    config = BeamlineConfig(home=home, name="test")

    def watch() -> None:
        ledger = Ledger(config.folders.archive)
        scratch = config.folders.archive / "restore"
        while not stop.is_set():
            if not ledger.readings.unfinished() and not (scratch.is_dir() and any(scratch.iterdir())):
                stop.set()
            stop.wait(0.02)

    watcher = threading.Thread(target=watch, daemon=True)
    agent.Agent(config, uri=None, api_key=None).run(stop, watcher.start)
    watcher.join()


def summary(home: Path) -> dict[str, Any]:
    ledger = Ledger(home / "archive")
    readings, run = ledger.readings.list(), ledger.runs.list()[0]
    ledger.close()
    tasks = [json.loads(path.read_bytes()) for path in (home / "tape/.apsdm-transfer").glob("*.json")]
    labels = [task["request"]["label"] for task in tasks]
    scratch = home / "archive/restore"
    return {
        "readings": [reading.state for reading in readings],
        "run": [run.state, run.local],
        "fetched": sum(label.endswith("for a restore") for label in labels),
        "raw": contents(home / "raw"),
        "scratch": [path.name for path in scratch.iterdir()] if scratch.is_dir() else [],
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
