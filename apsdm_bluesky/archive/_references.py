"""Which raw files the runs of a spool refer to, whether they are archived or not."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.spool import RunFile

_RESOURCE = b'["stream_resource",'


class References:
    """Remembers what the documents of complete runs refer to: they do not change any more."""

    def __init__(self) -> None:
        self._known: dict[Path, Sequence[Path]] = {}

    def users(self, runs: Iterable[RunFile], place: Path) -> Iterator[str]:
        """The uids of those runs that refer to `place`, to something in it or to a folder it is in.

        Raises
        ------
        StorageError
            The documents of a run cannot be read: what it refers to is not known.
        """
        for run in runs:
            if any(_overlap(place, other) for other in self._of(run)):
                yield run.uid

    def _of(self, run: RunFile) -> Sequence[Path]:
        if run.path in self._known:
            return self._known[run.path]
        complete = run.stop is not None
        found = _referred(run)
        if complete:
            self._known[run.path] = found
        return found


def _referred(run: RunFile) -> Sequence[Path]:
    """Only these lines are decoded: a run may have very many others."""
    try:
        with run.path.open("rb") as file:
            lines = (line for line in file if line.startswith(_RESOURCE) and line.endswith(b"\n"))
            uris = [urlsplit(str(json.loads(line)[1]["uri"])) for line in lines]
            return [Path(unquote(uri.path)).resolve() for uri in uris if uri.scheme == "file"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StorageError(
            f"{run.path}: cannot be read ({error}), and may refer to files that are to be released; mend it"
        ) from error


def _overlap(one: Path, other: Path) -> bool:
    return one == other or one in other.parents or other in one.parents
