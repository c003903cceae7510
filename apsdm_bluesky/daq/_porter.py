"""The process that watches folders and copies files. It ends with the agent, however that ends."""

import errno
import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import filelock

from apsdm_bluesky.errors import ServiceError, StorageError

from ._attend import Attendant
from ._copier import CopyProcess
from ._daq import Daq, DaqState
from ._intake import incoming_folder
from ._pool import CopyPool
from ._settings import Settings
from ._work import WorkStore

log = logging.getLogger(__name__)

_LOOK_S = 0.3
_LOCK_S = 60.0


def main() -> int:
    """Work until the standard input ends, as the agent does; returns the exit code."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    settings = Settings.decode(sys.stdin.readline())
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a folder that is watched takes some
    processes: list[CopyProcess] = []
    for number in range(settings.parallel):  # before there is any thread
        processes.append(CopyProcess(f"{settings.station}-{number}", processes))
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        # The porter of an agent that was killed may not have seen yet that its input has ended.
        with filelock.FileLock(settings.place / "porter.lock", timeout=_LOCK_S):
            _Porter(settings, processes).run()
    except (filelock.Timeout, StorageError, ServiceError) as error:
        log.error("%s", error)  # noqa: TRY400 - one line for a known fault
        return 1
    except Exception:  # a defect of ours: the threads of DAQs would go on without anybody to stop them
        log.exception("all begin anew")
        os._exit(1)
    return 0


def _end_with_input() -> None:
    """Whatever is being done may be left at any point: the next process goes on from the database."""
    sys.stdin.read()
    os._exit(0)


class _Porter:
    def __init__(self, settings: Settings, processes: Sequence[CopyProcess]) -> None:
        self._settings = settings
        self._work = WorkStore(settings.place, settings.url)
        self._pool = CopyPool(processes, self._told)
        self._attendants: dict[str, Attendant] = {}
        self._cleaned: set[Path] = set()
        self._trouble = ""

    def run(self) -> None:
        """Look again and again which DAQs there are."""
        while True:
            try:
                self._look()
                self._trouble = ""
            except (StorageError, ServiceError) as error:
                self._told(str(error))
            time.sleep(_LOOK_S)

    def _look(self) -> None:
        wanted = {daq.id: daq for daq in self._work.undrained()}
        for uid, attendant in list(self._attendants.items()):
            if not attendant.alive:
                del self._attendants[uid]
            else:
                attendant.update(wanted[uid].state if uid in wanted else None)
        for uid, daq in wanted.items():
            if uid not in self._attendants and self._clean(daq):
                self._attendants[uid] = Attendant(daq, self._work, self._pool, self._settings)

    def _clean(self, daq: Daq) -> bool:
        """Remove what a process that was killed has left half copied; False where that cannot be done now."""
        if daq.root in self._cleaned:
            return True
        folder = incoming_folder(daq)
        try:
            if folder.is_symlink():
                raise NotADirectoryError(errno.ENOTDIR, "is a link", str(folder))
            folder.mkdir(exist_ok=True)
            for part in folder.glob(f"{self._settings.station}-*.part"):
                part.unlink()
        except OSError as error:
            reason = f"{folder}: {error.strerror}; mend it, or give this account permission there"
            self._told(reason)
            self._work.hinder(daq.id, reason)
            return daq.state is DaqState.ABORTED  # which needs no folder
        self._cleaned.add(daq.root)
        return True

    def _told(self, text: str) -> None:
        if text != self._trouble:
            self._trouble = text
            log.warning("%s", text)
