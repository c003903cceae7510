"""The agent and what it is made of."""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from apsdm_bluesky.archive import (
    WORKING,
    AgentLock,
    ArchivePlaces,
    Archiver,
    DrillSchedule,
    Evidence,
    ExpiryWatch,
    Ledger,
    ManifestFiles,
    Planner,
    Reader,
    ReadingSteps,
    Releases,
    Requests,
    Steps,
)
from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ServiceError, StorageError
from apsdm_bluesky.spool import Spool
from apsdm_bluesky.transfer import Globus, LocalFolder, Transfer
from apsdm_bluesky.workflows.jobs import TriggerRequests

from ._adoption import Adoption
from ._crew import Crew
from ._daqs import daqs_thread
from ._jobs import jobs_thread
from ._watchdog import Watchdog

log = logging.getLogger(__name__)

_POLL_S = (0.02, 0.5)  # after progress, doubled up to the longest
_ACTOR = "agent"


class Agent:
    """Adopts orphaned spools, archives completed runs, runs workflows.

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
            trouble = ""
            while not stop.is_set():
                before, trouble = trouble, parts.look_once()
                if trouble not in ("", before):  # a full disk is not to be filled with the news of it
                    log.warning("%s", trouble)
                pause = _POLL_S[0] if parts.crew.wait(pause) else min(2 * pause, longest)

    def _compose(self, stack: ExitStack, stop: threading.Event) -> "_Parts":
        """What the agent is made of; `stack` closes it."""
        config, folders = self._config, self._config.folders
        ledger, spool = Ledger(folders.archive, config.archive.database), Spool(folders.spool)
        stack.callback(ledger.close)
        adoption = Adoption(spool, self._uri, self._api_key)
        stack.callback(adoption.close)
        transfers = open_transfers(config)
        for transfer in transfers.values():
            stack.callback(transfer.close)
        requests = Requests(spool, ledger, actor=_ACTOR)
        jobs = stack.enter_context(jobs_thread(config, actor=_ACTOR))
        stack.enter_context(
            daqs_thread(config, spool, jobs, uri=self._uri, api_key=self._api_key, actor=_ACTOR)
        )
        places = archive_places(config)
        planner = Planner(
            requests,
            ledger,
            roots=places.roots,
            target=places.target,
            wait_s=config.archive.bundle_wait_s,
            analysis_timeout_s=config.archive.analysis_timeout_s,
            late_file_s=config.archive.late_file_s,
            actor=_ACTOR,
        )
        steps = Steps(
            places,
            requests=requests,
            transfers=transfers,
            should_stop=stop.is_set,
            verify=Evidence(config.archive.verify),
        )
        archiver = Archiver(ledger, steps, actor=_ACTOR)
        reading_steps = ReadingSteps(
            places, ledger=ledger, transfers=transfers, should_stop=stop.is_set, actor=_ACTOR
        )
        watchdog = Watchdog(ledger, config.archive.stuck_h * 3600)
        manifests = ManifestFiles(places.bundles, transfers)
        releases = Releases(
            ledger, requests, manifests, places, config.archive, should_stop=stop.is_set, actor=_ACTOR
        )
        crew = Crew(config.archive.parallel)
        stack.callback(crew.close)
        return _Parts(
            adoption=adoption,
            requests=requests,
            triggers=TriggerRequests(spool, jobs, actor=_ACTOR),
            planner=planner,
            ledger=ledger,
            archiver=archiver,
            reader=Reader(ledger, reading_steps, actor=_ACTOR),
            drills=DrillSchedule(
                ledger,
                every_s=config.archive.drill_every_h * 3600,
                bundles=config.archive.drill_bundles,
                actor=_ACTOR,
            ),
            watchdog=watchdog,
            releases=releases,
            expiry=ExpiryWatch(ledger, config.archive),
            crew=crew,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    adoption: Adoption
    requests: Requests
    triggers: TriggerRequests
    planner: Planner
    ledger: Ledger
    archiver: Archiver
    reader: Reader
    drills: DrillSchedule
    watchdog: Watchdog
    releases: Releases
    expiry: ExpiryWatch
    crew: Crew

    def look_once(self) -> str:
        """Adopt, reconcile, plan, and have what is not verified, and what is read back, brought on.

        Returns
        -------
        What hindered it; '' where nothing did.
        """
        try:
            self.adoption.look()
            self.requests.reconcile()
            self.triggers.reconcile(self.requests.runs)
            self.planner.plan()
            self.drills.look()
            records = self.ledger.list(*WORKING)
            readings = self.reader.uids()
            self.watchdog.look()
            self.expiry.look()
        except (StorageError, ServiceError) as error:
            return str(error)
        for record in records:
            self.crew.put(record.uid, lambda uid=record.uid: self.archiver.bring_on(uid))  # type: ignore[misc]
        for reading in readings:
            self.crew.put(reading, lambda uid=reading: self.reader.bring_on(uid))  # type: ignore[misc]
        self.crew.put("release", self.releases.bring_on)
        return ""


def archive_places(config: BeamlineConfig) -> ArchivePlaces:
    """Where the archive of a beamline works."""
    return ArchivePlaces(
        folder=config.folders.archive,
        roots=[config.folders.raw, config.experiments_root],
        prefix=config.name,
        target=int(config.archive.bundle_gb * 1e9),
    )


def open_transfers(config: BeamlineConfig) -> dict[str, Transfer]:
    """Every configured destination by its collection's name. Nothing is asked of them yet."""
    transfers: list[Transfer] = [LocalFolder(config.archive.destination or config.folders.tape)]
    if config.archive.globus is not None:
        transfers.append(Globus(config.archive.globus, folder=config.folders.globus))
    return {transfer.collection: transfer for transfer in transfers}
