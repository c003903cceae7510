"""`apsdm job`: runs of workflows."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from apsdm_bluesky.errors import ApsdmError, WorkflowError
from apsdm_bluesky.texts import shortened, time_text

from ._archive import person
from ._job_store import (
    JobArgument,
    ValuesArgument,
    WorkflowArgument,
    account,
    end_with,
    find_workflow,
    opened_jobs,
    print_table,
    stage_text,
    values_of,
    warn_where_nobody_works,
)
from ._options import ConfigOption, HomeOption, JsonOption, configured

if TYPE_CHECKING:
    from apsdm_bluesky.workflows.jobs import Job, State

app = typer.Typer(help="Jobs: runs of workflows.", no_args_is_help=True)

_REASON = 70


@app.command("start")
def start(
    workflow: WorkflowArgument,
    arguments: ValuesArgument = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    run: Annotated[str | None, typer.Option(help="The uid of the run that it is for.")] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="Of the workflow; default: the last one.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it has ended, and tell each stage.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Have a workflow run, and print the job's id.

    With --wait, exit code 1 where it failed, or no agent runs; Ctrl-C ends the waiting only.
    """
    settings, values = configured(config, home), values_of(arguments)
    with opened_jobs(settings) as store:
        found = find_workflow(store, workflow, version)
        job = store.submit(found, values, owner=account(), run=run, actor=person())
        if job is None:  # only a trigger's rule can have one already
            raise ApsdmError(f"workflow {workflow}: no job was started; see 'apsdm job ls'")
        if not as_json:
            print(job.id, flush=True)
        if wait:
            from ._job_follow import follow

            job = follow(settings, store, job.id, quiet=as_json)
        else:
            warn_where_nobody_works(settings, store)
    if as_json:
        print(json.dumps({"job": asdict(job)}))
    if wait:
        _check_end(job)


@app.command("ls")
def list_jobs(
    config: ConfigOption = None,
    home: HomeOption = None,
    owner: Annotated[str | None, typer.Option(help="Jobs of this account.")] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Jobs of your account.")] = False,
    state: Annotated[list[str] | None, typer.Option(help="Jobs in this state; may be repeated.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Jobs of workflows of this name.")] = None,
    run: Annotated[str | None, typer.Option(help="Jobs for the run of this uid.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most, the latest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List jobs, the latest first."""
    from apsdm_bluesky.workflows.jobs import JobFilter

    if mine and owner is not None:
        raise typer.BadParameter("give either --mine or --owner", param_hint="--mine")
    whose = account() if mine else owner
    wanted = JobFilter(owner=whose, states=_states(state), workflow=workflow, run=run, limit=limit)
    settings = configured(config, home)
    with opened_jobs(settings) as store:
        jobs, counts = store.list(wanted), store.counts()
        warn_where_nobody_works(settings, store)
    if as_json:
        print(json.dumps({"jobs": [asdict(job) for job in jobs], "counts": counts}))
        return
    if jobs:
        headings = ("id", "state", "workflow", "stage", "owner", "run", "age", "reason")
        print_table(headings, [_row(job) for job in jobs])
    total = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
    print(total or "no job yet; 'apsdm job start' starts one")


@app.command("cancel")
def cancel(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB", help="Ids, or how they begin.")],
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Have jobs end, with all their processes. What has ended stays as it is."""
    settings, faults = configured(config, home), []
    with opened_jobs(settings) as store:
        for uid in [store.get(job).id for job in jobs]:  # a wrong id cancels none
            try:
                print(f"job {uid}: {store.cancel(uid, actor=person()).state}")
            except WorkflowError as error:
                faults.append(error)
        warn_where_nobody_works(settings, store)
    end_with(faults)


@app.command("resubmit")
def resubmit(
    job: JobArgument,
    arguments: ValuesArgument = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    first: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="The stage to begin with; results of those before are taken over. Default: the first.",
        ),
    ] = None,
    latest: Annotated[
        bool, typer.Option("--latest", help="By the last version of the workflow, not the job's.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a job again, as another one, with other arguments where they are given; print its id."""
    settings, values = configured(config, home), values_of(arguments)
    with opened_jobs(settings) as store:
        parent = store.get(job)
        found = store.workflow_of(parent, latest=latest)
        again = store.resubmit(parent, found, first=first, arguments=values, owner=account())
        warn_where_nobody_works(settings, store)
    print(json.dumps({"job": asdict(again)}) if as_json else again.id)


@app.command("pin")
def pin(job: JobArgument, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Keep a job and its files, whatever its age."""
    _pin(job, config, home, pinned=True)


@app.command("unpin")
def unpin(job: JobArgument, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Let a job be removed for its age."""
    _pin(job, config, home, pinned=False)


def _pin(job: str, config: ConfigOption, home: HomeOption, *, pinned: bool) -> None:
    with opened_jobs(configured(config, home)) as store:
        kept = store.pin(job, pinned)
    print(f"job {kept.id}: {'pinned' if pinned else 'no pin any more'}")


def _states(names: Sequence[str] | None) -> "tuple[State, ...]":
    from apsdm_bluesky.workflows.jobs import State

    try:
        return tuple(State(name.lower()) for name in names or ())
    except ValueError:
        raise typer.BadParameter(f"give one of {', '.join(State)}", param_hint="--state") from None


def _check_end(job: "Job") -> None:
    from apsdm_bluesky.workflows.jobs import State

    if job.state not in (State.DONE, State.SKIPPED):
        raise ApsdmError(f"job {job.id} {job.state}: {job.reason}; see 'apsdm job show {job.id[:8]}'")


def _row(job: "Job") -> Sequence[str]:
    age = time_text(time.time() - job.created)
    workflow = f"{job.workflow} v{job.version}"
    place = (job.owner, (job.run or "-")[:8], age)
    return (job.id[:8], job.state, workflow, stage_text(job), *place, shortened(job.reason, _REASON))
