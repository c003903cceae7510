"""Which jobs are to be brought on now, and when to look again."""

import time
from collections.abc import Callable, Mapping
from threading import Lock

from apsdm_bluesky.workflows.executors import Executor

from ._driver import Driver
from ._job import ENDED, State
from ._store import JobStore

_LOOK_S = 0.2
_LOOK_ANYWAY_S = 10.0  # at what runs: a word of an executor may have been lost


class JobLoop:
    """Finds the jobs that can go on: new or cancelled ones, those whose process ended or whose time has come.

    Parameters
    ----------
    put
        Has a job of this name brought on by some thread; asked again while it is at it, it does nothing.
    wake
        Asks for a call of `look`, from any thread.
    at_once
        Jobs that run at a time; the others are pending, in the order of their submission.
    """

    def __init__(
        self,
        store: JobStore,
        executors: Mapping[str, Executor],
        put: Callable[[str, Callable[[], bool]], None],
        *,
        wake: Callable[[], None],
        at_once: int,
        actor: str,
    ) -> None:
        self._store = store
        self._executors = executors
        self._driver = Driver(store, executors, actor=actor, started=self._started)
        self._put = put
        self._wake = wake
        self._at_once = at_once
        self._tasks: dict[str, str] = {}
        self._seen: dict[str, int] = {}
        self._lock = Lock()
        self._next_look = self._next_sweep = 0.0

    def look(self) -> None:
        """Have everything brought on that can go on.

        Raises
        ------
        StorageError, ServiceError
            The database cannot be read now.
        """
        for executor in self._executors.values():
            for task in executor.changed():
                with self._lock:
                    job = self._tasks.pop(task, None)
                if job is not None:
                    self._bring_on(job)
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_S
            self._look_at_all()

    def _look_at_all(self) -> None:
        now = time.time()
        sweep = time.monotonic() >= self._next_sweep
        if sweep:
            self._next_sweep = time.monotonic() + _LOOK_ANYWAY_S
        unfinished = self._store.unfinished()
        free = self._at_once - sum(state is not State.PENDING for _, state, _, _ in unfinished)
        for uid, state, wake, revision in unfinished:
            if state is State.PENDING:
                free -= 1
                if free < 0:
                    continue
            due = wake is not None and wake <= now
            if sweep or due or self._seen.get(uid) != revision:
                self._bring_on(uid)
        for uid in set(self._seen) - {entry[0] for entry in unfinished}:
            self._seen.pop(uid, None)

    def _bring_on(self, uid: str) -> None:
        self._put(uid, lambda: self._brought_on(uid))

    def _brought_on(self, uid: str) -> bool:
        job = self._driver.bring_on(uid)
        if job is not None:
            self._seen[uid] = job.revision
            if job.state in ENDED:  # another one may begin
                self._next_look = 0.0
                self._wake()
        return False

    def _started(self, task: str, job: str) -> None:
        with self._lock:
            self._tasks[task] = job
