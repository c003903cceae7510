"""Which jobs are to be brought on now, and when to look again."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock

from apsdm_bluesky.errors import ServiceError, StorageError
from apsdm_bluesky.workflows._definition import LOCAL
from apsdm_bluesky.workflows.executors import Executor

from ._driver import Driver
from ._job import ENDED, State
from ._reader import Unfinished
from ._store import JobStore

log = logging.getLogger(__name__)

_LOOK_S = 0.2
_LOOK_ANYWAY_S = 10.0  # at what runs: a word of an executor may have been lost
_STARTED_S = 1.0  # until it is looked whether a process has begun: most of the short ones have ended
_TROUBLE_S = 10.0  # until a job is looked at again that could not be brought on

Put = Callable[[str, str, Callable[[], bool]], None]


class JobLoop:
    """Finds the jobs that can go on: new or cancelled ones, those whose process ended or whose time has come.

    Parameters
    ----------
    put
        In the lane of an executor, has the job of this name brought on by some thread; asked again while it
        is at it, it does so once more.
    wake
        Asks for a call of `look`, from any thread.
    at_once
        Jobs that run at a time; the others are pending, in the order of their submission.
    should_stop, in_order
        See `Driver`.
    """

    def __init__(
        self,
        store: JobStore,
        executors: Mapping[str, Executor],
        put: Put,
        *,
        wake: Callable[[], None],
        at_once: int,
        actor: str,
        should_stop: Callable[[], bool] = lambda: False,
        in_order: float | None = None,
    ) -> None:
        self._store = store
        self._executors = executors
        self._driver = Driver(
            store,
            executors,
            actor=actor,
            started=self._started,
            should_stop=should_stop,
            in_order=in_order,
        )
        self._put = put
        self._wake = wake
        self._at_once = at_once
        self._tasks: dict[str, str] = {}
        self._seen: dict[str, int] = {}
        self._lanes: dict[str, str] = {}
        self._due: dict[str, float] = {}
        self._trouble: dict[str, str] = {}
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
        sweep = time.monotonic() >= self._next_sweep
        if sweep:
            self._next_sweep = time.monotonic() + _LOOK_ANYWAY_S
        unfinished = self._store.unfinished()
        for uid in self._allowed(unfinished):
            if self._goes_on(uid, unfinished[uid], sweep):
                self._bring_on(uid)
        self._forget(unfinished)

    def _allowed(self, unfinished: Mapping[str, Unfinished]) -> Sequence[str]:
        """What runs, and as many of the pending ones as may; one that is hindered takes nobody's place."""
        free = self._at_once - sum(each.state is not State.PENDING for each in unfinished.values())
        found = []
        for uid, each in unfinished.items():
            if each.state is State.PENDING:
                if free <= 0 or (each.wake or 0) > time.time():
                    continue
                free -= 1
            found.append(uid)
        return found

    def _goes_on(self, uid: str, each: Unfinished, sweep: bool) -> bool:
        if self._due.get(uid, float("inf")) <= time.monotonic():
            self._due.pop(uid, None)
            return True
        if uid in self._trouble:
            return False
        woken = each.wake is not None and each.wake <= time.time()
        return sweep or woken or self._seen.get(uid) != each.revision

    def _bring_on(self, uid: str) -> None:
        lane = self._lanes.get(uid, LOCAL)
        self._put(lane, uid, lambda: self._brought_on(uid, lane))

    def _brought_on(self, uid: str, lane: str) -> bool:
        try:
            outcome = self._driver.bring_on(uid, lane)
        except (StorageError, ServiceError) as error:
            self._wait(uid, str(error))
            return False
        except Exception as error:  # noqa: BLE001 - a record that cannot be read, say: the others go on
            self._wait(uid, f"{type(error).__name__}: {error}")
            return False
        self._trouble.pop(uid, None)
        if outcome is None:
            self._due[uid] = time.monotonic()
            return False
        self._seen[uid] = outcome.job.revision
        self._lanes[uid] = outcome.lane
        if outcome.lane != lane and outcome.lane in self._executors:
            self._bring_on(uid)
        if outcome.job.state in ENDED:  # another one may begin
            self._next_look = 0.0
            self._wake()
        return False

    def _wait(self, uid: str, reason: str) -> None:
        if self._trouble.get(uid) != reason:
            log.error("job %s cannot be brought on: %s", uid, reason)
        self._trouble[uid] = reason
        self._due[uid] = time.monotonic() + _TROUBLE_S

    def _started(self, task: str, job: str) -> None:
        with self._lock:
            self._tasks[task] = job
        self._due.setdefault(job, time.monotonic() + _STARTED_S)

    def _forget(self, unfinished: Mapping[str, object]) -> None:
        for known in (self._seen, self._lanes, self._due, self._trouble):
            for uid in list(known):  # at one stroke: the crew's threads add to it
                if uid not in unfinished:
                    known.pop(uid, None)
        with self._lock:
            self._tasks = {task: job for task, job in self._tasks.items() if job in unfinished}
