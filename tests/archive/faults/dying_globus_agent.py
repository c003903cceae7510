"""Runs the agent again and again, killed (as by kill -9) one step later each time, and another one after it.

``python dying_globus_agent.py ORDER``: JSON with the beamline's configuration and the folder of its
destination. A step is a call to Globus, whose answer is not seen, or a change of the ledger. Prints a line of
JSON each time and puts all back to what it was. Ends when an agent was not killed. Each agent is a fork.
"""

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import requests

from apsdm_bluesky.agent import Agent
from apsdm_bluesky.archive import Ledger, State
from apsdm_bluesky.config import BeamlineConfig

DEADLINE_S = 60


def die_at(step):
    """Kill this process when its n-th step is done."""
    left = [step]

    def dying(owner, name):
        function = getattr(owner, name)

        def wrapper(*args, **kwargs):
            result = function(*args, **kwargs)
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, wrapper)

    dying(requests.Session, "send")
    dying(Ledger, "apply")
    dying(Ledger, "plan")


def work(config, step):
    """An agent that ends when all is verified."""
    if step:
        die_at(step)
    stop = threading.Event()

    def watch():
        ledger = Ledger(config.folders.archive)
        while not stop.wait(0.02):
            records = ledger.list()
            if records and all(record.state is State.VERIFIED for record in records):
                stop.set()
        ledger.close()

    watcher = threading.Thread(target=watch, daemon=True)
    Agent(config, uri=None, api_key=None).run(stop, watcher.start)
    watcher.join()


def in_fork(config, step):
    """Whether an agent in a fork was killed."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(DEADLINE_S)
        work(config, step)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code not in (0, -signal.SIGKILL):
        sys.exit(f"step {step}: the agent ended with {code}")
    return code != 0


def summary(config, tape):
    ledger = Ledger(config.folders.archive)
    (record,) = ledger.list()
    ledger.close()
    found = [path for path in config.folders.archive.rglob("*") if path.suffix in (".part", ".tar", ".new")]
    return {
        "state": record.state,
        "sha256": record.sha256,
        "files": sorted(path.name for path in tape.rglob("*") if path.is_file()),
        "left": [path.name for path in found],
    }


def main(order):
    config, tape = BeamlineConfig(**order["config"]), Path(order["tape"])
    home = config.folders.root
    template = home.with_name("template")
    home.rename(template)
    killed, step = True, 0
    while killed:
        step += 1
        shutil.copytree(template, home)
        killed = in_fork(config, step)
        in_fork(config, 0)
        print(json.dumps({"killed": killed, **summary(config, tape)}), flush=True)
        shutil.rmtree(home)
        shutil.rmtree(tape)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
