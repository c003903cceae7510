"""Globus Transfer as a `Transfer`: any collection as the destination."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from apsdm_bluesky.config import GlobusConfig
from apsdm_bluesky.errors import FormatError, ServiceError

from ._copy import ContentError
from ._globus_document import transfer_data
from ._globus_ends import Ends, UnfitError
from ._globus_pace import PollPace
from ._globus_record import GlobusRecord, RecordStore, Stage
from ._globus_service import ConflictError, GlobusService
from ._globus_verdict import in_trouble, judge
from ._protocol import Direction, RemoteFile, Residency, TaskReport, TaskStatus, TransferRequest

log = logging.getLogger(__name__)


class Globus:
    """A `Transfer` between this machine's collection and another one.

    Threads may share it, as long as each request is the business of one at a time.

    Nothing that exists at the destination is overwritten, whenever a process dies. Globus itself replaces
    what stands under a destination path, so it never gets a final name to write to:

    - A file is sent to a part name of its own, ``<name>.<16 hexadecimal digits>.part``, which belongs to this
      source, its size and its time. After SUCCEEDED, and when the part has the right size, it is renamed; a
      collection refuses to rename over something that exists, and is asked for the name before.
    - Where the final name is taken at the start, the size decides, or else the content: the file is fetched
      to a part beside the source and compared byte for byte. The same is adopted, other content ends the
      task.
    - A file is fetched to a part beside its target and gets its name by a hard link.

    Each step is recorded before it is done, under the submission id, so the next process goes on. Parts are
    sent with ``sync_level=checksum``: after a failed task the next one sends only what is missing or wrong in
    them. The task's id is that of the first Globus task, as app.globus.org shows it; of a request refused
    before any task it is the submission id.

    Parameters
    ----------
    folder
        For tokens and records.
    records
        For records, where another place is wanted.

    Raises
    ------
    ApsdmError
        From every method, beside the errors of the protocol: a person must log in, consent or give
        permission; the message is the instruction.
    """

    def __init__(self, config: GlobusConfig, *, folder: Path, records: Path | None = None) -> None:
        self._config = config
        self._service = GlobusService(config, folder)
        self._records = RecordStore(records or folder / "tasks")
        self._ends = Ends(config, self._service)
        self._pace = PollPace[TaskReport]()

    @property
    def collection(self) -> str:
        """The destination's name."""
        return self._config.name

    def new_submission_id(self) -> str:
        """An id for one request, from Globus."""
        return self._service.new_submission_id()

    def submit(self, request: TransferRequest) -> str:
        """See `Transfer.submit`."""
        record = self._records.read(request.submission_id)
        if record is None:
            record = self._records.write(self._plan(request))
        elif record.request != request:
            raise FormatError(
                f"submission id {request.submission_id} was used for another request; take a new one"
            )
        record = self._post(record)
        return record.first_task_id or request.submission_id

    def status(self, task_id: str) -> TaskReport | None:
        """See `Transfer.status`. SUCCEEDED is told when the files have their final names.

        Globus is asked less often the longer a task takes, at least every 30 s; the last report is told then.
        """
        report = self._pace.last(task_id)
        if report is None:
            report = self._status(task_id)
            if report is None or report.status in (TaskStatus.SUCCEEDED, TaskStatus.FAILED):
                self._pace.forget(task_id)
            else:
                self._pace.keep(task_id, report)
        return report

    def _status(self, task_id: str) -> TaskReport | None:
        record = self._records.read(task_id)
        if record is None:
            return None
        record = self._post(record)
        if record.report is not None:
            return record.report
        if record.stage is Stage.PUBLISH:
            return self._settle(record)
        task = self._service.task(str(record.task_id))
        if task is None:
            return None
        verdict = judge(task, self._service.events(str(record.task_id)) if in_trouble(task) else ())
        if verdict.status is TaskStatus.SUCCEEDED:
            return self._settle(record)
        if verdict.status is TaskStatus.FAILED:
            return self._fail(
                record,
                verdict.detail,
                needs_person=verdict.needs_person,
                content_differs=verdict.content_differs,
            )
        if record.verdict or verdict.hopeless:
            record = self._give_up(record, verdict.detail, content_differs=verdict.content_differs)
            return TaskReport(
                task_id=task_id, status=TaskStatus.ACTIVE, detail=f"cancelling: {record.verdict}"
            )
        done = task.get("bytes_transferred")
        return TaskReport(
            task_id=task_id,
            status=verdict.status,
            detail=self._of(record, verdict.detail) if verdict.detail else "",
            needs_person=verdict.needs_person,
            bytes_done=done if isinstance(done, int) else 0,
        )

    def cancel(self, task_id: str) -> None:
        """See `Transfer.cancel`."""
        record = self._records.read(task_id)
        if record is not None and record.stage is not Stage.ENDED:
            self._give_up(self._post(record), "cancelled")
        self._pace.forget(task_id)

    def stat(self, path: str) -> RemoteFile | None:
        """See `Transfer.stat`. Globus tells no MD5."""
        size = self._ends.remote_size(path)
        return None if size is None else RemoteFile(path=path, size=size)

    def list_files(self, prefix: str = "") -> Iterator[RemoteFile]:
        """See `Transfer.list_files`."""
        folders = [prefix]
        while folders:
            folder = folders.pop()
            for name, size in self._ends.entries(folder):
                path = f"{folder}/{name}" if folder else name
                if size is None:
                    folders.append(path)
                else:
                    yield RemoteFile(path=path, size=size)

    def residency(self, path: str) -> Residency:
        """UNKNOWN: Globus does not tell it."""
        self._ends.remote(path)
        return Residency.UNKNOWN

    def close(self) -> None:
        """Close the connections. Tasks go on at Globus."""
        self._service.close()

    def _plan(self, request: TransferRequest) -> GlobusRecord:
        """The record of a new request: what goes where, or why it cannot."""
        blank = GlobusRecord(request=request, stage=Stage.MOVE, submission_id=request.submission_id)
        self._ends.check(request)
        try:
            sizes, standing = self._ends.look(request)
        except ContentError as error:
            return _ended(blank, TaskStatus.FAILED, str(error), needs_person=True)
        return replace(
            blank,
            stage=Stage.COMPARE if standing else Stage.MOVE,
            parts=self._ends.parts(request),
            sizes=sizes,
            standing=standing,
        )

    def _post(self, record: GlobusRecord) -> GlobusRecord:
        """Have Globus make the stage's task, unless it is known to have one."""
        if record.stage in (Stage.PUBLISH, Stage.ENDED) or record.task_id is not None:
            return record
        try:
            task_id = self._service.submit(transfer_data(self._config, self._ends, record))
        except ConflictError as error:
            found = self._service.find(record.submission_id)
            if found is None:
                reason = f"another task moves the same files ({error}); submitted when that has ended"
                raise ServiceError(self._of(record, reason)) from error
            task_id = found
        log.info("submission %s: %s is Globus task %s", record.submission_id, record.stage, task_id)
        return self._records.write(
            replace(record, task_id=task_id, first_task_id=record.first_task_id or task_id)
        )

    def _settle(self, record: GlobusRecord) -> TaskReport:
        """The stage's task SUCCEEDED: see that it is true, and go on.

        That the parts were seen is recorded before the first is renamed: only then may one be missing.
        """
        try:
            if record.stage is Stage.COMPARE:
                self._ends.compare(record)
                if len(record.standing) < len(record.request.items):
                    return self._move_rest(record)
            elif record.request.direction is Direction.SEND:
                if record.stage is Stage.MOVE:
                    self._ends.see_parts(record)
                    record = self._records.write(replace(record, stage=Stage.PUBLISH))
                self._ends.publish_remote(record)
            else:
                self._ends.publish_local(record)
        except ContentError as error:
            return self._fail(record, str(error), needs_person=True)
        except UnfitError as error:
            return self._fail(record, str(error), needs_person=False)
        return self._end(_ended(record, TaskStatus.SUCCEEDED, "", needs_person=False))

    def _move_rest(self, record: GlobusRecord) -> TaskReport:
        """What stands at the destination is the same: send what does not."""
        submission_id = self._service.new_submission_id()
        record = replace(record, stage=Stage.MOVE, submission_id=submission_id, task_id=None)
        self._records.write(record)
        self._ends.remove_local_parts(record)
        record = self._post(record)
        return TaskReport(task_id=_id(record), status=TaskStatus.ACTIVE)

    def _give_up(self, record: GlobusRecord, reason: str, *, content_differs: bool = False) -> GlobusRecord:
        """Cancel the stage's task; the reason is kept first, and told when Globus says that it ended."""
        if not record.verdict:
            record = self._records.write(
                replace(
                    record,
                    verdict=self._of(record, reason),
                    verdict_needs_person=True,
                    verdict_content_differs=content_differs,
                )
            )
        self._service.cancel(str(record.task_id))
        return record

    def _fail(
        self, record: GlobusRecord, detail: str, *, needs_person: bool, content_differs: bool = False
    ) -> TaskReport:
        if record.verdict:
            detail, needs_person = record.verdict, record.verdict_needs_person
            content_differs = record.verdict_content_differs
        else:
            detail = self._of(record, detail)
        return self._end(
            _ended(
                record,
                TaskStatus.FAILED,
                detail,
                needs_person=needs_person,
                content_differs=content_differs,
            )
        )

    def _end(self, ended: GlobusRecord) -> TaskReport:
        record = self._records.write(ended)
        report = record.report
        self._ends.remove_local_parts(record)
        if report is None:
            raise ServiceError(f"task {_id(record)} has no report")
        return report

    def _of(self, record: GlobusRecord, text: str) -> str:
        """The text with the first file it is about, and the task's id at Globus."""
        first = record.request.items[record.moved[0] if record.moved else 0]
        name = first.remote if first.remote not in text else ""
        about = f"{name}: {text}" if name else text
        return f"{about} (Globus task {record.task_id})" if record.task_id else about


def _id(record: GlobusRecord) -> str:
    return record.first_task_id or record.request.submission_id


def _ended(
    record: GlobusRecord,
    status: TaskStatus,
    detail: str,
    *,
    needs_person: bool,
    content_differs: bool = False,
) -> GlobusRecord:
    succeeded = status is TaskStatus.SUCCEEDED
    report = TaskReport(
        task_id=_id(record),
        status=status,
        detail=detail,
        needs_person=needs_person,
        content_differs=content_differs,
        bytes_done=sum(record.sizes) if succeeded else 0,
        # `verify_checksum` with an external MD5; what stood there already was compared byte for byte.
        md5_checked=succeeded and record.request.direction is Direction.SEND,
    )
    return replace(record, stage=Stage.ENDED, report=report)
