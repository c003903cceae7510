"""Jobs that ended are removed by age and number, files first; what is pinned stays."""

import logging
import shutil
import time

from apsdm_bluesky.errors import StorageError

from ._job import Job
from ._store import JobStore

log = logging.getLogger(__name__)

_LOOK_S = 600.0


class Retention:
    """Removes jobs that ended longer ago than `keep_s` seconds, and those beyond the `keep` latest.

    Not those that are pinned, nor one whose results a job takes over that has not begun yet.
    """

    def __init__(self, store: JobStore, *, keep_s: float, keep: int) -> None:
        self._store = store
        self._keep_s = keep_s
        self._keep = keep
        self._next = 0.0

    def look(self) -> None:
        """Remove what is old, at most every ten minutes.

        Raises
        ------
        StorageError, ServiceError
            The database or a folder cannot be written now.
        """
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LOOK_S
        self.remove_old(now=time.time())

    def remove_old(self, *, now: float) -> int:
        """Remove what is old at a time [s since the Unix epoch]; returns how many jobs there were."""
        old = self._store.old(before=now - self._keep_s, keep=self._keep)
        needed = self._store.parents([job.id for job in old])
        removed = [job for job in old if job.id not in needed and self._store.begin_removal(job)]
        for job in removed:
            self._remove(job)
        return len(removed)

    def _remove(self, job: Job) -> None:
        """Files first: after a crash between, the record is found again by the next look."""
        folder = self._store.folder(job.id)
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}"
            raise StorageError(f"{reason}; job {job.id} cannot be removed, give access there") from error
        self._store.remove(job)
        log.info("job %s (%s, %s) was removed for its age", job.id, job.workflow, job.state)
