"""What `apsdm daq start` and `apsdm upload` share: options, and what is made of them."""

import re
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsdm_bluesky.errors import WorkflowError

from ._archive import person
from ._job_store import account, find_workflow, opened_jobs, say, values_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apsdm_bluesky.config import BeamlineConfig
    from apsdm_bluesky.daq import Daq, DaqStore, Kind
    from apsdm_bluesky.workflows import Variable, Workflow

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"\s*(?P<number>\d+(\.\d*)?|\.\d+)\s*(?P<unit>s|min|h|d)\s*")

DaqArgument = Annotated[
    str, typer.Argument(metavar="DAQ", help="A DAQ or an upload: its id, or how it begins.")
]
ExperimentOption = Annotated[
    str | None, typer.Option(help="Whose the files are.  [default: the current experiment]")
]
IncludeOption = Annotated[
    list[str] | None,
    typer.Option(help="Only what fits this shell pattern, of a path or a name; may be repeated."),
]
ExcludeOption = Annotated[
    list[str] | None, typer.Option(help="Not what fits this pattern, whatever includes it; may be repeated.")
]
HiddenOption = Annotated[bool, typer.Option("--hidden", help="Names that begin with a dot, too.")]
DestinationOption = Annotated[str | None, typer.Option(help="The folder in the experiment's data.")]
WorkflowOption = Annotated[
    str | None, typer.Option(metavar="[OWNER/]NAME", help="Have this workflow run for each file.")
]
ArgumentOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="For the workflow, with $filePath and the like in single quotes; may be repeated.",
    ),
]
AtEndOption = Annotated[
    bool, typer.Option("--at-end", help="Have the workflow run once, when all files were taken.")
]
SkipTransferOption = Annotated[
    bool, typer.Option("--skip-transfer", help="Files stay where they are: in the experiment's data.")
]
SkipChecksumOption = Annotated[bool, typer.Option("--skip-checksum", help="Files are not hashed.")]
SkipCatalogueOption = Annotated[bool, typer.Option("--skip-catalogue", help="Files are not catalogued.")]
SkipArchiveOption = Annotated[bool, typer.Option("--skip-archive", help="Files are not archived.")]


@contextmanager
def opened_daqs(settings: "BeamlineConfig") -> "Iterator[DaqStore]":
    """The DAQs and uploads of the configured beamline."""
    from apsdm_bluesky.daq import open_daqs

    store = open_daqs(settings)
    try:
        yield store
    finally:
        store.close()


def begin(
    settings: "BeamlineConfig",
    store: "DaqStore",
    kind: "Kind",
    source: Path,
    experiment: str | None,
    workflow: str | None,
    arguments: Sequence[str] | None,
    at_end: bool,
    **options: Any,
) -> "Daq":
    """Start a DAQ or an upload of this account.

    Raises
    ------
    DaqError, ExperimentError, WorkflowError
        It cannot be as it is asked for; the experiment, the workflow or an argument is not known.
    """
    from apsdm_bluesky.daq import DaqOptions, new_daq
    from apsdm_bluesky.experiments import chosen_experiment

    if workflow is None and (arguments or at_end):
        raise typer.BadParameter("says nothing without --workflow", param_hint="--argument, --at-end")
    given: dict[str, Any] = {"arguments": _scalars(arguments), "each": not at_end}
    place = chosen_experiment(settings, experiment)
    if workflow is not None:
        found = _checked_workflow(settings, workflow, given["arguments"])
        given |= {"workflow": found.name, "workflow_owner": found.owner}
    new = new_daq(kind, source, place, DaqOptions(**given, **options), owner=account())
    return store.start(new, actor=person())


def seconds_of(text: str) -> float:
    """A time [s] from `90s`, `30min`, `12h` or `2d`."""
    found = _TIME.fullmatch(text)
    seconds = float(found["number"]) * _UNITS[found["unit"]] if found else 0.0
    if seconds <= 0:
        raise typer.BadParameter(f"{text!r} is no time: write 90s, 30min, 12h or 2d")
    return seconds


def warn_where_nobody_takes(settings: "BeamlineConfig") -> None:
    """Tell on stderr where files wait since no agent runs."""
    from apsdm_bluesky.agent import agent_runs

    if not agent_runs(settings):
        say("no agent runs here: files wait until 'apsdm up' or 'apsdm agent' runs")


def _scalars(words: Sequence[str] | None) -> "dict[str, Variable]":
    values = values_of(words)
    for name, value in values.items():
        if isinstance(value, tuple):
            raise typer.BadParameter(f"{name}: a list is no argument here; give one value")
    return values


def _checked_workflow(settings: "BeamlineConfig", name: str, arguments: "dict[str, Variable]") -> "Workflow":
    """The workflow, which knows these arguments: later nobody is there to be told."""
    with opened_jobs(settings) as jobs:
        found = find_workflow(jobs, name)
    unknown = [one for one in arguments if found.arguments is not None and one not in found.arguments]
    if unknown:
        known = ", ".join(found.arguments or ()) or "none"
        raise WorkflowError(
            f"workflow {found.owner}/{found.name}: argument {unknown[0]!r} is not known; known are {known}"
        )
    return found
