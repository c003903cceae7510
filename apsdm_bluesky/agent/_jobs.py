"""The jobs of workflows, brought on by a thread of their own: a large archive does not hold them up."""

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ServiceError, StorageError
from apsdm_bluesky.workflows import shipped_workflows
from apsdm_bluesky.workflows.jobs import JobLoop, JobStore, Retention

from ._crew import Crew
from ._executors import open_executors

log = logging.getLogger(__name__)

_PAUSE_S = 0.2
_CREW = 8


@contextmanager
def jobs_thread(config: BeamlineConfig, *, actor: str) -> Iterator[JobStore]:
    """Bring jobs on in a thread, until the context ends, and with it all their processes here.

    Raises
    ------
    StorageError, ServiceError
        The jobs' state cannot be read at the start.
    ConfigError
        A remote cannot be used as it is configured.
    """
    with ExitStack() as stack:
        store = JobStore(config.folders.jobs, config.workflows.database)
        stack.callback(store.close)
        add_shipped(store)
        wake = threading.Event()
        executors = open_executors(config, wake.set)
        for executor in executors.values():
            stack.callback(executor.close)
        crew = Crew(_CREW)
        stack.callback(crew.close)
        loop = JobLoop(
            store,
            executors,
            lambda name, job: crew.put(name, job, again=True),
            wake=wake.set,
            at_once=config.workflows.at_once,
            actor=actor,
        )
        retention = Retention(
            store, keep_s=config.workflows.keep_days * 86400, keep=config.workflows.keep_jobs
        )
        stop = threading.Event()
        thread = threading.Thread(target=_run, args=(loop, retention, wake, stop), name="jobs")
        thread.start()
        try:
            yield store
        finally:
            stop.set()
            wake.set()
            thread.join()


def add_shipped(store: JobStore) -> None:
    """Keep this package's workflows in the store; one whose text has changed becomes its next version."""
    for workflow in shipped_workflows():
        store.definitions.add(workflow, actor=workflow.owner)


def _run(loop: JobLoop, retention: Retention, wake: threading.Event, stop: threading.Event) -> None:
    trouble = ""
    while not stop.is_set():
        before, trouble = trouble, _look(loop, retention)
        if trouble not in ("", before):
            log.warning("%s", trouble)
        wake.wait(_PAUSE_S)
        wake.clear()


def _look(loop: JobLoop, retention: Retention) -> str:
    """What hindered it; '' where nothing did."""
    try:
        loop.look()
        retention.look()
    except (StorageError, ServiceError) as error:
        return str(error)
    return ""
