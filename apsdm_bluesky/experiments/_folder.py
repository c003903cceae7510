"""An experiment's folder: made once, for one experiment."""

import json
from pathlib import Path

from apsdm_bluesky.durable import make_folder, write_whole
from apsdm_bluesky.errors import ExperimentError, StorageError

_PARTS = ("data", "analysis", "system")
_MARK = "experiment.json"
_OTHER = "choose another name, or move it away"


def claim_folder(folder: Path, owner: dict[str, str]) -> None:
    """Make an experiment's folder durably; one that was made for the same experiment is taken as it is.

    A file in its `system` tells whose it is: lists of experiments that share a root never share a folder.

    Parameters
    ----------
    owner
        What tells the experiment from every other one.

    Raises
    ------
    ExperimentError
        It exists, and holds something, or belongs to another experiment.
    StorageError
        It cannot be made.
    """
    mark = folder / "system" / _MARK
    content = (json.dumps(owner) + "\n").encode("ascii")
    try:
        if _is_ours(folder, mark, content):
            return
        for part in _PARTS:
            make_folder(folder / part)
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be made ({error.strerror}); free space, give access, or set experiments.root"
        ) from error
    try:
        write_whole(mark, content)
    except StorageError:
        if not mark.exists():
            raise
        raise _taken(folder) from None  # somebody else was first, a moment ago


def _is_ours(folder: Path, mark: Path, content: bytes) -> bool:
    """Whether it is whole, and was made for this experiment; one that cannot be taken is refused."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ExperimentError(f"{folder}: is there already, and is no folder; {_OTHER}")
    if mark.exists():
        if mark.read_bytes() != content:
            raise _taken(folder)
        for part in _PARTS:
            make_folder(folder / part)
        return True
    if folder.exists() and _holds_something(folder):
        raise ExperimentError(f"{folder}: is there already, and is not empty; {_OTHER}")
    return False


def _holds_something(folder: Path) -> bool:
    """More than what a creation leaves that was killed: empty folders of ours, and our file's beginning."""
    for entry in folder.iterdir():
        if entry.is_symlink() or entry.name not in _PARTS or not entry.is_dir():
            return True
        if any(not inner.name.startswith(f".{_MARK}.") for inner in entry.iterdir()):
            return True
    return False


def _taken(folder: Path) -> ExperimentError:
    return ExperimentError(
        f"{folder}: belongs to an experiment of another station or list of experiments; choose another "
        "name, or set experiments.root"
    )
