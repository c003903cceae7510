"""Routes on tasks: docs.globus.org/api/transfer/task."""

import fnmatch
from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ._errors import ApiError, bad_request
from ._service import Service, result
from ._store import Document
from ._tasks import public, unfinished

__all__ = ["TaskRoutes"]

_DEFAULT_LIMIT, _MAX_LIMIT = 10, 1000
_TEXTS = ("task_id", "status", "type", "label")
_TIMES = ("request_time", "completion_time")


class TaskRoutes:
    """Status, lists, events and cancellation. A task is seen by its owner only."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def task(self, request: Request) -> Response:
        """``GET /v0.10/task/<task_id>``."""
        return JSONResponse(public(self._task(request)))

    def _task(self, request: Request) -> Document:
        caller = self._service.caller(request)
        task_id = request.path_params["task_id"]
        task = self._service.tasks.get(task_id)
        if task is None or task["owner_id"] != caller["sub"]:
            raise ApiError(404, "ClientError.NotFound", f'No task found with id "{task_id}"')
        return task

    async def task_list(self, request: Request) -> Response:
        """``GET /v0.10/task_list``: the newest first, filtered, a page of it."""
        caller = self._service.caller(request)
        own = [task for task in self._service.tasks.all() if task["owner_id"] == caller["sub"]]
        clauses = [clause for text in request.query_params.getlist("filter") for clause in text.split("/")]
        tests = [_test(clause) for clause in clauses if clause]
        found = [public(task) for task in own if all(test(task) for test in tests)]
        if not request.query_params.get("orderby", "request_time desc").endswith("asc"):
            found.reverse()
        return _page(request, "task_list", found)

    async def event_list(self, request: Request) -> Response:
        """``GET /v0.10/task/<task_id>/event_list``: the newest first."""
        events = self._service.tasks.events(self._task(request)["task_id"])
        wanted = request.query_params.get("filter", "").removeprefix("is_error:")
        if wanted:
            events = [event for event in events if str(int(event["is_error"])) == wanted]
        return _page(request, "event_list", events)

    async def cancel(self, request: Request) -> Response:
        """``POST /v0.10/task/<task_id>/cancel``."""
        task = self._task(request)
        if not unfinished(task):
            message = "The task completed before the cancel request was processed."
            return JSONResponse(result(request, "TaskComplete", message))
        self._service.tasks.finish(task["task_id"], "FAILED", "CANCELED", "canceled by the user")
        return JSONResponse(
            result(request, "Canceled", "The task has been cancelled successfully.")  # the SDK's test data
        )

    async def successful_transfers(self, request: Request) -> Response:
        """``GET /v0.10/task/<task_id>/successful_transfers``."""
        return self._marked(request, "successful")

    async def skipped_errors(self, request: Request) -> Response:
        """``GET /v0.10/task/<task_id>/skipped_errors``."""
        return self._marked(request, "skipped")

    def _marked(self, request: Request, kind: str) -> Response:
        """A page by marker; without a limit of its own the service decides how long a page is: 1,000."""
        task = self._task(request)
        start = _number(request, "marker", 0)
        entries = self._service.store.all(f"{kind}:{task['task_id']}")
        end = start + _MAX_LIMIT
        names = {"successful": "successful_transfers", "skipped": "skipped_errors"}
        body = {"DATA_TYPE": names[kind], "marker": start, "DATA": entries[start:end]}
        return JSONResponse({**body, "next_marker": end if end < len(entries) else None})

    async def pause_info(self, request: Request) -> Response:
        """``GET /v0.10/task/<task_id>/pause_info``."""
        task = self._task(request)
        body: Document = {"DATA_TYPE": "pause_info_limited", "pause_rules": []}
        for end in ("source", "destination"):
            body[f"{end}_pause_message"] = body[f"{end}_pause_message_share"] = None
            endpoint_id = task[f"{end}_endpoint_id"]
            if endpoint_id:
                collection = self._service.collections.get(endpoint_id)
                pause = self._service.collections.policy(collection)["pause"]
                if pause:
                    body[f"{end}_pause_message"] = pause["message"]
                    body["pause_rules"].append({**pause["rule"], "endpoint_display_name": collection.name})
        return JSONResponse(body)


def _test(clause: str) -> Callable[[Document], bool]:
    """One clause of a filter: ``status:ACTIVE,INACTIVE``, ``label:~run*``, ``request_time:<from>,<to>``."""
    name, _, text = clause.partition(":")
    if name in _TIMES:
        start, _, end = text.partition(",")
        return lambda task: bool(task[name]) and _between(start, task[name], end)
    if name not in _TEXTS:
        raise bad_request(f"filter {name!r} is not known; use {', '.join(_TEXTS + _TIMES)}")
    negative, text = text.startswith("!"), text.removeprefix("!")
    pattern, text = text.startswith("~"), text.removeprefix("~")
    wanted = [text] if name == "label" else text.split(",")

    def test(task: Document) -> bool:
        value = str(task[name] or "")
        hit = fnmatch.fnmatchcase(value.lower(), text.lower()) if pattern else value in wanted
        return hit != negative

    return test


def _between(start: str, value: str, end: str) -> bool:
    try:
        limits = [
            datetime.fromisoformat(limit).replace(tzinfo=None) if limit else None for limit in (start, end)
        ]
    except ValueError as error:
        raise bad_request(f"filter by time: {error}") from error
    moment = datetime.fromisoformat(value).replace(tzinfo=None)
    return (limits[0] is None or limits[0] <= moment) and (limits[1] is None or moment <= limits[1])


def _page(request: Request, data_type: str, found: list[Document]) -> Response:
    limit = min(_number(request, "limit", _DEFAULT_LIMIT), _MAX_LIMIT)
    offset = _number(request, "offset", 0)
    data = found[offset : offset + limit]
    body = {"DATA_TYPE": data_type, "DATA": data, "limit": limit, "offset": offset, "total": len(found)}
    return JSONResponse({**body, "length": len(data), "has_next_page": offset + len(data) < len(found)})


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isdecimal():
        raise bad_request(f"{name} must be a number, not {text!r}")
    return int(text)
