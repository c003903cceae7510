"""Task and event documents."""

import json
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from ._store import Document, Store

__all__ = ["Tasks", "fresh_task", "iso", "public", "unfinished"]

# Keys of a task: globus_sdk.testing.data.transfer.task_list, and docs.globus.org/api/transfer/task.
_EMPTY: Document = {
    "bytes_checksummed": 0,
    "bytes_transferred": 0,
    "canceled_by_admin": None,
    "canceled_by_admin_message": None,
    "command": "API 0.10",
    "completion_time": None,
    "delete_destination_extra": False,
    "destination_base_path": None,
    "destination_local_user": None,
    "destination_local_user_status": None,
    "directories": 0,
    "effective_bytes_per_second": 0,
    "encrypt_data": False,
    "fail_on_quota_errors": False,
    "fatal_error": None,
    "faults": 0,
    "files": 0,
    "files_skipped": 0,
    "files_transferred": 0,
    "filter_rules": None,
    "history_deleted": False,
    "is_ok": True,
    "is_paused": False,
    "label": None,
    "nice_status": "Queued",
    "nice_status_details": None,
    "nice_status_expires_in": None,
    "nice_status_short_description": "Queued",
    "preserve_timestamp": False,
    "recursive_symlinks": "ignore",
    "skip_source_errors": False,
    "source_base_path": None,
    "source_local_user": None,
    "source_local_user_status": None,
    "status": "ACTIVE",
    "subtasks_canceled": 0,
    "subtasks_expired": 0,
    "subtasks_failed": 0,
    "subtasks_pending": 0,
    "subtasks_retrying": 0,
    "subtasks_skipped_errors": 0,
    "subtasks_succeeded": 0,
    "subtasks_total": 0,
    "symlinks": 0,
    "sync_level": None,
    "type": "TRANSFER",
    "verify_checksum": False,
}
_SHORT = {"OK": "OK", "Queued": "Queued", "PAUSED_BY_ADMIN": "paused", "CREDENTIALS_EXPIRED": "expired"}


def iso(seconds: float) -> str:
    """Seconds since the epoch as in ``2021-09-02T18:04:47+00:00``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def unfinished(task: Document) -> bool:
    """Whether a task is ACTIVE or INACTIVE."""
    return task["status"] in ("ACTIVE", "INACTIVE")


def public(task: Document) -> Document:
    """The task as Globus shows it; keys with an underscore are the stand-in's own."""
    return {
        "DATA_TYPE": "task",
        **{key: value for key, value in task.items() if not key.startswith("_")},
    }


def fresh_task(owner: Document, deadline: float, **fields: Any) -> Document:
    """A task that is accepted and queued."""
    now = time.time()
    return {
        **_EMPTY,
        "task_id": str(uuid.uuid4()),
        "owner_id": owner["sub"],
        "owner_string": owner["username"],
        "username": "u_" + owner["sub"].replace("-", "")[:22],
        "request_time": iso(now),
        "deadline": iso(deadline),
        "_requested": now,
        "_deadline": deadline,
        "_done": 0,
        "_plan": None,
        **fields,
    }


class Tasks:
    """Tasks and their events in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> list[Document]:
        """Every task that was not purged, the oldest first."""
        return self._store.all("task")

    def pending(self) -> list[Document]:
        """Every task that is ACTIVE or INACTIVE, the oldest first."""
        with self._store.transaction():
            found = [self.get(entry["task_id"]) for entry in self._store.all("pending")]
        return [task for task in found if task is not None]

    def get(self, task_id: str) -> Document | None:
        """One task, or None."""
        return self._store.get("task", task_id)

    def add(self, task: Document) -> None:
        """A new task."""
        with self._store.transaction():
            self._store.put("task", task["task_id"], task)
            self._store.put("pending", task["task_id"], {"task_id": task["task_id"]})

    def update(self, task_id: str, **changes: Any) -> Document | None:
        """Change a task, and return it; None when it is gone. A finished task does not change."""
        with self._store.transaction():
            task = self.get(task_id)
            if task is None or not unfinished(task):
                return task
            code = changes.get("nice_status")
            if code is not None:
                changes.setdefault("nice_status_short_description", _SHORT.get(code, _words(code)))
                changes["is_ok"] = code in ("OK", "Queued")
            task.update(changes)
            self._store.put("task", task_id, task)
        return task

    def count(self, task_id: str, **amounts: int) -> None:
        """Add to counters of a task."""
        with self._store.transaction():
            task = self.get(task_id)
            if task is not None:
                self.update(task_id, **{name: task[name] + amount for name, amount in amounts.items()})

    def event(self, task_id: str, code: str, details: object, *, error: bool = False) -> None:
        """Log an event (docs.globus.org/api/transfer/task, section 2.2). `details` may be JSON or a text."""
        text = details if isinstance(details, str) else json.dumps(details)
        body = {
            "DATA_TYPE": "event",
            "code": code,
            "is_error": error,
            "description": _words(code),
            "details": text,
            "time": iso(time.time()),
        }
        self._store.put(f"event:{task_id}", uuid.uuid4().hex, body)

    def events(self, task_id: str) -> list[Document]:
        """Its events, the newest first."""
        return self._store.all(f"event:{task_id}")[::-1]

    def finish(self, task_id: str, status: str, code: str, details: object) -> None:
        """End a task as SUCCEEDED or FAILED; harmless when it has ended."""
        with self._store.transaction():
            task = self.get(task_id)
            if task is None or not unfinished(task):
                return
            self.update(task_id, **_ending(task, status, code, str(details)))
            self._store.remove("pending", task_id)
            self.event(task_id, code, details, error=status == "FAILED")

    def purge(self, task_id: str) -> None:
        """Forget a task, as the service does with old ones; its submission id stays used."""
        with self._store.transaction():
            self._store.remove("task", task_id)
            self._store.remove("pending", task_id)
            self._store.remove(f"event:{task_id}")


def _words(code: str) -> str:
    return code.replace("_", " ").lower()


def _ending(task: Document, status: str, code: str, details: str) -> Document:
    failed = status == "FAILED"
    seconds = max(time.time() - task["_requested"], 0.001)
    return {
        "status": status,
        "completion_time": iso(time.time()),
        "fatal_error": {"code": code, "description": f"{_words(code)}: {details}"} if failed else None,
        "nice_status": None,
        "nice_status_short_description": None,
        "is_ok": None,
        "is_paused": False,
        "subtasks_pending": 0,
        "subtasks_retrying": 0,
        "effective_bytes_per_second": int(task["bytes_transferred"] / seconds),
    }
