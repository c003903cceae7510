"""Archive requests, derived from the spool: a run with an 'archive' note and a stop document."""

import logging
import time
from collections.abc import Sequence

from apsdm_bluesky.errors import ApsdmError, StorageError
from apsdm_bluesky.spool import RunFile, Spool

from ._ledger import Ledger

log = logging.getLogger(__name__)

NOTE = "archive"


class Requests:
    """Compares the spool with the ledger, and finds what belongs to a run.

    Parameters
    ----------
    analysis_timeout_s
        How long a run waits for its analysis runs to end, from when it was first seen.
    """

    def __init__(self, spool: Spool, ledger: Ledger, *, analysis_timeout_s: float, actor: str) -> None:
        self._spool = spool
        self._ledger = ledger
        self._timeout_s = analysis_timeout_s
        self._actor = actor
        self._runs: dict[str, RunFile] = {}
        self._settled = {record.uid for record in ledger.list()}
        self._raw_uid: dict[str, object] = {}
        self._waits_since: dict[str, float] = {}

    def reconcile(self) -> int:
        """Enqueue every requested run that the ledger does not know; returns how many there were."""
        self._runs = {run.uid: run for run in self._spool.runs()}
        new = 0
        for uid, run in self._runs.items():
            if uid in self._settled:
                continue
            try:
                new += self._settle(run)
            except StorageError as error:
                log.error("run %s cannot be looked at: %s", uid, error)  # noqa: TRY400 - one line for a known fault
        return new

    def runs_of(self, uid: str) -> Sequence[RunFile]:
        """The run and its analysis runs, in the order they began.

        Raises
        ------
        ApsdmError
            The spool has no such run (any more).
        """
        if uid not in self._runs:
            raise ApsdmError(
                f"run {uid}: its documents are not in {self._spool.root}; put them back, then resume"
            )
        return [self._runs[uid], *self._analyses(uid)]

    def open_analysis(self, uid: str) -> str:
        """Which analysis of the run is still waited for; '' when there is none, or the time is over."""
        since = self._waits_since.setdefault(uid, time.monotonic())
        if time.monotonic() - since >= self._timeout_s:
            return ""
        live = next((run.uid for run in self._analyses(uid) if run.stop is None), "")
        return f"waits for its analysis, run {live}, to end (at most {self._timeout_s:g} s)" if live else ""

    def _settle(self, run: RunFile) -> bool:
        """Whether the run is a new request. One without a note never becomes one: it comes with the start."""
        note, stop = run.notes.get(NOTE), run.stop
        if stop is None:
            return False
        new = note is not None and self._ledger.enqueue(
            run.uid, collection=str(note.get("collection", "local")), actor=self._actor
        )
        self._settled.add(run.uid)
        return new

    def _analyses(self, uid: str) -> list[RunFile]:
        return [run for run in self._runs.values() if self._raw_uid_of(run) == uid]

    def _raw_uid_of(self, run: RunFile) -> object:
        if run.uid not in self._raw_uid:
            try:
                self._raw_uid[run.uid] = run.start.get("raw_uid")
            except StorageError as error:
                log.error("run %s is taken for no analysis: %s", run.uid, error)  # noqa: TRY400 - a known fault
                self._raw_uid[run.uid] = None
        return self._raw_uid[run.uid]
