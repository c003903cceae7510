"""TIFF files that are numbered are one array: its rows are the files in the order of their numbers.

`scan_0001.tif`, `scan_0002.tif` are `scan_*.tif`. Numbers may be missing and come in any order. A file is on
its own while it is the only one, where its image has another shape or dtype than the array, and where its
number is taken, or too large for the catalogue.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from tiled.structures.array import ArrayStructure

from apsdm_bluesky.spool._catalogue import FailedError
from apsdm_bluesky.spool._file_nodes import (
    TIFF,
    TIFFS,
    Described,
    StoredFile,
    asset,
    data_source,
    structure_of,
)
from apsdm_bluesky.spool._files_writer import FilesWriter, keys, uris
from apsdm_bluesky.spool._nodes import Parts

_NAME = re.compile(r"(?P<stem>.*?)(?P<number>[0-9]+)(?P<suffix>\.tiff?)", re.IGNORECASE | re.DOTALL)
_LARGEST_NUMBER = 2**31 - 1

Kind = tuple[tuple[int, ...], np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class SeriesName:
    """Of which series a file may be: the folder under `data`, the pattern of names."""

    folder: str
    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """An image that is or becomes part of a series; `lone` is where it has a node of its own."""

    number: int
    kind: Kind
    file: Described | None
    labels: Mapping[str, Any]
    asset: Mapping[str, Any]
    lone: Parts | None = None

    @property
    def uri(self) -> str:
        """The file's address."""
        return str(self.asset["data_uri"])


@dataclass(slots=True, kw_only=True)
class _Known:
    """The series as it stands in the catalogue."""

    place: Parts
    source: int
    kind: Kind
    assets: dict[int, Mapping[str, Any]]
    metadata: dict[str, Any]

    @property
    def uris(self) -> set[str]:
        """The files' addresses."""
        return {str(each["data_uri"]) for each in self.assets.values()}


def series_of(file: StoredFile) -> SeriesName | None:
    """The series that a file may be of; None for what is no numbered TIFF, and for later versions of one."""
    path = PurePosixPath(file.name)
    match = _NAME.fullmatch(path.name)
    if file.mimetype != TIFF or match is None or file.version != 1 or not file.size:
        return None
    if int(match["number"]) > _LARGEST_NUMBER:
        return None
    return SeriesName(path.parent.as_posix(), f"{match['stem']}*{match['suffix']}")


class SeriesWriter:
    """Writes one series, some of its files at a time."""

    def __init__(self, writer: FilesWriter, name: SeriesName) -> None:
        self._writer = writer
        self._nodes = writer.nodes
        self._name = name
        self._known: _Known | None = None
        self._looked = False

    def add(self, files: Sequence[StoredFile]) -> list[Described]:
        """Make or extend the series; returns the files that have to be registered on their own."""
        looked = self._writer.look_into(files)
        alone = [file for file in looked if file.mimetype != TIFF]
        images = [_image(file) for file in looked if file.mimetype == TIFF]
        folder = self._writer.folder(files[0])
        lone = [] if self._looked else self._look(folder)
        rest = self._begin(folder, images, lone) if self._known is None else self._extend(self._known, images)
        self._remove(lone)
        return alone + [self._on_its_own(image) for image in rest]

    def _look(self, folder: Parts) -> list[_Image]:
        """Find the series, and members to be that have nodes of their own."""
        self._looked = True
        for key in self._keys():
            found = self._nodes.get([*folder, key])
            if found is not None and _is_series(found):
                self._known = _known([*folder, key], found)
                break
        return [
            _lone([*folder, key], attributes)
            for key, attributes in self._nodes.search(folder, "series", self._name.pattern)
            if _is_single(attributes)
        ]

    def _begin(self, folder: Parts, images: Sequence[_Image], lone: Sequence[_Image]) -> list[_Image]:
        own = {image.uri for image in images}
        members = _largest([*images, *(image for image in lone if image.uri not in own)])
        if len(members) < 2:
            return list(images)
        known = _Known(place=(), source=0, kind=members[0].kind, assets={}, metadata={})
        known.assets = {image.number: image.asset for image in members}
        known.metadata = self._metadata(known, members)
        for key in self._keys():
            place = [*folder, key]
            if self._nodes.create(place, "array", known.metadata, _source(known, members)):
                self._known = _known(place, self._nodes.get(place) or {})
                return [image for image in images if image not in members]
        raise FailedError(f"{'/'.join(folder)}: no name is free for {self._name.pattern}")

    def _extend(self, known: _Known, images: Sequence[_Image]) -> list[_Image]:
        there = known.uris
        fresh = [image for image in images if image.uri not in there]
        new = {
            image.number: image
            for image in reversed(fresh)
            if image.kind == known.kind and image.number not in known.assets
        }
        members = [new[number] for number in sorted(new)]
        known.assets |= {image.number: image.asset for image in members}
        if members:
            self._nodes.put_source(known.place, _source(known, members))
        there = known.uris
        metadata = self._metadata(known, [image for image in images if image.uri in there])
        if metadata != known.metadata:  # also where it was not written when the files were
            self._nodes.put_metadata(known.place, metadata)
            known.metadata = metadata
        return [image for image in fresh if image not in members]

    def _remove(self, lone: Sequence[_Image]) -> None:
        """Nodes of files that are in the series now."""
        there = set() if self._known is None else self._known.uris
        for image in lone:
            if image.lone is not None and image.uri in there:
                self._nodes.delete(image.lone)

    def _metadata(self, known: _Known, members: Sequence[_Image]) -> dict[str, Any]:
        """Of the series; `run` and `daq` are of the last run that brought files."""
        runs = list(known.metadata.get("runs", ()))
        labels = dict(known.metadata)
        for image in members:
            if image.labels["run"] not in runs:
                runs.append(image.labels["run"])
                labels = dict(image.labels)
        folder = "" if self._name.folder == "." else f"{self._name.folder}/"
        for key in ("sha256", "version", "modified", "series"):
            labels.pop(key, None)
        return {
            **labels,
            "path": f"{folder}{self._name.pattern}",
            "size": sum(int(each["size"]) for each in known.assets.values()),
            "files": len(known.assets),
            "numbers": [list(pair) for pair in _ranges(sorted(known.assets))],
            "runs": runs,
        }

    def _on_its_own(self, image: _Image) -> Described:
        """A file that a series may still begin with tells which one."""
        if image.file is None:
            raise FailedError(f"{self._name.pattern}: a file of the catalogue is none of the run")
        more = {"series": self._name.pattern} if self._known is None else {}
        return replace(image.file, more={**image.file.more, **more})

    def _keys(self) -> Iterator[str]:
        return keys(self._name.pattern, f"series {self._name.folder}/{self._name.pattern}")


