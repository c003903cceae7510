"""Which files belong to a run: those its documents refer to, checked against what the documents say."""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.spool import RunFile

from ._extent import check_extent
from ._names import is_text
from ._tombstone import is_tombstone

_FILE_URI = re.compile(r"file://(?:localhost)?(?P<path>/[^?#]+)")
ZARR_GROUP_FILES = ("zarr.json", ".zgroup", ".zattrs")


class SourceError(FormatError):
    """The files are not what the documents say, or the documents refer to what may not be read."""


class LateError(SourceError):
    """A file that the documents announce is not there, or not whole. It may still come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file to be bundled as it stands now: `name` is its path in the bundle, `size` in bytes.

    `runs` are the uids of those that it belongs to.
    """

    name: str
    path: Path
    size: int
    mtime_ns: int
    runs: tuple[str, ...] = ()


def raw_files(runs: Sequence[RunFile], roots: Sequence[Path]) -> list[SourceFile]:
    """The files that the runs' stream_resource documents refer to, sorted by name.

    Parameters
    ----------
    roots
        Only files under these folders are taken; links are not followed.

    Raises
    ------
    LateError
        A file is missing, or shorter than the stream_datum documents say.
    SourceError
        A file is outside of `roots`, or no plain one.
    """
    found: dict[str, SourceFile] = {}
    for run in runs:
        for resource, rows in external_resources(run):
            for file in _files_of(resource, rows, roots):
                sharing = found[file.name].runs if file.name in found else ()
                found[file.name] = replace(file, runs=tuple(dict.fromkeys((*sharing, run.uid))))
    return sorted(found.values(), key=lambda file: file.name.encode())


def places(run: RunFile, roots: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Each file or folder that a run's documents refer to, there or not, and the root it lies under.

    One that lies in another one of them is left out.

    Raises
    ------
    SourceError
        A document is malformed, or refers to what lies outside of `roots`.
    """
    found = {_locate(str(resource.get("uri")), roots) for resource, _ in external_resources(run)}
    paths = {path for path, _ in found}
    return sorted((path, root) for path, root in found if paths.isdisjoint(path.parents))


def external_resources(run: RunFile) -> list[tuple[Mapping[str, Any], int]]:
    """Each stream_resource document of a run, and how many rows its stream_datum documents claim."""
    resources: dict[str, Mapping[str, Any]] = {}
    rows: dict[str, int] = {}
    try:
        for name, doc in run.documents():
            if name == "stream_resource":
                resources[doc["uid"]] = doc
            elif name == "stream_datum":
                key = doc["stream_resource"]
                rows[key] = max(rows.get(key, 0), int(doc["indices"]["stop"]))
            elif name == "resource":
                raise SourceError(
                    f"run {run.uid}: 'resource' documents cannot be archived; use stream_resource"
                )
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"run {run.uid}: a malformed document of external data ({error!r})") from error
    unknown = rows.keys() - resources.keys()
    if unknown:
        raise SourceError(f"run {run.uid}: stream_datum documents refer to the unknown {sorted(unknown)}")
    return [(doc, rows.get(key, 0)) for key, doc in resources.items()]


def _files_of(resource: Mapping[str, Any], rows: int, roots: Sequence[Path]) -> Iterator[SourceFile]:
    path, root = _locate(str(resource.get("uri")), roots)
    files = list(walk(path))
    parameters = resource.get("parameters")
    try:
        check_extent(
            path,
            files,
            str(resource.get("mimetype")),
            parameters if isinstance(parameters, dict) else {},
            rows,
        )
    except FormatError as error:
        raise LateError(str(error)) from error
    for file in (*files, *_group_files(path, root)):
        info = file.lstat()
        yield SourceFile(
            name=member_name(file, root), path=file, size=info.st_size, mtime_ns=info.st_mtime_ns
        )


def referred_paths(run: RunFile) -> frozenset[Path]:
    """What a run's stream_resource documents refer to on this machine, whether or not it is there."""
    matches = (_FILE_URI.fullmatch(str(resource.get("uri"))) for resource, _ in external_resources(run))
    paths = (unquote(match["path"]) for match in matches if match)
    return frozenset(Path(path).resolve() for path in paths if "\0" not in path)


def is_of(place: Path, paths: Set[Path]) -> bool:
    """Whether a file is at or under one of `paths`, or is the metadata of a Zarr group around it."""
    if place in paths or not paths.isdisjoint(place.parents):
        return True
    return place.name in ZARR_GROUP_FILES and any(place.parent in path.parents for path in paths)


def _locate(uri: str, roots: Sequence[Path]) -> tuple[Path, Path]:
    """The path of a file URI and the root it lies under, without links."""
    match = _FILE_URI.fullmatch(uri)
    path = unquote(match["path"]) if match else ""
    if not path or "\0" in path or ".." in path.split("/"):
        raise SourceError(f"{uri!r} is refused; only plain file://localhost/ URIs can be archived")
    place = Path(path).resolve()
    for root in (folder.resolve() for folder in roots):
        if place != root and place.is_relative_to(root):
            return place, root
    allowed = ", ".join(str(root) for root in roots)
    raise SourceError(f"{uri!r} is refused; it lies outside of the raw data folders ({allowed})")


def walk(path: Path) -> Iterator[Path]:
    """The plain files at or under `path`, but no tombstones.

    Raises
    ------
    SourceError
        There is nothing, or a link or a device.
    """
    try:
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            for child in sorted(os.scandir(path), key=lambda entry: entry.name):
                if not is_tombstone(Path(child.path)):
                    yield from walk(Path(child.path))
            return
    except FileNotFoundError as error:
        raise LateError(f"{error.filename}: is missing, but the documents refer to it") from error
    if not stat.S_ISREG(mode):
        raise SourceError(f"{path}: is a link or no plain file; put the file itself there")
    yield path


def _group_files(path: Path, root: Path) -> Iterable[Path]:
    """The metadata of the Zarr groups that the array `path` is a member of: without it the group is lost."""
    for folder in path.parents:
        if folder == root or not any((folder / name).exists() for name in ZARR_GROUP_FILES):
            return
        for name in ZARR_GROUP_FILES:
            if (folder / name).is_file() and not (folder / name).is_symlink():
                yield folder / name


def member_name(file: Path, root: Path) -> str:
    """The name in a bundle of a file under `root`."""
    name = f"raw/{file.relative_to(root).as_posix()}"
    if not is_text(name):
        raise SourceError(
            f"{name!r}: its name is no UTF-8 or has control characters; rename it and correct the documents"
        )
    return name
