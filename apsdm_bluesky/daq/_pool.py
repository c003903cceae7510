"""Processes that copy, each served by a thread, and one that keeps what is on the disk by now."""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from apsdm_bluesky.durable import sync_file_system
from apsdm_bluesky.errors import ServiceError, StorageError

from ._copier import CopyProcess, Place
from ._copy import Answer, Copied, Order
from ._target import TargetError
from ._turns import Turns

log = logging.getLogger(__name__)

_AT_ONCE = 1000  # files that a process is given at a time, to be brought to the disk together ...
_BYTES_AT_ONCE = 64 << 20  # ... unless they are large
_BATCH = 2000
_BATCH_S = 0.2
_RETRY_S = 1.0


class Owner(Protocol):
    """Whose files they are."""

    @property
    def place(self) -> Place:
        """Where they are read and written."""

    @property
    def target(self) -> Path:
        """A folder on the file system that they are written to."""

    def keep(self, outcomes: "Sequence[Outcome]") -> None:
        """Keep what came of some, which are on the disk."""


@dataclass(frozen=True, slots=True)
class Task:
    """A file that is to be taken."""

    owner: Owner
    order: Order


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: a `Copied`, or why not."""

    order: Order
    answer: Answer


class DefectError(Exception):
    """What came of a file cannot be kept: the fault is ours."""


class CopyPool:
    """Copies files for all DAQs.

    Attributes
    ----------
    claimed
        Places, absolute, of files that were there already and that nobody knew of: a DAQ may just have put
        them there, and be told of it later. Of the thread that keeps.

    Parameters
    ----------
    processes
        What copies.
    told
        Gets what hinders the work as a whole: a database that does not answer.
    """

    def __init__(self, processes: Sequence[CopyProcess], told: Callable[[str], None]) -> None:
        self._tasks: Turns[Task] = Turns()
        self._outcomes: queue.SimpleQueue[tuple[Owner, Outcome]] = queue.SimpleQueue()
        self._told = told
        self.claimed: set[str] = set()
        self._at: dict[CopyProcess, Owner] = {}
        self._lock = threading.Lock()
        for process in processes:
            threading.Thread(target=self._serve, args=(process,), name="copy", daemon=True).start()
        threading.Thread(target=self._keep, name="keep", daemon=True).start()

    def put(self, owner: Owner, order: Order) -> None:
        """Have a file taken; its owner is told of the outcome."""
        self._tasks.put(owner, Task(owner, order))

    def drop(self, owner: Owner) -> Sequence[Order]:
        """Copy no more of an owner's files; returns those that had not begun. What has begun is given up."""
        with self._lock:
            dropped = self._tasks.drop(owner)
            for process, whose in self._at.items():
                if whose is owner:
                    process.give_up()
        return [task.order for task in dropped]

    def _serve(self, process: CopyProcess) -> None:
        while True:
            tasks = self._tasks.get_some(_Load().takes)
            owner = tasks[0].owner
            with self._lock:
                self._at[process] = owner
            try:
                answers = process.take(owner.place, [task.order for task in tasks])
            except (EOFError, OSError) as error:
                log.error("a process that copies is gone (%s): all begin anew", str(error) or "killed")  # noqa: TRY400
                os._exit(1)  # the agent starts us again, and the database tells what was done
            except Exception:  # a defect of ours: without this thread nobody would serve the process
                log.exception("all begin anew")
                os._exit(1)
            with self._lock:
                del self._at[process]
                for task, answer in zip(tasks, answers, strict=True):
                    self._outcomes.put((owner, Outcome(task.order, answer)))

    def _keep(self) -> None:
        while True:
            by_owner: dict[Owner, list[Outcome]] = {}
            for owner, outcome in self._some():
                by_owner.setdefault(owner, []).append(outcome)
            for owner, outcomes in by_owner.items():
                self._keep_of(owner, outcomes)
            with self._lock:
                if not self._at and self._outcomes.empty():  # whatever was put anywhere is known by now
                    self.claimed.clear()

    def _some(self) -> "list[tuple[Owner, Outcome]]":
        """What comes within a moment."""
        found = [self._outcomes.get()]
        deadline = time.monotonic() + _BATCH_S
        while len(found) < _BATCH:
            try:
                found.append(self._outcomes.get(timeout=max(deadline - time.monotonic(), 0)))
            except queue.Empty:
                break
        return found

    def _keep_of(self, owner: Owner, outcomes: Sequence[Outcome]) -> None:
        """Again and again, until it is kept: names that are not on the disk are none."""
        outcomes = _synced(owner.target, outcomes)
        while True:
            try:
                owner.keep(outcomes)
            except (StorageError, ServiceError) as error:
                self._told(str(error))
                time.sleep(_RETRY_S)
            except Exception as error:  # a defect of ours
                log.exception("what came of %d files cannot be kept", len(outcomes))
                if any(isinstance(outcome.answer, DefectError) for outcome in outcomes):
                    os._exit(1)  # not even that can be kept: the agent starts us again
                defect = DefectError(f"a defect: {type(error).__name__}: {error}")
                outcomes = [Outcome(outcome.order, defect) for outcome in outcomes]
            else:
                return


def _synced(target: Path, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """What came of files when their names were brought to the disk; where that failed they are taken anew."""
    if not any(isinstance(outcome.answer, Copied) for outcome in outcomes):
        return outcomes
    try:
        sync_file_system(target)
    except OSError as error:
        fault = TargetError(f"{target}: {error.strerror or error}")
        return [Outcome(o.order, fault if isinstance(o.answer, Copied) else o.answer) for o in outcomes]
    return outcomes


class _Load:
    """What a process is given at a time."""

    def __init__(self) -> None:
        self._files = 0
        self._bytes = 0

    def takes(self, task: Task) -> bool:
        """Whether a task is given together with those before."""
        self._files += 1
        self._bytes += task.order.seen.size
        return self._files <= _AT_ONCE and self._bytes <= _BYTES_AT_ONCE
