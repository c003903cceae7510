"""Removes the raw data of runs whose release was asked for: against verified manifests, or not at all."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from apsdm_bluesky.config import ArchiveConfig
from apsdm_bluesky.errors import ApsdmError, FormatError, ServiceError, StorageError
from apsdm_bluesky.model import BundleMember
from apsdm_bluesky.spool import RunFile

from ._backoff import Backoff
from ._events import Event
from ._ledger import Ledger
from ._local_copy import LocalCopy, LocalRemoved, ReleaseBlocked, ReleaseRefused
from ._local_files import LocalFiles
from ._machine import TransitionError
from ._manifest_files import ManifestFiles
from ._references import References
from ._release_facts import Verdicts, restore_estimate
from ._requests import Requests
from ._runs import RunEntry
from ._sources import places
from ._steps import ArchivePlaces
from ._tombstone import Tombstone, find_tombstone
from ._work import StoppedError

log = logging.getLogger(__name__)

_GONE = (LocalCopy.RELEASED, LocalCopy.RELEASING)


class _WaitError(Exception):
    """Something is being fetched."""


class Releases:
    """Brings the runs that are to be released on. One thread at a time: runs may share files.

    Nothing is removed before every file of the run was compared and tombstones stand where the files are.
    What a killed agent left is seen from files and tombstones alone.

    Parameters
    ----------
    should_stop
        Asked during long work; when it is true, the work is given up and done again later.
    actor
        Who the history names.
    """

    def __init__(
        self,
        ledger: Ledger,
        requests: Requests,
        manifests: ManifestFiles,
        work: ArchivePlaces,
        config: ArchiveConfig,
        *,
        should_stop: Callable[[], bool],
        actor: str,
    ) -> None:
        self._ledger = ledger
        self._requests = requests
        self._manifests = manifests
        self._roots = work.roots
        self._config = config
        self._should_stop = should_stop
        self._actor = actor
        self._references = References()
        self._backoff = Backoff()

    def bring_on(self) -> bool:
        """Do all that can be done at once; whether that was anything."""
        try:
            waiting = self._ledger.runs.local_copies(LocalCopy.RELEASING)
            changed = [self._bring_on(entry) for entry in waiting if self._backoff.over(entry.uid)]
        except (StorageError, ServiceError) as error:  # of the ledger itself
            log.warning("releases: %s", error)
        except StoppedError:
            return False
        else:
            return any(changed)
        return False

    def _bring_on(self, entry: RunEntry) -> bool:
        event = self._released(entry)
        if event is None:
            return False
        if isinstance(event, ReleaseBlocked):
            self._backoff.delay(entry.uid)
            if event.local_reason == entry.local_reason:  # to find the same trouble again is no news
                return False
        else:
            self._backoff.reset(entry.uid)
        try:
            self._ledger.runs.apply(entry.uid, event, actor=self._actor)
        except TransitionError as error:  # a person changed it meanwhile
            log.info("%s", error)
            return False
        log.log(
            logging.INFO if isinstance(event, LocalRemoved) else logging.WARNING,
            "run %s: %s %s",
            entry.uid,
            type(event).__name__,
            getattr(event, "local_reason", ""),
        )
        return True

    def _released(self, entry: RunEntry) -> Event | None:
        """What came of it; None where there is nothing new."""
        files: LocalFiles | None = None
        try:
            found = places(self._requests.run(entry.uid), self._roots)
            files = LocalFiles(self._own(entry, found), self._members(entry), self._progress)
            return self._remove(entry, files)
        except _WaitError:
            return None
        except (StorageError, ServiceError) as error:
            return ReleaseBlocked(local_reason=str(error))
        except OSError as error:
            return ReleaseBlocked(
                local_reason=f"{error.filename2 or error.filename}: {error.strerror}; mend that"
            )
        except ApsdmError as error:
            return self._given_up(entry, files, str(error))

    def _given_up(self, entry: RunEntry, files: LocalFiles | None, reason: str) -> Event:
        """Refused where nothing was removed, else held up: a run that misses files is not held here."""
        if files is None:
            untouched = not self._marked(entry)
        elif untouched := not files.begun():
            files.unmark()
        return (ReleaseRefused if untouched else ReleaseBlocked)(local_reason=reason)

    def _marked(self, entry: RunEntry) -> bool:
        """Whether any of its files is gone, as far as can be told without a manifest."""
        try:
            found = places(self._requests.run(entry.uid), self._roots)
        except ApsdmError:
            return True
        return any(find_tombstone(path) is not None for path, _ in found)

    def _remove(self, entry: RunEntry, files: LocalFiles) -> Event:
        self._check_rules(entry)
        found = files.compare()
        self._check_rules(entry)  # comparing may have taken hours
        files.mark(self._tombstone(entry, files))
        files.remove(found)
        return LocalRemoved(files=files.count, bytes=files.bytes)

    def _check_rules(self, entry: RunEntry) -> None:
        now = self._ledger.runs.get(entry.uid) or entry
        told = Verdicts(self._ledger, self._requests, self._config).still(now)
        if not told.allowed:
            raise FormatError("; ".join(told.reasons))

    def _own(self, entry: RunEntry, found: Sequence[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
        """The places of the run that no other one needs here."""
        if not found:
            raise FormatError("its documents refer to no raw files; there is nothing to release")
        runs = [run for run in self._requests.look() if run.uid != entry.uid]
        needed = {path: self._needed_by(path, runs) for path, _ in found}
        own = [(path, root) for path, root in found if needed[path] is None]
        if not own:
            raise FormatError(f"run {needed[found[0][0]]} has the same files and is held; release that, too")
        return own

    def _needed_by(self, path: Path, runs: Sequence[RunFile]) -> str | None:
        for uid in self._references.users(runs, path):
            entry = self._ledger.runs.get(uid)
            if entry is None or entry.local not in _GONE:
                return uid
        return None

    def _members(self, entry: RunEntry) -> dict[str, BundleMember]:
        """What the manifests of its bundles hold, by name."""
        found: dict[str, BundleMember] = {}
        for record in self._ledger.bundles_of(entry.uid):
            manifest = self._manifests.get(record)
            if manifest is None:
                raise _WaitError
            found.update({member.path: member for member in manifest.members})
        return found

    def _tombstone(self, entry: RunEntry, files: LocalFiles) -> Tombstone:
        bundles = self._ledger.bundles_of(entry.uid)
        return Tombstone(
            run=entry.uid,
            bundles=tuple(record.uid for record in bundles),
            files=files.count,
            bytes=files.bytes,
            released=time.time(),
            restore_s=restore_estimate(self._ledger, bundles, self._config.staging_s),
        )

    def _progress(self, _: int) -> None:
        if self._should_stop():
            raise StoppedError
