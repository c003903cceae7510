"""An executor on this machine, whose processes end with it, however that comes."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsdm_bluesky.durable import make_folder
from apsdm_bluesky.errors import ConfigError, ServiceError, StorageError

from ._facts import Facts, advised
from ._link import Link
from ._protocol import Ended, Lost, Report, Running, Task, Waiting
from ._warden import _records
from ._warden._messages import Settings

_CHILDREN = Path("/proc/thread-self/children")


@dataclass(slots=True, kw_only=True)
class _Live:
    """A task of ours that has not ended."""

    order: dict[str, Any]
    report: Waiting | Running


class LocalProcesses:
    """An `Executor` on this machine (Linux), by a process of its own, the warden, which it keeps running.

    When the agent or the warden is killed, all processes of tasks are killed, and the tasks are `Lost`. Of
    several executors on one folder, in any processes, one runs tasks; the others wait until it has ended.

    Parameters
    ----------
    folder
        Of this executor; tasks have folders of their own.
    parallel
        Tasks at once; the others wait.
    memory_bytes
        What each task, with all that it started, may hold in memory at once; None: all there is.
    cpus
        Processors of each task, which tells numerical libraries by `OMP_NUM_THREADS` and its like; None: all.
    output_bytes
        What each task may write to its standard output and error together.
    environment
        Of all tasks; None: this process's own.
    grace_s
        Seconds between SIGTERM and SIGKILL.
    notify
        Called when `changed` has something to tell, on a thread of this object; must return at once.

    Raises
    ------
    ConfigError
        This is no Linux, or a number makes no sense.
    StorageError
        The folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        parallel: int,
        memory_bytes: int | None = None,
        cpus: int | None = None,
        output_bytes: int,
        environment: Mapping[str, str] | None = None,
        grace_s: float = 5.0,
        notify: Callable[[], None],
    ) -> None:
        _check(parallel=parallel, memory_bytes=memory_bytes, cpus=cpus, output_bytes=output_bytes)
        try:
            make_folder(folder)
        except OSError as error:
            raise _storage(folder, error) from error
        settings = Settings(
            folder=str(folder.resolve()),
            parent=os.getpid(),
            parallel=parallel,
            memory_bytes=memory_bytes,
            cpus=cpus,
            output_bytes=output_bytes,
            grace_s=grace_s,
            mark=_mark(folder),
        )
        self._folder = folder
        self._notify = notify
        self._lock = threading.Lock()
        self._live: dict[str, _Live] = {}
        self._news: set[str] = set()
        self._owns = False  # whether no process of a task in the folders runs that is not ours
        self._closed = False
        self._obstacle = "the processes of an earlier agent end first"
        self._link = Link(settings, os.environ if environment is None else environment, self._hear)
        self._link.open()

    def start(self, task: Task) -> None:
        """See `Executor.start`. Raises `ServiceError` when closed."""
        self._prepare(task)
        with self._lock:
            if self._closed:
                raise ServiceError(f"{self._folder}: the executor is closed; start {task.id} with a new one")
            if task.id in self._live or _records.started(task.folder) is not None:
                return
            live = _Live(order=_order(task), report=Waiting(reason="other tasks run first"))
            self._live[task.id] = live
            if self._owns:
                self._link.send({"start": live.order})

    def look(self, task: Task) -> Report | None:
        """See `Executor.look`."""
        with self._lock:
            obstacle = "" if self._owns else self._obstacle
            live = self._live.get(task.id)
            if live is not None:  # what stands in its folder now may be of its own command
                waits = obstacle and isinstance(live.report, Waiting)
                return Waiting(reason=obstacle) if waits else live.report
            end, started = _recorded(task)
        if isinstance(end, Ended) or started is None:
            return end
        if obstacle:
            return Running(started=started, host=os.uname().nodename, reason=obstacle)
        return end or Lost(reason="the agent or its warden ended while it ran; nothing of it goes on")

    def stop(self, task: Task) -> None:
        """See `Executor.stop`."""
        with self._lock:
            live = self._live.get(task.id)
            if live is not None:
                live.order["stopped"] = True  # for the next warden, if this one does not get to it
                self._link.send({"stop": task.id})

    def changed(self) -> Iterator[str]:
        """See `Executor.changed`."""
        with self._lock:
            news, self._news = self._news, set()
        return iter(news)

    def close(self) -> None:
        """See `Executor.close`. Returns when the processes have ended."""
        with self._lock:
            self._closed = True
        self._link.close()
        with self._lock:
            self._live.clear()

    def _hear(self, message: dict[str, Any]) -> None:
        """A word of the warden, or of a task's keeper."""
        with self._lock:
            if "ready" in message:
                self._owns = True
                for live in self._live.values():  # a task that was started before is told to be over
                    self._link.send({"start": live.order})
            elif "gone" in message:
                self._owns, self._obstacle = False, message["gone"]
            elif "task" not in message:
                self._obstacle = message["obstacle"]
            else:
                self._learn(message)
                if "over" not in message:
                    return
        self._notify()

    def _learn(self, message: dict[str, Any]) -> None:
        """Take in news of one task; it may be none of ours."""
        live = self._live.get(message["task"])
        if live is None:
            return
        if "over" in message:
            self._news.add(message["task"])
            del self._live[message["task"]]
        elif "started" in message:
            live.report = Running(started=message["started"], host=os.uname().nodename, pid=message["pid"])
        elif isinstance(live.report, Running):
            live.report = Running(
                started=live.report.started,
                host=live.report.host,
                pid=live.report.pid,
                reason=message["obstacle"],
            )
        else:
            live.report = Waiting(reason=message["obstacle"])

    def _prepare(self, task: Task) -> None:
        """Make what the task needs in its folder."""
        try:
            make_folder(task.folder)
            if task.working_folder is None:
                task.work.mkdir(exist_ok=True)
            for path in (task.stdout, task.stderr):
                path.touch()
        except OSError as error:
            raise _storage(task.folder, error) from error


def _recorded(task: Task) -> tuple[Ended | Lost | None, float | None]:
    """How a task ended and when it was started, as far as it did and was."""
    try:
        return _end(task), _records.started(task.folder)
    except OSError as error:
        raise StorageError(f"{task.folder}: {error.strerror}; make it readable") from error


def _end(task: Task) -> Ended | Lost | None:
    """How a task ended; it is lost where somebody else wrote its report. Raises OSError."""
    try:
        data = _records.ended(task.folder)
        facts = None if data is None else Facts.model_validate_json(data)
    except ValueError:
        return Lost(reason=_records.DAMAGED)
    return None if facts is None else _ended(task, facts)


def _check(**numbers: int | None) -> None:
    if not _CHILDREN.exists():
        raise ConfigError("local processes of workflows need Linux with /proc; run the agent there")
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ConfigError(f"local processes: {name} is {number}; give at least 1")


def _mark(folder: Path) -> str:
    """What tells the processes of this folder's tasks from all others."""
    return f"APSDM_WARDEN={hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]}"


def _order(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "command": task.command,
        "environment": dict(task.environment),
        "folder": str(task.folder),
        "work": str(task.work),
        "timeout_s": task.timeout_s,
    }


def _ended(task: Task, facts: Facts) -> Ended:
    blame, reason = advised(task, facts)
    names = {"status", "started", "ended", "host", "pid", "cpu_s", "memory"}
    return Ended(**facts.model_dump(include=names), blame=blame, reason=reason)


def _storage(folder: Path, error: OSError) -> StorageError:
    return StorageError(f"{folder}: {error.strerror}; free space or give write permission there")
