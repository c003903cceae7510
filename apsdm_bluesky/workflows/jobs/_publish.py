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
    OSError
        It cannot be written.
    """
    if folder.exists():
        return
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    make_folder(part)
    for name in job.stages[: job.first]:
        if parent is not None and (parent / name).exists():
            shutil.copytree(parent / name, part / name, symlinks=True)
    part.rename(folder)
    sync(folder.parent)
