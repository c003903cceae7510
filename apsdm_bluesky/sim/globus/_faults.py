"""The fault plan: which call goes wrong, how often, and in which way."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from ._errors import ApiError
from ._plan import FaultPlan
from ._store import Document, Store

__all__ = ["Faults", "LostReply", "answer"]

_CODES = {
    400: "ClientError.BadRequest",
    401: "AuthenticationFailed",
    403: "PermissionDenied",
    404: "ClientError.NotFound",
    409: "Conflict",
    429: "RateLimitExceeded",
    500: "InternalError",
    502: "ExternalError",
    503: "ServiceUnavailable",
}

Handler = Callable[[Request], Awaitable[Response]]


class LostReply(Exception):  # noqa: N818  (not an error of ours: the connection shall be cut)
    """The connection is to be cut without an answer."""


class Faults:
    """Plans and the log of their hits, in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, plan: FaultPlan) -> None:
        """Plan one more fault."""
        body: Document = {"key": uuid.uuid4().hex, "left": plan.times, "after": plan.after}
        self._store.put("fault", body["key"], {**body, "plan": plan.model_dump(exclude_unset=True)})

    def clear(self) -> None:
        """Forget the plans and the log."""
        self._store.remove("fault")
        self._store.remove("hit")

    def take(self, route: str, subject: str) -> FaultPlan | None:
        """The fault that strikes this call, if any; it is counted and logged before it strikes."""
        with self._store.transaction():
            for entry in self._store.all("fault"):
                if entry["plan"]["route"] in _names(route) and entry["left"] > 0 and self._due(entry):
                    self._hit(entry, route, subject)
                    return FaultPlan.model_validate(entry["plan"])
        return None

    def _due(self, entry: Document) -> bool:
        if entry["after"] == 0:
            return True
        self._store.put("fault", entry["key"], {**entry, "after": entry["after"] - 1})
        return False

    def _hit(self, entry: Document, route: str, subject: str) -> None:
        self._store.put("fault", entry["key"], {**entry, "left": entry["left"] - 1})
        hit = {"route": route, "subject": subject, "plan": entry["plan"]}
        self._store.put("hit", uuid.uuid4().hex, hit)

    def hits(self) -> list[Document]:
        """Every fault that struck: its route, what it struck, and its plan."""
        return self._store.all("hit")


async def answer(plan: FaultPlan | None, request: Request, handler: Handler) -> Response:
    """Carry a call out as its fault plans it.

    Raises
    ------
    ApiError
        The planned answer.
    LostReply
        The connection is to be cut.
    """
    if plan is None:
        return await handler(request)
    if plan.drop_request:
        raise LostReply
    if plan.status is not None:
        await asyncio.sleep(plan.delay_s)
        raise _error(plan)
    response = await handler(request)
    await asyncio.sleep(plan.delay_s)
    if plan.drop_reply:
        raise LostReply
    return response


def _names(route: str) -> tuple[str, ...]:
    """The names in a plan that mean this route."""
    return (route,) if route == "copy" else (route, "*")


def _error(plan: FaultPlan) -> ApiError:
    """The answer that a plan stands for."""
    status = plan.status or 500
    headers = {} if plan.retry_after is None else {"Retry-After": str(plan.retry_after)}
    code = plan.code or _CODES.get(status, "ExternalError")
    return ApiError(status, code, plan.message, headers=headers, **plan.body)
