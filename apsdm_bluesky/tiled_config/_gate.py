"""What Tiled 0.2.20 would let through, and its configuration cannot stop.

- Its check that a registered file lies in the readable storage compares the path as it is written, so that
  ``<storage>/../elsewhere`` passes and is read. Such addresses are refused when they are registered.
- Without an access policy the Zarr interface (`/zarr`) answers anybody, no key asked, and the entity graph
  (`/api/graphql`) tells its schema. This package uses neither; they are not served.
- A form without a script brings Tiled's token against forged requests in the address; Tiled compares that as a list
  and fails. It becomes the header that Tiled compares well.
- A login's body may be of any size, and take any time. One of more than 64 KiB or 10 s is refused.
- Ending a session by its number fails without a login; that is told as what it is.
- Its page `/ui` reads any file that its address names by `..` or a second slash; such addresses are not served.
- A key in the address becomes the browser's login, so that a link logs in as whoever sent it; it becomes a header of
  the request to the API, and is nothing elsewhere.
- Bodies are read before it is asked who sends them. Without a login they are refused first.

And authenticators are told who asks, which Tiled does not tell them; our own API key is exchanged for a token.

What is for DM's clients never comes to Tiled: it sets a cookie of its own with each answer, and they take the whole
header of the one that they expect for their login.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Iterator, MutableMapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

from ._caller import caller
from ._service import ServiceToken

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_SAFE = ("GET", "HEAD", "OPTIONS")
_NOT_SERVED = ("/zarr", "/api/graphql")
_LOGINS = ("/login", "/logout", "/api/v1/auth/")
_LARGEST_LOGIN = 1 << 16
_LOGIN_PATIENCE_S = 10.0
_LARGEST_REGISTERING = 1 << 26
_REGISTERING = ("/api/v1/register", "/api/v1/metadata", "/api/v1/data_source")


class Gate:
    """An ASGI application in front of Tiled's.

    Parameters
    ----------
    application
        Tiled's.
    service
        Gives the token that takes the place of our API key.
    dm
        Serves DM's clients, all below `/dm`; None: nobody does.
    dm_ports
        Only DM's clients are served there.
    """

    def __init__(
        self,
        application: Application,
        service: ServiceToken,
        dm: Application | None = None,
        dm_ports: Collection[int] = (),
    ) -> None:
        self._application = application
        self._service = service
        self._dm = dm
        self._dm_ports = frozenset(dm_ports)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        path = scope.get("path", "")
        if path.startswith(_NOT_SERVED) or _leads_out(path):
            await _refuse(scope, send, 404, "Not served here.")
            return
        if scope["type"] in ("http", "websocket"):
            caller.set((scope.get("client") or ("unknown",))[0])
            if self._is_for_dm(scope):
                await self._serve_dm(scope, receive, send)
                return
        if scope["type"] == "http":
            scope = self._with_token(_without_key_in_address(scope))
        if scope["type"] == "http" and scope["method"] not in _SAFE:
            scope = _with_form_token(scope)
            checked = await _checked(scope, path, receive, send)
            if checked is None:
                return
            receive = checked
        await self._application(scope, receive, send)

    async def _serve_dm(self, scope: Message, receive: Receive, send: Send) -> None:
        if self._dm is None:
            await _refuse(scope, send, 404, "Not served here.")
        else:
            await self._dm(self._with_token(scope), receive, send)

    def _is_for_dm(self, scope: Message) -> bool:
        port = (scope.get("server") or ("", None))[1]
        return port in self._dm_ports or scope["path"] == "/dm" or scope["path"].startswith("/dm/")

    def _with_token(self, scope: Message) -> Message:
        for place, (name, value) in enumerate(scope["headers"]):
            if name == b"authorization" and (token := self._service.for_key(value)) is not None:
                headers = [*scope["headers"]]
                headers[place] = (name, token)
                return {**scope, "headers": headers}
        return scope


async def _checked(scope: Message, path: str, receive: Receive, send: Send) -> Receive | None:
    """What the application is to receive; None where the request was refused."""
    if _wants_credential(path) and not _has_credential(scope):
        await _refuse(scope, send, 401, "Not logged in.")
        return None
    if path.startswith(_LOGINS):
        try:
            async with asyncio.timeout(_LOGIN_PATIENCE_S):
                body = await _read(receive, _LARGEST_LOGIN)
        except TimeoutError:
            await _refuse(scope, send, 408, f"The login was not there after {_LOGIN_PATIENCE_S:g} s.")
            return None
        if body is None:
            await _refuse(scope, send, 413, "More than 64 KiB are no login.")
            return None
        return _replayed(body, receive)
    if path.startswith(_REGISTERING):
        body = await _read(receive, _LARGEST_REGISTERING)
        if body is None:
            await _refuse(scope, send, 413, "More than 64 MiB are not registered at once.")
            return None
        if (climbing := _climbing_address(body)) is not None:
            await _refuse(scope, send, 403, f"{climbing}: an address with '..' is not registered.")
            return None
        return _replayed(body, receive)
    return receive


def _leads_out(path: str) -> bool:
    return path.startswith("/ui/") and (path[4:].startswith("/") or ".." in path.split("/") or "\0" in path)


def _wants_credential(path: str) -> bool:
    """Of addresses that change something; logins give what they have in the body."""
    if path.startswith("/api/v1/auth/session/revoke/"):
        return True
    return path.startswith("/api/") and not path.startswith(_LOGINS)


def _without_key_in_address(scope: Message) -> Message:
    fields = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    keys = [value for name, value in fields if name == "api_key"]
    if not keys:
        return scope
    rest = urlencode([(name, value) for name, value in fields if name != "api_key"])
    headers = [*scope["headers"]]
    if scope["path"].startswith("/api/") and not any(name == b"authorization" for name, _ in headers):
        headers.append((b"authorization", f"Apikey {keys[0]}".encode("latin-1", "replace")))
    return {**scope, "query_string": rest.encode("latin-1"), "headers": headers}


def _has_credential(scope: Message) -> bool:
    """Whether there is one; Tiled judges it."""
    return b"api_key=" in scope.get("query_string", b"") or any(
        name == b"authorization" or (name == b"cookie" and b"tiled_api_key=" in value)
        for name, value in scope["headers"]
    )


def _with_form_token(scope: Message) -> Message:
    tokens = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("csrf", [])
    if not tokens or any(name == b"x-csrf" for name, _ in scope["headers"]):
        return scope
    return {**scope, "headers": [*scope["headers"], (b"x-csrf", tokens[0].encode("latin-1", "replace"))]}


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


async def _read(receive: Receive, largest: int) -> bytes | None:
    """The body; None where it is larger, or did not come to its end."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > largest:
            return None
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
    headers.append((b"connection", b"close"))  # what was not read yet is not waited for
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
