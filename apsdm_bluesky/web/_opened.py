"""A store that is opened when it is first asked for: without it the catalogue is still served."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from apsdm_bluesky.errors import ServiceError

_PATIENCE_S = 2.0
_T = TypeVar("_T")


class Opened(Generic[_T]):
    """One store.

    Parameters
    ----------
    open_one
        Opens it. It blocks: for threads only.
    what
        Its name in messages: 'jobs'.
    """

    def __init__(self, open_one: Callable[[], _T], what: str) -> None:
        self._open = open_one
        self._what = what
        self._lock = threading.Lock()
        self._found: _T | None = None

    def get(self) -> _T:
        """The store.

        Raises
        ------
        StorageError, ServiceError, ConfigError
            It cannot be opened now; the next one who asks tries again.
        """
        if self._found is not None:
            return self._found
        if not self._lock.acquire(timeout=_PATIENCE_S):  # who waits takes a thread from the catalogue
            raise ServiceError(
                f"the database of {self._what} does not answer; load the page again, or see the server's log"
            )
        try:
            if self._found is None:
                self._found = self._open()
            return self._found
        finally:
            self._lock.release()
