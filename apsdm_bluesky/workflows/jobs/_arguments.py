"""What a job is given, against what its workflow wants."""

from collections.abc import Mapping

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows._check import job_arguments
from apsdm_bluesky.workflows._definition import Variable, Workflow
from apsdm_bluesky.workflows._variables import RESERVED, is_name


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
