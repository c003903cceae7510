"""Collection documents and their access rules: docs.globus.org/api/transfer, endpoints and permissions."""

import time
import uuid

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ._collections import Collection
from ._errors import ApiError, bad_request
from ._service import Service, json_body, result
from ._store import Document
from ._tasks import iso

__all__ = ["EndpointRoutes"]

_RULE_LIMIT = 1000  # second-hand
_PRINCIPAL_TYPES = ("identity", "group", "anonymous", "all_authenticated_users")


class EndpointRoutes:
    """``endpoint``, ``access_list`` and ``access``."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def _collection(self, request: Request) -> Collection:
        self._service.caller(request)
        return self._service.collections.get(request.path_params["endpoint_id"])

    async def endpoint(self, request: Request) -> Response:
        """``GET /v0.10/endpoint/<id>``; keys of the SDK's test data."""
        collection = self._collection(request)
        policy = self._service.collections.policy(collection)
        body = {
            "DATA_TYPE": "endpoint",
            "id": collection.id,
            "display_name": collection.name,
            "canonical_name": f"standin#{collection.name}",
            "entity_type": "GCSv5_mapped_collection",
            "description": "HPSS" if collection.tape else "POSIX",
            "public": False,
            "high_assurance": bool(policy["session_domains"]),
            "force_verify": False,
            "disable_verify": False,
            "force_encryption": False,
            "acl_available": True,
            "acl_editable": True,
            "non_functional": False,
            "default_directory": "/",
            "is_globus_connect": False,
        }
        return JSONResponse(body)

    async def access_list(self, request: Request) -> Response:
        """``GET /v0.10/endpoint/<id>/access_list``."""
        collection = self._collection(request)
        rules = self._rules(collection)
        body = {"DATA_TYPE": "access_list", "endpoint": collection.id, "length": len(rules), "DATA": rules}
        return JSONResponse(body)

    def _rules(self, collection: Collection) -> list[Document]:
        return self._service.store.all(f"access:{collection.id}")

    async def add_access(self, request: Request) -> Response:
        """``POST /v0.10/endpoint/<id>/access``."""
        collection, body = self._collection(request), await json_body(request)
        rule = _rule(collection, body)
        with self._service.store.transaction():
            self._refuse(collection, rule)
            self._service.store.put(f"access:{collection.id}", rule["id"], rule)
        message = "Access rule created successfully."
        answer = result(request, "Created", message, "access_create_result", access_id=rule["id"])
        return JSONResponse(answer, status_code=201)

    def _refuse(self, collection: Collection, rule: Document) -> None:
        rules = self._rules(collection)
        if len(rules) >= _RULE_LIMIT:
            raise ApiError(409, "LimitExceeded", f"{collection.name} has {_RULE_LIMIT} access rules")
        same = ("principal_type", "principal", "path")
        if any(all(known[name] == rule[name] for name in same) for known in rules):
            raise ApiError(409, "Exists", "this principal has an access rule for this path")

    async def get_access(self, request: Request) -> Response:
        """``GET /v0.10/endpoint/<id>/access/<rule>``."""
        collection = self._collection(request)
        rule = self._service.store.get(f"access:{collection.id}", request.path_params["rule_id"])
        if rule is None:
            raise _no_rule(request)
        return JSONResponse(rule)

    async def delete_access(self, request: Request) -> Response:
        """``DELETE /v0.10/endpoint/<id>/access/<rule>``."""
        collection = self._collection(request)
        if not self._service.store.remove(f"access:{collection.id}", request.path_params["rule_id"]):
            raise _no_rule(request)
        rule_id = request.path_params["rule_id"]
        return JSONResponse(result(request, "Deleted", f"Access rule '{rule_id}' deleted successfully"))


def _no_rule(request: Request) -> ApiError:
    return ApiError(404, "AccessRuleNotFound", f"No such access rule '{request.path_params['rule_id']}'")


def _rule(collection: Collection, body: Document) -> Document:
    path = body.get("path")
    collection.resolve(path)
    if not str(path).endswith("/"):
        raise bad_request(f"the path {path!r} of an access rule must end with /")
    if body.get("principal_type") not in _PRINCIPAL_TYPES:
        raise bad_request(f"principal_type must be one of {', '.join(_PRINCIPAL_TYPES)}")
    if body.get("permissions") not in ("r", "rw"):
        raise bad_request("permissions must be r or rw")
    given = {
        name: body.get(name) for name in ("principal_type", "principal", "permissions", "expiration_date")
    }
    own = {"id": str(uuid.uuid4()), "create_time": iso(time.time()), "role_id": None, "role_type": None}
    return {"DATA_TYPE": "access", "path": path, **given, **own}
