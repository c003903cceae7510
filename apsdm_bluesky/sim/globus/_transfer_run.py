"""The work on a transfer: folders, copies, checksums, quota and staging."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from ._collections import Collection
from ._copy import CopyError, copy_in_place, spoil, translated
from ._plan import FaultPlan
from ._run import POLL_S, Run
from ._store import Document

__all__ = ["TransferRun"]

_SYNC_EXISTS, _SYNC_SIZE, _SYNC_MTIME = 0, 1, 2  # the highest, 3, compares checksums


class TransferRun(Run):
    """A transfer: expands folders, then copies, checks and counts."""

    def _items(self) -> list[Document]:
        if self._task()["_plan"] is None:
            self._until_done(self._expand)
        return list(self._task()["_plan"])

    def _expand(self) -> None:
        plan = [file for item in self._task()["_items"] for file in self._files(item)]
        self._tasks.update(
            self._id, _plan=plan, files=len(plan), subtasks_total=len(plan), subtasks_pending=len(plan)
        )

    def _files(self, item: Document) -> list[Document]:
        if not item.get("recursive"):
            return [item]
        source, _ = self._ends()
        root = self._resolve(source, item["source_path"])
        if not root.is_dir():
            raise CopyError("FILE_NOT_FOUND", f"no such directory: {item['source_path']}", source=True)
        names = sorted(found.relative_to(root).as_posix() for found in root.rglob("*") if found.is_file())
        ends = ("source_path", "destination_path")
        return [{**item, **{end: f"{item[end].rstrip('/')}/{name}" for end in ends}} for name in names]

    def _ends(self) -> tuple[Collection, Collection]:
        task = self._task()
        get = self._collections.get
        return get(task["source_endpoint_id"]), get(task["destination_endpoint_id"])

    def _one(self, item: Document) -> None:
        plan = self._faults.take("copy", f"{self._id} {item['source_path']}")
        if plan is not None and plan.code is not None:
            raise CopyError(plan.code, plan.message, fatal=plan.fatal)
        try:
            self._transfer(item, plan)
        except CopyError as error:
            if not (error.source and self._task()["skip_source_errors"]):
                raise
            self._skip(item, error)

    def _skip(self, item: Document, error: CopyError) -> None:
        entry = {
            "DATA_TYPE": "skipped_error",
            "error_code": error.code,
            "error_details": error.details,
            "is_directory": False,
            "is_symlink": False,
            "source_path": item["source_path"],
            "destination_path": item["destination_path"],
            "external_checksum": item.get("external_checksum"),
            "checksum_algorithm": item.get("checksum_algorithm"),
        }
        self._store.put(f"skipped:{self._id}", item["source_path"], entry)
        self._tasks.count(self._id, files_skipped=1, subtasks_skipped_errors=1)

    def _transfer(self, item: Document, plan: FaultPlan | None) -> None:
        source, destination = self._ends()
        origin = self._resolve(source, item["source_path"])
        target = self._resolve(destination, item["destination_path"])
        if (plan is not None and plan.skip) or self._is_same(item, origin, target):
            self._tasks.count(self._id, files_skipped=1, subtasks_succeeded=1)
            return
        self._await_staging(source, origin)
        self._copy(destination, origin, target)
        self._verify(item, origin, target)
        if plan is not None and (plan.corrupt or plan.truncate):
            spoil(target, truncate=plan.truncate)
        self._record(item)

    def _copy(self, destination: Collection, origin: Path, target: Path) -> None:
        md5 = copy_in_place(origin, target, self._pacer(destination, target))
        if self._task()["preserve_timestamp"]:
            _copy_times(origin, target)
        if destination.tape:
            self._collections.written(destination, target, md5, self._behaviour().migration_s)

    def _record(self, item: Document) -> None:
        entry = {key: item[key] for key in ("source_path", "destination_path")}
        body = {"DATA_TYPE": "successful_transfer", **entry}
        self._store.put(f"successful:{self._id}", item["destination_path"], body)
        self._tasks.count(self._id, files_transferred=1, subtasks_succeeded=1)

    def _pacer(self, destination: Collection, target: Path) -> Callable[[int, int], None]:
        quota = self._collections.policy(destination)["quota_bytes"]
        others = destination.used_bytes() - (target.stat().st_size if target.is_file() else 0)

        def proceed(so_far: int, chunk: int) -> None:
            if quota is not None and others + so_far > quota:
                fatal = self._task()["fail_on_quota_errors"]
                raise CopyError("QUOTA_EXCEEDED", f"{destination.name}: quota of {quota} bytes", fatal=fatal)
            if chunk:
                self._tasks.count(self._id, bytes_transferred=chunk)
            self._pace(chunk)
            self._hold(so_far)

        return proceed

    def _pace(self, chunk: int) -> None:
        start = time.monotonic()
        while (rate := self._behaviour().rate_bytes_s) and time.monotonic() < start + chunk / rate:
            self._task()
            self._stop.wait(min(chunk / rate, POLL_S))

    def _hold(self, so_far: int) -> None:
        while True:
            self._task()
            hold = self._behaviour().hold_at_bytes
            if hold is None or so_far < hold:
                return
            self._stop.wait(POLL_S)

    def _await_staging(self, source: Collection, origin: Path) -> None:
        """Staging has no state of its own in the API; what a person sees is a fault and its event."""
        told = False
        while self._collections.wants_staging(source, origin, self._behaviour().staging_s):
            if not told:
                details = f"{source.key(origin)}: the file is being staged from tape, try again later"
                self._fault(CopyError("ENDPOINT_ERROR", details))
                told = True
            self._wait(POLL_S)

    def _is_same(self, item: Document, origin: Path, target: Path) -> bool:
        """Whether the sync level lets the file be skipped (table in the SDK's `TransferData`)."""
        level = self._task()["sync_level"]
        if level is None or not target.is_file():
            return False
        try:
            before, after = origin.stat(), target.stat()
        except OSError as error:
            raise translated(error, source=True) from error
        if level == _SYNC_EXISTS:
            return True
        if level == _SYNC_SIZE:
            return before.st_size == after.st_size
        if level == _SYNC_MTIME:
            return before.st_mtime <= after.st_mtime
        return before.st_size == after.st_size and len(set(self._checksums(item, origin, target))) == 1

    def _checksums(self, item: Document, origin: Path, target: Path) -> tuple[str, str]:
        source, destination = self._ends()
        stored = self._behaviour().stored_checksum
        algorithm = item.get("checksum_algorithm") or "md5"
        get = self._collections.checksum
        return (
            get(source, origin, algorithm, stored=stored),
            get(destination, target, algorithm, stored=stored),
        )

    def _verify(self, item: Document, origin: Path, target: Path) -> None:
        """A wrong `external_checksum` fails the task; sums that differ from each other are a fault.

        A tape collection answers with MD5 whatever was asked for, so another algorithm never agrees.
        """
        external = item.get("external_checksum")
        if not (external or self._task()["verify_checksum"]):
            return
        sums = self._checksums(item, origin, target)
        self._tasks.count(self._id, bytes_checksummed=target.stat().st_size)
        if external and {total.lower() for total in sums} != {external.lower()}:
            details = f"expected {external}, source {sums[0]}, destination {sums[1]}"
            raise CopyError("VERIFY_CHECKSUM", details, fatal=True)
        if sums[0] != sums[1]:
            raise CopyError("VERIFY_CHECKSUM", f"source {sums[0]}, destination {sums[1]}")


def _copy_times(origin: Path, target: Path) -> None:
    status = origin.stat()
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
