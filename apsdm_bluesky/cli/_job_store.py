"""What the commands of workflows and jobs share: the store, names, arguments, and what is told in short."""

import getpass
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.texts import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apsdm_bluesky.config import BeamlineConfig
    from apsdm_bluesky.workflows import Variable, Workflow
    from apsdm_bluesky.workflows.jobs import Job, JobStore

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="A job's id, or how it begins.")]
WorkflowArgument = Annotated[str, typer.Argument(metavar="[OWNER/]NAME", help="A workflow.")]
ValuesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME=VALUE",
        help="Arguments. VALUE is read as in a workflow file: 5 and 0.5 are numbers, true and "
        'false truths, "[1, 2, a b]" a list, \'"5"\' the text 5; all else is text, as it stands.',
        show_default=False,
    ),
]

_WIDTH = 10_000  # of a table that no terminal shows: whatever reads it gets whole lines


@contextmanager
def opened_jobs(settings: "BeamlineConfig") -> "Iterator[JobStore]":
    """The jobs and workflows of the configured beamline."""
    from apsdm_bluesky.workflows.jobs import JobStore

    store = JobStore(settings.folders.jobs, settings.workflows.database)
    try:
        yield store
    finally:
        store.close()


def account() -> str:
    """Whose a job is that the command line starts."""
    return getpass.getuser()


def find_workflow(store: "JobStore", name: str, version: int | None = None) -> "Workflow":
    """The workflow that `[OWNER/]NAME` means.

    Raises
    ------
    WorkflowError
        There is none, or several owners have one of that name.
    """
    owner, found, rest = name.partition("/")
    return store.definitions.get(rest if found else name, owner=owner if found else None, version=version)


def values_of(words: Sequence[str] | None) -> "dict[str, Variable]":
    """Arguments of a job from `NAME=VALUE`."""
    from apsdm_bluesky.workflows import parse_value

    values: dict[str, Variable] = {}
    for word in words or ():
        name, sign, text = word.partition("=")
        if not (name and sign):
            raise typer.BadParameter(f"{word!r}: write NAME=VALUE")
        if name in values:
            raise typer.BadParameter(f"{name!r} is given twice; give it once")
        try:
            values[name] = parse_value(text)
        except WorkflowError as error:
            advice = f"; a text in quotes is {name}='\"...\"' in a shell"
            raise typer.BadParameter(f"{name}: {error}{advice}") from error
    return values


def warn_where_nobody_works(settings: "BeamlineConfig", store: "JobStore") -> None:
    """Tell on stderr where jobs wait since no agent runs."""
    from apsdm_bluesky.workflows.jobs import ENDED

    if set(store.counts()) <= set(ENDED):
        return
    from apsdm_bluesky.agent import agent_runs

    if not agent_runs(settings):
        say("no agent runs here: jobs wait until 'apsdm up' or 'apsdm agent' runs")


def say(text: str) -> None:
    """One line on stderr."""
    print(f"apsdm: {plain(text)}", file=sys.stderr, flush=True)


def end_with(faults: Sequence[object]) -> None:
    """Tell faults, one a line; exit code 1 where there is one."""
    for fault in faults:
        say(str(fault))
    if faults:
        raise typer.Exit(1)


def stage_text(job: "Job") -> str:
    """Which stage a job is at."""
    return f"{job.stage + 1}/{len(job.stages)} {job.stage_name}" if job.stages else "-"


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; where a terminal is too narrow, its last column takes several lines."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=heading != headings[-1])
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    width = None if sys.stdout.isatty() else _WIDTH
    Console(highlight=False, width=width).print(table)
