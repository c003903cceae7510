"""Workflows, and the jobs that run them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from starlette.responses import Response

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.tiled_config import Person
from apsdm_bluesky.workflows import Variable, Workflow
from apsdm_bluesky.workflows.jobs import Job, JobFilter, State

from ._answer import Answer
from ._codec import data_of, mapping_of, text_of
from ._here import DmStation, Here, Member, own
from ._job_wire import job_record, job_summary
from ._workflow_wire import check_can_be_written, read_workflow, workflow_record

router = APIRouter()

_MOST = 5_000  # jobs in one answer; clients ask for as many
Skip = Annotated[int, Query(ge=0, le=10**9)]
Limit = Annotated[int, Query(ge=1)]


@router.get("/workflowsByOwner/{owner}")
def workflows(owner: str, _: Member, here: Here, queryDict: str = "") -> Response:
    """The last version of each workflow of an owner, whoever that is: as on the pages."""
    wanted = _only(mapping_of(queryDict, "queryDict"), "queryDict", ("name",))
    found = [one for one in here.jobs.store.definitions.list() if one.owner == owner]
    return Answer([workflow_record(one) for one in found if wanted.get("name") in (None, one.name)])


@router.get("/workflowsByOwner/{owner}/{name}")
def workflow(owner: str, name: str, _: Member, here: Here) -> Response:
    """The last version of a workflow."""
    return Answer(workflow_record(_workflow(here, owner, text_of(name, "workflow name"))))


@router.post("/workflows/addWorkflow")
def add_workflow(workflow: str, person: Member, here: Here) -> Response:
    """Keep a new workflow."""
    given = _writable(here, person, workflow)
    if here.jobs.store.definitions.versions(given.name, owner=given.owner):
        raise HTTPException(409, f"workflow {given.owner}/{given.name} is there already: update it")
    return _kept(here, person, given)


@router.put("/workflows/updateWorkflow")
def update_workflow(workflow: str, person: Member, here: Here) -> Response:
    """Keep the next version of a workflow."""
    given = _writable(here, person, workflow)
    check_can_be_written(_workflow(here, given.owner, given.name))
    return _kept(here, person, given)


@router.get("/processingJobsByOwner/{owner}")
def jobs(
    owner: str,
    person: Member,
    here: Here,
    queryDict: str = "",
    keyList: str = "",
    skip: Skip = 0,
    limit: Limit = _MOST,
) -> Response:
    """Jobs of an owner, the latest first, without their processes."""
    wanted = _job_filter(mapping_of(queryDict, "queryDict"), own(owner, person), min(limit, _MOST), skip)
    keys = _keys(data_of(keyList, "keyList") if keyList else "ALL")
    store = here.jobs.store
    records = [job_summary(store, job) for job in store.list(wanted)]
    return Answer([record if keys is None else _chosen(record, keys) for record in records])


@router.get("/processingJobsByOwner/{owner}/{uid}")
def job(owner: str, uid: str, person: Member, here: Here) -> Response:
    """A job with all its processes."""
    return Answer(job_record(here.jobs.store, _job(here, person, owner, uid)))


@router.post("/processingJobsByWorkflow/{owner}/{name}/startProcessingJob")
def start_job(owner: str, name: str, person: Member, here: Here, argsDict: str = "") -> Response:
    """Have a workflow run, whoever its owner is, as a job of this person."""
    found = _workflow(here, owner, text_of(name, "workflow name"))
    arguments = job_arguments(mapping_of(argsDict, "argsDict"), "argsDict")
    started = here.jobs.store.submit(found, arguments, owner=person.name, actor=f"{person.name} (DM)")
    if started is None:  # only for jobs of a trigger's rule
        raise HTTPException(409, "A job of this rule has run for that run already.")
    return Answer(job_record(here.jobs.store, started))


@router.post("/processingJobsByOwner/{owner}/{uid}/stopProcessingJob")
def stop_job(owner: str, uid: str, person: Member, here: Here) -> Response:
    """Have a job end, with all its processes."""
    found = _job(here, person, owner, uid)
    try:
        stopped = here.jobs.store.cancel(found.id, actor=f"{person.name} (DM)")
    except WorkflowError as error:
        raise HTTPException(409, str(error)) from error
    return Answer(job_record(here.jobs.store, stopped))


def job_arguments(given: Mapping[str, Any], name: str) -> dict[str, Variable]:
    """What a job may be given.

    Raises
    ------
    HTTPException
        400: a value is none that an argument can have.
    """
    return {key: _variable(value, f"{name}, {key!r}") for key, value in given.items()}


def _variable(value: Any, place: str) -> Variable:
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list) and all(isinstance(item, str | int | float | bool) for item in value):
        return tuple(value)
    raise HTTPException(400, f"{place}: give a text, a number, a truth or a list of these")


def _workflow(here: DmStation, owner: str, name: str) -> Workflow:
    try:
        return here.jobs.store.definitions.get(name, owner=owner)
    except WorkflowError as error:
        raise HTTPException(404, str(error)) from error


def _job(here: DmStation, person: Person, owner: str, uid: str) -> Job:
    found = here.jobs.job(uid, person)
    if found.owner != own(owner, person):
        raise HTTPException(404, f"{owner!r} has no such job.")
    return found


def _writable(here: DmStation, person: Person, argument: str) -> Workflow:
    given = read_workflow(mapping_of(argument, "workflow"), person.name)
    if not here.jobs.writes(person, given.owner):
        raise HTTPException(403, f"You may not write workflows of {given.owner!r}; staff may.")
    return given


def _kept(here: DmStation, person: Person, given: Workflow) -> Response:
    definitions = here.jobs.store.definitions
    kept = definitions.add(given, actor=f"{person.name} (DM)", remotes=here.jobs.remotes)
    return Answer(workflow_record(kept))


def _only(given: Mapping[str, Any], name: str, known: Sequence[str]) -> Mapping[str, Any]:
    for key in given:
        if key not in known:
            raise HTTPException(400, f"{name}, {key!r}: is not known here; known are {', '.join(known)}")
    return given


def _job_filter(given: Mapping[str, Any], owner: str, limit: int, skip: int) -> JobFilter:
    known = _only(given, "queryDict", ("status", "workflow.name"))
    workflow = known.get("workflow.name")
    if workflow is not None and not isinstance(workflow, str):
        raise HTTPException(400, "queryDict, 'workflow.name': give a text")
    states = known.get("status", [])
    try:
        chosen = tuple(State(one) for one in ([states] if isinstance(states, str) else list(states)))
    except (ValueError, TypeError) as error:
        raise HTTPException(400, f"queryDict, 'status': known are {', '.join(State)}") from error
    return JobFilter(owner=owner, states=chosen, workflow=workflow, limit=limit, skip=skip)


def _keys(given: Any) -> frozenset[str] | None:
    """The keys that a client wants; None: all."""
    if given in ("ALL", "DEFAULT"):
        return None
    if isinstance(given, list) and all(isinstance(key, str) for key in given):
        return frozenset(given)
    raise HTTPException(400, "keyList: give 'ALL', 'DEFAULT' or a list of names")


def _chosen(record: Mapping[str, Any], keys: frozenset[str]) -> Mapping[str, Any]:
    return {key: value for key, value in record.items() if key in keys}
