"""Jobs that are to be: what they are given, and what they take over from another one."""

import dataclasses
import time
import uuid
from collections.abc import Mapping, Sequence

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows._check import job_arguments
from apsdm_bluesky.workflows._definition import Variable, Workflow
from apsdm_bluesky.workflows._variables import RESERVED, is_name

from ._job import ENDED, Job, StageEntry, State


def new_job(
    workflow: Workflow,
    values: Mapping[str, Variable],
    *,
    owner: str,
    run: str | None = None,
    rule: str | None = None,
) -> Job:
    """A job that nobody knows yet, with all its arguments."""
    return Job(
        id=uuid.uuid4().hex,
        owner=owner,
        workflow_owner=workflow.owner,
        workflow=workflow.name,
        version=workflow.version,
        stages=tuple(stage.name for stage in workflow.stages),
        arguments=values,
        run=run,
        rule=rule,
        created=time.time(),
    )


def job_values(workflow: Workflow, arguments: Mapping[str, Variable]) -> dict[str, Variable]:
    """The arguments of a job with the workflow's defaults.

    Raises
    ------
    WorkflowError
        One is missing, not known, or has a name that no variable can have.
    """
    place = f"workflow {workflow.owner}/{workflow.name}"
    declared = workflow.arguments
    bad = [name for name in arguments if not is_name(name) or name in RESERVED]
    if bad:
        raise WorkflowError(f"{place}: {bad[0]!r} cannot be an argument's name: choose another one")
    unknown = [name for name in arguments if declared is not None and name not in declared]
    if declared is not None and unknown:
        known = ", ".join(declared) or "none"
        raise WorkflowError(f"{place}: argument {unknown[0]!r} is not known; known are {known}")
    defaults = {name: value for name, value in (declared or {}).items() if value is not None}
    values = {**defaults, **arguments}
    missing = [name for name in job_arguments(workflow) if name not in values]
    if missing:
        raise WorkflowError(f"{place}: argument {', '.join(missing)} is missing; give {missing[0]}=VALUE")
    return values


def inherited_stages(
    parent: Job, entries: Sequence[StageEntry], workflow: Workflow, first: str | None
) -> Sequence[StageEntry]:
    """The stages before `first` as a job takes them over from one that ended; none where it is None.

    Raises
    ------
    WorkflowError
        The parent has not ended, or did not come that far, or its stages are others.
    """
    if parent.state not in ENDED:
        raise WorkflowError(f"job {parent.id} is {parent.state}: wait until it has ended, or cancel it")
    if first is None:
        return []
    names = [stage.name for stage in workflow.stages]
    if first not in names:
        raise WorkflowError(f"stage {first!r} is not in {workflow.name}: it has {', '.join(names)}")
    before = entries[: names.index(first)]
    if [entry.name for entry in before] != names[: names.index(first)]:
        raise WorkflowError(f"the stages before {first!r} are not those of job {parent.id}: start anew")
    undone = [entry.name for entry in before if entry.state not in (State.DONE, State.SKIPPED)]
    if undone:
        raise WorkflowError(f"stage {undone[0]!r} of job {parent.id} is not done: begin there, or before")
    return [dataclasses.replace(entry, inherited=entry.inherited or parent.id) for entry in before]
