"""What the routes share: the parts of one stand-in, and who may do what on which collection."""

import json
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from ._collections import Collection, Collections
from ._errors import ApiError, bad_request, request_id
from ._faults import Faults
from ._identity import Identity
from ._settings import Behaviour
from ._store import Document, Store
from ._tasks import Tasks
from ._tokens import TRANSFER_SCOPE, Tokens, data_access_scope

__all__ = ["Service", "json_body", "read_behaviour", "result"]


def read_behaviour(store: Store) -> Behaviour:
    """How a stand-in behaves at present."""
    return Behaviour.model_validate(store.get("behaviour", "") or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The parts of one stand-in."""

    store: Store
    identity: Identity
    tokens: Tokens
    tasks: Tasks
    collections: Collections
    faults: Faults

    def behaviour(self) -> Behaviour:
        """How it behaves at present."""
        return read_behaviour(self.store)

    def caller(self, request: Request) -> Document:
        """The token that a call to Globus Transfer carries."""
        return self.tokens.for_transfer(request.headers.get("authorization"))

    def open(self, caller: Document, endpoint_id: object) -> Collection:
        """A collection that the caller may use now.

        Raises
        ------
        ApiError
            It does not exist, or a consent or a session is missing; the shapes are those that
            ``globus_sdk.exc.err_info`` reads.
        """
        collection = self.collections.get(endpoint_id)
        policy = self.collections.policy(collection)
        self._check_consent(caller, collection, policy)
        if policy["session_domains"]:
            message = f"{collection.name}: log in with one of these domains"
            parameters = {
                "session_message": message,
                "session_required_single_domain": policy["session_domains"],
            }
            raise ApiError(403, "PermissionDenied", message, authorization_parameters=parameters)
        return collection

    def _check_consent(self, caller: Document, collection: Collection, policy: Document) -> None:
        if policy["consent"] and not self.tokens.has_consent(caller["sub"], collection.id):
            scope = f"{TRANSFER_SCOPE}[*{data_access_scope(collection.id)}]"
            raise ApiError(
                403, "ConsentRequired", "Missing required data_access consent", required_scopes=[scope]
            )


async def json_body(request: Request) -> Document:
    """The JSON object of a request."""
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        raise ApiError(400, "BadRequest", f"Could not parse JSON: {error}") from error
    if not isinstance(body, dict):
        raise bad_request("the body must be a JSON object")
    return body


def result(request: Request, code: str, message: str, data_type: str = "result", **extra: Any) -> Document:
    """The keys that every answer to a change has."""
    common = {"DATA_TYPE": data_type, "code": code, "message": message}
    return {**common, "request_id": request_id(), "resource": request.url.path, **extra}
