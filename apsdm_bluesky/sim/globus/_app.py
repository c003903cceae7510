"""The routes of the stand-in as one ASGI application, each of them open to planned faults."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ._auth import AuthRoutes
from ._collections import Collection, Collections
from ._compute_engine import ComputeEngine
from ._compute_routes import ComputeRoutes
from ._compute_store import Calls
from ._control import ControlRoutes
from ._endpoints import EndpointRoutes
from ._engine import Engine
from ._errors import ApiError, OAuthError, answer_api_error, answer_oauth_error
from ._faults import Faults, Handler, LostReply, answer
from ._identity import load_identity
from ._operations import OperationRoutes
from ._service import Service, read_behaviour
from ._settings import ServerSettings
from ._signing import SigningKey
from ._store import Store
from ._submit import SubmitRoutes
from ._task_routes import TaskRoutes
from ._tasks import Tasks
from ._tokens import Tokens

__all__ = ["ROUTES", "build_app", "build_compute", "build_engine", "build_service"]

_V10, _OAUTH = "/v0.10", "/v2/oauth2"
_OPERATION = _V10 + "/operation/endpoint/{endpoint_id}"
_ENDPOINT = _V10 + "/endpoint/{endpoint_id}"
_TASK = _V10 + "/task/{task_id}"


class _Call(NamedTuple):
    method: str
    path: str
    routes: type
    handler: str


# The name of each call in a fault plan, and what answers it.
ROUTES: dict[str, _Call] = {
    "submission_id": _Call("GET", _V10 + "/submission_id", SubmitRoutes, "submission_id"),
    "transfer": _Call("POST", _V10 + "/transfer", SubmitRoutes, "transfer"),
    "delete": _Call("POST", _V10 + "/delete", SubmitRoutes, "delete"),
    "task": _Call("GET", _TASK, TaskRoutes, "task"),
    "task_list": _Call("GET", _V10 + "/task_list", TaskRoutes, "task_list"),
    "event_list": _Call("GET", _TASK + "/event_list", TaskRoutes, "event_list"),
    "successful_transfers": _Call("GET", _TASK + "/successful_transfers", TaskRoutes, "successful_transfers"),
    "skipped_errors": _Call("GET", _TASK + "/skipped_errors", TaskRoutes, "skipped_errors"),
    "pause_info": _Call("GET", _TASK + "/pause_info", TaskRoutes, "pause_info"),
    "cancel": _Call("POST", _TASK + "/cancel", TaskRoutes, "cancel"),
    "ls": _Call("GET", _OPERATION + "/ls", OperationRoutes, "ls"),
    "stat": _Call("GET", _OPERATION + "/stat", OperationRoutes, "stat"),
    "mkdir": _Call("POST", _OPERATION + "/mkdir", OperationRoutes, "mkdir"),
    "rename": _Call("POST", _OPERATION + "/rename", OperationRoutes, "rename"),
    "endpoint": _Call("GET", _ENDPOINT, EndpointRoutes, "endpoint"),
    "access_list": _Call("GET", _ENDPOINT + "/access_list", EndpointRoutes, "access_list"),
    "access": _Call("POST", _ENDPOINT + "/access", EndpointRoutes, "add_access"),
    "get_access": _Call("GET", _ENDPOINT + "/access/{rule_id}", EndpointRoutes, "get_access"),
    "delete_access": _Call("DELETE", _ENDPOINT + "/access/{rule_id}", EndpointRoutes, "delete_access"),
    "compute_function": _Call("POST", "/v3/functions", ComputeRoutes, "register"),
    "compute_submit": _Call("POST", "/v3/endpoints/{endpoint_id}/submit", ComputeRoutes, "submit"),
    "compute_batch": _Call("POST", "/v2/batch_status", ComputeRoutes, "batch"),
    "compute_task": _Call("GET", "/v2/tasks/{task_id}", ComputeRoutes, "task"),
    "compute_group": _Call("GET", "/v2/taskgroup/{group_id}", ComputeRoutes, "group"),
    "compute_status": _Call("GET", "/v2/endpoints/{endpoint_id}/status", ComputeRoutes, "endpoint_status"),
    "token": _Call("POST", _OAUTH + "/token", AuthRoutes, "token"),
    "revoke": _Call("POST", _OAUTH + "/token/revoke", AuthRoutes, "revoke"),
    "introspect": _Call("POST", _OAUTH + "/token/introspect", AuthRoutes, "introspect"),
    "userinfo": _Call("GET", _OAUTH + "/userinfo", AuthRoutes, "userinfo"),
    "authorize": _Call("GET", _OAUTH + "/authorize", AuthRoutes, "authorize"),
    "configuration": _Call("GET", "/.well-known/openid-configuration", AuthRoutes, "configuration"),
    "jwks": _Call("GET", "/jwk.json", AuthRoutes, "jwks"),
}


def build_service(settings: ServerSettings) -> Service:
    """Open the state in the folder; the behaviour it holds from before goes before the one in `settings`."""
    identity = load_identity(settings.folder)
    store = Store(settings.folder / "globus.sqlite")
    if store.get("behaviour", "") is None:
        store.put("behaviour", "", settings.behaviour.model_dump())
    collections = Collections(store, _collections(settings, identity.collections))
    return Service(
        store=store,
        identity=identity,
        tokens=Tokens(store, partial(read_behaviour, store)),
        tasks=Tasks(store),
        collections=collections,
        faults=Faults(store),
    )


def _collections(settings: ServerSettings, ids: dict[str, str]) -> dict[str, Collection]:
    roots: dict[str, Path] = {"local": settings.local, "tape": settings.tape}
    return {
        name: Collection(id=ids[name], name=name, root=root.resolve(), tape=name == "tape")
        for name, root in roots.items()
    }


def build_engine(service: Service) -> Engine:
    """The worker of a service."""
    parts = (service.store, service.tasks, service.collections, service.faults)
    return Engine(*parts, service.behaviour)


def build_compute(service: Service, folder: Path) -> ComputeEngine:
    """The endpoint of Globus Compute."""
    return ComputeEngine(Calls(service.store, service.identity.endpoint), folder)


def build_app(
    service: Service, folder: Path, *, settle: Callable[[], None], cut: Callable[[Request], None]
) -> Starlette:
    """The application.

    Parameters
    ----------
    settle
        Called after every control call: its effect on tasks must not wait.
    cut
        Ends the connection of a request without an answer.
    """
    key = SigningKey(folder)
    auth = AuthRoutes(service.store, service.tokens, service.identity, key)
    answering: dict[type, Any] = {
        kind: kind(service)
        for kind in (SubmitRoutes, TaskRoutes, OperationRoutes, EndpointRoutes, ComputeRoutes)
    }
    answering[AuthRoutes] = auth
    routes = [
        Route(call.path, _open_to_faults(name, call, answering, service.faults, cut), methods=[call.method])
        for name, call in ROUTES.items()
    ]
    control = Route(
        "/_control/{action}",
        _shaped(ControlRoutes(service, {*ROUTES, "copy", "*"}, settle).control),
        methods=["POST"],
    )
    return Starlette(routes=[*routes, control], exception_handlers={404: _no_route, 405: _no_route})


def _open_to_faults(
    name: str,
    call: _Call,
    answering: dict[type, Any],
    faults: Faults,
    cut: Callable[[Request], None],
) -> Handler:
    handler = _shaped(getattr(answering[call.routes], call.handler))

    async def endpoint(request: Request) -> Response:
        plan = faults.take(name, request.url.path)
        try:
            return await answer(plan, request, handler)
        except ApiError as error:
            return answer_api_error(request, error)
        except LostReply:
            cut(request)
            await _disconnected(request)
            return Response()  # nobody is there to get it

    return endpoint


def _shaped(handler: Callable[[Request], Awaitable[Response]]) -> Handler:
    """Errors become answers here, so that a fault can strike them too."""

    async def endpoint(request: Request) -> Response:
        try:
            return await handler(request)
        except ApiError as error:
            return answer_api_error(request, error)
        except OAuthError as error:
            return answer_oauth_error(error)

    return endpoint


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _no_route(request: Request, _error: Exception) -> Response:
    message = f"{request.method} {request.url.path}: the stand-in has no such resource"
    return answer_api_error(request, ApiError(404, "ClientError.NotFound", message))