def _image(file: Described) -> _Image:
    if file.shape is None or file.dtype is None:
        raise FailedError(f"{file.file.name}: is no image")
    number = _number(file.file.name)
    return _Image(
        number=number,
        kind=(file.shape, file.dtype),
        file=file,
        labels=file.metadata,
        asset=asset(file.file, "data_uris", number),
    )


def _lone(place: Parts, attributes: Mapping[str, Any]) -> _Image:
    (source,) = attributes["data_sources"]
    (only,) = source["assets"]
    number = _number(str(attributes["metadata"]["path"]))
    told = {"data_uri": only["data_uri"], "is_directory": False, "parameter": "data_uris", "num": number}
    return _Image(
        number=number,
        kind=_kind(source),
        file=None,
        labels=attributes["metadata"],
        asset={**told, "size": int(attributes["metadata"]["size"])},
        lone=tuple(place),
    )


def _known(place: Parts, attributes: Mapping[str, Any]) -> _Known:
    (source,) = attributes["data_sources"]
    shape, dtype = _kind(source)
    return _Known(
        place=tuple(place),
        source=source["id"],
        kind=(shape[1:], dtype),
        assets={each["num"]: each for each in source["assets"]},
        metadata=dict(attributes["metadata"]),
    )


def _kind(source: Mapping[str, Any]) -> Kind:
    structure = ArrayStructure.from_json(source["structure"])
    return tuple(structure.shape), structure.data_type.to_numpy_dtype()


def _source(known: _Known, members: Sequence[_Image]) -> dict[str, Any]:
    """The whole structure, and the files that are new."""
    shape, dtype = known.kind
    structure = structure_of((len(known.assets), *shape), dtype)
    source = data_source(TIFFS, "array", structure, [dict(image.asset) for image in members])
    return source | ({"id": known.source} if known.source else {})


def _is_series(attributes: Mapping[str, Any]) -> bool:
    return any(source["mimetype"] == TIFFS for source in attributes["data_sources"] or ())


def _is_single(attributes: Mapping[str, Any]) -> bool:
    sources = attributes["data_sources"] or ()
    return [source["mimetype"] for source in sources] == [TIFF] and len(uris(attributes)) == 1


def _largest(images: Sequence[_Image]) -> list[_Image]:
    """Those of one kind, each number once: of the kind that has most of them."""
    kinds: list[dict[int, _Image]] = []
    for image in images:
        alike = next((each for each in kinds if next(iter(each.values())).kind == image.kind), None)
        if alike is None:
            kinds.append({image.number: image})
        else:
            alike.setdefault(image.number, image)
    members = max(kinds, key=len, default={})
    return [members[number] for number in sorted(members)]


def _number(name: str) -> int:
    match = _NAME.fullmatch(PurePosixPath(name).name)
    return int(match["number"]) if match else 0


def _ranges(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of numbers without a gap."""
    start = 0
    for place in range(1, len(numbers) + 1):
        if place == len(numbers) or numbers[place] != numbers[place - 1] + 1:
            yield numbers[start], numbers[place - 1]
            start = place
