"""The application that serves DM's clients: who is not logged in learns nothing, not even what there is."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from apsdm_bluesky.errors import ApsdmError, DaqError, ExperimentError, WorkflowError
from apsdm_bluesky.tiled_config import DM_LOGIN, person_of

from ._answer import SESSION_IS_OVER, refused

log = logging.getLogger(__name__)

PREFIX = "/dm"
LOGIN = f"{PREFIX}/login"
_SAFE = ("GET", "HEAD", "OPTIONS")


class DmService:
    """An ASGI application in front of the routes.

    Parameters
    ----------
    routes
        What is served to those who are logged in.
    """

    def __init__(self, routes: FastAPI) -> None:
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": "Not served here."})
            return
        scope = {**scope, "app": self._routes, "path": _without_end(scope["path"]), "state": {}}
        answer = await self._refusal(Request(scope))
        await (self._routes if answer is None else answer)(scope, receive, send)

    async def _refusal(self, request: Request) -> Response | None:
        """Why this is not served; None where it is. The person is noted in the request's state."""
        path = request.url.path
        if path != PREFIX and not path.startswith(f"{PREFIX}/"):
            return refused(404, f"{request.method}: only addresses below {PREFIX}/ are served here.")
        if request.method not in _SAFE and _from_elsewhere(request):
            return refused(403, "This comes from a page of another site.")
        if request.method == "POST" and path == LOGIN:
            return None
        try:
            person = await person_of(request, DM_LOGIN)
        except SQLAlchemyError as error:
            return await _no_accounts(request, error)
        if person is None:
            over = SESSION_IS_OVER if request.cookies.get(DM_LOGIN.cookie) else None
            return refused(401, f"Not logged in: POST username and password to {LOGIN}.", code=over)
        if "\0" in path:
            return refused(400, "The address holds a zero byte.")
        request.state.person = person
        return None


def tell_errors(app: FastAPI) -> None:
    """Have what goes wrong in routes be told in the protocol's shape."""
    handlers: Mapping[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        StarletteHTTPException: _http,
        RequestValidationError: _invalid,
        WorkflowError: _usage,
        DaqError: _usage,
        ExperimentError: _usage,
        ApsdmError: _unavailable,
        SQLAlchemyError: _no_accounts,
        Exception: _defect,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _http(request: Request, error: HTTPException) -> Response:
    told = error.detail
    if (error.status_code, told) in ((404, "Not Found"), (405, "Method Not Allowed")):
        told = f"{request.method} {request.url.path}: there is no such call."
    return refused(error.status_code, told, error.headers)


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    told = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
    return refused(400, f"{request.method} {request.url.path}: {told}")


async def _usage(_: Request, error: ApsdmError) -> Response:
    return refused(400, str(error))


async def _unavailable(_: Request, error: ApsdmError) -> Response:
    return refused(503, str(error))


async def _no_accounts(_: Request, error: SQLAlchemyError) -> Response:
    """Our own stores tell theirs as an `ApsdmError`; this is of accounts: busy, or the disk is full."""
    log.error("the database of accounts: %s", getattr(error, "orig", None) or type(error).__name__)
    return refused(503, "Logins cannot be looked up or written now; try again, or see the server's log.")


async def _defect(_: Request, __: Exception) -> Response:
    """The log has its traceback: Starlette raises it again, once this is sent."""
    return refused(500, "A defect of the server; its log tells more.")


def _without_end(path: str) -> str:
    """Without slashes at its end: clients leave these where an argument is empty."""
    return path.rstrip("/") if path.startswith(f"{PREFIX}/") else path


def _from_elsewhere(request: Request) -> bool:
    origin = request.headers.get("origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower()
    except ValueError:
        return True
