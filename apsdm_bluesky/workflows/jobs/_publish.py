"""Results of stages: folders that stand under their name whole, or not at all."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from apsdm_bluesky.durable import make_folder, sync
from apsdm_bluesky.errors import WorkflowError

from ._job import Attempt, Job


def publish(folder: Path, stage: str, attempts: Sequence[Attempt], *, parallel: bool) -> None:
    """Make what the processes of a stage left in their own folders the stage's results, by a rename.

    Those of a parallel stage are folders named by their number in it. Done again after a crash, it goes on.

    Parameters
    ----------
    folder
        The job's.

    Raises
    ------
    WorkflowError
        Something else has the stage's name there.
    """
    results = folder / stage
    own = [attempt for attempt in attempts if attempt.working_folder is None]
    works = {str(attempt.child): folder / attempt.folder / "work" for attempt in own}
    left = {child: work for child, work in works.items() if work.exists()}
    if not left and (results.exists() or not own):
        return
    if results.exists() or results.is_symlink():
        raise WorkflowError(f"{results} was made by another stage: its results would hide there; rename one")
    for work in left.values():
        _sync_files(work)
    if not parallel and left:
        left["0"].rename(results)
    else:  # also where a command removed the folder that it ran in
        part = folder / f".{stage}.part"
        part.mkdir(exist_ok=True)
        for child, work in left.items():
            work.rename(part / child)
        sync(part)
        part.rename(results)
    sync(folder)


def make_job_folder(folder: Path, job: Job, parent: Path | None) -> None:
    """Make a job's folder, with the results that it takes over from its parent.

    Raises
    ------
    WorkflowError
        The parent's results are not there.
    OSError
        It cannot be written.
    """
    if folder.exists():
        return
    if job.first and (parent is None or not parent.exists()):
        raise WorkflowError(f"the results of job {job.parent} are not at {parent}: start anew")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    make_folder(part)
    for name in job.stages[: job.first]:
        if parent is not None and (parent / name).exists():
            shutil.copytree(parent / name, part / name, symlinks=True, ignore=_special)
    _sync_files(part)
    part.rename(folder)
    sync(folder.parent)


def tidy(root: Path) -> None:
    """Remove what an agent that was killed left of folders that it made; for the one agent on `root`."""
    for part in root.glob(".*.part"):
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part, ignore_errors=True)


def _sync_files(folder: Path) -> None:
    """A record that says that results stand must not survive them in a power cut."""
    for path in folder.rglob("*"):
        if not path.is_symlink() and (path.is_file() or path.is_dir()):
            sync(path)


def _special(folder: str, names: list[str]) -> list[str]:
    """What cannot be copied: a pipe, a socket."""
    paths = {name: Path(folder) / name for name in names}
    return [n for n, p in paths.items() if not (p.is_symlink() or p.is_dir() or p.is_file())]
