"""The folder of all sessions' spools."""

import logging
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

from apsdm_bluesky.durable import sync
from apsdm_bluesky.errors import LockedError, StorageError

from ._disk import storage_errors
from ._runfile import RunFile
from ._session import SpoolSession, list_runs

log = logging.getLogger(__name__)


class Spool:
    """The folder with one sub-folder a session. Nothing is created before `open_session`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open_session(self) -> SpoolSession:
        """A new session folder ``<UTC time>-<pid>-<random>``, locked by this process.

        Raises
        ------
        StorageError
            The folder cannot be created.
        """
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}-{secrets.token_hex(4)}"
        path = self.root / name
        with storage_errors(path, "create"):
            path.mkdir(parents=True)
            sync(self.root)
        return SpoolSession(path)

    def runs(self) -> list[RunFile]:
        """Every run of every session, ordered by start time. Foreign files are passed over."""
        runs = (run for folder in self._folders() for run in list_runs(folder))
        return sorted(runs, key=lambda run: run.path.name)

    def adopt(self) -> list[SpoolSession]:
        """The sessions whose process is gone and which hold runs not stopped or not delivered.

        They come locked; the caller closes them. Sessions of live processes are passed over.
        """
        adopted = []
        for folder in self._folders():
            if not _has_work(folder):
                continue
            try:
                session = SpoolSession(folder)
            except LockedError:
                continue
            if _has_work(folder):  # another agent may have done it in between
                adopted.append(session)
            else:
                session.close()
        return adopted

    def _folders(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        with storage_errors(self.root, "read"):
            return sorted(path for path in self.root.iterdir() if path.is_dir())


def _has_work(folder: Path) -> bool:
    return any(_needs_work(run) for run in list_runs(folder))


def _needs_work(run: RunFile) -> bool:
    if run.delivered:
        return False
    if run.refused is None:
        return True
    try:
        return run.stop is None
    except StorageError as error:  # damaged: nothing can be appended, and its refusal is known
        log.warning("Run %s: %s", run.uid, error)
        return False
