"""The agent: the process that brings spooled runs into the catalogue and the archive, whatever happens to it.

Its state lies in the state folder alone. Killed at any instant, it goes on where it stood.
"""

import json
import logging
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apsdm_bluesky.archive import AgentLock, ArchivePlaces, Archiver, Ledger, Requests, State, Steps
from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ApsdmError, ServiceError, StorageError
from apsdm_bluesky.spool import Spool, SpoolSession
from apsdm_bluesky.transfer import Globus, LocalFolder, Transfer

__all__ = ["Agent", "agent_process", "agent_runs", "archive_status", "open_transfers", "run_agent"]

log = logging.getLogger(__name__)

_POLL_S = (0.02, 0.5)  # after progress, doubled up to the longest
_ACTOR = "agent"
_WORKING = (State.QUEUED, State.BUNDLED, State.SUBMITTED, State.COPIED, State.ON_TAPE, State.PARKED)


class Agent:
    """Adopts orphaned spools, archives completed runs.

    Parameters
    ----------
    uri, api_key
        The Tiled server; without, adopted runs are closed but not delivered.
    """

    def __init__(self, config: BeamlineConfig, *, uri: str | None, api_key: str | None) -> None:
        self._config = config
        self._uri = uri
        self._api_key = api_key

    def run(self, stop: threading.Event, ready: Callable[[], None] = lambda: None) -> None:
        """Work until `stop` is set; `ready` is called when the state folder is ours.

        Raises
        ------
        LockedError
            Another agent works on the state folder; the message names it.
        StorageError
            The state folder cannot be written at the start.
        """
        with ExitStack() as stack:
            stack.enter_context(AgentLock(self._config.folders.archive))
            parts = self._compose(stack, stop)
            parts.archiver.tidy()
            ready()
            pause, longest = _POLL_S
            while not stop.is_set():
                more = parts.look_once(stop)
                pause = _POLL_S[0] if more else min(2 * pause, longest)
                stop.wait(0 if more else pause)

    def status(self) -> dict[str, Any]:
        """See `archive_status`."""
        return archive_status(self._config)

    def _compose(self, stack: ExitStack, stop: threading.Event) -> "_Parts":
        """What the agent is made of; `stack` closes it."""
        config, folders = self._config, self._config.folders
        ledger, spool = Ledger(folders.archive), Spool(folders.spool)
        stack.callback(ledger.close)
        adoption = _Adoption(spool, self._uri, self._api_key)
        stack.callback(adoption.close)
        transfers = open_transfers(config)
        for transfer in transfers.values():
            stack.callback(transfer.close)
        requests = Requests(spool, ledger, analysis_timeout_s=config.archive.analysis_timeout_s, actor=_ACTOR)
        places = ArchivePlaces(folder=folders.archive, roots=[folders.raw], prefix=config.name)
        steps = Steps(places, requests=requests, transfers=transfers, should_stop=stop.is_set)
        return _Parts(adoption, requests, ledger, Archiver(ledger, steps, actor=_ACTOR))


class _Adoption:
    """Sessions whose process is gone: their open runs are closed, and all is delivered."""

    def __init__(self, spool: Spool, uri: str | None, api_key: str | None) -> None:
        self._spool = spool
        self._uri = uri
        self._api_key = api_key
        self._held: list[tuple[SpoolSession, Any]] = []

    def look(self) -> None:
        """Adopt what is orphaned now; let go of what is delivered."""
        for session in self._spool.adopt():
            for uid in session.close_unfinished("the session ended without closing the run"):
                log.warning("run %s was left open by its session: closed as aborted", uid)
            self._held.append((session, self._deliver(session)))
        for entry in list(self._held):
            session, delivery = entry
            if delivery is not None and delivery.wait_idle(0):
                delivery.close(0)
                session.close()
                self._held.remove(entry)

    def close(self) -> None:
        """Release every session; what is not delivered is adopted again by the next agent."""
        for session, delivery in self._held:
            if delivery is not None:
                delivery.close(0)
            session.close()
        self._held.clear()

    def _deliver(self, session: SpoolSession) -> Any:
        if self._uri is None:
            return None
        from apsdm_bluesky.spool import Delivery

        delivery = Delivery(session, self._uri, self._api_key)
        delivery.start()
        return delivery


