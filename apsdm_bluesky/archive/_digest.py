"""Digests computed beside the work that they are of: hashing takes longer than reading and writing."""

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

_AHEAD = 4  # pieces that may wait for a digest: more would only take memory


class Digester:
    """A thread that hashes what it is given, in order; hashlib lets other threads run meanwhile.

    Parameters
    ----------
    name
        Of the algorithm, as hashlib has it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._waiting: deque[Future[None]] = deque()
        self.start()

    def start(self) -> None:
        """Begin a new digest."""
        self._finish()
        self._hash: Any = hashlib.new(self._name, usedforsecurity=False)

    def update(self, data: bytes) -> None:
        """Hash `data`, which must not be changed any more, after all before it."""
        if len(self._waiting) >= _AHEAD:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._hash.update, data))

    def hexdigest(self) -> str:
        """Of all that was given since the start."""
        self._finish()
        return str(self._hash.hexdigest())

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _finish(self) -> None:
        while self._waiting:
            self._waiting.popleft().result()
