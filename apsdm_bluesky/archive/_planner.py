"""Makes bundles of the runs that wait: small ones together, big ones in parts."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from apsdm_bluesky.errors import ApsdmError, StorageError
from apsdm_bluesky.spool import RunFile

from ._backoff import Backoff
from ._births import Births
from ._grouping import Candidate, group, parts_of
from ._ledger import Ledger
from ._requests import Requests
from ._runs import RunEntry
from ._sources import LateError, SourceError, raw_files

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
    late_file_s
        How long a run waits for files that its documents announce [s].
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
        late_file_s: float = 0.0,
        actor: str,
    ) -> None:
        self._requests = requests
        self._ledger = ledger
        self._roots = roots
        self._target = target
        self._wait_s = wait_s
        self._timeout_s = analysis_timeout_s
        self._late_file_s = late_file_s
        self._actor = actor
        self._backoff = Backoff()

    def plan(self) -> int:
        """Queue the bundles that are due; returns how many."""
        now = time.time()
        waiting: list[RunEntry] = []
        candidates: list[Candidate] = []
        for entry in self._ledger.runs.unplanned():
            if not self._hindered(entry, now) and (candidate := self._candidate(entry, now)):
                waiting.append(entry)
                candidates.append(candidate)
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
        if not _waits(entry, now, self._timeout_s):
            return False
        running = next((run.uid for run in self._requests.analyses(entry.uid) if run.stop is None), None)
        if running is None:
            return False
        self._tell(entry, f"waits for its analysis, run {running}, to end (at most {self._timeout_s:g} s)")
        return True

    def _candidate(self, entry: RunEntry, now: float) -> Candidate | None:
        """What is to be grouped; None where the run waits for its files."""
        patient = _waits(entry, now, self._late_file_s)
        if patient and not self._backoff.over(entry.uid):
            return None
        runs = self._with_analyses(entry)
        uids = (entry.uid, *(run.uid for run in runs if run.uid != entry.uid))
        size, parts = entry.size, 1
        if size is None or size >= self._target or len(runs) > 1:
            try:
                size, parts = self._measure(entry, runs)
            except LateError as error:
                if patient:
                    self._backoff.delay(entry.uid)
                    self._tell(entry, f"waits for its files (at most {self._late_file_s:g} s): {error}")
                    return None
                log.warning("run %s: %s", entry.uid, error)  # so will its bundle tell, in quarantine
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
        """Bytes and parts of the runs together; None where they cannot be read.

        Raises
        ------
        LateError
            A file is not there, or not whole.
        """
        try:
            sources = raw_files(runs, self._roots)
            Births(runs).check_complete(sources)
            size = sum(source.size for source in sources) + sum(run.complete_size() for run in runs)
        except LateError:
            raise
        except (SourceError, StorageError, OSError) as error:  # its bundle will be stopped, with this reason
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


def _waits(entry: RunEntry, now: float, limit: float) -> bool:
    """Whether the run was requested less than `limit` seconds ago.

    A request that lies further ahead was made by a clock that was set back since: nobody waits for that.
    """
    return abs(now - entry.created) < limit
