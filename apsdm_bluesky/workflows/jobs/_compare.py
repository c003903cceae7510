"""What two jobs have in common, and what not: their arguments, their outputs, the files of their results."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from apsdm_bluesky.workflows._definition import Variable

from ._job import Job
from ._result_files import ResultFiles
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


def compare(
    store: JobStore, first: Job, second: Job, *, budget: int | None = None, most: int | None = None
) -> list[Difference]:
    """Everything in which two jobs differ: a file by its size and sha256. Empty where nothing does.

    Parameters
    ----------
    budget, most
        See `ResultFiles`.

    Raises
    ------
    StorageError, WorkflowError
        A file of a result cannot be read, or there are too many.
    """
    files = ResultFiles(budget, most)
    found = [
        *_differences("workflow", {"": _version(first)}, {"": _version(second)}),
        *_differences("state", {"": first.state.value}, {"": second.state.value}),
        *_differences("argument", first.arguments, second.arguments),
        *_differences("variable", first.variables, second.variables),
    ]
    contents = (files.of(store.folder(job.id)) for job in (first, second))
    return [*found, *_differences("file", *contents)]


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
