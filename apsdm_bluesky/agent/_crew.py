"""Threads that do the agent's work, none of them on what another one is at."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

log = logging.getLogger(__name__)


class Crew:
    """A few threads for jobs that have a name each.

    Parameters
    ----------
    size
        Jobs that are done at a time.
    """

    def __init__(self, size: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=size, thread_name_prefix="agent")
        self._busy: set[str] = set()
        self._again: dict[str, Callable[[], bool]] = {}
        self._closed = False
        self._lock = threading.Lock()
        self._changed = threading.Event()

    def put(self, name: str, job: Callable[[], bool], *, again: bool = False) -> None:
        """Have `job` done, unless one of that name is being done, or the crew is closed.

        The job tells whether it changed anything.

        Parameters
        ----------
        again
            Where one is being done, have it done once more after that: what it has seen may be old.
        """
        with self._lock:
            if self._closed:
                return
            if name in self._busy:
                if again:
                    self._again[name] = job
                return
            self._busy.add(name)
            self._pool.submit(self._do, name, job)

    def wait(self, timeout: float) -> bool:
        """Wait until a job has changed something; False when none has by `timeout` seconds."""
        changed = self._changed.wait(timeout)
        self._changed.clear()
        return changed

    def close(self) -> None:
        """Wait for the jobs that are being done; those that have not begun are given up."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _do(self, name: str, job: Callable[[], bool]) -> None:
        changed = False
        try:
            changed = job()
        except Exception:  # it tells its own faults: this is a defect, and must not stop the others
            log.exception("%s", name)
        finally:
            if changed:
                self._changed.set()
            with self._lock:
                self._busy.discard(name)
                next_one = self._again.pop(name, None)
            if next_one is not None:
                self.put(name, next_one)
