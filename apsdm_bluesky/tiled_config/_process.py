"""The server in a process of its own."""

import json
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ServiceError, StorageError

_STOP_TIMEOUT_S = 15.0
# The room above this one, which composes the server with the pages; it cannot be imported here.
_SERVER_MODULE = "apsdm_bluesky.web"


class ServerProcess:
    """A running server of ours. A context manager: the server ends with the block.

    Parameters
    ----------
    process
        The child process.
    uri
        Where it answers.
    log_file
        What it printed.
    """

    def __init__(self, process: subprocess.Popen[str], uri: str, log_file: Path) -> None:
        self.process = process
        self.uri = uri
        self.log_file = log_file

    def stop(self) -> None:
        """End the server, by force when it does not go within 15 s. Stopping twice is harmless."""
        _stop(self.process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def server_process(
    config: BeamlineConfig, *, timeout_s: float = 120.0, end_with_parent: bool = True
) -> ServerProcess:
    """Start the server as a child process and wait until it answers.

    Parameters
    ----------
    timeout_s
        Give up after so long; a cold start takes 20 to 45 s on a busy machine.
    end_with_parent
        The server ends when this process ends, however that ends.

    Raises
    ------
    ServiceError
        The server ended or does not answer; the message holds its last words.
    """
    log_file = config.folders.logs / "tiled.log"
    process = _start(config, log_file, end_with_parent)
    try:
        uri = _wait_ready(process, config.folders.catalog / "server.json", log_file, timeout_s)
    except BaseException:
        _stop(process)
        raise
    return ServerProcess(process, uri, log_file)


def _start(config: BeamlineConfig, log_file: Path, end_with_parent: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", _SERVER_MODULE]
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as output:
            process = subprocess.Popen(
                [*command, "--until-eof"] if end_with_parent else command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,  # Ctrl-C pauses a plan; it must not reach the server
            )
    except OSError as error:
        raise StorageError(f"{log_file}: the server cannot be started ({error.strerror})") from error
    if process.stdin is None:
        raise ServiceError("the server has no standard input")
    try:
        process.stdin.write(config.model_dump_json() + "\n")
        process.stdin.flush()
        if not end_with_parent:
            process.stdin.close()
    except BrokenPipeError:
        process.wait()  # `_wait_ready` tells why it died
    return process


def _wait_ready(process: subprocess.Popen[str], ready_file: Path, log_file: Path, timeout_s: float) -> str:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServiceError(f"the Tiled server ended: {_last_line(log_file)} (more in {log_file})")
        uri = _announced(ready_file, process.pid)
        if uri is not None and answers(uri):
            return uri
        time.sleep(0.05)
    raise ServiceError(f"the Tiled server did not answer within {timeout_s:g} s; see {log_file}")


def _announced(ready_file: Path, pid: int) -> str | None:
    """The address in the ready file, if this process wrote it."""
    try:
        ready = json.loads(ready_file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return str(ready["uri"]) if ready["pid"] == pid else None


def answers(uri: str) -> bool:
    """Whether a server is there."""
    try:
        return httpx.get(f"{uri}/healthz", timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _last_line(log_file: Path) -> str:
    lines = log_file.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
