"""Where a stage works: a folder that no value can lead astray."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from apsdm_bluesky.errors import WorkflowError

from ._definition import Variable
from ._variables import substitute


def working_folder(
    template: str, values: Mapping[str, Variable], *, base: Path, allowed: Iterable[Path] = ()
) -> Path:
    """The folder that a template and its values name. Nothing is looked up: links are for the caller.

    Parameters
    ----------
    base
        The job's folder: relative ones lie in it.
    allowed
        Folders in which an absolute one may lie that comes from a value. One that the template itself begins
        with is its author's choice.

    Raises
    ------
    WorkflowError
        A variable cannot be put in, the folder has `..` in it, or it lies elsewhere.
    """
    text = substitute(template, values)
    if not text:
        raise WorkflowError("is empty: leave the key out, or give the variable in it a value")
    if ".." in PurePosixPath(text).parts:
        raise WorkflowError(f"{text!r} leads up by '..': name the folder itself")
    folder = base / text
    roots = [base, *allowed]
    if not template.startswith("/") and not any(folder.is_relative_to(root) for root in roots):
        raise WorkflowError(
            f"{text!r} lies outside the job's folder: write the absolute path into the definition"
        )
    return folder
