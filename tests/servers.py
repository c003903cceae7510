"""A real Tiled server for tests: `from tests.servers import tiled_server` in a room's conftest.py.

However many conftest.py files import the fixture, a test session starts one server; that takes 15 to 45 s.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from apsdm_bluesky.config import BeamlineConfig, ServerConfig
from apsdm_bluesky.tiled_config import ServerProcess, api_key, connect, server_process

_SHARED: pytest.StashKey["RunningServer"] = pytest.StashKey()


class RunningServer:
    """A Tiled server of ours, in a process of its own, with its state under `home`."""

    def __init__(self, home: Path) -> None:
        self.config = BeamlineConfig(
            home=home,
            server={"port": 0, "dm_ports": [0] * 4},
            people={"staff": ["chief"]},
            workflows={"authors": "everyone"},
            daq={"sources": [home.parent]},
        )
        self.process = self._start()

    def _start(self) -> ServerProcess:
        return server_process(self.config)

    @property
    def uri(self) -> str:
        return self.process.uri

    @property
    def api_key(self) -> str:
        return api_key(self.config.folders)

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """The root of the catalogue as a Tiled client."""
        root = connect(self.uri, self.api_key)
        with contextlib.closing(root.context.http_client):
            yield root

    @contextlib.contextmanager
    def http(self, *, anonymous: bool = False) -> Iterator[httpx.Client]:
        """Plain HTTP."""
        headers = {} if anonymous else {"Authorization": f"Apikey {self.api_key}"}
        with httpx.Client(base_url=self.uri, headers=headers, timeout=30, trust_env=False) as client:
            yield client

    def kill(self) -> None:
        """SIGKILL. The address stays: `restart` takes the same port."""
        port = int(self.uri.rpartition(":")[2])
        os.kill(self.process.process.pid, signal.SIGKILL)
        self.process.stop()
        self.config = self.config.model_copy(update={"server": ServerConfig(port=port)})

    def restart(self) -> None:
        self.process = self._start()

    def close(self) -> None:
        self.process.stop()


@pytest.fixture(scope="session")
def tiled_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    """The session's Tiled server. Do not kill this one: see `RunningServer`."""
    stash = request.config.stash
    if _SHARED not in stash:
        stash[_SHARED] = server = RunningServer(tmp_path_factory.mktemp("tiled"))
        request.config.add_cleanup(server.close)
    return stash[_SHARED]


class CuttingProxy:
    """Forwards to a server; cuts the connection instead of forwarding the answer to a chosen request.

    Parameters
    ----------
    uri
        The server.
    cut
        The answers to requests that hold these bytes are lost, `times` times.
    """

    def __init__(self, uri: str, cut: bytes, times: int = 1) -> None:
        host, _, port = uri.removeprefix("http://").rpartition(":")
        self._upstream = (host, int(port))
        self._cut = cut
        self._left = times
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for item in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
            item.close()
        for thread in self._threads:
            thread.join(10)

    def _run(self, target: Any, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._upstream)
                self._sockets += [near, far]
                doomed = threading.Event()
                self._run(self._pump, near, far, doomed, True)
                self._run(self._pump, far, near, doomed, False)

    def _pump(
        self, source: socket.socket, sink: socket.socket, doomed: threading.Event, request: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if request and self._cut in data and self._left:
                    self._left -= 1
                    doomed.set()
                if not request and doomed.is_set():
                    self.cuts += 1
                    break
                sink.sendall(data)
        for item in (source, sink):
            with contextlib.suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
