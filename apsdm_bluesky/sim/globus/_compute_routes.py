"""The routes of Globus Compute, in the shapes of the SDK's test data, ``globus_sdk.testing.data.compute``."""

import time
import uuid
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ._compute_store import Calls
from ._errors import ApiError, bad_request
from ._service import Service, json_body
from ._store import Document

__all__ = ["ComputeRoutes"]

_PAYLOAD_LIMIT = 10_000_000  # bytes; the service's limit


class ComputeRoutes:
    """Functions, calls, task groups, and one endpoint."""

    def __init__(self, service: Service) -> None:
        self._service, self._calls = service, Calls(service.store, service.identity.endpoint)

    async def register(self, request: Request) -> Response:
        """``POST /v3/functions``."""
        self._check_caller(request)
        body = await json_body(request)
        if not isinstance(body.get("function_code"), str) or not isinstance(body.get("function_name"), str):
            raise bad_request("function_name and function_code must be texts")
        return JSONResponse({"function_uuid": self._calls.register(body["function_code"])})

    async def submit(self, request: Request) -> Response:
        """``POST /v3/endpoints/<endpoint>/submit``; nothing makes two submissions one."""
        self._check_caller(request)
        self._check_endpoint(request)
        body = await json_body(request)
        group = _uuid(body.get("task_group_id") or str(uuid.uuid4()))
        tasks = _tasks(body)
        for function_id in tasks:
            self._calls.code(function_id)
        config = body.get("user_endpoint_config")
        ids = {
            function_id: [self._calls.add(function_id, group, payload, config) for payload in payloads]
            for function_id, payloads in tasks.items()
        }
        common = {"request_id": str(uuid.uuid4()), "endpoint_id": self._calls.endpoint_id}
        return JSONResponse({**common, "task_group_id": group, "tasks": ids})

    async def batch(self, request: Request) -> Response:
        """``POST /v2/batch_status``; calls that are not known are left out."""
        self._check_caller(request)
        wanted = (await json_body(request)).get("task_ids")
        if not isinstance(wanted, list):
            raise bad_request("task_ids must be a list")
        found = [call for call in map(self._calls.get, map(str, wanted)) if call is not None]
        return JSONResponse(
            {"response": "batch", "results": {call["task_id"]: _told(call) for call in found}}
        )

    async def task(self, request: Request) -> Response:
        """``GET /v2/tasks/<task>``."""
        self._check_caller(request)
        call = self._calls.get(request.path_params["task_id"])
        if call is None:
            raise ApiError(404, "RESOURCE_NOT_FOUND", "Task could not be found")
        return JSONResponse(_told(call))

    async def group(self, request: Request) -> Response:
        """``GET /v2/taskgroup/<group>``."""
        self._check_caller(request)
        group = request.path_params["group_id"]
        calls = [call for call in self._calls.all() if call["group"] == group]
        if not calls:
            raise ApiError(404, "RESOURCE_NOT_FOUND", f"Task group {group} could not be found")
        tasks = [
            {"id": call["task_id"], "created_at": datetime.fromtimestamp(call["created"], UTC).isoformat()}
            for call in calls
        ]
        return JSONResponse({"taskgroup_id": group, "tasks": tasks})

    async def endpoint_status(self, request: Request) -> Response:
        """``GET /v2/endpoints/<endpoint>/status``."""
        self._check_caller(request)
        self._check_endpoint(request)
        online = self._calls.endpoint()["online"]
        return JSONResponse({"status": "online" if online else "offline", "details": {}})

    def _check_caller(self, request: Request) -> None:
        self._service.tokens.for_compute(request.headers.get("authorization"))

    def _check_endpoint(self, request: Request) -> None:
        endpoint_id = request.path_params["endpoint_id"]
        if endpoint_id != self._calls.endpoint_id:
            raise ApiError(404, "RESOURCE_NOT_FOUND", f"Endpoint {endpoint_id} could not be resolved")
        if not self._calls.endpoint()["permitted"]:
            raise ApiError(403, "FORBIDDEN", "Unauthorized access to endpoint")


def _tasks(body: Document) -> dict[str, list[str]]:
    tasks = body.get("tasks")
    if not isinstance(tasks, dict) or not all(isinstance(payloads, list) for payloads in tasks.values()):
        raise bad_request("tasks must be lists of payloads by function")
    payloads = [payload for payloads in tasks.values() for payload in payloads]
    if not payloads or not all(isinstance(payload, str) for payload in payloads):
        raise bad_request("payloads must be texts")
    if sum(map(len, payloads)) > _PAYLOAD_LIMIT:
        raise ApiError(413, "PAYLOAD_TOO_LARGE", "the payload has more than 10 MB")
    return tasks


def _told(call: Document) -> dict[str, Any]:
    told = {"task_id": call["task_id"], "status": call["status"]}
    if call["status"] in ("success", "failed"):
        told |= {"completion_t": str(time.time())}
        told |= {key: call[key] for key in ("result", "exception") if key in call}
    return told


def _uuid(value: object) -> str:
    try:
        return str(uuid.UUID(str(value)))
    except ValueError as error:
        raise bad_request("task_group_id must be a UUID") from error
