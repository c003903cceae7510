"""The pages of workflows: the list, one of them, and the form that starts a job."""

import re
from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import RedirectResponse, Response

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.tiled_config import Person
from apsdm_bluesky.workflows import Workflow, format_workflow

from ._arguments import Arguments
from ._beamline import Beamline, Here
from ._forms import Sent
from ._pages import Member, OwnForm, page
from ._route import pages

router = pages()

_RUN = re.compile(r"[\w.:-]{1,100}", re.ASCII)
Version = Annotated[int | None, Query(ge=1, le=1_000_000_000)]


@router.get("/workflows")
def show_list(request: Request, person: Member, here: Here) -> Response:
    """The last version of each."""
    found = here.store.definitions.list()
    return page(request, "workflows.html", person, workflows=found, writes=here.writes(person, person.name))


@router.get("/workflows/{owner}/{name}")
def show(
    request: Request, owner: str, name: str, person: Member, here: Here, version: Version = None
) -> Response:
    """A workflow, and the form that starts a job of it."""
    workflow = here.workflow(owner, name, version)
    return _workflow_page(request, here, workflow, person, arguments=Arguments.of(workflow))


@router.post("/workflows/{owner}/{name}/start", dependencies=[OwnForm])
def start(
    request: Request,
    owner: str,
    name: str,
    person: Member,
    here: Here,
    sent: Sent,
    version: Version = None,
) -> Response:
    """Have it run, as a job of this person."""
    workflow = here.workflow(owner, name, version)
    arguments, values = Arguments.of(workflow).read(sent)
    run, message = sent.get("run", "").strip(), "It was not started: see the arguments."
    if run and not _RUN.fullmatch(run):
        message = "The run is no uid: letters, digits, '_', '.', ':' and '-', at most 100."
    elif not arguments.faulty:
        try:
            job = here.store.submit(workflow, values, owner=person.name, run=run or None)
        except WorkflowError as error:
            job, message = None, str(error)
        if job is not None:
            return RedirectResponse(f"/jobs/{job.id}", 303)
    typed = {"arguments": arguments, "run": run, "message": message}
    return _workflow_page(request, here, workflow, person, status=422, **typed)


def _workflow_page(
    request: Request, here: Beamline, workflow: Workflow, person: Person, *, status: int = 200, **typed: Any
) -> Response:
    context = {
        "workflow": workflow,
        "text": format_workflow(workflow),
        "versions": list(reversed(here.store.definitions.versions(workflow.name, owner=workflow.owner))),
        "writes": here.writes(person, workflow.owner),
        "message": "",
        "run": "",
    }
    return page(request, "workflow.html", person, status=status, **context | typed)
