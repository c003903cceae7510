"""Writing workflows: what is wrong is told by stage and key, and nothing that was typed is lost."""

from collections.abc import Sequence

from fastapi import HTTPException, Request
from starlette.responses import RedirectResponse, Response

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.tiled_config import Person
from apsdm_bluesky.workflows import Fault, Stage, Workflow, check, format_workflow, parse_workflow

from ._beamline import Beamline, Here
from ._filters import segment
from ._forms import Sent
from ._pages import Member, OwnForm, page
from ._route import pages

router = pages()


@router.get("/workflows/new")
def show_new(request: Request, person: Member, here: Here) -> Response:
    """A workflow to begin with."""
    _allow(here, person)
    example = Workflow(name="hello", owner=person.name, arguments={"who": "world"}, stages=(_HELLO,))
    return _editor(request, person, format_workflow(example))


@router.post("/workflows/new", dependencies=[OwnForm])
def add(request: Request, person: Member, here: Here, sent: Sent) -> Response:
    """Keep a new workflow."""
    _allow(here, person)
    text = sent.get("text", "")
    workflow, faults = _checked(text, here)
    if workflow is not None:
        faults = [*faults, *_not_new(workflow, person, here)]
    return _saved(request, person, here, text, workflow, faults)


@router.get("/workflows/{owner}/{name}/edit")
def show(request: Request, owner: str, name: str, person: Member, here: Here) -> Response:
    """The last version, to be changed."""
    workflow = _own(here, owner, name, person)
    return _editor(request, person, format_workflow(workflow), workflow)


@router.post("/workflows/{owner}/{name}/edit", dependencies=[OwnForm])
def save(request: Request, owner: str, name: str, person: Member, here: Here, sent: Sent) -> Response:
    """Keep it as the next version."""
    last, text = _own(here, owner, name, person), sent.get("text", "")
    workflow, faults = _checked(text, here)
    if workflow is not None:
        faults = [*faults, *_not_the_same(workflow, last)]
    if sent.get("version") != str(last.version):
        message = f"version {last.version} was saved in the meantime: open it, and put your changes into it"
        faults = [*faults, Fault(stage=None, key="version", message=message)]
    return _saved(request, person, here, text, workflow, faults, last)


_HELLO = Stage(name="greet", command="echo Hello $who")


def _allow(here: Beamline, person: Person) -> None:
    """Refuse who may write no workflow at all."""
    if not here.writes(person, person.name):
        raise HTTPException(403, "Only staff write workflows here.")


def _own(here: Beamline, owner: str, name: str, person: Person) -> Workflow:
    workflow = here.workflow(owner, name)
    if not here.writes(person, workflow.owner):
        raise HTTPException(403, "Only its owner and staff change a workflow.")
    return workflow


def _checked(text: str, here: Beamline) -> tuple[Workflow | None, Sequence[Fault | str]]:
    """The workflow that a text is, and what is wrong with it."""
    try:
        workflow = parse_workflow(text)
    except WorkflowError as error:
        return None, [str(error)]
    return workflow, check(workflow, remotes=here.remotes)


def _not_new(workflow: Workflow, person: Person, here: Beamline) -> Sequence[Fault]:
    if not here.writes(person, workflow.owner):
        message = f"is {workflow.owner!r}: write {person.name}, for only staff write workflows of others"
        return [Fault(stage=None, key="owner", message=message)]
    if here.store.definitions.versions(workflow.name, owner=workflow.owner):
        return [Fault(stage=None, key="name", message="is taken: edit that workflow, or choose another name")]
    return []


def _not_the_same(workflow: Workflow, last: Workflow) -> Sequence[Fault]:
    return [
        Fault(stage=None, key=key, message=f"was {getattr(last, key)!r}: keep it, or write a new workflow")
        for key in ("name", "owner")
        if getattr(workflow, key) != getattr(last, key)
    ]


def _saved(
    request: Request,
    person: Person,
    here: Beamline,
    text: str,
    workflow: Workflow | None,
    faults: Sequence[Fault | str],
    last: Workflow | None = None,
) -> Response:
    if workflow is None or faults:
        return _editor(request, person, text, last, faults=faults, status=422)
    here.store.definitions.add(workflow, actor=f"{person.name} (page)", remotes=here.remotes)
    place = f"{segment(workflow.owner)}/{segment(workflow.name)}"
    return RedirectResponse(f"/workflows/{place}", 303)


def _editor(
    request: Request,
    person: Person,
    text: str,
    last: Workflow | None = None,
    *,
    faults: Sequence[Fault | str] = (),
    status: int = 200,
) -> Response:
    return page(request, "edit.html", person, status=status, faults=faults, last=last, text=text)
