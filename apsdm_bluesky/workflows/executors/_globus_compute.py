"""Globus Compute as an `Executor`: tasks run on another machine, their results come as files."""

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from apsdm_bluesky.config import GlobusComputeConfig
from apsdm_bluesky.durable import make_folder
from apsdm_bluesky.errors import ApsdmError, ConfigError, ServiceError, StorageError
from apsdm_bluesky.transfer import PollPace, Transfer

from ._globus_compute_record import (
    Call,
    Record,
    read_record,
    read_report,
    write_record,
    write_report,
)
from ._globus_compute_results import Results, read_holder, read_in_place, tidy
from ._globus_compute_service import CallState, ComputeService
from ._protocol import Blame, Ended, Lost, Report, Running, Task, Waiting

log = logging.getLogger(__name__)

_VERSION = 1
_SETTLE_S = 30.0  # for a shared folder to show what another machine wrote, and for Compute to know a call


class GlobusCompute:
    """An `Executor` on a Globus Compute endpoint. Every object on the same folders tells the same.

    Compute cannot be told to submit a call once, forgets results after half an hour, and stops nothing. So
    nothing rests on it but that calls arrive, perhaps twice: our function at the remote runs a task's command
    once, whoever asks how often, and leaves how it ended in files. The task group
    is stored before the first submission, and a call whose reply was lost is found in it.

    Where the remote sees this machine's folders, tasks work in them. Else a task works in `root`/`task.id` at
    the remote, and what the protocol asks is not all there: `stdout`, `stderr` and `work` come when it has
    ended, hidden files and links in `work` do not come, and a `working_folder` is one of the remote.

    Parameters
    ----------
    config
        The endpoint and its login.
    folder
        For tokens, and the id of our function.
    transfer
        Between this machine and the remote, with `config.root` as its root; the tasks' folders lie where it
        may write. None where the remote sees them, and `config.root` is not given.
    grace_s
        Seconds between SIGTERM and SIGKILL.

    Raises
    ------
    ConfigError
        There is a root without a transfer, or the other way round.
    """

    def __init__(
        self, config: GlobusComputeConfig, *, folder: Path, transfer: Transfer | None, grace_s: float = 5.0
    ) -> None:
        if (config.root is None) != (transfer is None):
            raise ConfigError("workflows.remotes: 'root' needs a transfer from it, and a transfer a 'root'")
        self._config = config
        self._service = ComputeService(config, folder)
        self._grace_s = grace_s
        self._results = None if transfer is None else Results(transfer)
        self._pace = PollPace[Report]()
        self._going: set[str] = set()
        self._lock = threading.Lock()

    def start(self, task: Task) -> None:
        """See `Executor.start`. What a person must mend first is told by `look`, as the task's end."""
        with _alone(task):
            record = read_record(task)
            if record is None:
                run, stop = (Call(group=str(uuid.uuid4())) for _ in range(2))
                record = write_record(task, Record(run=run, stop=stop))
            if read_report(task) is not None or record.is_stopped:
                return
            self._note(task.id, going=True)
            try:
                self._submit(task, record, "run")
            except (ServiceError, StorageError):
                raise
            except ApsdmError as error:
                if record.run.submitted:  # an earlier submission may have arrived: that is no end
                    raise ServiceError(str(error)) from error
                self._end(task, _ended(record, Blame.NETWORK, str(error)))

    def look(self, task: Task) -> Report | None:
        """See `Executor.look`. Compute is asked less often the longer a task takes, at least every 30 s."""
        if read_record(task) is None:
            return None
        report: Report | None = read_report(task) or self._pace.last(task.id)
        if report is not None:
            return report
        with _alone(task):
            record = read_record(task)
            if record is None:
                return None
            report = read_report(task) or self._advance(task, record)
            return report if report is None else self._told(task, report)

    def stop(self, task: Task) -> None:
        """See `Executor.stop`. While Compute does not answer, the wish is kept, and `look` repeats it."""
        if read_record(task) is None:
            return
        with _alone(task):
            record = read_record(task)
            if record is None or read_report(task) is not None:
                return
            if not record.is_stopped:
                stop = Call(group=str(uuid.uuid4()))  # another one may have asked what became of it
                record = write_record(task, replace(record, is_stopped=True, stop=stop))
            self._pace.forget(task.id)
            self._note(task.id, going=True)
            try:
                self._submit(task, record, "stop")
            except ApsdmError as error:
                log.warning("task %s: cannot be stopped yet: %s", task.id, error)

    def changed(self) -> Iterator[str]:
        """The tasks whose last report is not good any more."""
        with self._lock:
            going = sorted(self._going)
        return (task_id for task_id in going if self._pace.last(task_id) is None)

    def close(self) -> None:
        """Close the connections. Tasks go on at the remote."""
        self._service.close()

    def _advance(self, task: Task, record: Record) -> Report | None:
        """What is known now, after what can be done now."""
        self._note(task.id, going=True)
        if self._results is None or record.fetch is not None:  # files tell the end without Compute
            return self._collect(task, record) or self._ask(task, record)
        return self._ask(task, record)

    def _ask(self, task: Task, record: Record) -> Report | None:
        """What Compute tells; the end itself is told by files."""
        try:
            return self._asked(task, record)
        except (ServiceError, StorageError):
            raise
        except ApsdmError as error:  # a person must act; the task goes on, for all that is known
            return self._going_on(task, record, str(error))

    def _asked(self, task: Task, record: Record) -> Report | None:
        record = self._attach(task, record)
        if not record.run.ids and not record.stop.ids:
            return None
        states = self._service.states(record.run.ids + record.stop.ids)
        trouble = self._service.trouble()
        runs = [states[call] for call in record.run.ids]
        if record.began is None and any(state.is_running for state in runs):
            record = write_record(task, replace(record, began=time.time()))
        if any(state.is_over for state in states.values()):
            found = self._collect(task, record, is_over=True)
            if found is not None:
                return found
        if all(state.is_over and (state.status or not _is_fresh(record.run)) for state in runs):
            return self._settle(task, record, states)
        return self._going_on(task, record, trouble)

    def _attach(self, task: Task, record: Record) -> Record:
        """Find the calls whose replies were lost, and carry out a wish to stop."""
        if not record.run.ids:
            found = self._service.find(record.run.group)
            if found:
                log.info("task %s: found again at Globus Compute as %s", task.id, ", ".join(found))
                record = write_record(task, replace(record, run=replace(record.run, ids=found)))
        return self._submit(task, record, "stop") if record.is_stopped else record

    def _settle(self, task: Task, record: Record, states: dict[str, CallState]) -> Report | None:
        """No call runs any more, and there is no word of an end: have the remote say what became of it."""
        failures = [states[call].failure for call in record.run.ids if states[call].failure]
        failure = failures[0] if failures else "its call is not known any more"
        if record.run.ids and not record.failure:
            record = write_record(task, replace(record, failure=failure))
        asked = [states[call] for call in record.stop.ids]
        if asked and asked[-1].failure:
            reason = f"the endpoint can run nothing: {asked[-1].failure}; see its log, then run it again"
            return _ended(record, Blame.SYSTEM, reason)
        if not asked:
            record = self._submit(task, record, "stop")
        elif all(state.is_over for state in asked) and not _is_fresh(record.stop):
            record = self._submit(task, replace(record, stop=Call(group=str(uuid.uuid4()))), "stop")
        return self._going_on(task, record, f"no word of its end yet: {record.failure or 'it is stopped'}")

    def _submit(self, task: Task, record: Record, action: str) -> Record:
        """Have the function called, unless a call of this kind is known or found."""
        call: Call = getattr(record, action)
        if call.ids:
            return record
        found = self._service.find(call.group) if call.submitted else ()
        if not found:
            call = replace(call, submitted=time.time())
            record = write_record(task, _with(record, action, call))
            asked = "settle" if action == "stop" and not record.is_stopped else action
            found = (self._service.submit(call.group, self._request(task, asked)),)
            log.info("task %s: %s is call %s", task.id, action, found[0])
        return write_record(task, _with(record, action, replace(call, ids=found)))

    def _request(self, task: Task, action: str) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "action": action,
            "home": f"{self._config.root}/{task.id}" if self._config.root else str(task.folder),
            "lists_files": self._config.root is not None,
            "python": self._config.python,
            "command": list(task.command),
            "environment": dict(task.environment),
            "working_folder": None if task.working_folder is None else str(task.working_folder),
            "timeout_s": task.timeout_s,
            "grace_s": self._grace_s,
        }

    def _collect(self, task: Task, record: Record, *, is_over: bool = False) -> Report | None:
        try:
            if self._results is None:
                return read_in_place(task, record, is_over=is_over)
            return self._results.collect(task, record)
        except (ServiceError, StorageError):
            raise
        except ApsdmError as error:
            return self._going_on(task, record, str(error))

    def _going_on(self, task: Task, record: Record, reason: str) -> Waiting | Running:
        holder = read_holder(task)
        if holder is not None:
            return Running(started=holder.time, host=holder.host, pid=holder.pid, reason=reason)
        if record.began is not None:
            return Running(started=record.began, host=f"endpoint {self._config.endpoint}", reason=reason)
        return Waiting(reason=reason or "queued at the endpoint")

    def _told(self, task: Task, report: Report) -> Report:
        if isinstance(report, Ended | Lost):
            self._end(task, report)
        else:
            self._pace.keep(task.id, report)
        return report

    def _end(self, task: Task, report: Ended | Lost) -> None:
        if read_report(task) is None:
            write_report(task, report)
            tidy(task)
        self._pace.forget(task.id)
        self._note(task.id, going=False)

    def _note(self, task_id: str, *, going: bool) -> None:
        with self._lock:
            (self._going.add if going else self._going.discard)(task_id)


@contextlib.contextmanager
def _alone(task: Task) -> Iterator[None]:
    """One thread of one process at a time works on the task."""
    try:
        make_folder(task.folder)
        lock = FileLock(task.folder / ".lock")
        lock.acquire()
    except OSError as error:
        raise StorageError(f"{task.folder}: {error.strerror}; give write permission") from error
    try:
        yield
    finally:
        lock.release()


def _with(record: Record, action: str, call: Call) -> Record:
    return replace(record, run=call) if action == "run" else replace(record, stop=call)


def _is_fresh(call: Call) -> bool:
    return 0 <= time.time() - call.submitted < _SETTLE_S


def _ended(record: Record, blame: Blame, reason: str) -> Ended:
    return Ended(status=None, started=record.began, ended=time.time(), blame=blame, reason=reason)
