"""The server and the agent that a command needs: those that run already, or its own while it lasts."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import filelock
import httpx

from apsdm_bluesky.agent import agent_process, agent_runs
from apsdm_bluesky.config import BeamlineConfig, StateFolders
from apsdm_bluesky.errors import LockedError, ServiceError, StorageError
from apsdm_bluesky.tiled_config import running_server, server_key, server_process

_START_TIMEOUT_S = 120.0
_ANSWER_TIMEOUT_S = 10.0
_POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What a command found or started.

    Parameters
    ----------
    uri
        Of the Tiled server.
    own_server
        Whether it ends with the command.
    own
        The processes that end with the command, by what they are.
    logs
        The folder of their logs.
    """

    uri: str
    own_server: bool
    own: dict[str, "Popen[str]"]
    logs: Path

    def check(self) -> None:
        """Raise ServiceError when a process of ours has ended."""
        for name, process in self.own.items():
            if (code := process.poll()) is not None:
                how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
                raise ServiceError(f"{name} ended unexpectedly ({how}); see {self.logs}, then start again")


@contextmanager
def services(config: BeamlineConfig, *, lasting: bool = False) -> Iterator[Services]:
    """A Tiled server and an agent for this beamline. Those that run already are used and left running.

    Parameters
    ----------
    lasting
        For `apsdm up`: other commands may rely on what is started here, which takes the configured port.
        Otherwise a free port is taken, so that one in use is no obstacle.

    Raises
    ------
    LockedError
        Another command runs services of its own on this state folder.
    ServiceError, StorageError
        They cannot be started, or do not answer.
    """
    with ExitStack() as stack:
        lock = _own(config.folders, stack, lasting=lasting)
        if lock is None:
            yield _those_of_up(config)
            return
        own: dict[str, Popen[str]] = {}
        uri = config.server.uri or running_server(config)
        if config.server.uri is not None:
            _refuse_silent(config.server.uri)
        if uri is None:
            server = config.server if lasting else config.server.model_copy(update={"port": 0})
            started = stack.enter_context(server_process(config.model_copy(update={"server": server})))
            uri, own["the Tiled server"] = started.uri, started.process
        if not agent_runs(config):
            own["the agent"] = stack.enter_context(agent_process(config, uri=uri, api_key=server_key(config)))
        if not own:  # 'apsdm serve' and 'apsdm agent' run: nobody depends on this command
            lock.release()
        yield Services(uri=uri, own_server="the Tiled server" in own, own=own, logs=config.folders.logs)


def _refuse_silent(uri: str) -> None:
    """A server that somebody else runs must answer before anything is started for it."""
    try:
        httpx.get(uri, timeout=_ANSWER_TIMEOUT_S)
    except httpx.TransportError as error:
        raise ServiceError(
            f"no Tiled server answers at {uri} ({error}); start it, or mend server.uri in beamline.yml"
        ) from error


def _own(folders: StateFolders, stack: ExitStack, *, lasting: bool) -> filelock.BaseFileLock | None:
    """Become the command that starts services on this folder; None where `apsdm up` is that already."""
    lock = filelock.FileLock(folders.root / "services.lock", timeout=0)
    note = folders.root / "services.json"
    try:
        lock.acquire()
        stack.callback(lock.release)
        note.write_text(json.dumps({"pid": os.getpid(), "lasting": lasting}), encoding="utf-8")
    except filelock.Timeout as error:
        owner = _owner(note)
        if lasting or not owner.get("lasting"):
            what = "'apsdm up' runs" if owner.get("lasting") else "a command with a server of its own runs"
            advice = "use it" if owner.get("lasting") else "wait for its end, or start 'apsdm up' before both"
            raise LockedError(
                f"{folders.root}: {what} here already (pid {owner.get('pid', 'unknown')}); {advice}"
            ) from error
        return None
    except OSError as error:
        raise StorageError(
            f"{folders.root}: {error.strerror}; free space or give permission there"
        ) from error
    return lock


def _owner(note: Path) -> dict[str, object]:
    try:
        return dict(json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # it is being written
        return {}


def _those_of_up(config: BeamlineConfig) -> Services:
    """What `apsdm up` keeps running; it may be starting still."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        uri = config.server.uri or running_server(config)
        if uri is not None and agent_runs(config):
            return Services(uri=uri, own_server=False, own={}, logs=config.folders.logs)
        time.sleep(_POLL_S)
    raise ServiceError(
        f"{config.folders.root}: 'apsdm up' runs, but its server does not answer; see {config.folders.logs}"
    )
