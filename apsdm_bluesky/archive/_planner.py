"""Makes bundles of the runs that wait: small ones together, big ones in parts."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from apsdm_bluesky.errors import ApsdmError, StorageError
from apsdm_bluesky.spool import RunFile

from ._grouping import Candidate, group, parts_of
from ._ledger import Ledger
from ._requests import Requests
from ._runs import RunEntry
from ._sources import SourceError, raw_files

log = logging.getLogger(__name__)


class Planner:
    """Queues bundles in the ledger.

    Parameters
    ----------
    roots
        Raw files are taken from these folders only.
    target
        Bytes that a bundle is to have; files are not split.
    wait_s
        How long a run that is smaller waits for company [s].
    analysis_timeout_s
        How long a run waits for its analysis runs to end [s].
    """

    def __init__(
        self,
        requests: Requests,
        ledger: Ledger,
        *,
        roots: Sequence[Path],
        target: int,
        wait_s: float,
        analysis_timeout_s: float,
        actor: str,
    ) -> None:
        self._requests = requests
        self._ledger = ledger
        self._roots = roots
        self._target = target
        self._wait_s = wait_s
        self._timeout_s = analysis_timeout_s
        self._actor = actor

    def plan(self) -> int:
        """Queue the bundles that are due; returns how many."""
        now = time.time()
        waiting = [entry for entry in self._ledger.runs.unplanned() if not self._hindered(entry, now)]
        candidates = [self._candidate(entry) for entry in waiting]
        groups = group(candidates, target=self._target, wait_s=self._wait_s, now=now)
        planned = sum(self._queue(gathered) for gathered in groups)
        due = {uid for gathered in groups for one in gathered for uid in one.uids}
        for entry in waiting:
            if entry.uid not in due:
                self._tell(
                    entry, f"waits for other small runs of its experiment (at most {self._wait_s:g} s)"
                )
        return planned

    def _hindered(self, entry: RunEntry, now: float) -> bool:
        """Whether an analysis of the run is still waited for."""
        if now - entry.created >= self._timeout_s:
            return False
        running = next((run.uid for run in self._requests.analyses(entry.uid) if run.stop is None), None)
        if running is None:
            return False
        self._tell(entry, f"waits for its analysis, run {running}, to end (at most {self._timeout_s:g} s)")
        return True

    def _candidate(self, entry: RunEntry) -> Candidate:
        runs = self._with_analyses(entry)
        uids = (entry.uid, *(run.uid for run in runs if run.uid != entry.uid))
        size, parts = entry.size, 1
        if size is None or size >= self._target or len(runs) > 1:
            size, parts = self._measure(entry, runs)
        return Candidate(
            uids=uids,
            size=size,
            parts=parts,
            since=entry.created,
            company=(entry.collection, entry.experiment),
        )

    def _with_analyses(self, entry: RunEntry) -> list[RunFile]:
        """The run, where the spool has it, and those of its analyses that have ended."""
        ended = [run for run in self._requests.analyses(entry.uid) if run.stop is not None]
        try:
            return [self._requests.run(entry.uid), *ended]
        except ApsdmError as error:  # its bundle will be parked, with this reason
            log.warning("%s", error)
            return ended

    def _measure(self, entry: RunEntry, runs: Sequence[RunFile]) -> tuple[int | None, int]:
        """Bytes and parts of the runs together; None where they cannot be read."""
        try:
            sources = raw_files(runs, self._roots)
            size = sum(source.size for source in sources) + sum(run.complete_size() for run in runs)
        except (
            SourceError,
            StorageError,
            OSError,
        ) as error:  # its bundle will be quarantined, with this reason
            log.warning("run %s: %s", entry.uid, error)
            return None, 1
        if size != entry.size:
            self._ledger.runs.set_size(entry.uid, size)
        return size, len(parts_of(sources, self._target)) if size > self._target else 1

    def _queue(self, gathered: Sequence[Candidate]) -> int:
        first = gathered[0]
        uids = [uid for candidate in gathered for uid in candidate.uids]
        for candidate in gathered:
            for uid in candidate.uids[1:]:
                self._requests.take_along(self._requests.run(uid), first.company[0])
        return len(self._ledger.plan(uids, parts=first.parts, actor=self._actor))

    def _tell(self, entry: RunEntry, reason: str) -> None:
        if entry.reason != reason:
            self._ledger.runs.set_waiting(entry.uid, reason)
