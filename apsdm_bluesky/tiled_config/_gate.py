"""What Tiled 0.2.20 would let through, and its configuration cannot stop.

- Its check that a registered file lies in the readable storage compares the path as it is written, so that
  ``<storage>/../elsewhere`` passes and is read. Such addresses are refused when they are registered.
- Without an access policy the Zarr interface (`/zarr`) answers anybody, no key asked, and the entity graph
  (`/api/graphql`) tells its schema. This package uses neither; they are not served.
"""

import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_NOT_SERVED = ("/zarr", "/api/graphql")
_REGISTERING = ("/api/v1/register", "/api/v1/metadata", "/api/v1/data_source")


class Gate:
    """An ASGI application in front of Tiled's."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        path = scope.get("path", "")
        if path.startswith(_NOT_SERVED):
            await _refuse(scope, send, 404, "Not served here.")
            return
        if scope["type"] == "http" and scope["method"] != "GET" and path.startswith(_REGISTERING):
            body = await _read(receive)
            if (climbing := _climbing_address(body)) is not None:
                await _refuse(scope, send, 403, f"{climbing}: an address with '..' is not registered.")
                return
            receive = _replayed(body, receive)
        await self._application(scope, receive, send)


def _climbing_address(body: bytes) -> str | None:
    """The first file address in a request that has a '..' in it."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None  # Tiled refuses it
    for address in _addresses(content):
        if ".." in PurePosixPath(unquote(urlsplit(address).path)).parts:
            return address
    return None


def _addresses(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            if key == "data_uri" and isinstance(value, str):
                yield value
            else:
                yield from _addresses(value)
    elif isinstance(content, list):
        for value in content:
            yield from _addresses(value)


async def _read(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def _replayed(body: bytes, receive: Receive) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


async def _refuse(scope: Message, send: Send, status: int, detail: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": detail})
        return
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
