"""The worker behind the API: queue, deadlines, pauses, and the threads that copy."""

import logging
import threading
import time
from collections.abc import Callable

from ._collections import Collections
from ._faults import Faults
from ._run import DeleteRun, Run, Stopped
from ._settings import Behaviour
from ._store import Document, Store
from ._tasks import Tasks
from ._transfer_run import TransferRun

__all__ = ["Engine"]

_log = logging.getLogger(__name__)
_TICK_S = 0.02


class Engine:
    """Works on the tasks of the store until `stop`. A restart takes up what is unfinished."""

    def __init__(
        self,
        store: Store,
        tasks: Tasks,
        collections: Collections,
        faults: Faults,
        behaviour: Callable[[], Behaviour],
    ) -> None:
        self._store, self._tasks, self._collections, self._faults = store, tasks, collections, faults
        self._behaviour = behaviour
        self._stop = threading.Event()
        self._workers: dict[str, threading.Thread] = {}
        self._scheduler = threading.Thread(target=self._run, name="globus-scheduler", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._scheduler.start()

    def stop(self) -> None:
        """Return when no thread works any more; copies are left as they are."""
        self._stop.set()
        self._scheduler.join()
        for worker in self._workers.values():
            worker.join()

    def _run(self) -> None:
        while not self._stop.wait(_TICK_S):
            self._workers = {key: worker for key, worker in self._workers.items() if worker.is_alive()}
            self.settle()
            working = [task for task in self._tasks.pending() if _can_work(task)]
            for task in working[: self._behaviour().active_limit]:
                self._work(task)

    def settle(self) -> None:
        """Bring the states of tasks in line with deadlines, pauses and credentials."""
        with self._store.transaction():
            for task in self._tasks.pending():
                self._expire(task)
                self._suspend_or_resume(task)

    def _expire(self, task: Document) -> None:
        if time.time() >= task["_deadline"]:
            self._tasks.finish(task["task_id"], "FAILED", "EXPIRED", "the deadline has passed")

    def _suspend_or_resume(self, task: Document) -> None:
        wanted = self._suspension(task)
        current = task["nice_status"] if task["status"] == "INACTIVE" or task["is_paused"] else None
        if wanted is None and current is not None:
            self._tasks.update(task["task_id"], status="ACTIVE", is_paused=False, nice_status="Queued")
            self._tasks.event(task["task_id"], "UNPAUSED", "the task goes on")
        elif wanted is not None and wanted["nice_status"] != current:
            self._tasks.update(task["task_id"], **wanted)
            self._tasks.event(task["task_id"], wanted["nice_status"], "the task waits", error=True)

    def _suspension(self, task: Document) -> Document | None:
        ends = (task["source_endpoint_id"], task["destination_endpoint_id"])
        policies = [self._collections.policy(self._collections.get(end)) for end in ends if end]
        pause = next((policy["pause"] for policy in policies if policy["pause"]), None)
        if pause is not None:
            return {"status": pause["status"], "is_paused": True, "nice_status": "PAUSED_BY_ADMIN"}
        if any(policy["credentials_expired"] for policy in policies):
            return {"status": "INACTIVE", "nice_status": "CREDENTIALS_EXPIRED", "nice_status_expires_in": 0}
        return None

    def _work(self, task: Document) -> None:
        key = task["task_id"]
        if key not in self._workers:
            self._workers[key] = threading.Thread(target=self._work_on, args=(key, task["type"]), daemon=True)
            self._workers[key].start()

    def _work_on(self, task_id: str, kind: str) -> None:
        run_type: type[Run] = TransferRun if kind == "TRANSFER" else DeleteRun
        run = run_type(
            task_id, self._store, self._tasks, self._collections, self._faults, self._behaviour, self._stop
        )
        try:
            run.run()
        except Stopped:
            pass  # cancelled, paused, expired or shut down: the store says which
        except Exception as error:  # noqa: BLE001 - a task must not seem to work
            _log.exception("task %s", task_id)
            self._tasks.finish(task_id, "FAILED", "INTERNAL_ERROR", repr(error))


def _can_work(task: Document) -> bool:
    return task["status"] == "ACTIVE" and not task["is_paused"]
