"""What two jobs have in common, and what not: their arguments, their outputs, the files of their results."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from apsdm_bluesky.workflows._definition import Variable

from ._job import Job
from ._store import JobStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that is not the same in two jobs; None: it is not there in that one.

    Parameters
    ----------
    kind
        `workflow`, `state`, `argument`, `variable` or `file`.
    name
        Of the argument or variable, or the file's path below the job's folder.
    """

    kind: str
    name: str
    first: str | None
    second: str | None


def compare(store: JobStore, first: Job, second: Job, *, largest: int | None = None) -> list[Difference]:
    """Everything in which two jobs differ: a file by its size and sha256. Empty where nothing does.

    Parameters
    ----------
    largest
        Files of more bytes are compared by their size alone; None: all are read.

    Raises
    ------
    OSError
        A file of a result cannot be read.
    """
    found = [
        *_differences("workflow", {"": _version(first)}, {"": _version(second)}),
        *_differences("state", {"": first.state.value}, {"": second.state.value}),
        *_differences("argument", first.arguments, second.arguments),
        *_differences("variable", first.variables, second.variables),
    ]
    files = (_files(store.folder(job.id), largest) for job in (first, second))
    return [*found, *_differences("file", *files)]


def _version(job: Job) -> str:
    return f"{job.workflow_owner}/{job.workflow} version {job.version}"


def _differences(
    kind: str, first: Mapping[str, Variable], second: Mapping[str, Variable]
) -> Iterator[Difference]:
    for name in sorted({*first, *second}):
        one, other = first.get(name), second.get(name)
        if one != other:
            yield Difference(kind=kind, name=name, first=_told(one), second=_told(other))


def _told(value: Variable | None) -> str | None:
    return None if value is None else str(list(value) if isinstance(value, tuple) else value)


def _files(folder: Path, largest: int | None) -> dict[str, Variable]:
    """What is in the results; hidden folders of a job hold its processes. Links are told, not followed."""
    results = [path for path in folder.glob("*") if not path.name.startswith(".")]
    paths = (path for result in results for path in [result, *result.rglob("*")])
    return {
        str(path.relative_to(folder)): _content(path, largest)
        for path in sorted(paths)
        if not _is_folder(path)
    }


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _content(path: Path, largest: int | None) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if not path.is_file():
        return "no file"
    size = path.stat().st_size
    if largest is not None and size > largest:
        return f"{size} bytes"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{size} bytes, sha256 {digest}"
