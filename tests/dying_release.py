"""Releases a run again and again, the agent killed (as by kill -9) one durable step later each time.

``python -m tests.dying_release HOME TEMPLATE``: a run is VERIFIED in HOME, and its release was asked for.
Prints a line of JSON each time: what was there when the agent was killed, and after a second one has done
its work. The folder is then put back to what it was. Ends when an agent was not killed.
"""

import json
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from apsdm_bluesky import agent
from apsdm_bluesky.archive import Ledger, LocalCopy, read_tombstone
from apsdm_bluesky.config import ArchiveConfig, BeamlineConfig
from apsdm_bluesky.errors import FormatError
from tests.dying import die_at
from tests.dying_agent import STEPS, in_fork


def work(home: Path, step: int) -> None:
    """An agent that ends when no run is being released any more."""
    if step:
        die_at(step, *STEPS)
    stop = threading.Event()
    config = BeamlineConfig(home=home, name="test", archive=ArchiveConfig(keep_days=0))

    def watch() -> None:
        ledger = Ledger(config.folders.archive)
        while not stop.is_set():
            if not ledger.runs.local_copies(LocalCopy.RELEASING):
                stop.set()
            stop.wait(0.02)

    watcher = threading.Thread(target=watch, daemon=True)
    agent.Agent(config, uri=None, api_key=None).run(stop, watcher.start)
    watcher.join()


def summary(home: Path) -> dict[str, Any]:
    ledger = Ledger(home / "archive")
    (entry,) = ledger.runs.list()
    events = [line.event for line in ledger.history(entry.uid)]
    ledger.close()
    files = sorted(path.relative_to(home / "raw") for path in (home / "raw").rglob("*") if path.is_file())
    return {
        "local": entry.local,
        "events": events,
        "files": [str(path) for path in files if "released" not in path.name],
        "tombstones": [_told(home / "raw" / path) for path in files if path.name.endswith(".released.json")],
        "left": [path.name for path in files if path.name.endswith(".part")],
        "folders": sorted(path.name for path in (home / "raw").rglob("*") if path.is_dir()),
    }


def _told(place: Path) -> str:
    try:
        return read_tombstone(place).run
    except FormatError as error:
        return str(error)


def main(home: Path, template: Path) -> None:
    home.rename(template)
    code, step = -signal.SIGKILL, 0
    while code:
        step += 1
        shutil.copytree(template, home, symlinks=True)
        code = in_fork(work, home, step)
        killed = summary(home)
        again = in_fork(work, home, 0)
        line = {"step": step, "code": code, "killed": killed, "again": again, "end": summary(home)}
        print(json.dumps(line), flush=True)
        shutil.rmtree(home)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
