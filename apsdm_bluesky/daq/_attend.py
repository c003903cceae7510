"""The thread of one DAQ: looks into its folder until it is to end, and all that it has seen is at an end."""

import errno
import logging
import threading
import time
from pathlib import Path

from apsdm_bluesky.errors import DaqError, ServiceError, StorageError

from ._check import check_opened
from ._daq import Daq, DaqState, FileState, Kind
from ._intake import Intake
from ._pool import CopyPool
from ._settings import Settings
from ._settling import CLOCKS_DIFFER_S, Settling
from ._source import OddFileError, Source
from ._wants import Wants
from ._watch import Watcher, on_shared, open_watcher
from ._work import WorkStore

log = logging.getLogger(__name__)

_AGAIN_S = 2.0  # at most: a folder that is gone is looked for so often
_AGAIN = 5  # ... or after so many times what a file has to rest
_LONGEST_WAIT_S = 1.0
_SHORTEST_WAIT_S = 0.1
_PATIENCE = 30  # times what a file has to rest: so long files may go on changing after a stop
_CANCELLED = "the DAQ was cancelled"
_GONE = (errno.ENOENT, errno.ENOTDIR)


class Attendant:
    """Works on one DAQ in a thread of its own.

    Parameters
    ----------
    daq
        As the database has it; `update` brings a newer state.
    """

    def __init__(self, daq: Daq, work: WorkStore, pool: CopyPool, settings: Settings) -> None:
        self._daq = daq
        self._work = work
        self._pool = pool
        self._settings = settings
        self._state = daq.state
        self._give_up_at: float | None = None
        self._looked = False
        self._told = ""
        self._over = threading.Event()
        self._watcher: Watcher | None = None
        self._thread = threading.Thread(target=self._run, name=f"daq-{daq.id[:8]}")
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it still works."""
        return self._thread.is_alive()

    def update(self, state: DaqState | None) -> None:
        """The state that the database has now; None: it is no longer to be worked on."""
        self._state = DaqState.ABORTED if state is None else state
        self._wake()

    def _wake(self) -> None:
        if (watcher := self._watcher) is not None:
            watcher.wake()

    def _run(self) -> None:
        """Begin anew after a fault; the database tells what was done."""
        while not self._over.is_set():
            try:
                self._work_once()
            except OSError as error:
                if error.errno in _GONE and self._gone_for_good():
                    continue
                reason = f"{error.filename or self._daq.source}: {error.strerror}"
            except (DaqError, OddFileError, StorageError, ServiceError) as error:
                reason = str(error)
            except Exception as error:  # a defect of ours: other DAQs go on, and it is told
                log.exception("DAQ %s", self._daq.id)
                reason = f"a defect: {type(error).__name__}: {error}; see the agent's log"
            else:
                return
            if reason != self._told:
                self._hinder(reason)
            self._rest(min(_AGAIN_S, _AGAIN * self._settings.settle_s))

    def _rest(self, seconds: float) -> None:
        """Wait, but not when it was cancelled or is to end."""
        deadline = time.monotonic() + seconds
        while not self._over.wait(_SHORTEST_WAIT_S) and time.monotonic() < deadline:
            if self._state is DaqState.ABORTED:
                return

    def _hinder(self, reason: str) -> None:
        log.warning("DAQ %s: %s; it is tried again", self._daq.id, reason)
        try:
            self._work.hinder(self._daq.id, f"{reason}; it is tried again")
            self._told = reason
        except (StorageError, ServiceError) as error:
            log.warning("%s", error)

    def _work_once(self) -> None:
        """Until it is drained, or the process ends."""
        if self._state is DaqState.ABORTED:  # its folder may be gone, and is not needed
            self._give_up(FileState.SKIPPED, _CANCELLED)
            return
        self._looked = False
        options = self._daq.options
        with Source(self._daq.source) as source:
            check_opened(
                self._daq,
                source.real,
                sources=[Path(folder) for folder in self._settings.sources],
                home=Path(self._settings.home),
            )
            settling = Settling(
                self._settings.settle_s, clocks_differ_s=CLOCKS_DIFFER_S if on_shared(source) else 0.0
            )
            intake = Intake(
                self._daq,
                source,
                work=self._work,
                pool=self._pool,
                settling=settling,
                settings=self._settings,
            )
            wants = Wants(options.include, options.exclude, hidden=options.hidden)
            self._watcher = open_watcher(
                source, self._settings.watch, self._settings.poll_s, self._tell, wants
            )
            try:
                self._work.hinder(self._daq.id, "")
                self._told = ""
                self._attend(intake, source, self._watcher)
            finally:
                watcher, self._watcher = self._watcher, None
                watcher.close()
                self._abandon(intake)

    def _tell(self, text: str) -> None:
        log.warning("DAQ %s: %s", self._daq.id, text)
        self._work.tell(self._daq.id, [("", text)])

    def _attend(self, intake: Intake, source: Source, watcher: Watcher) -> None:
        watching = True
        while not self._over.is_set() and self._state is not DaqState.ABORTED:
            changed = watcher.wait(intake.pause(_LONGEST_WAIT_S if watching else _SHORTEST_WAIT_S))
            if not source.in_place():
                raise OSError(errno.ENOENT, "was moved or removed", str(self._daq.source))
            if watching:
                watching = self._watch(intake, changed)
            intake.offer()
            if not watching and self._is_over(intake):
                break
        if self._state is DaqState.ABORTED:
            self._abandon(intake)
            self._give_up(FileState.SKIPPED, _CANCELLED)
        elif not self._over.is_set():
            self._work.set_drained(self._daq.id)

    def _watch(self, intake: Intake, changed: set[str] | None) -> bool:
        """Look where something changed; whether new files are looked for from here on.

        An upload looks once. So does a DAQ when it stops, where it is to upload then or has not looked yet.
        """
        last = self._daq.kind is Kind.UPLOAD or self._state is DaqState.STOPPING
        if last and (self._daq.options.upload_on_exit or not self._looked):
            changed = None
        if changed is None or (changed and not last):
            intake.look(changed)
            self._looked = True
        return not last

    def _is_over(self, intake: Intake) -> bool:
        if not intake.flying:
            self._lose_patience(intake)
        return intake.idle

    def _lose_patience(self, intake: Intake) -> None:
        if self._has_no_patience():
            stopped = "was still being written when the DAQ was stopped"
            intake.give_up("is still being written" if self._daq.kind is Kind.UPLOAD else stopped)

    def _has_no_patience(self) -> bool:
        now = time.monotonic()
        if self._give_up_at is None:
            self._give_up_at = now + _PATIENCE * self._settings.settle_s
        return now > self._give_up_at

    def _gone_for_good(self) -> bool:
        """Whether it was stopped, and its folder does not come back; what waits is lost then."""
        if self._state is not DaqState.STOPPING or not self._has_no_patience():
            return False
        self._give_up(FileState.FAILED, "its folder was gone when the DAQ was stopped")
        self._over.set()
        return True

    def _give_up(self, state: FileState, reason: str) -> None:
        """Whatever waits is not taken, and that was all."""
        if not self._over.is_set():
            self._work.give_up(self._daq.id, state, reason)
            self._work.set_drained(self._daq.id)

    def _abandon(self, intake: Intake) -> None:
        """Copy nothing more, and wait until what is being copied is given up, and known."""
        intake.abandon()
        while intake.flying and not self._over.wait(_SHORTEST_WAIT_S):
            pass
