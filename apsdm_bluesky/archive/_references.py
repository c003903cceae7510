"""Which raw files the runs of a spool refer to, whether they are archived or not."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.spool import RunFile

_RESOURCE = b'["stream_resource",'


@dataclass(frozen=True, slots=True)
class _Referred:
    """What a run refers to, and every folder that this is in."""

    places: frozenset[str]
    folders: frozenset[str]

    @classmethod
    def of(cls, paths: Iterable[Path]) -> "_Referred":
        places = frozenset(map(os.fspath, paths))
        return cls(places, frozenset(folder for place in places for folder in _folders(place)))

    def overlaps(self, place: str, folders: Sequence[str]) -> bool:
        """Whether any of them is `place`, in it or around it."""
        return place in self.places or place in self.folders or not self.places.isdisjoint(folders)


class References:
    """Remembers what the documents of complete runs refer to: they do not change any more."""

    def __init__(self) -> None:
        self._known: dict[Path, _Referred] = {}

    def users(self, runs: Iterable[RunFile], place: Path) -> Iterator[str]:
        """The uids of those runs that refer to `place`, to something in it or to a folder it is in.

        Raises
        ------
        StorageError
            The documents of a run cannot be read: what it refers to is not known.
        """
        wanted = os.fspath(place)
        folders = list(_folders(wanted))
        for run in runs:
            if self._of(run).overlaps(wanted, folders):
                yield run.uid

    def _of(self, run: RunFile) -> _Referred:
        if run.path in self._known:
            return self._known[run.path]
        complete = run.stop is not None
        found = _Referred.of(_referred(run))
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


def _folders(place: str) -> Iterator[str]:
    """The folders that a place is in."""
    while (folder := os.path.dirname(place)) != place:  # noqa: PTH120 - there may be very many
        yield folder
        place = folder
