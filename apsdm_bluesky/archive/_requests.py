"""Archive requests, derived from the spool: a run with an 'archive' note and a stop document."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from apsdm_bluesky.errors import ApsdmError, StorageError
from apsdm_bluesky.spool import RunFile, Spool

from ._ledger import Ledger
from ._names import printable
from ._runs import RunEntry

log = logging.getLogger(__name__)

NOTE = "archive"
# Keys of a start document that may name the experiment, the first one that is there counts.
_EXPERIMENT = ("experiment", "experiment_name", "proposal", "proposal_id")


class Requests:
    """Compares the spool with the ledger, and finds what belongs to a run.

    An analysis that ends before its raw run is bundled goes with it; a later one is a request of its own.
    """

    def __init__(self, spool: Spool, ledger: Ledger, *, actor: str) -> None:
        self._spool = spool
        self._ledger = ledger
        self._actor = actor
        self._runs: dict[str, RunFile] = {}
        self._settled = ledger.runs.known()
        self._raw_uid: dict[str, object] = {}

    def reconcile(self) -> int:
        """Enter every requested run that the ledger does not know; returns how many there were."""
        self.look()
        new = 0
        for uid, run in self._runs.items():
            if uid in self._settled:
                continue
            try:
                new += self._settle(run)
            except StorageError as error:
                log.error("run %s cannot be looked at: %s", uid, error)  # noqa: TRY400 - one line for a known fault
        return new

    @property
    def runs(self) -> Sequence[RunFile]:
        """The runs that the spool had when it was last looked at."""
        return list(self._runs.values())

    def look(self) -> Sequence[RunFile]:
        """Read anew which runs the spool has; returns them. Nothing is entered."""
        self._runs = {run.uid: run for run in self._spool.runs()}
        return self.runs

    def run(self, uid: str) -> RunFile:
        """A run in the spool.

        Raises
        ------
        ApsdmError
            The spool has no such run (any more).
        """
        if uid not in self._runs:
            raise ApsdmError(
                f"run {uid}: its documents are not in {self._spool.root}; put them back, then resume"
            )
        return self._runs[uid]

    def analyses(self, uid: str) -> Sequence[RunFile]:
        """The analysis runs of a run that no bundle holds, in the order they began."""
        return [
            run
            for run in self._runs.values()
            if self._raw_uid_of(run) == uid and run.uid not in self._settled
        ]

    def unsettled_analyses(self) -> Sequence[tuple[str, str]]:
        """All analyses that the ledger does not know, as (raw run, analysis)."""
        found = (
            (self._raw_uid_of(run), run.uid) for run in self._runs.values() if run.uid not in self._settled
        )
        return [(str(raw), uid) for raw, uid in found if raw is not None]

    def take_along(self, run: RunFile, collection: str) -> None:
        """Enter an analysis that goes with its raw run."""
        self._enter(run, collection)

    def _settle(self, run: RunFile) -> bool:
        """Whether the run is a new request. One without a note never becomes one: it comes with the start."""
        if run.stop is None:
            return False
        if (raw := self._raw_uid_of(run)) is not None:
            return self._settle_analysis(run, raw)
        note = run.notes.get(NOTE)
        if note is None:
            self._settled.add(run.uid)
            return False
        return self._enter(run, str(note.get("collection", "local")))

    def _settle_analysis(self, run: RunFile, raw: object) -> bool:
        """A late analysis is a request where its raw run is in a bundle. Before that it goes with it."""
        bundles = self._ledger.bundles_of(str(raw))
        return bool(bundles) and self._enter(run, bundles[0].collection)

    def _enter(self, run: RunFile, collection: str) -> bool:
        new = self._ledger.runs.add(_entry(run, collection), actor=self._actor)
        self._settled.add(run.uid)
        return new

    def _raw_uid_of(self, run: RunFile) -> object:
        if run.uid not in self._raw_uid:
            try:
                self._raw_uid[run.uid] = run.start.get("raw_uid")
            except StorageError as error:
                log.error("run %s is taken for no analysis: %s", run.uid, error)  # noqa: TRY400 - a known fault
                self._raw_uid[run.uid] = None
        return self._raw_uid[run.uid]


def _entry(run: RunFile, collection: str) -> RunEntry:
    """What the ledger lists of a run; one whose start document is damaged is entered all the same."""
    try:
        start: Mapping[str, Any] = run.start
    except StorageError as error:
        log.error("run %s: %s", run.uid, error)  # noqa: TRY400 - one line for a known fault
        return RunEntry(uid=run.uid, collection=collection, started=time.time())
    return entry_of_start(run.uid, start, collection)


def entry_of_start(uid: str, start: Mapping[str, Any], collection: str) -> RunEntry:
    """What the ledger lists of a run, from its start document."""
    raw_uid = start.get("raw_uid")
    named = next((start[key] for key in _EXPERIMENT if start.get(key) is not None), None)
    return RunEntry(
        uid=uid,
        collection=collection,
        raw_uid=None if raw_uid is None else printable(raw_uid),
        experiment=None if named is None else printable(named),
        started=float(start["time"]),
    )
