"""DAQs and uploads: a process that copies, and a thread that hands on what it has stored."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.daq import BatchStore, Handover, Settings, WorkStore, open_daqs
from apsdm_bluesky.errors import ServiceError, StorageError
from apsdm_bluesky.spool import Spool
from apsdm_bluesky.workflows.jobs import JobStore

from ._daq_jobs import DaqJobs
from ._deliver import delivered_session

log = logging.getLogger(__name__)

_PAUSE_S = 0.5
_RESTART_S = (0.2, 10.0)


@contextmanager
def daqs_thread(
    config: BeamlineConfig, spool: Spool, jobs: JobStore, *, uri: str | None, api_key: str | None, actor: str
) -> Iterator[None]:
    """Work on DAQs and uploads until the context ends.

    Raises
    ------
    StorageError, ServiceError
        Their database or the spool cannot be used at the start.
    """
    folder, url = config.folders.daq, config.daq.database
    with ExitStack() as stack:
        store = open_daqs(config)
        stack.callback(store.close)
        work, batches = WorkStore(folder, url), BatchStore(folder, url)
        stack.callback(work.close)
        stack.callback(batches.close)
        session, wake = stack.enter_context(delivered_session(spool, uri, api_key))
        handover = Handover(
            store,
            work,
            batches,
            session,
            beamline=config.name,
            collection=config.archive.collection,
            wait_s=config.daq.catalogue_s,
            start_job=DaqJobs(jobs, actor=actor).start,
            delivered=wake,
        )
        stop = threading.Event()
        porter = _Porter(_settings(config), config)
        threads = [
            threading.Thread(target=_hand_on, args=(handover, stop), name="daqs"),
            threading.Thread(target=porter.keep, args=(stop,), name="porter"),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            porter.stop()
            for thread in threads:
                thread.join()


def _settings(config: BeamlineConfig) -> Settings:
    daq = config.daq
    return Settings(
        folder=str(config.folders.daq),
        url=daq.database,
        watch=daq.watch,
        poll_s=daq.poll_s,
        settle_s=daq.settle_s,
        rules=daq.rules,
        parallel=daq.parallel,
    )


def _hand_on(handover: Handover, stop: threading.Event) -> None:
    told = ""
    while not stop.is_set():
        trouble = ""
        try:
            handover.look()
        except (StorageError, ServiceError) as error:
            trouble = str(error)
        except Exception as error:  # a defect of ours: all else goes on, and it is told once
            trouble = f"{type(error).__name__}: {error}"
            if trouble != told:
                log.exception("DAQs are not handed on")
        if trouble not in ("", told):
            log.warning("%s", trouble)
        told = trouble
        stop.wait(_PAUSE_S)


class _Porter:
    """The process that copies: started again whenever it ends."""

    def __init__(self, settings: Settings, config: BeamlineConfig) -> None:
        self._order = settings.encode()
        self._log = config.folders.logs / "daq.log"
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._stopping = False
        self._start()

    def keep(self, stop: threading.Event) -> None:
        """Start it again until `stop` is set."""
        pause, longest = _RESTART_S
        while not stop.is_set():
            began = time.monotonic()
            process = self._process
            status = None if process is None else process.wait()
            if stop.is_set():
                return
            if time.monotonic() - began > longest:
                pause = _RESTART_S[0]
            log.warning(
                "the process that copies files ended (%s) and is started again; see %s", status, self._log
            )
            stop.wait(pause)
            pause = min(2 * pause, longest)
            self._start()

    def stop(self) -> None:
        """End it: it may be left at any point."""
        with self._lock:
            self._stopping = True
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()  # as when the agent is killed

    def _start(self) -> None:
        with self._lock:
            if self._stopping:
                return
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("a") as errors:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "apsdm_bluesky.daq"],
                    stdin=subprocess.PIPE,
                    stdout=errors,
                    stderr=errors,
                    text=True,
                    start_new_session=True,  # Ctrl-C is for the agent
                )
            _tell(self._process.stdin, self._order)


def _tell(pipe: IO[str] | None, order: str) -> None:
    if pipe is None:
        raise ServiceError("the process that copies files has no pipe")
    try:
        pipe.write(order)
        pipe.flush()
    except BrokenPipeError:
        log.warning("the process that copies files did not start")  # it is started again
