"""Makes an experiment again and again, killed (as by kill -9) one durable step later each time.

``python -m tests.experiments.dying_create FOLDER``. Prints a line of JSON each time, after the same creation
was asked for once more. Ends when none was killed.
"""

import json
import os
import signal
import sys
from pathlib import Path

import sqlalchemy as sa

from apsdm_bluesky.errors import ExperimentError
from apsdm_bluesky.experiments import ExperimentStore, NewExperiment
from tests.dying import die_at

STEPS = (
    (os, ("fsync", "mkdir", "link", "unlink")),
    (Path, ("mkdir",)),
    (sa.Connection, ("execute",)),
    (sa.engine.default.DefaultDialect, ("do_commit",)),
)


def create(folder: Path, step: int) -> None:
    store = ExperimentStore(folder / "list", root=folder / "data", station="s")
    if step:
        die_at(step, *STEPS, after=True)
    store.create(NewExperiment(name="one", users=("ann",)), actor="me")
    store.close()


def in_child(folder: Path, step: int) -> int:
    """The signal that ended it, 0 where it ended by itself."""
    pid = os.fork()
    if pid == 0:
        try:
            create(folder, step)
        except ExperimentError:
            os._exit(7)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(root: Path) -> None:
    killed, step = True, 0
    while killed:
        step += 1
        folder = root / str(step)
        folder.mkdir()
        killed = in_child(folder, step) == -signal.SIGKILL
        again = in_child(folder, 0)
        store = ExperimentStore(folder / "list", root=folder / "data", station="s")
        found = store.list()
        told = {
            "killed": killed,
            "refused": again == 7,
            "list": [[one.name, one.users, [change.told for change in store.changes(one)]] for one in found],
            "folders": sorted(path.name for path in (folder / "data").iterdir()),
            "files": sorted(str(path.relative_to(found[0].root)) for path in found[0].root.rglob("[!.]*")),
        }
        store.close()
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
