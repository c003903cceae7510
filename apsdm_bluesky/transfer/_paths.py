"""Destination paths come from outside: only plain relative ones are taken."""

from pathlib import Path

from apsdm_bluesky.errors import FormatError


def resolve_inside(root: Path, path: str) -> Path:
    """The place of the relative POSIX path `path` under `root`.

    Raises
    ------
    FormatError
        The path is empty, absolute, has a part that is hidden, '.' or '..', or a link on it leads out of
        `root`.
    """
    parts = path.split("/")
    if "\0" in path or any(not part or part.startswith(".") for part in parts):
        raise FormatError(f"destination path {path!r} is refused; give a relative path of plain names")
    root = root.resolve()
    place = root.joinpath(*parts)
    if not place.resolve().is_relative_to(root):
        raise FormatError(f"destination path {path!r} is refused; a link on it leads out of {root}")
    return place
