"""A folder as the destination: the embedded default, and the stand-in for a tape store."""

import errno
import logging
import os
import stat
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import filelock

from apsdm_bluesky.errors import FormatError, StorageError

from ._copy import ContentError, copy_file
from ._paths import resolve_inside
from ._protocol import (
    Direction,
    RemoteFile,
    Residency,
    TaskReport,
    TaskStatus,
    TransferItem,
    TransferRequest,
)
from ._tasks import TaskRecord, TaskStore

log = logging.getLogger(__name__)

_TASKS = ".apsdm-transfer"
_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE})
_ENDED = frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED})


class _StoppedError(Exception):
    """The process is to end; the task goes on when it is asked for again."""


class _CancelledError(Exception):
    """Somebody cancelled the task."""


class LocalFolder:
    """A `Transfer` into and out of the folder `root`, copying in a thread of this process.

    A task that a killed process left ACTIVE starts over as soon as somebody asks for its status or submits it
    again. Of several processes that ask, one copies.
    """

    def __init__(self, root: Path, *, collection: str = "local") -> None:
        self.root = root
        self._collection = collection
        self._tasks = TaskStore(root / _TASKS)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="local-transfer")
        self._running: dict[str, Future[None]] = {}
        self._copied: dict[str, int] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()

    @property
    def collection(self) -> str:
        """The destination's name."""
        return self._collection

    def new_submission_id(self) -> str:
        """An id for one request."""
        return str(uuid.uuid4())

    def submit(self, request: TransferRequest) -> str:
        """See `Transfer.submit`. The task's id is the submission id."""
        for item in request.items:
            resolve_inside(self.root, item.remote)
        self._work_on(self._tasks.create(request))
        return request.submission_id

    def status(self, task_id: str) -> TaskReport | None:
        """See `Transfer.status`."""
        record = self._tasks.read(task_id)
        if record is None:
            return None
        if record.report.status in _ENDED:
            self._tasks.tidy(task_id)  # a killed process may have left it
        self._work_on(record)
        return replace(record.report, bytes_done=self._copied.get(task_id, record.report.bytes_done))

    def cancel(self, task_id: str) -> None:
        """See `Transfer.cancel`."""
        record = self._tasks.read(task_id)
        if record is None or record.report.status in _ENDED:
            return
        self._tasks.ask_cancel(task_id)
        self._work_on(record)

    def stat(self, path: str) -> RemoteFile | None:
        """See `Transfer.stat`. A plain folder keeps no MD5."""
        place = resolve_inside(self.root, path)
        try:
            info = place.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageError(f"{place}: {error.strerror}; make the destination readable") from error
        if not stat.S_ISREG(info.st_mode):
            raise FormatError(f"{place}: is no plain file; move it away, then retry")
        return RemoteFile(path=path, size=info.st_size)

    def list_files(self, prefix: str = "") -> Iterator[RemoteFile]:
        """See `Transfer.list_files`; in the order of the names."""
        folders = [resolve_inside(self.root, prefix) if prefix else self.root.resolve()]
        while folders:
            try:
                below, files = _entries(folders.pop())
            except OSError as error:
                raise StorageError(
                    f"{error.filename}: {error.strerror}; make the destination readable"
                ) from error
            folders += reversed(below)
            for path, size in files:
                yield RemoteFile(path=path.relative_to(self.root.resolve()).as_posix(), size=size)

    def residency(self, path: str) -> Residency:
        """On disk: it is a folder."""
        return Residency.UNKNOWN if self.stat(path) is None else Residency.ON_DISK

    def close(self) -> None:
        """End the copying within one chunk."""
        self._closing.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _work_on(self, record: TaskRecord) -> None:
        """Have a thread work on a task that has not ended, unless one does."""
        task_id = record.report.task_id
        if record.report.status in _ENDED or self._closing.is_set():
            return
        with self._lock:
            running = self._running.get(task_id)
            if running is None or running.done():
                self._running[task_id] = self._pool.submit(self._run, task_id)

    def _run(self, task_id: str) -> None:
        lock = filelock.FileLock(self._tasks.path(task_id, "lock"), timeout=0)
        try:
            with lock:
                record = self._tasks.read(task_id)  # another process may have ended it in between
                if record is not None and record.report.status not in _ENDED:
                    record = replace(record, report=self._copy_all(record))
                    self._tasks.write(record)
                if record is not None:
                    self._tasks.tidy(task_id)
        except filelock.Timeout:
            log.debug("task %s: another process works on it", task_id)
        except _StoppedError:
            log.info("task %s: stopped; it goes on when it is asked for", task_id)
        except (StorageError, OSError) as error:
            # The record still says ACTIVE: the next question about the task starts it again.
            log.warning("task %s: its end cannot be recorded: %s", task_id, error)

    def _copy_all(self, record: TaskRecord) -> TaskReport:
        """Move the request's files; returns how the task ended."""
        report = record.report
        self._copied[report.task_id] = 0
        try:
            for number, item in enumerate(record.request.items):
                self._copy(record.request, item, number)
        except _CancelledError:
            return replace(report, status=TaskStatus.FAILED, detail="cancelled", needs_person=True)
        except (ContentError, FormatError) as error:
            return replace(report, status=TaskStatus.FAILED, detail=str(error), needs_person=True)
        except OSError as error:
            return _failed(report, error)
        return replace(report, status=TaskStatus.SUCCEEDED, bytes_done=self._copied[report.task_id])

    def _copy(self, request: TransferRequest, item: TransferItem, number: int) -> None:
        task_id = request.submission_id

        def progress(count: int) -> None:
            if self._tasks.cancel_asked(task_id):
                raise _CancelledError
            if self._closing.is_set():
                raise _StoppedError
            self._copied[task_id] += count

        progress(0)
        ends = (item.local, resolve_inside(self.root, item.remote))
        source, target = ends if request.direction is Direction.SEND else reversed(ends)
        part = target.with_name(f".{task_id}-{number}.part")
        if os.path.lexists(target) and not target.is_file():
            raise ContentError(f"{target}: exists and is no plain file; move it away, then retry")
        copy_file(source, target, part, md5=item.md5, progress=progress)


def _entries(folder: Path) -> tuple[list[Path], list[tuple[Path, int]]]:
    """The folders in a folder, and its plain files with their sizes; no links and nothing hidden."""
    folders, files = [], []
    try:
        with os.scandir(folder) as found:
            for entry in sorted(found, key=lambda one: one.name):
                info = entry.stat(follow_symlinks=False)
                if entry.name.startswith("."):
                    continue
                if stat.S_ISDIR(info.st_mode):
                    folders.append(Path(entry.path))
                elif stat.S_ISREG(info.st_mode):
                    files.append((Path(entry.path), info.st_size))
    except (FileNotFoundError, NotADirectoryError):  # never there, or removed meanwhile
        pass
    return folders, files


def _failed(report: TaskReport, error: OSError) -> TaskReport:
    """A full disk and the like passes by itself; a missing file or permission needs a person."""
    place = error.filename or "the destination"
    passing = error.errno in _PASSING
    advice = "put it back" if isinstance(error, FileNotFoundError) else "give access"
    advice = "sent again when that is over" if passing else f"{advice}, then retry"
    detail = f"{place}: {error.strerror}; {advice}"
    return replace(report, status=TaskStatus.FAILED, detail=detail, needs_person=not passing)
