"""The jobs of workflows, brought on by a thread of their own: a large archive does not hold them up."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ServiceError, StorageError
from apsdm_bluesky.workflows import shipped_workflows
from apsdm_bluesky.workflows.jobs import JobLoop, JobStore, Retention, tidy

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
        tidy(config.folders.jobs)
        in_order = stack.enter_context(_ended_in_order(config.folders.jobs))
        wake, stop = threading.Event(), threading.Event()
        executors = open_executors(config, wake.set)
        for executor in executors.values():
            stack.callback(executor.close)
        crews = {name: Crew(_CREW) for name in executors}
        for crew in crews.values():  # one for each: a remote that does not answer holds up its own jobs only
            stack.callback(crew.close)
        loop = JobLoop(
            store,
            executors,
            lambda lane, name, job: crews[lane].put(name, job, again=True),
            wake=wake.set,
            at_once=config.workflows.at_once,
            actor=actor,
            should_stop=stop.is_set,
            in_order=in_order,
        )
        retention = Retention(
            store, keep_s=config.workflows.keep_days * 86400, keep=config.workflows.keep_jobs
        )
        remover = Crew(1)
        stack.callback(remover.close)
        thread = threading.Thread(
            target=_run,
            args=([loop.look, lambda: remover.put("retention", retention.look)], wake, stop),
            name="jobs",
        )
        thread.start()
        try:
            yield store
        finally:
            stop.set()
            wake.set()
            thread.join()


@contextmanager
def _ended_in_order(folder: Path) -> Iterator[float | None]:
    """When the last agent ended in order; None where it was killed. This one leaves word of its end."""
    word = folder / ".in-order"
    try:
        ended: float | None = word.stat().st_mtime
        word.unlink()
    except FileNotFoundError:
        ended = None
    yield ended
    word.touch()


def add_shipped(store: JobStore) -> None:
    """Keep this package's workflows in the store; one whose text has changed becomes its next version."""
    for workflow in shipped_workflows():
        store.definitions.add(workflow, actor=workflow.owner)


def _run(looks: Sequence[Callable[[], object]], wake: threading.Event, stop: threading.Event) -> None:
    told = ""
    while not stop.is_set():
        trouble = "; ".join(filter(None, (_trouble(look) for look in looks)))
        if trouble not in ("", told):
            log.warning("%s", trouble)
        told = trouble
        wake.wait(_PAUSE_S)
        wake.clear()


def _trouble(look: Callable[[], object]) -> str:
    """What hindered it; '' where nothing did."""
    try:
        look()
    except (StorageError, ServiceError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - a defect of ours: all else goes on, and it is told once
        return f"{type(error).__name__}: {error}"
    return ""
