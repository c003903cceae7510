"""Stores of the pages: opened when they are first asked for."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from apsdm_bluesky.errors import ServiceError

_PATIENCE_S = 2.0
Store = TypeVar("Store")


class Opened(Generic[Store]):
    """A store that may not be there yet. The server starts, and serves the catalogue, without it.

    Parameters
    ----------
    opener
        Opens it.
    what
        Names it in a message: 'jobs'.
    """

    def __init__(self, opener: Callable[[], Store], what: str) -> None:
        self._opener = opener
        self._what = what
        self._lock = threading.Lock()
        self._store: Store | None = None

    def get(self) -> Store:
        """The store. It blocks: for threads only.

        Raises
        ------
        StorageError, ServiceError, ConfigError
            It cannot be opened now; the next one who asks tries again.
        """
        if self._store is not None:
            return self._store
        if not self._lock.acquire(timeout=_PATIENCE_S):  # who waits takes a thread from the catalogue
            raise ServiceError(
                f"the database of {self._what} does not answer; load the page again, or see the server's log"
            )
        try:
            if self._store is None:
                self._store = self._opener()
            return self._store
        finally:
            self._lock.release()
