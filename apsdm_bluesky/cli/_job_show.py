"""`apsdm job show`, `compare`: all about a job, and what two of them differ in."""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from apsdm_bluesky.texts import moment, plain, seconds_text, shortened, size_text, value_text

from ._job_store import JobArgument, opened_jobs, print_table, warn_where_nobody_works
from ._options import ConfigOption, HomeOption, JsonOption, configured

if TYPE_CHECKING:
    from apsdm_bluesky.workflows import Variable
    from apsdm_bluesky.workflows.jobs import Attempt, JobReport

_PROCESSES = 4  # of a stage, on one screen
_LINES = 10  # of what a failed process printed
_WIDE, _NARROW = 160, 60


def show(
    job: JobArgument, config: ConfigOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Tell all about a job: why it failed and what to do, its stages, outputs and processes."""
    from apsdm_bluesky.workflows.jobs import JobReport

    settings = configured(config, home)
    with opened_jobs(settings) as store:
        found = JobReport.of(store, job)
        warn_where_nobody_works(settings, store)
    if as_json:
        print(json.dumps(_data(found)))
        return
    for line in [*_head(found), *_stages(found), *_last_words(found)]:
        print(plain(line).rstrip())


def compare(
    job: JobArgument,
    other: JobArgument,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what two jobs differ in: workflow, state, arguments, outputs, and the files of their results."""
    from apsdm_bluesky.workflows.jobs import compare

    with opened_jobs(configured(config, home)) as store:
        first, second = store.get(job), store.get(other)
        found = compare(store, first, second)
    if as_json:
        print(json.dumps({"differences": [asdict(one) for one in found]}))
    elif found:
        rows = [(one.kind, one.name or "-", *map(_side, (one.first, one.second))) for one in found]
        print_table(("what", "name", first.id[:8], second.id[:8]), rows)
    else:
        print("no difference")


def _side(value: str | None) -> str:
    return "(not there)" if value is None else shortened(value, _NARROW)


def _data(found: "JobReport") -> dict[str, object]:
    stages = [
        {**asdict(entry), "processes": [asdict(one) for one in found.attempts if one.stage == entry.index]}
        for entry in found.stages
    ]
    return {
        "job": asdict(found.job),
        "children": [child.id for child in found.children],
        "folder": str(found.folder),
        "stages": stages,
        "history": [asdict(line) for line in found.history],
    }


def _head(found: "JobReport") -> Iterator[str]:
    job = found.job
    yield f"job {job.id}: {job.state}{', pinned' if job.pinned else ''}"
    yield from (f"  {name:11} {text}" for name, text in [*_why(found), *_origin(found)] if text)


def _why(found: "JobReport") -> Iterator[tuple[str, str]]:
    from apsdm_bluesky.workflows.jobs import ENDED

    job = found.job
    yield "why" if job.state in ENDED else "waits", job.reason
    yield "fault", found.fault
    if found.can_be_mended:
        how = " (--latest, NAME=VALUE)" if job.blame == "command" else ""
        first = f" --from {shlex.quote(job.stage_name)}" if job.stages else ""
        command = f"apsdm job resubmit {job.id[:8]}{first}"
        yield "next", f"{found.remedy}{how}, then {command}" if found.remedy else command


def _origin(found: "JobReport") -> Iterator[tuple[str, str]]:
    job = found.job
    version = f"version {job.version}" if job.version else "was not known then"
    yield "workflow", f"{job.workflow_owner}/{job.workflow} {version}"
    yield "owner", job.owner
    yield "run", (job.run or "") + (f", by rule {job.rule}" if job.rule else "")
    yield "again of", f"job {job.parent} from stage {job.stages[job.first]}" if job.parent else ""
    yield "again as", ", ".join(f"job {child.id[:8]} ({child.state})" for child in found.children)
    yield "arguments", _values(job.arguments)
    ended = f", ended {moment(job.ended)}" if job.ended else ""
    yield "created", f"{moment(job.created)} UTC, began {moment(job.started)}{ended} ({seconds_text(job)})"
    yield "folder", str(found.folder)
    yield "by", ", ".join(found.actors)


def _values(values: "Mapping[str, Variable]") -> str:
    return "  ".join(f"{name}={shortened(value_text(value), _NARROW)}" for name, value in values.items())


def _stages(found: "JobReport") -> Iterator[str]:
    for entry in found.stages:
        processes, own = found.processes(entry.index, _PROCESSES)
        taken = f" taken over from job {entry.inherited[:8]}" if entry.inherited else ""
        yield f"{entry.index + 1:3} {entry.name:20} {entry.state:9} {seconds_text(entry):>7}{taken}"
        if entry.reason and entry.reason != found.job.reason:
            yield f"      {shortened(entry.reason, _WIDE)}"
        if entry.outputs:
            yield f"      {_values(entry.outputs)}"
        for one in processes:
            yield from _process(one)
        if len(own) > len(processes):
            well = sum(one.well for one in own)
            yield f"      and {len(own) - len(processes)} more processes; {well} of {len(own)} ended well"


def _process(one: "Attempt") -> Iterator[str]:
    from apsdm_bluesky.workflows.jobs import status_text

    yield f"      $ {shortened(shlex.join(one.command), _WIDE)}"
    cpu = "" if one.cpu_s is None else f", cpu {one.cpu_s:.1f} s"
    memory = "" if one.memory is None else f", {size_text(one.memory)}"
    place = "" if one.where == "local" else f" at {one.where}"
    yield f"        {status_text(one)}{place}{cpu}{memory}, {seconds_text(one)}"


def _last_words(found: "JobReport") -> Iterator[str]:
    """The end of what the failed process printed."""
    name, lines = found.last_words(_LINES)
    if lines:
        yield f"last of its {name} (all of it: apsdm job logs {found.job.id[:8]}):"
        yield from (f"  | {shortened(line, _WIDE)}" for line in lines)
