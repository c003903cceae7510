"""The client that people have, `dmax`, in its two kinds; and plain requests as others send them."""

import asyncio
import base64
import contextlib
import json
import warnings

from tests.people import PASSWORD, added, browser

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it uses what pydantic calls experimental
    from dmax.client import AsyncClient, SyncClient

# By which the facility's own client knows what went wrong.
CODES = {401: ("6", "12"), 403: ("5",), 404: ("14",), 409: ("15",), 429: ("19",)}
KINDS = ("sync", "async")


class Dmax:
    """A client of either kind: the same calls, each waited for."""

    def __init__(self, kind, username, *, station="", uris, password=PASSWORD):
        names = ("scheduling_uri", "data_storage_uri", "processing_uri", "data_archive_uri")
        make = {"sync": SyncClient, "async": AsyncClient}[kind]
        # In a script the addresses come from the environment; here many clients live in one process.
        self._client = make(
            username=username, password=password, station_name=station, **dict(zip(names, uris, strict=True))
        )
        self._loop = asyncio.Runner()

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*args, **kwargs):
            answer = method(*args, **kwargs)
            return self._loop.run(_awaited(answer)) if asyncio.iscoroutine(answer) else answer

        return call

    @property
    def contexts(self):
        client = self._client
        return [client._bss_context, client._ds_context, client._proc_context, client._daq_context]

    def close(self):
        for context in self.contexts:
            if isinstance(self._client, AsyncClient):
                self._loop.run(context.client.aclose())
            else:
                context.client.close()
        self._loop.close()


async def _awaited(coroutine):
    return await coroutine


@contextlib.contextmanager
def dmax(server, name, kind="sync", *, uris=None, **options):
    """Somebody's client."""
    client = Dmax(kind, added(server, name), uris=uris or [server.uri] * 4, **options)
    try:
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def session(server, name):
    """Plain HTTP of somebody who is logged in; addresses are below /dm."""
    added(server, name)
    with browser(server) as http:
        answer = http.post("/dm/login", data={"username": name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        yield http


def encoded(text):
    """As DM's clients write an argument."""
    return str(base64.b64encode(base64.b64encode(text.encode())))


def encoded_json(value):
    return encoded(json.dumps(value))


def told(answer, status):
    """The message of an error, which must be in the protocol's shape."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"errorCode", "errorMessage"}
    assert body["errorCode"] == status
    assert isinstance(body["errorMessage"], str)
    assert body["errorMessage"]
    assert answer.headers["Dm-Status-Code"] in CODES.get(status, ("1",))
    assert answer.headers["Dm-Status-Message"]
    return body["errorMessage"]
