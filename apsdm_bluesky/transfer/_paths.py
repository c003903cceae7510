"""Destination paths come from outside: only plain relative ones are taken."""

from pathlib import Path

from apsdm_bluesky.errors import FormatError


def plain_parts(path: str) -> tuple[str, ...]:
    """The parts of the relative POSIX path `path`.

    Raises
    ------
    FormatError
        The path is empty, absolute, or has a part that is hidden, '.' or '..'.
    """
    parts = tuple(path.split("/"))
    if "\0" in path or any(not part or part.startswith(".") for part in parts):
        raise FormatError(f"destination path {path!r} is refused; give a relative path of plain names")
    return parts


def resolve_inside(root: Path, path: str) -> Path:
    """The place of the relative POSIX path `path` under `root`.

    Raises
    ------
    FormatError
        `plain_parts` refuses the path, or a link on it leads out of `root`.
    """
    parts = plain_parts(path)
    root = root.resolve()
    place = root.joinpath(*parts)
    if not place.resolve().is_relative_to(root):
        raise FormatError(f"destination path {path!r} is refused; a link on it leads out of {root}")
    return place
