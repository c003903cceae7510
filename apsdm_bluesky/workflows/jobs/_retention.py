"""Jobs that ended are removed by age and number, files first; what is pinned stays."""

import logging
import shutil
import stat
import time
from pathlib import Path

from ._reader import OldJob
from ._store import JobStore

log = logging.getLogger(__name__)

_LOOK_S = 600.0
_MOST = 200  # at a look
_JUMP_S = 3600.0


class Retention:
    """Removes jobs that ended longer ago than `keep_s` seconds, and those beyond the `keep` latest.

    Not those that are pinned, nor one whose results a job takes over that has not ended yet.
    """

    def __init__(self, store: JobStore, *, keep_s: float, keep: int) -> None:
        self._store = store
        self._keep_s = keep_s
        self._keep = keep
        self._next = 0.0
        self._clock = time.time() - time.monotonic()
        self._told: set[str] = set()

    def look(self) -> bool:
        """Remove what is old, at most every ten minutes; whether anything was removed.

        Raises
        ------
        StorageError, ServiceError
            The database cannot be written now.
        """
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + _LOOK_S
        if self._jumped():
            return False
        return self.remove_old(now=time.time()) > 0

    def remove_old(self, *, now: float) -> int:
        """Remove what is old at a time [s since the Unix epoch], a part of it; returns how many jobs."""
        old = self._store.old(before=now - self._keep_s, keep=self._keep, most=_MOST)
        return sum(self._remove(job) for job in old)

    def _jumped(self) -> bool:
        """A clock that was set makes jobs old at a stroke: what it says is believed at the next look."""
        before, self._clock = self._clock, time.time() - time.monotonic()
        jump = self._clock - before
        if abs(jump) > _JUMP_S:
            log.warning("the clock was set by %.0f s: no job is removed for its age now", jump)
        return abs(jump) > _JUMP_S

    def _remove(self, job: OldJob) -> bool:
        """Files first: after a crash between, the record is found again by the next look."""
        if not self._store.begin_removal(job.id):
            return False
        try:
            _remove_tree(self._store.folder(job.id))
        except OSError as error:  # the others go on
            if job.id not in self._told:
                self._told.add(job.id)
                log.warning("job %s cannot be removed: %s; give access there", job.id, error)
            return False
        self._store.remove(job.id)
        self._told.discard(job.id)
        log.info("job %s (%s, %s) was removed for its age", job.id, job.workflow, job.state)
        return True


def _remove_tree(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        try:
            shutil.rmtree(folder)
        except PermissionError:  # a command left folders that their owner cannot write
            _make_writable(folder)
            shutil.rmtree(folder)


def _make_writable(folder: Path) -> None:
    folder.chmod(folder.stat().st_mode | stat.S_IRWXU)
    for inside in folder.iterdir():
        if inside.is_dir() and not inside.is_symlink():
            _make_writable(inside)
