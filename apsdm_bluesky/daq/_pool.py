"""Threads that copy files, and one that keeps what came of it: in bulk, when it is on the disk."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from apsdm_bluesky.durable import sync_file_system
from apsdm_bluesky.errors import ServiceError, StorageError

from ._copy import Copied, Copier, NotTakenError, StoppedError, TargetError, UnplaceableError
from ._scan import Seen
from ._source import OddFileError, Source
from ._turns import Turns
from ._work import Last

log = logging.getLogger(__name__)

_BATCH = 1000
_BATCH_S = 0.2
_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Task:
    """A file that is to be taken: `last` is the version before, `remark` what is to be told of this one."""

    owner: "Owner"
    seen: Seen
    base: str
    last: Last | None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: a `Copied`, or why not."""

    task: Task
    result: Copied | Exception


class Owner(Protocol):
    """Whose files they are."""

    @property
    def source(self) -> Source:
        """Where they are read."""

    @property
    def target(self) -> Path:
        """Where they go; on one file system."""

    def copier(self, name: str) -> Copier:
        """What a thread of that name copies with."""

    def take(self, copier: Copier, task: Task) -> Copied:
        """Take one."""

    def keep(self, outcomes: Sequence[Outcome]) -> None:
        """Keep what came of some, which are on the disk."""


class CopyPool:
    """Copies files for all DAQs, `size` at a time.

    Parameters
    ----------
    told
        Gets what hinders the work as a whole: a database that does not answer.
    """

    def __init__(self, size: int, told: Callable[[str], None]) -> None:
        self._tasks: Turns[Task] = Turns()
        self._outcomes: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._told = told
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._copy, args=(f"copy-{number}",), name=f"copy-{number}")
            for number in range(size)
        ]
        self._keeper = threading.Thread(target=self._keep, name="keep")
        for thread in (*self._threads, self._keeper):
            thread.start()

    def put(self, task: Task) -> None:
        """Have a file taken; its owner is told of the outcome."""
        self._tasks.put(task.owner, task)

    def drop(self, owner: Owner) -> list[Task]:
        """Begin with none of an owner's files any more; returns those that had not begun."""
        return self._tasks.drop(owner)

    def close(self) -> None:
        """Keep what is done; give up what has not begun."""
        self._stopping.set()
        self._tasks.close()
        for thread in self._threads:
            thread.join()
        self._outcomes.put(None)
        self._keeper.join()

    def _copy(self, name: str) -> None:
        of_whom: Owner | None = None
        while (task := self._tasks.get()) is not None:
            if task.owner is not of_whom:
                of_whom, copier = task.owner, task.owner.copier(name)
            self._outcomes.put(Outcome(task, _taken(copier, task)))

    def _keep(self) -> None:
        more = True
        while more:
            outcomes, more = self._some()
            by_owner: dict[Owner, list[Outcome]] = {}
            for outcome in outcomes:
                by_owner.setdefault(outcome.task.owner, []).append(outcome)
            for owner, of_one in by_owner.items():
                self._keep_of(owner, of_one)

    def _some(self) -> tuple[list[Outcome], bool]:
        """What has come within a moment, and whether more may come."""
        found: list[Outcome] = []
        deadline = None
        while len(found) < _BATCH:
            try:
                wait = None if deadline is None else max(deadline - time.monotonic(), 0)
                outcome = self._outcomes.get(timeout=wait)
            except queue.Empty:
                break
            if outcome is None:
                return found, False
            found.append(outcome)
            deadline = deadline or time.monotonic() + _BATCH_S
        return found, True

    def _keep_of(self, owner: Owner, outcomes: Sequence[Outcome]) -> None:
        """Again and again, until it is kept: what is not kept is copied anew by the next process."""
        while True:
            try:
                if any(isinstance(outcome.result, Copied) for outcome in outcomes):
                    sync_file_system(owner.target)
                owner.keep(outcomes)
            except (StorageError, ServiceError, OSError) as error:
                self._told(str(error))
                if self._stopping.wait(_RETRY_S):
                    return
            else:
                return


def _taken(copier: Copier, task: Task) -> Copied | Exception:
    try:
        return task.owner.take(copier, task)
    except (OSError, OddFileError, NotTakenError, UnplaceableError, TargetError, StoppedError) as error:
        return error
