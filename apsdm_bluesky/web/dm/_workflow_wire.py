"""Workflows as DM's clients read and write them."""

import hashlib
from collections.abc import Mapping
from typing import Any

from fastapi import HTTPException

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows import Stage, Workflow, read_dm, write_dm

_OURS_ALONE = ("id", "version")  # the server's own: what a client sends back is not kept


def workflow_record(workflow: Workflow) -> dict[str, Any]:
    """The definition in DM's format, with what a DM client asks for besides.

    A workflow that says what DM's format cannot is shown as far as that goes.
    """
    try:
        record = write_dm(workflow)
    except WorkflowError:
        record = {"stages": {stage.name: _shown_stage(stage) for stage in workflow.stages}}
    return record | {
        "id": _id_of(workflow),
        "name": workflow.name,
        "owner": workflow.owner,
        "userAccount": workflow.user_account or "",
        "description": workflow.description,
        "version": workflow.version,
    }


def read_workflow(data: Mapping[str, Any], owner: str) -> Workflow:
    """The workflow that a client sent.

    Parameters
    ----------
    owner
        Whose it is where it does not say.

    Raises
    ------
    WorkflowError
        It is none.
    """
    given = {key: value for key, value in data.items() if key not in _OURS_ALONE}
    given = {key: value for key, value in given.items() if value not in ("", None)}
    return read_dm({"owner": owner, **given})


def check_can_be_written(last: Workflow) -> None:
    """Refuse to change a workflow whose clients have not seen all of it.

    Raises
    ------
    HTTPException
        409: it says what DM's format cannot.
    """
    try:
        write_dm(last)
    except WorkflowError as error:
        raise HTTPException(
            409, f"{last.owner}/{last.name}: {error}; or change it in its page, or with 'apsdm workflow add'"
        ) from error


def _id_of(workflow: Workflow) -> str:
    """The same for all versions, in the look of DM's."""
    return hashlib.sha256(f"{workflow.owner}\0{workflow.name}".encode()).hexdigest()[:24]


def _shown_stage(stage: Stage) -> dict[str, Any]:
    values = {
        "outputVariableRegexList": list(stage.outputs),
        "workingDir": stage.working_folder,
        "runIf": stage.run_if,
    }
    shown = {key: value for key, value in values.items() if value}
    return {"command": stage.command or stage.call or "", **shown}
