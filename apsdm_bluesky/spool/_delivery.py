"""A thread that delivers a session's runs to Tiled, in order, once each, whatever happens to either side."""

import logging
import threading
import time

from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.spool._catalogue import Catalogue, FailedError, RefusedError, UnavailableError
from apsdm_bluesky.spool._files_transfer import FilesTransfer
from apsdm_bluesky.spool._runfile import DamagedRunError, RunFile
from apsdm_bluesky.spool._session import SpoolSession
from apsdm_bluesky.spool._transfer import RunTransfer

log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_JOIN_S = 10.0


class Delivery:
    """Delivers a session's runs to the Tiled server at `uri`.

    Runs whose start document has the key `raw_uid` (analyses) go to `/processed`, all others to `/raw`; of
    those that only refer to files (`files: true`) each file is registered under `/files`. A run
    that is being taken appears event by event; one that has stopped is delivered in bulk. After an error a
    run is removed from the server and delivered again as a whole, from the disk, until the server has it or
    refuses it for good (`RunFile.refused`).

    Parameters
    ----------
    session
        The session whose runs are delivered; this process holds its lock.
    uri
        Address of the server.
    api_key
        Its key; None where it needs none.
    """

    def __init__(self, session: SpoolSession, uri: str, api_key: str | None) -> None:
        self._session = session
        self._uri = uri
        self._api_key = api_key
        self._catalogue: Catalogue | None = None
        self._transfers: dict[str, RunTransfer | FilesTransfer] = {}
        self._finished: set[str] = set()  # uids of the runs delivered or refused
        self._pause = _Pause()  # for all runs
        self._run_pauses: dict[str, _Pause] = {}
        self._progress = threading.Condition()
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="delivery", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Tell the thread that there are new documents. Returns at once."""
        self._wake.set()

    @property
    def pending(self) -> int:
        """The number of runs with documents that are neither delivered nor refused."""
        return sum(self._is_pending(run) for run in self._session.runs())

    def wait_idle(self, timeout: float) -> bool:
        """Wait until all that is spooled is delivered or refused; False if it is not by `timeout` seconds."""
        deadline = time.monotonic() + timeout
        self.wake()
        with self._progress:
            while self.pending:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return False
                self._progress.wait(min(remaining, 1.0))
        return True

    def close(self, timeout: float) -> bool:
        """Deliver for at most `timeout` seconds more, then end the thread. What is left stays in the spool.

        Returns
        -------
        Whether everything was delivered or refused.
        """
        if self._thread.is_alive():
            self.wait_idle(timeout)
            self._closing = True
            self.wake()
            self._thread.join(_JOIN_S)
        return self.pending == 0

    def _is_pending(self, run: RunFile) -> bool:
        try:
            if run.uid in self._finished or run.delivered or run.refused is not None:
                return False
            transfer = self._transfers.get(run.uid)
            return transfer is None or transfer.position < run.complete_size()
        except StorageError:  # cannot be read now: the thread tells why, and tries again
            return True

    def _loop(self) -> None:
        try:
            while not self._closing:
                self._wake.clear()
                pause = self._round()
                with self._progress:
                    self._progress.notify_all()
                if pause != 0:
                    self._wake.wait(pause)
        finally:
            self._disconnect()

    def _round(self) -> float | None:
        """Give every run its turn. Returns the seconds to the next round; None: when new documents come."""
        if self._pause.remaining:
            return self._pause.remaining
        due: list[float] = []
        try:
            for run in self._session.runs():
                if not self._closing and run.uid not in self._finished:
                    due += self._turn(run)
        except (UnavailableError, StorageError) as error:
            self._disconnect()
            self._pause.extend()
            log.error("Nothing is delivered to %s: %s; the documents are safe in the spool", self._uri, error)  # noqa: TRY400
            return self._pause.remaining
        return min(due, default=None)

    def _turn(self, run: RunFile) -> list[float]:
        """Deliver some of a run. Returns the seconds until its next turn, if it needs one."""
        pause = self._run_pauses.get(run.uid, _Pause())
        if pause.remaining:
            return [pause.remaining]
        try:
            more = self._advance(run)
        except (RefusedError, DamagedRunError) as error:
            log.error("Run %s is refused by the catalogue and stays in the spool: %s", run.uid, error)  # noqa: TRY400
            run.mark_refused(str(error))
            self._forget(run)
            return []
        except (FailedError, StorageError) as error:
            self._transfers.pop(run.uid, None)
            pause.extend()
            self._run_pauses[run.uid] = pause
            log.warning("Run %s is delivered again in %.1f s: %s", run.uid, pause.remaining, error)
            return [pause.remaining]
        return [0.0] if more else []

    def _advance(self, run: RunFile) -> bool:
        if run.delivered or run.refused is not None:
            self._forget(run)
            return False
        transfer = self._transfers.get(run.uid)
        if transfer is None or transfer.behind:
            transfer = self._transfers[run.uid] = _transfer(run, self._connected())
        more = not transfer.finished and transfer.advance()
        if transfer.finished:
            log.info("Run %s is in the catalogue", run.uid)
            self._forget(run)
        return more

    def _connected(self) -> Catalogue:
        if self._catalogue is None:
            self._catalogue = Catalogue(self._uri, self._api_key)
            if self._pause.failures:
                log.info("%s answers again", self._uri)
            self._pause = _Pause()
        return self._catalogue

    def _disconnect(self) -> None:
        self._transfers.clear()
        if self._catalogue is not None:
            self._catalogue.close()
            self._catalogue = None

    def _forget(self, run: RunFile) -> None:
        self._finished.add(run.uid)
        self._transfers.pop(run.uid, None)
        self._run_pauses.pop(run.uid, None)


def _transfer(run: RunFile, catalogue: Catalogue) -> RunTransfer | FilesTransfer:
    return (FilesTransfer if run.start.get("files") is True else RunTransfer)(run, catalogue)


class _Pause:
    """When to try again; later after each failure."""

    def __init__(self) -> None:
        self.failures = 0
        self._until = 0.0

    def extend(self) -> None:
        """Count a failure: 0.5 s, doubled by each one before, at most 10 s."""
        self._until = time.monotonic() + min(_FIRST_PAUSE_S * 2**self.failures, _LONGEST_PAUSE_S)
        self.failures += 1

    @property
    def remaining(self) -> float:
        """Seconds until the next attempt."""
        return max(self._until - time.monotonic(), 0.0)