@dataclass(frozen=True, slots=True)
class _Parts:
    adoption: _Adoption
    requests: Requests
    ledger: Ledger
    archiver: Archiver

    def look_once(self, stop: threading.Event) -> bool:
        """Adopt, reconcile, and advance every record by a step; whether there may be more to do at once."""
        try:
            self.adoption.look()
            more = self.requests.reconcile() > 0
            records = self.ledger.list(*_WORKING)
        except StorageError as error:
            log.warning("%s", error)
            return False
        for record in records:
            if stop.is_set():
                break
            more = self.archiver.advance(record) or more
        return more


def open_transfers(config: BeamlineConfig) -> dict[str, Transfer]:
    """Every configured destination by its collection's name. Nothing is asked of them yet."""
    transfers: list[Transfer] = [LocalFolder(config.archive.destination or config.folders.tape)]
    if config.archive.globus is not None:
        transfers.append(Globus(config.archive.globus, folder=config.folders.globus))
    return {transfer.collection: transfer for transfer in transfers}


def archive_status(config: BeamlineConfig) -> dict[str, Any]:
    """The archive as it stands, as JSON-able values.

    Returns
    -------
    `running` (the agent's pid, host and since when, or None), `counts` by state, `records` (a mapping each).
    """
    folder = config.folders.archive
    holder = AgentLock(folder).holder()
    if not folder.is_dir():
        return {"running": holder, "counts": {}, "records": []}
    ledger = Ledger(folder)
    try:
        records = ledger.list()
    finally:
        ledger.close()
    counts = Counter(record.state.value for record in records)
    return {"running": holder, "counts": dict(counts), "records": [asdict(record) for record in records]}


def agent_runs(config: BeamlineConfig) -> bool:
    """Whether an agent works on this beamline's state folder."""
    return AgentLock(config.folders.archive).holder() is not None


def run_agent(config: BeamlineConfig, *, uri: str | None = None, api_key: str | None = None) -> None:
    """Run an agent in the foreground until SIGTERM or SIGINT. Raises as `Agent.run`."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Agent(config, uri=uri, api_key=api_key).run(stop)


@contextmanager
def agent_process(
    config: BeamlineConfig, *, uri: str | None = None, api_key: str | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """An agent in a process of its own; it ends with this context, and with this process however that ends.

    Raises
    ------
    ServiceError
        It did not start; the message is its own.
    """
    order = {
        "config": config.model_dump(mode="json"),
        "uri": uri,
        "api_key": api_key,
        "die_with_parent": True,
    }
    log_file = config.folders.logs / "agent.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with (
        log_file.open("a") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "apsdm_bluesky.agent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # Ctrl-C pauses a plan; it must not reach the agent
        ) as process,
    ):
        try:
            _start(process, json.dumps(order), log_file)
            yield process
        finally:
            process.terminate()


def _start(process: "subprocess.Popen[str]", order: str, log_file: Path) -> None:
    if process.stdin is None or process.stdout is None:
        raise ServiceError("the agent's process has no pipes")
    process.stdin.write(order + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise ServiceError(f"the agent did not start; its last words are in {log_file}")
    said = json.loads(answer)
    if "error" in said:
        raise ServiceError(f"the agent did not start: {said['error']}")


def _child(stop: threading.Event) -> int:
    """An agent as its parent orders it: one line of JSON on stdin, one of JSON on stdout when it is ready."""
    try:
        order = json.loads(sys.stdin.readline())
        config = BeamlineConfig(**order["config"])
    except (ValueError, TypeError, KeyError) as error:
        _say({"error": f"its order cannot be read: {' '.join(str(error).split())}"})
        return 1
    agent = Agent(config, uri=order.get("uri"), api_key=order.get("api_key"))
    if order.get("die_with_parent"):
        threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    try:
        agent.run(stop, lambda: _say({"ready": True}))
    except ApsdmError as error:
        _say({"error": str(error)})
        return 1
    return 0


def _stop_at_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _main() -> int:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return _child(stop)


if __name__ == "__main__":
    sys.exit(_main())
