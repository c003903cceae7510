"""`apsdm job logs`: what the processes of a job printed."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apsdm_bluesky.errors import ApsdmError, WorkflowError

from ._job_store import JobArgument, opened_jobs, say, warn_where_nobody_works
from ._options import ConfigOption, HomeOption, configured

if TYPE_CHECKING:
    from apsdm_bluesky.workflows.jobs import Attempt, Job, JobStore, OutputFile

_POLL_S = 0.3


def logs(
    job: JobArgument,
    stage: Annotated[
        str | None,
        typer.Argument(metavar="STAGE", help="Default: where it is, or failed.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Of all stages.")] = False,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="As it is written, of this and later stages, until the end."),
    ] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only what went to standard error.")] = False,
) -> None:
    """Print what the processes of a stage printed, standard output and standard error of each.

    A terminal is shown control characters as ^[; whatever else reads it gets the bytes as they are.
    """
    if everything and stage is not None:
        raise typer.BadParameter("give either a stage or --all", param_hint="--all")
    settings = configured(config, home)
    with opened_jobs(settings) as store:
        found = store.get(job)
        wanted = _wanted(store, found, stage, everything=everything, follow=follow)
        names = ("stderr",) if stderr else ("stdout", "stderr")
        reader = _Reader(store, found.id, wanted, names)
        if follow:
            warn_where_nobody_works(settings, store)
        reader.read(follow=follow)


def _wanted(store: "JobStore", job: "Job", stage: str | None, *, everything: bool, follow: bool) -> range:
    """The stages to read, by their index."""
    if not job.stages:  # a rule asked for a workflow that was not known
        raise WorkflowError(f"job {job.id} is {job.state} and has no stages: {job.reason}")
    if everything:
        return range(len(job.stages))
    if stage is None:
        return range(job.stage, len(job.stages) if follow else job.stage + 1)
    if stage not in job.stages:
        raise WorkflowError(f"job {job.id}: stage {stage!r} is not in it: it has {', '.join(job.stages)}")
    index = job.stages.index(stage)
    ran_by = store.stages(job)[index].inherited
    if ran_by is not None:
        raise WorkflowError(f"job {job.id}: job {ran_by} ran stage {stage!r}; ask for the logs of that one")
    return range(index, index + 1)


class _Reader:
    """The output of a job's stages, printed as it grows.

    Parameters
    ----------
    wanted
        The stages.
    names
        The files of each process.
    """

    def __init__(self, store: "JobStore", uid: str, wanted: range, names: Sequence[str]) -> None:
        from ._job_output import Printer

        self._store = store
        self._uid = uid
        self._wanted = wanted
        self._names = names
        self._files: dict[str, list[OutputFile]] = {}
        self._ended: set[str] = set()
        self._printer = Printer()

    def read(self, *, follow: bool) -> None:
        """Print all there is; with `follow`, until the stages have ended."""
        while True:
            job = self._store.get(self._uid)
            self._look(job)
            if not follow or self._over(job):
                break
            time.sleep(_POLL_S)
        if not self._printer.used:
            names = ", ".join(repr(job.stages[index]) for index in self._wanted)
            say(f"job {self._uid} is {job.state}: stage {names} has printed nothing")

    def _look(self, job: "Job") -> None:
        """What is new; a process that had ended before is not looked at again."""
        folder = self._store.folder(self._uid)
        new = [one for one in self._attempts() if one.id not in self._ended]
        if new and job.started is not None and not folder.is_dir():
            advice = f"'apsdm job show {self._uid[:8]}' has the last lines"
            raise ApsdmError(f"{folder}: the job's files are not here; {advice}")
        for one in new:
            for file in self._files.setdefault(one.id, self._open(job, one, folder)):
                self._printer.show(file)
            if one.ended is not None:
                self._ended.add(one.id)
                del self._files[one.id]

    def _attempts(self) -> "Sequence[Attempt]":
        if len(self._wanted) == 1:
            return self._store.attempts(self._uid, self._wanted[0])
        return [one for one in self._store.attempts(self._uid) if one.stage in self._wanted]

    def _open(self, job: "Job", one: "Attempt", folder: Path) -> "list[OutputFile]":
        from apsdm_bluesky.workflows.jobs import OutputFile

        item = "" if one.item is None else f", {one.item}"
        title = f"{job.stages[one.stage]}, process {one.number}{item}"
        return [OutputFile(folder / one.folder / name, f"{title}: {name}") for name in self._names]

    def _over(self, job: "Job") -> bool:
        from apsdm_bluesky.workflows.jobs import ENDED

        return job.state in ENDED or job.stage >= self._wanted.stop
