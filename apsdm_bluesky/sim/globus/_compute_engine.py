"""The endpoint of Globus Compute: takes calls up while it is online, each in a process of its own."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from ._compute_store import Calls
from ._store import Document

__all__ = ["ComputeEngine"]

_TICK_S = 0.02
_WORKER = Path(__file__).with_name("_compute_worker.py")  # by its path: it loads nothing of ours


class ComputeEngine:
    """Runs the calls of the store until `stop`. Workers go on meanwhile; a restart takes up their answers."""

    def __init__(self, calls: Calls, folder: Path) -> None:
        self._calls, self._folder = calls, folder / "compute"
        self._folder.mkdir(exist_ok=True)
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="compute-endpoint", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Return when nothing is taken up any more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_TICK_S):
            for call in self._calls.all():
                if call["status"] == "waiting-for-ep" and self._calls.endpoint()["online"]:
                    self._begin(call)
                elif call["status"] == "running":
                    self._look(call)

    def _begin(self, call: Document) -> None:
        worker = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER), str(self._answer(call))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._calls.update(call["task_id"], status="running", pid=worker.pid)
        given = {"code": self._calls.code(call["function"]), "payload": call["payload"]}
        if worker.stdin is not None:
            worker.stdin.write(json.dumps(given).encode())
            worker.stdin.close()
        self._workers[call["task_id"]] = worker

    def _look(self, call: Document) -> None:
        worker = self._workers.get(call["task_id"])
        alive = _exists(call["pid"]) if worker is None else worker.poll() is None
        answer = self._answer(call)
        if answer.exists():
            self._calls.update(call["task_id"], **json.loads(answer.read_bytes()))
        elif not alive:
            lost = {"status": "failed", "exception": "WorkerLost: the worker ended unexpectedly"}
            self._calls.update(call["task_id"], **lost)
        else:
            return
        self._workers.pop(call["task_id"], None)

    def _answer(self, call: Document) -> Path:
        return self._folder / f"{call['task_id']}.json"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
