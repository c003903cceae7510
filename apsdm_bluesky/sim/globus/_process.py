"""The stand-in as a child process."""

import json
import os
import select
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast
from urllib.parse import parse_qs, urlsplit

import httpx

from apsdm_bluesky.errors import ServiceError

from ._controls import CollectionName, Controls
from ._identity import Identity, load_identity
from ._settings import Behaviour, ServerSettings

__all__ = ["GlobusProcess"]

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 5.0
_CONTROL_TIMEOUT_S = 30.0
_TAIL_BYTES = 2000


class GlobusProcess(Controls):
    """Globus Transfer, Compute and Auth on loopback, in a process that ends with this one, however that ends.

    A context manager: started on entry, stopped on exit. Its state is in `folder` and survives `stop` and
    `kill`; a start after them takes up unfinished tasks, on the same port.

    Parameters
    ----------
    folder
        Its state, and by default the two collections in ``local`` and ``tape``.
    local, tape
        Roots of the collections: the beamline's disk, and an archive like HPSS.
    port
        TCP port on 127.0.0.1. 0: any, kept for later starts of this object.
    behaviour
        Speeds, delays and limits at the first start on this folder; later ones are told by `configure`.
    log
        File that gets what the process writes to stderr. None: a temporary one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        local: Path | None = None,
        tape: Path | None = None,
        port: int = 0,
        behaviour: Behaviour | None = None,
        log: Path | None = None,
    ) -> None:
        self._settings = ServerSettings(
            folder=folder.absolute(),
            local=(local or folder / "local").absolute(),
            tape=(tape or folder / "tape").absolute(),
            port=port,
            behaviour=behaviour or Behaviour(),
        )
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._resources = ExitStack()

    # Its life

    def start(self) -> None:
        """Return when it answers.

        Raises
        ------
        ServiceError
            It is started already, or ended before it was ready; the message says why.
        """
        if self._process is not None:
            raise ServiceError(f"{self._settings.folder}: the simulated Globus runs already")
        with ExitStack() as resources:
            log = resources.enter_context(self._open_log())
            process = _spawn(log)
            resources.callback(_end, process)
            _tell(process, self._settings)
            port = _await_ready(process, self._settings.folder, log)
            self._settings = self._settings.model_copy(update={"port": port})
            self._client = resources.enter_context(self._control_client(port))
            self._process, self._resources = process, resources.pop_all()

    def _control_client(self, port: int) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.identity.control_token}"}
        url = f"http://127.0.0.1:{port}"
        return httpx.Client(base_url=url, headers=headers, timeout=_CONTROL_TIMEOUT_S, trust_env=False)

    def stop(self) -> None:
        """End the process in order; harmless when it has ended."""
        self._process = None
        self._resources.close()

    def kill(self) -> None:
        """End it as ``kill -9`` does: at once, in whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process number.

        Raises
        ------
        ServiceError
            It does not run.
        """
        if self._process is None:
            raise ServiceError(f"{self._settings.folder}: the simulated Globus is not started")
        return self._process.pid

    # How a client is configured

    @property
    def url(self) -> str:
        """Base URL of all services, for ``base_url=`` of the SDK's clients; known after the first start."""
        return f"http://127.0.0.1:{self._settings.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that point the SDK at it."""
        names = ("TRANSFER", "AUTH", "COMPUTE")
        # With a slash at the end, as the true addresses have: the SDK appends to them.
        return {f"GLOBUS_SDK_SERVICE_URL_{name}": self.url.rstrip("/") + "/" for name in names}

    @property
    def identity(self) -> Identity:
        """Ids and secrets, from the file of mode 0600 that the first start made."""
        return load_identity(self._settings.folder)

    @property
    def client_id(self) -> str:
        """The service account."""
        return self.identity.client_id

    @property
    def client_secret(self) -> str:
        """Its secret."""
        return self.identity.client_secret

    @property
    def native_client_id(self) -> str:
        """An app without a secret, with which a person logs in."""
        return self.identity.native_client_id

    @property
    def collections(self) -> dict[str, str]:
        """Ids of the collections ``local`` and ``tape``."""
        return self.identity.collections

    @property
    def endpoint(self) -> str:
        """Id of the Globus Compute endpoint, which runs functions on this machine."""
        return self.identity.endpoint

    def root(self, collection: CollectionName) -> Path:
        """The folder behind a collection."""
        return self._settings.tape if collection == "tape" else self._settings.local

    def authorize(self, url: str) -> str:
        """Log in as the user at an authorize URL of the SDK; returns the authorization code."""
        reply = httpx.get(url, follow_redirects=False, trust_env=False)
        if reply.status_code != httpx.codes.FOUND:
            raise ServiceError(f"{self.url}: the login was refused: {reply.text}")
        return parse_qs(urlsplit(reply.headers["location"]).query)["code"][0]

    def _control(self, action: str, **parameters: Any) -> Any:
        _ = self.pid  # says when it is not started
        try:
            reply = self._client.post(f"/_control/{action}", json=parameters)
        except httpx.TransportError as error:
            raise ServiceError(f"{self.url}: the simulated Globus does not answer ({error})") from error
        if reply.is_error:
            raise ServiceError(f"{self.url}: {action} was refused: {reply.json()['message']}")
        return reply.json()["answer"]

    def _open_log(self) -> IO[bytes]:
        if self._log is None:
            return tempfile.TemporaryFile()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        return self._log.open("a+b")


def _spawn(log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "apsdm_bluesky.sim.globus.server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,  # Ctrl-C is for the program that uses it
    )


def _tell(process: subprocess.Popen[bytes], settings: ServerSettings) -> None:
    stdin = cast("IO[bytes]", process.stdin)
    with suppress(BrokenPipeError):  # it ended at once: `_await_ready` says why
        stdin.write(settings.model_dump_json().encode() + b"\n")
        stdin.flush()


def _await_ready(process: subprocess.Popen[bytes], folder: Path, log: IO[bytes]) -> int:
    stdout = cast("IO[bytes]", process.stdout)
    if not select.select([stdout], [], [], _START_TIMEOUT_S)[0]:
        raise ServiceError(f"{folder}: the simulated Globus is not ready after {_START_TIMEOUT_S:.0f} s")
    line = stdout.readline()
    if not line:
        raise ServiceError(f"{folder}: the simulated Globus ended at its start: {_tail(log)}")
    answer = json.loads(line)
    if not answer["ready"]:
        raise ServiceError(f"{folder}: the simulated Globus cannot start: {answer['error']}")
    return int(answer["port"])


def _tail(log: IO[bytes]) -> str:
    """The end of the log in one line."""
    log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
    return " | ".join(log.read().decode(errors="replace").split("\n")[-5:]).strip(" |") or "it wrote nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End of input asks it to leave; a process that does not is killed."""
    with process:  # closes the pipes and reaps it
        with suppress(BrokenPipeError):
            cast("IO[bytes]", process.stdin).close()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
