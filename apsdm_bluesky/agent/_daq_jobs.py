"""The jobs that DAQs ask for: for each file, or once at the end."""

import logging
from typing import Any

from apsdm_bluesky.daq import Daq, DaqFile
from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows import Workflow, job_arguments, substitute
from apsdm_bluesky.workflows.jobs import JobStore

log = logging.getLogger(__name__)


class DaqJobs:
    """Starts the workflow of a DAQ; asked again for the same file or end, it starts none.

    Parameters
    ----------
    actor
        Named in the history.
    """

    def __init__(self, store: JobStore, *, actor: str) -> None:
        self._store = store
        self._actor = actor

    def start(self, daq: Daq, file: DaqFile | None, run: str | None) -> None:
        """Have the workflow run for one file that is part of `run`, or at the end of the DAQ.

        One that cannot run is kept as a job that failed: mended, it is resubmitted.

        Raises
        ------
        StorageError, ServiceError
            The database of jobs cannot be written now.
        """
        options = daq.options
        name, owner = options.workflow or "", options.workflow_owner or daq.owner
        rule = f"{daq.kind} {daq.id}" if file is None else f"{daq.kind} {daq.id}: {file.path}"
        keys = {"run": run or daq.id, "rule": rule, "actor": self._actor}
        workflow, arguments = Workflow(name=name, owner=owner, version=0), dict[str, Any]()
        try:
            arguments = _arguments(daq, file, run)
            workflow = self._store.definitions.get(name, owner=owner)
            wanted = {key: value for key, value in arguments.items() if _wanted(key, workflow, daq)}
            self._store.submit(workflow, wanted, owner=daq.owner, **keys)
        except WorkflowError as error:
            job = self._store.refuse(workflow, arguments, reason=f"{rule}: {error}", **keys)
            if job is not None:
                log.error("%s: %s; mend it and resubmit job %s", rule, error, job.id)  # noqa: TRY400 - one line for a known fault


def _arguments(daq: Daq, file: DaqFile | None, run: str | None) -> dict[str, Any]:
    """What a job is given, in the DM system's words, and what the DAQ's options add to it."""
    data = daq.root / "data"
    given: dict[str, Any] = {
        "experimentName": daq.experiment,
        "dataDir": str(data / daq.options.destination),
        "analysisDir": str(daq.root / "analysis"),
        "daqId": daq.id,
    }
    if file is not None:
        given |= {"filePath": str(data / (file.path or "")), "sha256": file.sha256 or "", "run": run or ""}
    for name, value in daq.options.arguments.items():
        given[name] = substitute(value, given) if isinstance(value, str) else value
    return given


def _wanted(name: str, workflow: Workflow, daq: Daq) -> bool:
    """What the DAQ's options name is given in any case: that it is not known is an error to be told."""
    free = workflow.arguments is None
    return free or name in daq.options.arguments or name in job_arguments(workflow)
