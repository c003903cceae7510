"""The server in the foreground."""

import contextlib
import copy
import json
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from apsdm_bluesky.config import BeamlineConfig, ServerConfig, StateFolders
from apsdm_bluesky.errors import LockedError, ServiceError, StorageError
from apsdm_bluesky.tiled_config._accounts import prepare_accounts
from apsdm_bluesky.tiled_config._gate import Gate
from apsdm_bluesky.tiled_config._key import api_key, token_key
from apsdm_bluesky.tiled_config._service import ServiceToken
from apsdm_bluesky.tiled_config._settings import server_settings, tables_uri
from apsdm_bluesky.tiled_config._tables import one_at_a_time

if TYPE_CHECKING:
    from fastapi import FastAPI

log = logging.getLogger(__name__)

Mount = Callable[["FastAPI", BeamlineConfig], None]


def serve(config: BeamlineConfig, mount: Mount | None = None) -> None:
    """Run the Tiled server of this beamline until SIGINT or SIGTERM.

    Once it accepts requests, `server.json` in the catalogue's folder holds its `uri` and `pid`, and as `dm_ports`
    where only DM's clients are served; the file is removed at exit. Port 0 takes a free one.

    Parameters
    ----------
    mount
        Puts more routes into the application, such as the pages.

    Raises
    ------
    LockedError
        A server runs on this folder already.
    ServiceError
        The port is in use, or the server could not start.
    StorageError, ConfigError
        The folder cannot be used, or the key file is not safe.
    """
    folders = config.folders
    _open_as_many_as_allowed()
    with _own_folder(folders):
        key = api_key(folders)
        with _listen(config.server) as listeners:
            one_at_a_time(tables_uri(config))
            signer = token_key(folders)
            service = ServiceToken(key, signer, prepare_accounts(folders, config.people.provider, key))
            leaving = threading.Event()
            tiled = _application(config, signer, mount, leaving)
            dm_ports = [one.getsockname()[1] for one in listeners[1:]]
            application = Gate(tiled, service, getattr(tiled.state, "dm", None), dm_ports)
            _run(application, listeners, folders.catalog / "server.json", config.server.host, leaving)


def _open_as_many_as_allowed() -> None:
    """The usual soft limit of 1024 files is used up by as many idle connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def _own_folder(folders: StateFolders) -> Iterator[None]:
    """Create the folders and hold the lock that keeps a second server away from the databases."""
    try:
        for folder in (folders.catalog / "data", folders.raw):
            folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folders.catalog / "server.lock", timeout=0)
        lock.acquire()
    except filelock.Timeout as error:
        raise LockedError(f"{folders.catalog}: a server runs here already; use or stop it") from error
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"{folders.catalog}: {reason}; give this account permission there") from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _listen(server: ServerConfig) -> Iterator[Sequence[socket.socket]]:
    """The port of the server, and those of DM's clients."""
    with contextlib.ExitStack() as stack:
        places = [(server.port, "server.port"), *((port, "server.dm_ports") for port in server.dm_ports)]
        yield [stack.enter_context(_listener(server.host, port, key)) for port, key in places]


def _listener(host: str, port: int, key: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise ServiceError(
            f"port {port} on {host} cannot be used ({reason}); stop what uses it,"
            f" or set {key} in beamline.yml (0 takes a free one)"
        ) from error


def _application(
    config: BeamlineConfig, token_key: str, mount: Mount | None, leaving: threading.Event
) -> "FastAPI":
    """Tiled's, with what is mounted. Imports take seconds: they come after all that may be refused."""
    from tiled.config import Config
    from tiled.server.app import build_app_from_config

    settings = copy.deepcopy(server_settings(config))
    settings["authentication"]["secret_keys"] = [token_key]
    parsed = Config.model_validate(settings)
    app: FastAPI = build_app_from_config(parsed)
    app.state.people = config.people
    app.state.authenticator = parsed.authentication.authenticators[config.people.provider]
    app.state.leaving = leaving
    if mount is not None:
        mount(app, config)
    return app


def _run(
    app: Gate, listeners: Sequence[socket.socket], ready_file: Path, host: str, leaving: threading.Event
) -> None:
    import uvicorn

    # Without an access log: its lines hold the query, and a browser's query may hold the key.
    server = uvicorn.Server(uvicorn.Config(app, log_config=_log_config(), access_log=False))
    ready_file.unlink(missing_ok=True)
    ready = {"uri": _uri(listeners[0], host), "pid": os.getpid()}
    if len(listeners) > 1:
        ready["dm_ports"] = [one.getsockname()[1] for one in listeners[1:]]
    _announce_when_ready(server, ready_file, ready, leaving)
    with _exit_on_sigterm():
        server.run(sockets=list(listeners))
    if not server.started:
        raise ServiceError("the Tiled server could not start; its messages stand above")


def _uri(listener: socket.socket, host: str) -> str:
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{listener.getsockname()[1]}"


def _announce_when_ready(
    server: Any, ready_file: Path, ready: Mapping[str, Any], leaving: threading.Event
) -> None:
    """Write the ready file when the application has started, and remove it before the server goes.

    Uvicorn waits for answers that have begun: `leaving` tells those that follow something to end.
    """
    startup, shutdown = server.startup, server.shutdown

    async def announce(*args: Any, **kwargs: Any) -> None:
        await startup(*args, **kwargs)
        if server.started:
            temporary = ready_file.with_suffix(".new")
            temporary.write_text(json.dumps(ready), encoding="utf-8")
            temporary.replace(ready_file)
            log.info("Tiled serves at %s", ready["uri"])

    async def withdraw(*args: Any, **kwargs: Any) -> None:
        leaving.set()
        ready_file.unlink(missing_ok=True)  # noqa: ASYNC240 - nothing else is served any more
        await shutdown(*args, **kwargs)

    server.startup, server.shutdown = announce, withdraw


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Uvicorn raises the signal that ended it again after its shutdown; here that ends it cleanly."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    except KeyboardInterrupt:
        log.info("Tiled stopped by the keyboard")
    finally:
        signal.signal(signal.SIGTERM, before)


def _log_config() -> dict[str, Any]:
    from tiled.server.logging_config import LOGGING_CONFIG

    config: dict[str, Any] = copy.deepcopy(LOGGING_CONFIG)
    for formatter in config["formatters"].values():
        formatter["use_colors"] = sys.stderr.isatty()
    config["loggers"]["uvicorn.error"]["level"] = "WARNING"  # its lines about websockets hold the query, too
    return config
