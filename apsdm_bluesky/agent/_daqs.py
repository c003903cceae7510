"""DAQs and uploads: a process that copies, and a thread that hands on what it has stored."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.daq import BatchStore, Handover, Settings, WorkStore, open_daqs
from apsdm_bluesky.errors import ServiceError, StorageError
from apsdm_bluesky.spool import Spool
from apsdm_bluesky.workflows.jobs import JobStore

from ._daq_jobs import DaqJobs
from ._deliver import OwnRuns
from ._porter import Porter

log = logging.getLogger(__name__)

_PAUSE_S = 0.5


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
        runs = OwnRuns(spool, uri, api_key)
        stack.callback(runs.close)
        handover = Handover(
            store,
            work,
            batches,
            beamline=config.name,
            collection=config.archive.collection,
            wait_s=config.daq.catalogue_s,
            put_run=runs.put,
            start_job=DaqJobs(jobs, actor=actor).start,
        )
        stop = threading.Event()
        porter = Porter(_settings(config, work.station), config.folders.logs / "daq.log")
        stack.callback(porter.stop)
        looks = (handover.look, lambda: porter.look(needed=bool(work.undrained())))
        thread = threading.Thread(target=_look, args=(looks, stop), name="daqs")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _settings(config: BeamlineConfig, station: str) -> Settings:
    daq = config.daq
    return Settings(
        folder=str(config.folders.daq),
        station=station,
        url=daq.database,
        watch=daq.watch,
        poll_s=daq.poll_s,
        settle_s=daq.settle_s,
        rules=daq.rules,
        parallel=daq.parallel,
        sources=[str(folder) for folder in daq.sources],
        home=str(config.folders.root),
    )


def _look(looks: Sequence[Callable[[], None]], stop: threading.Event) -> None:
    told = ""
    while not stop.is_set():
        trouble = "; ".join(filter(None, (_trouble(look) for look in looks)))
        if trouble not in ("", told):
            log.warning("%s", trouble)
        told = trouble
        stop.wait(_PAUSE_S)


def _trouble(look: Callable[[], None]) -> str:
    """What hindered it; '' where nothing did."""
    try:
        look()
    except (StorageError, ServiceError) as error:
        return str(error)
    except Exception as error:
        log.exception("a defect: DAQs are not looked after")
        return f"{type(error).__name__}: {error}"
    return ""
