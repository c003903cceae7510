"""`apsdm workflow`: the definitions that jobs run."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.texts import moment, plain, shortened

from ._archive import person
from ._job_store import WorkflowArgument, end_with, find_workflow, opened_jobs, print_table
from ._options import ConfigOption, HomeOption, JsonOption, configured

if TYPE_CHECKING:
    from apsdm_bluesky.workflows import Workflow
    from apsdm_bluesky.workflows.jobs import JobStore

app = typer.Typer(help="Workflows: what jobs run.", no_args_is_help=True)

_DM_SUFFIXES = (".py", ".json")
_DESCRIPTION = 60


@app.command("add")
def add(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Workflow files, YAML.")],
    config: ConfigOption = None,
    home: HomeOption = None,
    dm: Annotated[
        bool, typer.Option("--dm", help="They are the DM system's, as all that end in .py or .json.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Keep workflows, each as the next version of its name; one that is the same is not kept again.

    All faults are told, one a line, with stage and key. Nothing is kept where there is one.
    """
    settings = configured(config, home)
    remotes = settings.workflows.remotes
    read = [_read(path, remotes, dm=dm or path.suffix in _DM_SUFFIXES) for path in files]
    end_with([fault for _, faults in read for fault in faults])
    with opened_jobs(settings) as store:
        kept = [_keep(store, workflow, remotes) for workflow, _ in read if workflow is not None]
    if as_json:
        print(json.dumps({"workflows": kept}))
        return
    for one in kept:
        unchanged = "" if one["added"] else ", unchanged"
        print(plain(f"{one['owner']}/{one['name']} version {one['version']}{unchanged}"))


@app.command("ls")
def list_workflows(config: ConfigOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List workflows, the last version of each."""
    with opened_jobs(configured(config, home)) as store:
        found = store.definitions.list()
    if as_json:
        print(json.dumps({"workflows": [_told(workflow) for workflow in found]}))
    elif found:
        rows = [_row(workflow) for workflow in found]
        print_table(("workflow", "version", "stages", "arguments", "description"), rows)
    else:
        print("no workflow yet; 'apsdm workflow add FILE' adds one")


@app.command("show")
def show(
    workflow: WorkflowArgument,
    config: ConfigOption = None,
    home: HomeOption = None,
    version: Annotated[int | None, typer.Option(min=1, help="Default: the last one.")] = None,
    versions: Annotated[bool, typer.Option("--versions", help="List its versions instead.")] = False,
    dm: Annotated[bool, typer.Option("--dm", help="In the DM system's format, JSON.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print a workflow's file, which can be changed and added again."""
    from apsdm_bluesky.workflows import format_workflow, write_dm

    with opened_jobs(configured(config, home)) as store:
        found = find_workflow(store, workflow, version)
        known = store.definitions.versions(found.name, owner=found.owner)
    if as_json:
        listed = [{"version": number, "added": at, "actor": actor} for number, at, actor in known]
        print(json.dumps({**_told(found), "text": format_workflow(found), "versions": listed}))
    elif versions:
        print_table(
            ("version", "added (UTC)", "by"),
            [(str(number), moment(at), actor) for number, at, actor in known],
        )
    else:
        print(json.dumps(write_dm(found), indent=2) if dm else format_workflow(found).rstrip("\n"))


def _read(path: Path, remotes: Collection[str], *, dm: bool) -> "tuple[Workflow | None, Sequence[str]]":
    """A file's workflow, and all that is wrong with it."""
    from apsdm_bluesky.workflows import check, load_dm, load_workflow

    try:
        workflow = load_dm(path) if dm else load_workflow(path)
    except WorkflowError as error:
        return None, [str(error)]
    return workflow, [f"{path}: {fault}" for fault in check(workflow, remotes=remotes)]


def _keep(store: "JobStore", workflow: "Workflow", remotes: Collection[str]) -> dict[str, Any]:
    known = {number for number, _, _ in store.definitions.versions(workflow.name, owner=workflow.owner)}
    kept = store.definitions.add(workflow, actor=person(), remotes=remotes)
    return {
        "owner": kept.owner,
        "name": kept.name,
        "version": kept.version,
        "added": kept.version not in known,
    }


def _told(workflow: "Workflow") -> dict[str, Any]:
    return {
        "owner": workflow.owner,
        "name": workflow.name,
        "version": workflow.version,
        "description": workflow.description,
        "arguments": workflow.arguments,
        "stages": [stage.name for stage in workflow.stages],
    }


def _row(workflow: "Workflow") -> Sequence[str]:
    arguments = "any" if workflow.arguments is None else " ".join(workflow.arguments) or "-"
    numbers = (str(workflow.version), str(len(workflow.stages)))
    name = f"{workflow.owner}/{workflow.name}"
    return (name, *numbers, shortened(arguments, _DESCRIPTION), shortened(workflow.description, _DESCRIPTION))
