"""Submissions of Globus Transfer: docs.globus.org/api/transfer/task_submit."""

import time
import uuid
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ._collections import Collection, check_path
from ._errors import ApiError, bad_request
from ._service import Service, json_body, result
from ._store import Document
from ._tasks import fresh_task

__all__ = ["SubmitRoutes"]

_LABEL_LIMIT = 128
_FLAGS = (
    "verify_checksum",
    "preserve_timestamp",
    "encrypt_data",
    "skip_source_errors",
    "fail_on_quota_errors",
)


class SubmitRoutes:
    """``submission_id``, ``transfer`` and ``delete``."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def submission_id(self, request: Request) -> Response:
        """``GET /v0.10/submission_id``."""
        self._service.caller(request)
        value = str(uuid.uuid1())
        self._service.store.put("submission", value, {"task_id": None})
        return JSONResponse({"DATA_TYPE": "submission_id", "value": value})

    async def transfer(self, request: Request) -> Response:
        """``POST /v0.10/transfer``."""
        caller, body = self._service.caller(request), await json_body(request)
        with self._service.store.transaction():
            answer = self._duplicate(request, body) or self._accept_transfer(request, caller, body)
        return JSONResponse(answer, status_code=202 if answer["code"] == "Accepted" else 200)

    async def delete(self, request: Request) -> Response:
        """``POST /v0.10/delete``; refused unless the stand-in is told to allow it."""
        caller, body = self._service.caller(request), await json_body(request)
        if not self._service.behaviour().allow_delete:
            raise ApiError(403, "PermissionDenied", "deleting is not allowed on this collection")
        with self._service.store.transaction():
            answer = self._duplicate(request, body) or self._accept_delete(request, caller, body)
        return JSONResponse(answer, status_code=202 if answer["code"] == "Accepted" else 200)

    def _duplicate(self, request: Request, body: Document) -> Document | None:
        """The answer to a submission id that is used; None when it is fresh."""
        submission_id = str(body.get("submission_id"))
        known = self._service.store.get("submission", submission_id)
        if known is None:
            raise bad_request(
                f"the submission_id {body.get('submission_id')!r} was not given by this service"
            )
        if known["task_id"] is None:
            return None
        message = "This submission has already been accepted; the task id is that of the first submission"
        return _accepted(request, body, known["task_id"], "Duplicate", message)

    def _accept_transfer(self, request: Request, caller: Document, body: Document) -> Document:
        if body.get("filter_rules") or body.get("delete_destination_extra"):
            raise bad_request("filter_rules and delete_destination_extra are not part of the stand-in")
        source = self._service.open(caller, body.get("source_endpoint"))
        destination = self._service.open(caller, body.get("destination_endpoint"))
        items = [_transfer_item(item, source, destination) for item in _items(body, "transfer")]
        fields = _ends(source, destination) | {name: _flag(body, name) for name in _FLAGS}
        fields |= {"sync_level": _sync_level(body)}
        return self._accept(request, caller, body, items, {"type": "TRANSFER", **fields})

    def _accept_delete(self, request: Request, caller: Document, body: Document) -> Document:
        collection = self._service.open(caller, body.get("endpoint"))
        items = [_delete_item(item, collection) for item in _items(body, "delete")]
        own = {"_recursive": _flag(body, "recursive"), "_ignore_missing": _flag(body, "ignore_missing")}
        fields = {"type": "DELETE", **_ends(collection, None), **own}
        return self._accept(request, caller, body, items, fields)

    def _accept(
        self, request: Request, caller: Document, body: Document, items: list[Document], fields: Document
    ) -> Document:
        self._refuse_conflicts(items, fields)
        submission_id = str(body["submission_id"])
        owner = self._service.identity.person(caller["sub"])
        own = {"_items": items, "_submission_id": submission_id}
        task = fresh_task(owner, self._deadline(body), **fields, label=_label(body), **own)
        self._service.tasks.add(task)
        self._service.store.put("submission", submission_id, {"task_id": task["task_id"]})
        kind = "transfer" if task["type"] == "TRANSFER" else "delete"
        message = f"The {kind} has been accepted and a task has been created and queued for execution"
        return _accepted(request, body, task["task_id"], "Accepted", message)

    def _refuse_conflicts(self, items: list[Document], fields: Document) -> None:
        """The code and message of a 409 are those that users of the service report."""
        pending = self._service.tasks.pending()
        if len(pending) >= self._service.behaviour().pending_limit:
            raise ApiError(
                409, "TooManyPendingJobs", f"{len(pending)} tasks are pending; wait for some to end"
            )
        ends = ("type", "source_endpoint_id", "destination_endpoint_id")
        for task in pending:
            if all(task[end] == fields[end] for end in ends) and _paths(task["_items"]) == _paths(items):
                kind = fields["type"].lower()
                raise ApiError(409, "Conflict", f"A {kind} with identical paths has not yet completed")

    def _deadline(self, body: Document) -> float:
        text = body.get("deadline")
        if text is None:
            return time.time() + self._service.behaviour().deadline_s
        try:
            moment = datetime.fromisoformat(str(text))
        except ValueError as error:
            raise bad_request(f"deadline {text!r} is no ISO 8601 date") from error
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _accepted(request: Request, body: Document, task_id: str, code: str, message: str) -> Document:
    """Keys of ``globus_sdk.testing.data.transfer.submit_transfer``."""
    link = {
        "DATA_TYPE": "link",
        "href": f"/v0.10/task/{task_id}?format=json",
        "rel": "related",
        "resource": "task",
        "title": "related task",
    }
    data_type = "delete_result" if request.url.path.endswith("/delete") else "transfer_result"
    ids = {"submission_id": body["submission_id"], "task_id": task_id}
    return result(request, code, message, data_type, **ids, task_link=link)


def _items(body: Document, kind: str) -> list[Document]:
    items = body.get("DATA")
    if not isinstance(items, list) or not items:
        name = kind.capitalize()
        raise ApiError(400, f"ClientError.BadRequest.No{name}Items", f"A {kind} requires at least one item")
    if any(not isinstance(item, dict) or item.get("DATA_TYPE") != f"{kind}_item" for item in items):
        raise bad_request(f"every item of DATA must be a {kind}_item")
    return items


def _transfer_item(item: Document, source: Collection, destination: Collection) -> Document:
    recursive, checksum = bool(item.get("recursive")), item.get("external_checksum")
    if not isinstance(checksum, str | None):
        raise bad_request("external_checksum must be a string")
    if recursive and checksum:
        raise bad_request("external_checksum cannot be used with a directory")
    return {
        "source_path": _checked(source, item.get("source_path")),
        "destination_path": _checked(destination, item.get("destination_path")),
        "recursive": recursive,
        "external_checksum": checksum,
        "checksum_algorithm": _algorithm(item),
    }


def _algorithm(item: Document) -> str | None:
    """Its name as hashlib has it; without one an external checksum is MD5 (docstring of `add_item`)."""
    name = item.get("checksum_algorithm")
    if name is None:
        return None
    plain = str(name).lower().replace("-", "")
    if plain not in ("md5", "sha1", "sha256", "sha512"):
        raise bad_request(f"checksum_algorithm {name!r} is not known; use MD5, SHA1, SHA256 or SHA512")
    return plain


def _delete_item(item: Document, collection: Collection) -> Document:
    path = _checked(collection, item.get("path"))
    if path == "/":
        raise bad_request("the root of a collection cannot be deleted")
    return {"path": path}


def _checked(collection: Collection, path: object) -> str:
    collection.resolve(path)
    return check_path(path)


def _ends(source: Collection, destination: Collection | None) -> Document:
    ends: Document = {}
    for name, end in (("source", source), ("destination", destination)):
        ends[f"{name}_endpoint"] = end and f"standin#{end.name}"
        ends[f"{name}_endpoint_display_name"] = end and end.name
        ends[f"{name}_endpoint_id"] = end and end.id
    return ends


def _label(body: Document) -> str | None:
    label = body.get("label")
    if label is None:
        return None
    if not isinstance(label, str) or len(label) > _LABEL_LIMIT:
        raise bad_request(f"label must be a string of at most {_LABEL_LIMIT} characters")
    if label != label.strip() or "\n" in label or "\r" in label:
        raise bad_request("label must not begin or end with spaces, nor hold a line break")
    return label


def _flag(body: Document, name: str) -> bool:
    value: Any = body.get(name, False)
    if not isinstance(value, bool):
        raise bad_request(f"{name} must be true or false, not {value!r}")
    return value


def _sync_level(body: Document) -> int | None:
    level = body.get("sync_level")
    if level is not None and (isinstance(level, bool) or level not in (0, 1, 2, 3)):
        raise bad_request(f"sync_level must be 0, 1, 2 or 3, not {level!r}")
    return level


def _paths(items: list[Document]) -> set[tuple[object, ...]]:
    return {(item.get("source_path"), item.get("destination_path"), item.get("path")) for item in items}
