"""One agent a state folder: the lock, and who holds it."""

import json
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import filelock

from apsdm_bluesky.durable import make_folder
from apsdm_bluesky.errors import LockedError, StorageError

# Long enough that somebody who only looks whether it is held does not keep an agent from starting.
_PATIENCE_S = 1.0


class AgentLock:
    """The kernel's lock on a state folder, which ends with the process; a context manager.

    Raises
    ------
    LockedError
        Another process holds it; the message names pid, host and since when.
    StorageError
        The folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._holder = folder / "agent.json"
        self._lock = filelock.FileLock(folder / "agent.lock", thread_local=False)

    def __enter__(self) -> Self:
        self._acquire(_PATIENCE_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def holder(self) -> str | None:
        """Who holds the lock; None where nobody does."""
        if not self._folder.is_dir():
            return None
        try:
            with self._lock.acquire(timeout=0):
                return None
        except filelock.Timeout:
            return self._describe()

    def _acquire(self, timeout: float) -> None:
        try:
            make_folder(self._folder)
            self._lock.acquire(timeout=timeout)
            me = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
            self._holder.write_text(json.dumps(me), encoding="utf-8")
        except filelock.Timeout as error:
            raise LockedError(
                f"{self._folder}: another agent works on it ({self._describe()}); stop that one first"
            ) from error
        except OSError as error:
            self._lock.release()
            reason = f"{error.strerror}; free space or give write permission there"
            raise StorageError(f"{self._folder}: {reason}") from error

    def _describe(self) -> str:
        try:
            holder = json.loads(self._holder.read_bytes())
            since = datetime.fromtimestamp(holder["since"], UTC)
            return f"pid {holder['pid']} on {holder['host']} since {since:%Y-%m-%d %H:%M:%S} UTC"
        except (OSError, ValueError, KeyError, TypeError):
            return "it has not told its name yet"
