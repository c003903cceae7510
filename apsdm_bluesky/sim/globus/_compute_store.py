"""Functions and calls of Globus Compute in the store."""

import time
import uuid
from typing import Any

from ._errors import ApiError
from ._store import Document, Store

__all__ = ["Calls"]


class Calls:
    """What was registered and submitted, and the state of the one endpoint."""

    def __init__(self, store: Store, endpoint_id: str) -> None:
        self._store, self.endpoint_id = store, endpoint_id

    def register(self, code: str) -> str:
        """Keep a function; the same code registered twice is two functions, as at the service."""
        function_id = str(uuid.uuid4())
        self._store.put("function", function_id, {"code": code})
        return function_id

    def code(self, function_id: str) -> str:
        """The code of a function."""
        found = self._store.get("function", function_id)
        if found is None:
            raise ApiError(404, "RESOURCE_NOT_FOUND", f"Function {function_id} could not be resolved")
        return str(found["code"])

    def add(self, function_id: str, group: str, payload: str, config: object) -> str:
        """A new call, with what it configures the endpoint by."""
        self.code(function_id)
        call: Document = {"task_id": str(uuid.uuid4()), "group": group, "function": function_id}
        call |= {
            "config": config,
            "payload": payload,
            "status": "waiting-for-ep",
            "created": time.time(),
            "pid": None,
        }
        self._store.put("call", call["task_id"], call)
        return str(call["task_id"])

    def get(self, call_id: str) -> Document | None:
        """One call."""
        return self._store.get("call", call_id)

    def all(self) -> list[Document]:
        """Every call, the oldest first."""
        return self._store.all("call")

    def update(self, call_id: str, **changes: Any) -> None:
        """Change a call that is still known."""
        with self._store.transaction():
            call = self.get(call_id)
            if call is not None:
                self._store.put("call", call_id, {**call, **changes})

    def forget(self) -> None:
        """Forget every call, and what it gave."""
        self._store.remove("call")

    def forget_functions(self) -> None:
        """Forget every function."""
        self._store.remove("function")

    def endpoint(self) -> Document:
        """Whether the endpoint is online, and permits callers."""
        return {"online": True, "permitted": True, **(self._store.get("endpoint", "") or {})}

    def set_endpoint(self, **changes: bool) -> None:
        """Change the endpoint's state."""
        self._store.put("endpoint", "", {**self.endpoint(), **changes})
