"""What is wrong with a workflow, told before any job of it runs, with stage and key."""

import shutil
from collections import Counter
from collections.abc import Collection, Iterator
from functools import lru_cache

from ._definition import Workflow
from ._stage_check import Fault, StageCheck, bad_name, outputs_of, own_variables, uses_of
from ._variables import RESERVED, is_name

MAX_STAGES = 1_000


def check(
    workflow: Workflow,
    *,
    arguments: Collection[str] | None = None,
    remotes: Collection[str] = (),
    path: str | None = None,
) -> list[Fault]:
    """Everything that is wrong with a workflow; an empty list where nothing is.

    Parameters
    ----------
    arguments
        Names of what a job is given. Without them, those that the workflow declares; a workflow that declares
        none takes any, and no variable of it is unknown.
    remotes
        Names that `where` may have beside `local`.
    path
        Folders, joined as in `PATH`, in which programs are looked for; the environment's without it.
    """
    if len(workflow.stages) > MAX_STAGES:
        message = f"has {len(workflow.stages)} stages, and {MAX_STAGES} are allowed: run a list by 'parallel'"
        return [Fault(stage=None, key="stages", message=message)]
    faults = list(_whole(workflow))
    known = _known(workflow, arguments)
    find = lru_cache(maxsize=None)(lambda name: shutil.which(name, path=path) is not None)
    for stage in workflow.stages:
        faults += StageCheck(stage, known=known, remotes=remotes, find=find).faults()
        if known is not None:
            known |= outputs_of(stage)
    return faults


def job_arguments(workflow: Workflow) -> tuple[str, ...]:
    """The variables that a job must be given or has by default: all that no earlier stage's outputs define.

    Raises
    ------
    WorkflowError
        A template or a condition cannot be read; `check` tells where.
    """
    found = dict.fromkeys(workflow.arguments or ())
    known = set(RESERVED)
    for stage in workflow.stages:
        for key, text, find in uses_of(stage):
            inside = own_variables(stage, key)
            found |= dict.fromkeys(name for name in find(text) if name not in known and name not in inside)
        known |= outputs_of(stage)
    return tuple(found)


def _whole(workflow: Workflow) -> Iterator[Fault]:
    for key in ("name", "owner"):
        if not getattr(workflow, key).strip():
            yield Fault(stage=None, key=key, message="is empty: give one")
    if workflow.version < 1:
        yield Fault(stage=None, key="version", message=f"is {workflow.version}: count from 1")
    if not workflow.stages:
        yield Fault(stage=None, key="stages", message="is empty: give at least one stage")
    bad = (name for name in workflow.arguments or () if not is_name(name) or name in RESERVED)
    yield from (Fault(stage=None, key="arguments", message=bad_name(name)) for name in bad)
    counts = Counter(stage.name for stage in workflow.stages)
    for name, count in counts.items():
        if count > 1:
            yield Fault(stage=name, key="name", message=f"{count} stages have this name: rename them")


def _known(workflow: Workflow, arguments: Collection[str] | None) -> set[str] | None:
    if arguments is None and workflow.arguments is None:
        return None
    return {*RESERVED, *(workflow.arguments or ()), *(arguments or ())}
