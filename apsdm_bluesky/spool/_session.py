"""The spool of one session: its folder, locked while it is in use, into which documents are written."""

import json
import logging
import os
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import filelock

from apsdm_bluesky.durable import sync
from apsdm_bluesky.errors import FormatError, LockedError, StorageError

from ._codec import encode_line
from ._disk import append, storage_error, storage_errors
from ._routes import Routes
from ._runfile import RunFile, run_file_name
from ._whole_run import Documents, place_of, write_whole_run

log = logging.getLogger(__name__)

_LAST_SEQ_NUM: dict[str, Callable[[dict[str, Any]], int]] = {
    "event": lambda doc: int(doc["seq_num"]),
    "event_page": lambda doc: max((int(number) for number in doc["seq_num"]), default=0),
    "stream_datum": lambda doc: int(doc["seq_nums"]["stop"]) - 1,
}


class SpoolSession:
    """A locked session folder. Made by `Spool`; every method may be called from any thread.

    The lock is the kernel's: it ends with the process, however that ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder_lock = filelock.FileLock(path / "lock", timeout=0, thread_local=False)
        self._lock = threading.Lock()
        self._routes = Routes()
        self._files: dict[str, int] = {}  # descriptors of the open runs' files, by run uid
        self._closed = False
        try:
            self._folder_lock.acquire()
        except filelock.Timeout as error:
            raise LockedError(f"{path}: is in use by another process") from error
        except OSError as error:
            raise storage_error(path, "lock", error) from error

    def write(self, name: str, doc: Mapping[str, Any]) -> None:
        """Store a document. When this returns, a killed process loses nothing of it.

        Start and stop documents are also brought to the disk (fsync); the others are when they are delivered.

        Raises
        ------
        FormatError
            The document cannot be stored, or belongs to no open run.
        StorageError
            The disk is full or refuses. Nothing of the document is left in the file.
        """
        line = encode_line(name, doc)
        with self._lock:
            if self._closed:
                raise StorageError(f"{self.path}: this spool is closed; the {name} document is not stored")
            if name == "start":
                self._open(doc, line)
            else:
                self._append(name, doc, line)

    def put_run(
        self, documents: Documents, *, notes: Mapping[str, Any] | None = None, delivered: bool = False
    ) -> bool:
        """Store a whole run at once, durably: whenever this process is killed, all of it is there or nothing.

        Parameters
        ----------
        documents
            From the start document to the stop document.
        notes
            Annotations by their keys: see `note`.
        delivered
            Whether it is not to be delivered to the catalogue.

        Returns
        -------
        False, and nothing changes, where some session of the spool has a run of that time and uid.

        Raises
        ------
        FormatError
            The documents are no whole run, or cannot be stored.
        StorageError
            The disk is full or refuses.
        """
        path = place_of(documents, self.path)
        with self._lock:
            if self._closed:
                raise StorageError(f"{self.path}: this spool is closed; a run cannot be stored")
            if self._has(path.name):
                return False
            write_whole_run(path, documents, notes=notes, delivered=delivered)
        return True

    def note(self, run_uid: str, key: str, value: dict[str, Any]) -> None:
        """Keep an annotation with a run, durably; one of the same key is replaced."""
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise FormatError(f"note {key!r} of run {run_uid}: {error}") from error
        with self._lock:
            run = next((run for run in self.runs() if run.uid == run_uid), None)
            if run is None:
                raise StorageError(f"{self.path}: holds no run {run_uid}; note {key!r} cannot be kept")
            run.write_notes({**run.notes, key: value})

    def runs(self) -> list[RunFile]:
        """The session's runs, ordered by start time."""
        return list_runs(self.path)

    def close_unfinished(self, reason: str) -> list[str]:
        """Append a stop document, exit status 'abort', to each run without one; returns their uids.

        A damaged run is left as it is: its delivery tells what is wrong with it.
        """
        closed = []
        with self._lock:
            for run in self.runs():
                try:
                    if run.stop is None:
                        self._abort(run, reason)
                        closed.append(run.uid)
                except StorageError as error:
                    log.error("Run %s cannot be closed: %s", run.uid, error)  # noqa: TRY400 - one line for a known fault
        return closed

    def close(self) -> None:
        """Release the folder. A run that has not stopped stays open, for `Spool.adopt`."""
        with self._lock:
            self._closed = True
            for run_uid in list(self._files):
                self._forget(run_uid)
            self._folder_lock.release()

    def _has(self, name: str) -> bool:
        """Whether any session has a run of that file name."""
        with storage_errors(self.path.parent, "read"), os.scandir(self.path.parent) as folders:
            return any(os.path.lexists(f"{folder.path}/{name}") for folder in folders)

    def _open(self, start: Mapping[str, Any], line: bytes) -> None:
        """Create the run's file. Its name appears with the whole start document in it, or not at all."""
        path = self.path / run_file_name(start)
        uid = start["uid"]
        if any(run.uid == uid for run in self.runs()):
            raise FormatError(
                f"{self.path}: run {uid} is spooled already; a second start document is refused"
            )
        temporary = path.with_suffix(".new")
        with storage_errors(path, "create"):
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                append(fd, line)
                os.fsync(fd)
                temporary.rename(path)
                sync(self.path)
            except OSError:
                os.close(fd)
                temporary.unlink(missing_ok=True)
                raise
        self._files[uid] = fd
        self._routes.add("start", start, uid)

    def _append(self, name: str, doc: Mapping[str, Any], line: bytes) -> None:
        run_uid = self._routes.run_of(name, doc)
        fd = self._files[run_uid]
        with storage_errors(self.path, f"store a {name} document of run {run_uid}"):
            append(fd, line)
            if name == "stop":
                os.fsync(fd)
        self._routes.add(name, doc, run_uid)
        if name == "stop":
            self._forget(run_uid)

    def _abort(self, run: RunFile, reason: str) -> None:
        """Append a stop document, after cutting off a line that a kill left torn."""
        died = run.path.stat().st_mtime
        stop = {
            "uid": str(uuid.uuid4()),
            "time": max(died, run.start["time"]),
            "run_start": run.uid,
            "exit_status": "abort",
            "reason": reason,
            "num_events": count_events(run),
        }
        with storage_errors(run.path, "close the run"):
            fd = os.open(run.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            try:
                os.ftruncate(fd, run.complete_size())
                append(fd, encode_line("stop", stop))
                os.fsync(fd)
            finally:
                os.close(fd)
        self._forget(run.uid)

    def _forget(self, run_uid: str) -> None:
        self._routes.forget(run_uid)
        if (fd := self._files.pop(run_uid, None)) is not None:
            os.close(fd)


def list_runs(folder: Path) -> list[RunFile]:
    """The runs in a session's folder, ordered by start time; foreign files are passed over."""
    with storage_errors(folder, "read"):
        found = (RunFile.from_path(path) for path in sorted(folder.iterdir()))
        return [run for run in found if run is not None]


def count_events(run: RunFile) -> dict[str, int]:
    """The number of events in each stream, as the RunEngine counts them: the highest sequence number."""
    streams: dict[str, str] = {}
    counts: dict[str, int] = {}
    for name, doc in run.documents():
        if name == "descriptor":
            streams[doc["uid"]] = doc.get("name", "")
            counts.setdefault(streams[doc["uid"]], 0)
        elif name in _LAST_SEQ_NUM and doc["descriptor"] in streams:
            stream = streams[doc["descriptor"]]
            counts[stream] = max(counts[stream], _LAST_SEQ_NUM[name](doc))
    return counts
