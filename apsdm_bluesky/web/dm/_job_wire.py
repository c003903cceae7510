"""Jobs as DM's clients read them."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apsdm_bluesky.errors import StorageError, WorkflowError
from apsdm_bluesky.workflows.jobs import Attempt, Job, JobStore, OutputFile, StageEntry

from ._answer import timestamp
from ._workflow_wire import workflow_record

_LARGEST = 1 << 20  # bytes of one output
_MOST = 16 << 20  # bytes of all outputs in one answer
_NEVER_RAN = -1  # exit status of a process that has none
# What arguments and variables of a job must not hide; a client takes `errorCode` for an error.
_FIELDS = {"errorCode", "errorMessage", "runTime", "startTime", "endTime", "startTimestamp", "endTimestamp"}

Reader = Callable[[Attempt, str], str]


def job_record(store: JobStore, job: Job) -> dict[str, Any]:
    """A job with its stages and, of each, the processes that have ended."""
    stages = store.stages(job)
    attempts = list(enumerate(store.attempts(job.id)))
    reader = _Outputs(store, job)
    record = job_summary(store, job)
    shown = record["workflow"]["stages"]
    for entry in stages:
        own = [(number, one) for number, one in attempts if one.stage == entry.index]
        shown[entry.name] = {**shown.get(entry.name, {"command": ""}), **_stage_record(entry, own, reader)}
    return record


def job_summary(store: JobStore, job: Job) -> dict[str, Any]:
    """The same without processes: for lists."""
    record: dict[str, Any] = {
        "id": job.id,
        "owner": job.owner,
        "status": str(job.state),
        "submissionTime": job.created,
        "submissionTimestamp": timestamp(job.created),
        "countFiles": _count(job.arguments.get("filePath")),
        "stage": job.stage_name,
        "workflow": _workflow_of(store, job),
        **_times(job.started, job.ended),
    }
    for name, time in (("startTimestamp", job.started), ("endTimestamp", job.ended)):
        if time is not None:
            record[name] = timestamp(time)
    if job.reason:
        record["errorMessage"] = job.reason
    free = {**job.arguments, **job.variables}
    return {name: value for name, value in free.items() if name not in {*_FIELDS, *record}} | record


class _Outputs:
    """What processes printed: the end of each file, within what one answer may hold."""

    def __init__(self, store: JobStore, job: Job) -> None:
        self._folder = store.folder(job.id)
        self._left = _MOST

    def __call__(self, one: Attempt, name: str) -> str:
        kept = one.stdout if name == "stdout" else one.stderr  # the last lines; all, where files are gone
        most = min(_LARGEST, self._left)
        if most == 0:
            return f"[only the last lines: this answer has {_MOST >> 20} MiB of other output]\n{kept}"
        file = OutputFile(self._folder / one.folder / name, name, at=-most)
        try:
            text = "".join(file.decoder.decode(data) for data in file.news(most))
        except StorageError as error:
            return f"[only the last lines: {error}]\n{kept}"
        self._left -= min(self._left, len(text.encode("utf-8", "replace")))
        cut = file.at - most
        told = f"[the first {cut} bytes are left out; the job's page has all]\n" if cut > 0 else ""
        return told + (text or kept)


def _workflow_of(store: JobStore, job: Job) -> dict[str, Any]:
    try:
        return workflow_record(store.workflow_of(job))
    except WorkflowError:  # a rule asked for a workflow that is not there
        unknown = {"id": "", "userAccount": "", "description": "", "stages": {}}
        return {**unknown, "name": job.workflow, "owner": job.workflow_owner, "version": job.version}


def _stage_record(entry: StageEntry, own: Sequence[tuple[int, Attempt]], reader: Reader) -> dict[str, Any]:
    ended = [(number, one) for number, one in own if one.ended is not None]
    running = sum(one.started is not None and one.ended is None for _, one in own)
    return {
        "status": str(entry.state),
        **({"errorMessage": entry.reason} if entry.reason else {}),
        "nCompletedChildProcesses": len(ended),
        "nRunningChildProcesses": running,
        "nQueuedChildProcesses": len(own) - len(ended) - running,
        "childProcesses": {
            str(number): _process_record(number, one, entry.name, reader) for number, one in ended
        },
    }


def _process_record(number: int, one: Attempt, stage: str, reader: Reader) -> dict[str, Any]:
    return {
        "childProcessNumber": number,
        "stageId": stage,
        "command": shlex.join(one.command),
        "status": "done" if one.well else "failed",
        "exitStatus": _NEVER_RAN if one.status is None else one.status,
        **({"errorMessage": one.reason} if one.reason else {}),
        "submitTime": one.prepared,
        **_times(one.started, one.ended),
        "stdOut": reader(one, "stdout"),
        "stdErr": reader(one, "stderr"),
        "workingDir": one.working_folder,
    }


def _times(started: float | None, ended: float | None) -> Mapping[str, float]:
    values = {
        "startTime": started,
        "endTime": ended,
        "runTime": None if started is None or ended is None else ended - started,
    }
    return {name: value for name, value in values.items() if value is not None}


def _count(files: object) -> int:
    if isinstance(files, tuple):
        return len(files)
    return 0 if files is None else 1
