"""The control route: what the stand-in's owner may see and change, and Globus' users may not."""

import secrets
import uuid
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ._collections import Collection
from ._compute_store import Calls
from ._copy import spoil
from ._errors import ApiError, bad_request
from ._plan import FaultPlan
from ._service import Service, json_body
from ._settings import Behaviour
from ._store import Document
from ._tasks import public

__all__ = ["ControlRoutes"]


class ControlRoutes:
    """``POST /_control/<action>``, with the control token as bearer."""

    def __init__(self, service: Service, routes: Container[str], settle: Callable[[], None]) -> None:
        self._service, self._routes, self._settle = service, routes, settle
        calls = Calls(service.store, service.identity.endpoint)
        self._actions: dict[str, Callable[..., Any]] = {
            "configure": self._configure,
            "reset": self._reset,
            "fault": self._fault,
            "clear_faults": self._clear_faults,
            "faults_hit": service.faults.hits,
            "tasks": self._tasks,
            "events": service.tasks.events,
            "policy": self._policy,
            "pause": self._pause,
            "spoil": self._spoil,
            "migrate": self._migrate,
            "stage": self._stage,
            "residency": self._residency,
            "purge": service.tasks.purge,
            "fail": self._fail,
            "revoke_tokens": self._revoke_tokens,
            "forget_consents": service.tokens.forget_consents,
            "delete_client": self._delete_client,
            "calls": calls.all,
            "forget_calls": calls.forget,
            "forget_functions": calls.forget_functions,
            "compute_endpoint": calls.set_endpoint,
        }

    async def control(self, request: Request) -> Response:
        """Do one action."""
        expected = f"Bearer {self._service.identity.control_token}"
        given = request.headers.get("authorization", "")
        if not secrets.compare_digest(given.encode(), expected.encode()):
            raise ApiError(401, "AuthenticationFailed", "the control route needs the control token")
        action = self._actions.get(request.path_params["action"])
        if action is None:
            raise ApiError(404, "ClientError.NotFound", f"no such action: {request.path_params['action']}")
        try:
            answer = action(**await json_body(request))
        except (TypeError, ValidationError, OSError) as error:
            raise bad_request(" ".join(str(error).split())) from error
        self._settle()
        return JSONResponse({"answer": answer})

    def _configure(self, **changes: Any) -> Document:
        with self._service.store.transaction():
            merged = {**self._service.behaviour().model_dump(), **changes}
            behaviour = Behaviour.model_validate(merged).model_dump()
            self._service.store.put("behaviour", "", behaviour)
        return behaviour

    def _reset(self) -> None:
        store = self._service.store
        with store.transaction():
            for kind in ("policy", "consent", "deleted", "fault", "hit", "endpoint"):
                store.remove(kind)
            store.put("behaviour", "", Behaviour().model_dump())
            for task in self._service.tasks.pending():
                self._service.tasks.finish(task["task_id"], "FAILED", "CANCELED", "the stand-in was reset")

    def _fault(self, **plan: Any) -> None:
        if plan.get("route") not in self._routes:
            raise bad_request(f"no call is named {plan.get('route')!r}")
        self._service.faults.add(FaultPlan.model_validate(plan))

    def _clear_faults(self) -> None:
        self._service.faults.clear()

    def _tasks(self) -> list[Document]:
        own = ("submission_id", "items")
        return [
            {**public(task), **{name: task[f"_{name}"] for name in own}} for task in self._service.tasks.all()
        ]

    def _collection(self, name: str) -> Collection:
        try:
            return self._service.collections.by_name[name]
        except KeyError as error:
            names = ", ".join(self._service.collections.by_name)
            raise bad_request(f"no collection {name!r}; there are {names}") from error

    def _target(self, collection: str, path: str) -> tuple[Collection, Path]:
        found = self._collection(collection)
        return found, found.resolve(path)

    def _policy(self, collection: str, **changes: Any) -> Document:
        found = self._collection(collection)
        self._service.collections.set_policy(found, **changes)
        return self._service.collections.policy(found)

    def _pause(self, collection: str, message: str, status: str) -> None:
        found = self._collection(collection)
        rule = {
            "DATA_TYPE": "pause_rule_limited",
            "id": str(uuid.uuid4()),
            "message": message,
            "endpoint_id": found.id,
            "pause_task_transfer_read": True,
            "pause_task_transfer_write": True,
            "pause_task_delete": True,
        }
        pause = {"message": message, "status": status, "rule": rule}
        self._service.collections.set_policy(found, pause=pause)

    def _spoil(self, collection: str, path: str, offset: int | None, truncate: bool) -> None:
        _, target = self._target(collection, path)
        spoil(target, offset=offset, truncate=truncate)

    def _migrate(self, collection: str, path: str) -> None:
        self._service.collections.migrate(*self._target(collection, path))

    def _stage(self, collection: str, path: str) -> None:
        self._service.collections.stage(*self._target(collection, path))

    def _residency(self, collection: str, path: str) -> str:
        return self._service.collections.residency(*self._target(collection, path))

    def _fail(self, task_id: str, code: str, details: str) -> None:
        self._service.tasks.finish(task_id, "FAILED", code, details)

    def _revoke_tokens(self, refresh: bool) -> None:
        self._service.tokens.revoke_all(refresh=refresh)

    def _delete_client(self, client_id: str, deleted: bool) -> None:
        if deleted:
            self._service.store.put("deleted", client_id, {"client_id": client_id})
            self._service.tokens.revoke_all(refresh=True)
        else:
            self._service.store.remove("deleted", client_id)
