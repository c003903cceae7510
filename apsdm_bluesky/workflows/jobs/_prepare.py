"""The processes of a stage: which commands, where, with what."""

import glob
import itertools
import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows._conditions import parse_condition
from apsdm_bluesky.workflows._definition import LOCAL, Parallel, Stage, Value, Variable
from apsdm_bluesky.workflows._folder import working_folder
from apsdm_bluesky.workflows._script import shell_list
from apsdm_bluesky.workflows._variables import argument_list, bounded, names_in, substitute
from apsdm_bluesky.workflows.executors import Task

from ._job import Attempt, Job
from ._settle import latest

MOST_CHILDREN = 1_000
ATTEMPTS = ".attempts"
"""The folder of all processes in a job's folder: no stage's results have this name."""
VARIABLES = ".variables"
"""Ends the name of the file, beside an attempt's folder, that a Python function on this machine reads."""


def known_variables(job: Job, folder: Path) -> dict[str, Variable]:
    """What the present stage of a job knows before it runs."""
    reserved = {
        "id": job.id,
        "stage": job.stage_name,
        "owner": job.workflow_owner,
        "workflow": job.workflow,
        "job_folder": str(folder),
    }
    return {**job.arguments, **job.variables, **reserved}


def skip_reason(stage: Stage, values: Mapping[str, Variable]) -> str | None:
    """Why a stage is not run; None where it is.

    Raises
    ------
    WorkflowError
        Its condition cannot be evaluated.
    """
    if stage.run_if is None or parse_condition(stage.run_if).holds(values):
        return None
    return f"{stage.run_if!r} does not hold"


def prepare(
    job: Job, stage: Stage, folder: Path, before: Sequence[Attempt], *, number: int, at: float
) -> list[Attempt]:
    """The attempts of a round that are still to be made: of all children, or of those that did not end well.

    Parameters
    ----------
    before
        The attempts of this round so far.
    number
        Of the first one.

    Raises
    ------
    WorkflowError
        A command cannot be made, or there is nothing to do in parallel.
    """
    values = known_variables(job, folder)
    if before:
        failed = [attempt for attempt in latest(before) if attempt.ended is not None and not attempt.well]
        children = [(attempt.child, attempt.item) for attempt in failed]
    elif stage.parallel is None:
        children = [(0, None)]
    else:
        children = list(enumerate(_items(stage.parallel, values, folder)))
    return [
        _attempt(job, stage, folder, values, child, item, number=number + place, at=at)
        for place, (child, item) in enumerate(children)
    ]


def task_of(attempt: Attempt, folder: Path) -> Task:
    """What the executor is told of an attempt."""
    return Task(
        id=attempt.id,
        command=attempt.command,
        environment=attempt.environment,
        folder=folder / attempt.folder,
        working_folder=None if attempt.working_folder is None else Path(attempt.working_folder),
        timeout_s=attempt.timeout_s,
    )


def write_variables(attempt: Attempt, values: Mapping[str, Variable], item: str | None) -> None:
    """Write what a Python function on this machine reads: more than an environment holds."""
    path = attempt.environment.get("APSDM_VARIABLES_FILE")
    if path is None:
        return
    own = values if item is None or attempt.item is None else {**values, item: attempt.item}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(own), encoding="utf-8")


def _attempt(
    job: Job,
    stage: Stage,
    folder: Path,
    values: Mapping[str, Variable],
    child: int,
    item: str | None,
    *,
    number: int,
    at: float,
) -> Attempt:
    if stage.parallel is not None and item is not None:
        values = {**values, stage.parallel.variable: item}
    identity = uuid.uuid4().hex
    place = f"{ATTEMPTS}/{job.stage + 1}-{number}-{identity[:8]}"
    command, environment = _command(job, stage, folder, values, place)
    return Attempt(
        id=identity,
        job=job.id,
        stage=job.stage,
        round=job.round,
        number=number,
        child=child,
        item=item,
        where=stage.where,
        command=command,
        environment=environment,
        folder=place,
        working_folder=_folder(stage, values, folder),
        timeout_s=stage.timeout_s,
        prepared=at,
    )


def _command(
    job: Job, stage: Stage, folder: Path, values: Mapping[str, Variable], place: str
) -> tuple[tuple[str, ...], dict[str, str]]:
    environment = {"APSDM_JOB": job.id, "APSDM_STAGE": stage.name, "APSDM_JOB_FOLDER": str(folder)}
    if stage.command is not None:
        make = shell_list if stage.shell else argument_list
        return make(stage.command, values), environment
    if stage.call is None:
        raise WorkflowError(f"stage {stage.name!r} has neither 'command' nor 'call': give one of them")
    if stage.where != LOCAL:
        environment["APSDM_VARIABLES"] = bounded(json.dumps(values))
        return ("python3", "-m", "apsdm_bluesky.workflows.call", stage.call), environment
    environment["APSDM_VARIABLES_FILE"] = f"{folder / place}{VARIABLES}"
    # -P: a file in the folder that it starts in, whoever wrote it, is not taken for a module.
    return (sys.executable, "-P", "-m", "apsdm_bluesky.workflows.call", stage.call), environment


def _folder(stage: Stage, values: Mapping[str, Variable], folder: Path) -> str | None:
    if stage.working_folder is None:
        return None
    return str(working_folder(stage.working_folder, values, base=folder))


def _items(parallel: Parallel, values: Mapping[str, Variable], folder: Path) -> list[str]:
    name = parallel.over.removeprefix("$").strip("{}")
    listed = values.get(name) if parallel.over.startswith("$") else None
    items = _listed(listed) if isinstance(listed, tuple | list) else _matching(parallel.over, values, folder)
    if not items:
        raise WorkflowError(f"{parallel.over!r} gives nothing to do: give a list, or files that it matches")
    if len(items) > MOST_CHILDREN:
        raise WorkflowError(f"{parallel.over!r} gives more than {MOST_CHILDREN} items: give fewer")
    return items


def _listed(items: Sequence[Value]) -> list[str]:
    return [str(item) for item in items]


def _matching(over: str, values: Mapping[str, Variable], folder: Path) -> list[str]:
    """A value stands for itself: what it has of `*` matches only that."""
    escaped = {name: glob.escape(str(values[name])) for name in names_in(over) if name in values}
    pattern = substitute(over, escaped)
    where = pattern if pattern.startswith("/") else f"{glob.escape(str(folder))}/{pattern}"
    return sorted(itertools.islice(glob.iglob(where), MOST_CHILDREN + 1))  # noqa: PTH207 - it may be absolute
