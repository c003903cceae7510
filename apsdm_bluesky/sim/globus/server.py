"""The stand-in's process: ``python -m apsdm_bluesky.sim.globus.server``.

Reads `ServerSettings` as one line of JSON from stdin, answers ``{"ready": true, "port": ...}`` or
``{"ready": false, "error": ...}`` in one line on stdout, and serves until stdin ends (its parent died or let
go) or SIGTERM.
"""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import threading
from typing import Any

import uvicorn
from filelock import FileLock, Timeout
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from uvicorn.protocols.http.h11_impl import H11Protocol

from ._app import build_app, build_compute, build_engine, build_service
from ._settings import ServerSettings

_HOST = "127.0.0.1"
_CONNECTIONS: dict[tuple[str, int], asyncio.Transport] = {}


class _Connection(H11Protocol):
    """A connection that can be cut from inside a request."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._peer = transport.get_extra_info("peername")
        _CONNECTIONS[self._peer] = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        _CONNECTIONS.pop(self._peer, None)
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    """A server that tells its parent when it is ready."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            _answer(ready=True, port=sockets[0].getsockname()[1])


def main() -> int:
    """Serve; returns the exit code."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")  # to stderr: our log
    try:
        settings = ServerSettings.model_validate_json(sys.stdin.buffer.readline())
        for folder in (settings.folder, settings.local, settings.tape):
            folder.mkdir(parents=True, exist_ok=True)
        with FileLock(settings.folder / "globus.lock", timeout=0):
            _work(settings, _listen(settings.port))
    except (OSError, ValidationError, Timeout) as error:
        _answer(ready=False, error=" ".join(str(error).split()))
        return 1
    return 0


def _listen(port: int) -> socket.socket:
    listener = socket.create_server((_HOST, port))
    # Connections inherit it; asyncio sets it only on sockets that were opened with IPPROTO_TCP. Without it
    # an answer on a used connection waits 40 ms for the acknowledgement of its own header.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _work(settings: ServerSettings, listener: socket.socket) -> None:
    service = build_service(settings)
    engine = build_engine(service)
    compute = build_compute(service, settings.folder)
    engine.start()
    compute.start()
    try:
        asyncio.run(_serve(build_app(service, settings.folder, settle=engine.settle, cut=_cut), listener))
    finally:
        engine.stop()
        compute.stop()
        service.store.close()


async def _serve(app: Starlette, listener: socket.socket) -> None:
    config = uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    threading.Thread(target=_drain_stdin, args=(loop, server), daemon=True).start()
    await server.serve(sockets=[listener])


def _cut(request: Request) -> None:
    if request.client is not None:
        _CONNECTIONS[request.client.host, request.client.port].abort()


def _drain_stdin(loop: asyncio.AbstractEventLoop, server: Any) -> None:
    # Not through sys.stdin: a thread that waits in it aborts the interpreter's shutdown.
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(setattr, server, "should_exit", True)


def _answer(**answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(main())
