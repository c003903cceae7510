"""Puts the files of a run into the catalogue's tree `/files`, in place and as often as one likes.

A file is `/files/<experiment>/<folder>/.../<name>`. `%`, `?`, `#` and control characters have no place in the
catalogue's addresses and become `_`; where the name is taken by something else, a part of a hash is added.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any, TypeVar

from apsdm_bluesky.spool._catalogue import FailedError
from apsdm_bluesky.spool._file_nodes import Described, StoredFile, described
from apsdm_bluesky.spool._nodes import Nodes, Parts

ROOT = "files"
_AT_ONCE = 2  # with more of them Tiled 0.2.20 now and then finds its SQLite database locked
_UNFIT = re.compile(r"[%?#\\\x00-\x1f\x7f-\x9f]")
_DIGITS = 8

T = TypeVar("T")


class FilesWriter:
    """Writes files of one experiment. After an error it is of no use any more.

    Parameters
    ----------
    run
        The run's uid.
    labels
        Metadata of the experiment's container.
    """

    def __init__(self, nodes: Nodes, run: str, experiment: str, labels: Mapping[str, Any]) -> None:
        self.nodes = nodes
        self._run = run
        self._experiment = experiment
        self._labels = labels
        self._folders: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._done: dict[tuple[str, ...], Mapping[str, Any]] = {}  # nodes of the run, from an earlier attempt

    def register(self, files: Sequence[Described]) -> None:
        """Make each file's node, several at a time; what is there already is left."""
        for file in files:
            self.folder(file.file)
        self.each(self._register, files)

    def look_into(self, files: Sequence[StoredFile]) -> list[Described]:
        """What each file is."""
        return self.each(described, files)

    def folder(self, file: StoredFile) -> tuple[str, ...]:
        """The container that a file belongs in; it is made where it is missing."""
        return self._folder(PurePosixPath(file.name).parts[:-1])

    @staticmethod
    def each(work: Callable[[Any], T], items: Sequence[Any]) -> list[T]:
        """Do it with all of them, several at a time."""
        if len(items) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="files") as pool:
            return list(pool.map(work, items))

    def _folder(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if names not in self._folders:
            self._folders[names] = self._made(names)
        return self._folders[names]

    def _made(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            self.nodes.create((ROOT,), "container", {})
            top = (ROOT, fit_key(self._experiment))
            if not self.nodes.create(top, "container", self._labels):
                self._look_for_done(top)
            return top
        parent = self._folder(names[:-1])
        for key in keys(names[-1], "/".join(names)):
            place = (*parent, key)
            if self.nodes.create(place, "container", {}):
                return place
            if is_folder(self.nodes.get(place)):
                self._look_for_done(place)
                return place
        raise FailedError(f"{'/'.join(names)}: no name is free for this folder")

    def _look_for_done(self, folder: tuple[str, ...]) -> None:
        for key, attributes in self.nodes.search(folder, "run", self._run):
            self._done[*folder, key] = attributes

    def _register(self, file: Described) -> None:
        folder = self.folder(file.file)
        for key in keys(PurePosixPath(file.file.name).name, file.file.uri):
            place = (*folder, key)
            found = self._done.get(place)
            if found is None and self._create(place, file):
                return
            found = found or self.nodes.get(place)
            if found is None:
                raise FailedError(f"{'/'.join(place)}: was removed just now")
            if file.file.uri in uris(found):
                if _is_older(found, file.file):
                    self.nodes.delete(place)
                    self._create(place, file)
                return
        raise FailedError(f"{'/'.join(folder)}: no name is free for {file.file.name}")

    def _create(self, place: Parts, file: Described) -> bool:
        return self.nodes.create(place, file.family, file.metadata, file.source())


def fit_key(name: str) -> str:
    """A name that the catalogue's addresses can hold."""
    return _UNFIT.sub("_", name)


def keys(name: str, what: str) -> Iterator[str]:
    """Names in the catalogue, the second one for when the first one is taken by something else.

    Parameters
    ----------
    what
        Whatever differs from that of the other.
    """
    fit = PurePosixPath(fit_key(name))
    yield fit.name
    digits = hashlib.sha256(what.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]
    yield f"{fit.stem}~{digits}{fit.suffix}"


def uris(attributes: Mapping[str, Any]) -> set[str]:
    """The files of a node."""
    return {asset["data_uri"] for source in attributes["data_sources"] or () for asset in source["assets"]}


def is_folder(attributes: Mapping[str, Any] | None) -> bool:
    """Whether a node is a container without files of its own."""
    if attributes is None:
        return False
    return attributes["structure_family"] == "container" and not attributes["data_sources"]


def _is_older(attributes: Mapping[str, Any], file: StoredFile) -> bool:
    """Whether what is registered is a former version, or another content, of the same file."""
    told = attributes["metadata"]
    version = told.get("version", 0)
    if version == file.version:
        return bool(told.get("sha256") != file.sha256)
    return bool(version < file.version)
