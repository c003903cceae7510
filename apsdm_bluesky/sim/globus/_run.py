"""The work on one task, item by item."""

import shutil
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ._collections import Collection, Collections
from ._copy import CopyError, translated
from ._errors import ApiError
from ._faults import Faults
from ._settings import Behaviour
from ._store import Document, Store
from ._tasks import Tasks

__all__ = ["POLL_S", "DeleteRun", "Run", "Stopped"]

POLL_S = 0.01


class Stopped(Exception):  # noqa: N818  (no error: somebody wants the work to stop)
    """The task shall not be worked on any more, for now or for ever."""


class Run:
    """What the kinds of task have in common: going on, faults, and the end."""

    def __init__(
        self,
        task_id: str,
        store: Store,
        tasks: Tasks,
        collections: Collections,
        faults: Faults,
        behaviour: Callable[[], Behaviour],
        stop: threading.Event,
    ) -> None:
        self._id, self._store, self._tasks = task_id, store, tasks
        self._collections, self._faults = collections, faults
        self._behaviour, self._stop = behaviour, stop

    def run(self) -> None:
        """Work until the task has ended.

        Raises
        ------
        Stopped
            It is cancelled, paused, or the server ends.
        """
        task = self._task()
        if self._tasks.events(self._id) == []:
            self._tasks.event(self._id, "STARTED", {"type": task["type"]})
        self._tasks.update(self._id, nice_status="OK")
        try:
            items = self._items()
            for number in range(self._task()["_done"], len(items)):
                self._until_done(partial(self._one, items[number]))
                self._tasks.update(self._id, _done=number + 1, subtasks_pending=len(items) - number - 1)
        except CopyError as error:
            self._tasks.finish(self._id, "FAILED", error.code, error.details)
        else:
            task = self._task()
            self._tasks.finish(self._id, "SUCCEEDED", "SUCCEEDED", {"files": task["files"]})

    def _items(self) -> list[Document]:
        return list(self._task()["_items"])

    def _one(self, item: Document) -> None:
        raise NotImplementedError

    def _task(self) -> Document:
        task = self._tasks.get(self._id)
        if self._stop.is_set() or task is None or task["status"] != "ACTIVE" or task["is_paused"]:
            raise Stopped
        return task

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._task()
            self._stop.wait(min(left, POLL_S))

    def _until_done(self, step: Callable[[], None]) -> None:
        while True:
            try:
                step()
            except CopyError as error:
                if error.fatal:
                    raise
                self._fault(error)
                self._wait(self._behaviour().retry_s)
            else:
                self._tasks.update(self._id, nice_status="OK", subtasks_retrying=0)
                return

    def _fault(self, error: CopyError) -> None:
        with self._store.transaction():
            self._tasks.count(self._id, faults=1)
            self._tasks.update(self._id, nice_status=error.code, subtasks_retrying=1)
            self._tasks.event(self._id, error.code, error.details, error=True)

    def _resolve(self, collection: Collection, path: str) -> Path:
        try:
            return collection.resolve(path)
        except ApiError as error:  # a link that was put there since the submission
            raise CopyError("PERMISSION_DENIED", error.message) from error


class DeleteRun(Run):
    """A delete task: removes the files it names."""

    def _one(self, item: Document) -> None:
        collection = self._collections.get(self._task()["source_endpoint_id"])
        target = self._resolve(collection, item["path"])
        try:
            _remove(target, recursive=bool(self._task().get("_recursive")))
        except FileNotFoundError as error:
            if not self._task().get("_ignore_missing"):
                raise translated(error, source=True) from error
        except OSError as error:
            raise translated(error, source=True) from error
        self._tasks.count(self._id, files=1, subtasks_succeeded=1)


def _remove(target: Path, *, recursive: bool) -> None:
    if not target.is_dir():
        target.unlink()
    elif recursive:
        shutil.rmtree(target)
    else:
        target.rmdir()
