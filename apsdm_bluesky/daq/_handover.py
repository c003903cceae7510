"""What was stored goes on: as runs into the spool, for catalogue and archive, and to workflows."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from apsdm_bluesky.errors import ServiceError, StorageError

from ._batches import Batch, BatchStore
from ._daq import Counts, Daq, DaqFile, DaqState, Kind
from ._documents import run_documents
from ._store import DaqStore
from ._work import WorkStore

log = logging.getLogger(__name__)

_MOST = 5000
_RETRY_S = 60.0

Documents = Sequence[tuple[str, Mapping[str, Any]]]


class PutRun(Protocol):
    """Puts a whole run into the spool, once."""

    def __call__(self, documents: Documents, *, notes: Mapping[str, Any] | None, delivered: bool) -> None:
        """See `SpoolSession.put_run`."""


StartJob = Callable[[Daq, DaqFile | None, str | None], None]
"""Has a DAQ's workflow run, for one file and its run, or at the end (None): once, however often asked."""


class Handover:
    """Hands on what the porter has stored, and ends DAQs. Each step may be done again.

    Parameters
    ----------
    collection
        Where files are archived.
    wait_s
        Files wait so long for others [s].
    """

    def __init__(
        self,
        store: DaqStore,
        work: WorkStore,
        batches: BatchStore,
        *,
        beamline: str,
        collection: str,
        wait_s: float,
        put_run: PutRun,
        start_job: StartJob,
    ) -> None:
        self._store = store
        self._work = work
        self._batches = batches
        self._beamline = beamline
        self._collection = collection
        self._wait_s = wait_s
        self._put_run = put_run
        self._start_job = start_job
        self._not_before: dict[
            str, float
        ] = {}  # runs that cannot be handed on, and when they are tried again

    def look(self) -> None:
        """Hand on what is due, and end what is over.

        Raises
        ------
        StorageError, ServiceError
            The database or the spool cannot be written now.
        """
        self._work.stop_due()
        self._batches.gather(before=time.time() - self._wait_s, most=_MOST)
        for batch in self._batches.unsettled():
            self._try(batch)
        for daq in self._work.drained():
            if self._batches.rest(daq.id) == 0:
                self._end(daq)

    def _try(self, batch: Batch) -> None:
        """One that cannot be handed on does not hold up the others; it is tried again."""
        now = time.monotonic()
        if now < self._not_before.get(batch.run, 0.0):
            return
        try:
            self._hand_on(batch)
        except (StorageError, ServiceError):
            raise
        except Exception as error:
            told_before = batch.run in self._not_before
            self._not_before[batch.run] = now + _RETRY_S
            if not told_before:
                log.exception("run %s of %s %s", batch.run, batch.daq.kind, batch.daq.id)
                told = f"{len(batch.files)} files cannot be catalogued and archived: {error}"
                self._work.tell(batch.daq.id, [("", told)])

    def _hand_on(self, batch: Batch) -> None:
        options = batch.daq.options
        if batch.files and not (options.skip_catalogue and options.skip_archive):
            documents = run_documents(
                batch.daq, batch.files, uid=batch.run, time=batch.time, beamline=self._beamline
            )
            notes: dict[str, Any] = (
                {} if options.skip_archive else {"archive": {"collection": self._collection}}
            )
            self._put_run(documents, notes=notes, delivered=options.skip_catalogue)
        if options.workflow is not None and options.each:
            for file in batch.files:
                self._start_job(batch.daq, file, batch.run)
        self._batches.settle(batch)

    def _end(self, daq: Daq) -> None:
        if daq.options.workflow is not None and not daq.options.each:
            self._start_job(daq, None, None)
        counts = self._store.get(daq.id).counts
        parts = [f"{number} {text}" for number, text in _left(counts) if number]
        nothing = daq.kind is Kind.UPLOAD and counts.taken == 0 and not parts
        if nothing:  # a disk that is not mounted looks so
            parts = ["no file was found"]
        state = DaqState.FAILED if counts.failed or nothing else DaqState.DONE
        self._work.end(daq.id, state, ", ".join(parts), counts)
        log.info("%s %s of %s: %s, %d files", daq.kind, daq.id, daq.source, state, counts.taken)


def _left(counts: Counts) -> list[tuple[int, str]]:
    return [
        (counts.failed, "could not be taken"),
        (counts.vanished, "vanished before they were taken"),
        (counts.skipped, "were passed over"),
    ]
