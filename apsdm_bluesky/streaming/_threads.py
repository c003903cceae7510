"""Threads for the compiled loops of a reduction."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from types import TracebackType


class Threads:
    """`reduction.Workers` with a pool of its own. The loops release the interpreter's lock: they run at once.

    Not for use by two reductions at a time with parts that wait for each other; parts that only compute may
    share it.

    Parameters
    ----------
    threads
        1 or more; None: half of the cores that this process may use, as acquisition and storage have their
        work, too.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or max(1, len(os.sched_getaffinity(0)) // 2)
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="reduction")

    def run(self, task: Callable[[int], None], parts: int) -> None:
        """See `reduction.Workers`."""
        futures = [self._pool.submit(task, part) for part in range(parts)]
        wait(futures)
        for future in futures:
            future.result()

    def close(self) -> None:
        """End the threads. Idempotent."""
        self._pool.shutdown()

    def __enter__(self) -> "Threads":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
