"""The pages of jobs: the list, one job, and what is done with it."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import HTTPException, Query, Request
from starlette.responses import RedirectResponse, Response

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.tiled_config import Person
from apsdm_bluesky.workflows.jobs import ENDED, Job, JobFilter, JobReport, JobStore, State, compare

from ._arguments import Arguments
from ._beamline import Beamline, Here, sees
from ._forms import Sent
from ._live import event, pushed
from ._pages import Member, OwnForm, fragment, page
from ._route import pages

router = pages()

_PAGE = 50
_BUDGET = 256 << 20  # bytes that a comparison reads
_MOST_FILES = 20_000
_MOST_ROWS = 500
Text = Annotated[str, Query(max_length=500)]


@router.get("/jobs")
def show_list(
    request: Request,
    person: Member,
    here: Here,
    state: State | Literal[""] = "",
    owner: Text = "",
    workflow: Text = "",
    run: Text = "",
    number: Annotated[int, Query(alias="page", ge=1, le=1_000_000)] = 1,
) -> Response:
    """Jobs that fit, the latest first."""
    chosen = {"state": state, "owner": owner if person.staff else "", "workflow": workflow, "run": run}
    wanted = JobFilter(
        owner=(owner or None) if person.staff else person.name,
        states=(state,) if state else (),
        workflow=workflow or None,
        run=run or None,
        limit=_PAGE + 1,
        skip=(number - 1) * _PAGE,
    )
    found = here.store.list(wanted)
    context: dict[str, Any] = {"jobs": found[:_PAGE], "more": len(found) > _PAGE, "number": number}
    return page(request, "jobs.html", person, chosen=chosen, states=list(State), **context)


@router.get("/jobs/{uid}")
def show(request: Request, uid: str, person: Member, here: Here) -> Response:
    """All about a job."""
    return _job_page(request, here, here.job(uid, person), person)


@router.get("/jobs/{uid}/events")
def events(request: Request, uid: str, person: Member, here: Here, revision: int = -1) -> Response:
    """The changing part of a job's page, each time when the job has changed, until it has ended."""
    here.job(uid, person)
    told: dict[str, Any] = {"revision": revision, "state": None}

    def look() -> tuple[str, bool]:
        job = here.store.get(uid)
        news = ""
        if job.revision != told["revision"]:
            news = event("job", fragment(request, "_job.html", person, **_about(here, job, person)))
            if job.state != told["state"]:
                news += event("state", fragment(request, "_state.html", person, job=job))
        told.update(revision=job.revision, state=job.state)
        return news, job.state in ENDED

    return pushed(request, look)


@router.get("/jobs/{uid}/compare/{other}")
def show_difference(request: Request, uid: str, other: str, person: Member, here: Here) -> Response:
    """What two jobs differ in."""
    first, second = here.job(uid, person), here.job(other, person)
    try:
        found = compare(here.store, first, second, budget=_BUDGET, most=_MOST_FILES)
    except WorkflowError as error:
        raise HTTPException(422, str(error)) from error
    rows, more = found[:_MOST_ROWS], len(found[_MOST_ROWS:])
    return page(request, "compare.html", person, first=first, second=second, differences=rows, more=more)


@router.post("/jobs/{uid}/cancel", dependencies=[OwnForm])
def cancel(request: Request, uid: str, person: Member, here: Here) -> Response:
    """Have a job end."""
    job = here.job(uid, person)
    try:
        here.store.cancel(job.id, actor=_actor(person))
    except WorkflowError as error:
        return _job_page(request, here, here.job(uid, person), person, message=str(error), status=409)
    return _to(job.id)


@router.post("/jobs/{uid}/resubmit", dependencies=[OwnForm])
def resubmit(request: Request, uid: str, person: Member, here: Here, sent: Sent) -> Response:
    """Run a job again, as another one of this person."""
    job, first, latest = here.job(uid, person), sent.get("first", ""), "latest" in sent
    again, message = _form_of(here.store, job, latest=latest), "It was not started: see the arguments."
    if again is None:
        raise HTTPException(409, f"Job {job.id} cannot be run again: it runs, or its workflow is not known.")
    again, values = again.read(sent)
    if not again.faulty:
        try:
            workflow = here.store.workflow_of(job, latest=latest)
            child = here.store.resubmit(
                job, workflow, first=first or None, arguments=values, owner=person.name
            )
            return _to(child.id)
        except WorkflowError as error:
            message = str(error)
    context = {"again": again, "first": first, "latest": latest, "message": message}
    return _job_page(request, here, job, person, status=422, **context)


@router.post("/jobs/{uid}/{change}", dependencies=[OwnForm])
def pin(request: Request, uid: str, change: Literal["pin", "unpin"], person: Member, here: Here) -> Response:
    """Keep a job whatever its age, or no longer."""
    job = here.job(uid, person)
    try:
        here.store.pin(job.id, change == "pin")
    except WorkflowError as error:
        return _job_page(request, here, job, person, message=str(error), status=409)
    return _to(job.id)


def _job_page(
    request: Request, here: Beamline, job: Job, person: Person, *, status: int = 200, **typed: Any
) -> Response:
    context = {"message": "", **_about(here, job, person), **typed}
    return page(request, "job.html", person, status=status, **context)


def _about(here: Beamline, job: Job, person: Person) -> dict[str, Any]:
    """What the changing part of a job's page tells."""
    report = JobReport.of(here.store, job.id)
    starts = _starts(report)
    return {
        "report": report,
        "job": report.job,
        "ended": report.job.state in ENDED,
        "children": [child for child in report.children if sees(person, child)],
        "again": _form_of(here.store, report.job),
        "starts": starts,
        "first": report.job.stage_name if report.job.stage_name in starts else "",
        "latest": False,
    }


def _form_of(store: JobStore, job: Job, *, latest: bool = False) -> Arguments | None:
    """The arguments to run it again; None where it cannot be run again now."""
    if job.state not in ENDED:
        return None
    try:
        return Arguments.of(store.workflow_of(job, latest=latest), job.arguments)
    except WorkflowError:  # its workflow was never known: a rule named it
        return None


def _starts(report: JobReport) -> Sequence[str]:
    """The stages that it can begin with again: the first, and those after a stage that is done."""
    names = []
    for entry in report.stages:
        names.append(entry.name)
        if entry.state not in (State.DONE, State.SKIPPED):
            break
    return names


def _actor(person: Person) -> str:
    return f"{person.name} (page)"


def _to(uid: str) -> RedirectResponse:
    return RedirectResponse(f"/jobs/{uid}", 303)
