"""Stored files of a run, and what the catalogue is told of each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tiled.structures.array import ArrayStructure, BuiltinDtype, StructDtype

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.formats import RigakuFrames, check_hdf5, tiff_image

from ._runfile import RunFile
from ._uris import uri_path

HDF5 = "application/x-hdf5"
TIFF = "image/tiff"
TIFFS = "multipart/related;type=image/tiff"
RIGAKU = "application/x-rigaku-bin"
BYTES = "application/octet-stream"

_CHUNK_BYTES = 16 << 20
_LARGEST_CHUNK = 128 << 20
_MANY_CHUNKS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file that a run refers to.

    Parameters
    ----------
    name
        Its path under the experiment's `data`.
    metadata
        Of its node.
    """

    uri: str
    mimetype: str
    name: str
    size: int
    version: int
    sha256: str | None
    metadata: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """Where it is."""
        return uri_path(self.uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A file as it is to be registered.

    Parameters
    ----------
    shape, dtype
        Of an array; None for a tree.
    more
        Metadata beside those of the file.
    """

    file: StoredFile
    mimetype: str
    shape: tuple[int, ...] | None
    dtype: np.dtype[Any] | None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """Tiled's structure family."""
        return "container" if self.shape is None else "array"

    @property
    def metadata(self) -> dict[str, Any]:
        """All of them."""
        return {**self.file.metadata, **self.more}

    def source(self) -> dict[str, Any]:
        """The data source of its node."""
        structure = None if self.shape is None or self.dtype is None else structure_of(self.shape, self.dtype)
        return data_source(self.mimetype, self.family, structure, [asset(self.file, "data_uri", None)])


def stored_files(run: RunFile) -> Iterator[StoredFile]:
    """The files of a run in the order of its documents.

    Raises
    ------
    FormatError
        A document is not as `run_documents` makes it.
    """
    start = run.start
    common = {key: start.get(key) for key in ("experiment", "station", "beamline", "daq", "owner")}
    for name, doc in run.documents():
        if name == "stream_resource":
            try:
                yield _stored(doc, {**common, "run": run.uid})
            except (KeyError, TypeError, ValueError) as error:
                raise FormatError(f"{run.path}: a malformed document of a file ({error!r})") from error


def _stored(doc: Mapping[str, Any], common: Mapping[str, Any]) -> StoredFile:
    told = doc["parameters"]
    name, size, version = str(told["name"]), int(told["size"]), int(told["version"])
    if any(part in ("", ".", "..") for part in name.split("/")) or size < 0:
        raise ValueError(name)
    uri_path(doc["uri"])
    return StoredFile(
        uri=str(doc["uri"]),
        mimetype=str(doc["mimetype"]),
        name=name,
        size=size,
        version=version,
        sha256=told.get("sha256"),
        metadata={
            **common,
            "path": name,
            "size": size,
            "sha256": told.get("sha256"),
            "version": version,
            "modified": told.get("mtime"),
        },
    )


def described(file: StoredFile) -> Described:
    """What the file's content is. What is not as its name promises is bytes, and its metadata say why."""
    try:
        return _looked_into(file)
    except FormatError as error:
        reason = str(error).removeprefix(f"{file.path}: ")
        return _as_bytes(file, {"unreadable": reason})


def _looked_into(file: StoredFile) -> Described:
    path = file.path
    if file.mimetype == HDF5 and file.size:
        check_hdf5(path)
        return Described(file=file, mimetype=HDF5, shape=None, dtype=None)
    if file.mimetype == TIFF and file.size:
        shape, dtype = tiff_image(path)
        return Described(file=file, mimetype=TIFF, shape=shape, dtype=dtype)
    if file.mimetype == RIGAKU and file.size:
        frames = RigakuFrames(path)
        return Described(file=file, mimetype=RIGAKU, shape=frames.shape, dtype=frames.dtype)
    return _as_bytes(file, {})


def _as_bytes(file: StoredFile, more: Mapping[str, Any]) -> Described:
    return Described(file=file, mimetype=BYTES, shape=(file.size,), dtype=np.dtype("u1"), more=more)


def structure_of(shape: Sequence[int], dtype: np.dtype[Any]) -> dict[str, Any]:
    """An array's structure, in chunks along its first axis that can be sent in one answer."""
    kind = StructDtype if dtype.fields is not None else BuiltinDtype
    row = int(np.prod(shape[1:], dtype=object)) * dtype.itemsize
    structure = ArrayStructure(
        data_type=kind.from_numpy_dtype(dtype),
        shape=tuple(shape),
        chunks=(_chunks(shape[0], row), *((length,) for length in shape[1:])) if shape else (),
    )
    return asdict(structure)


def _chunks(rows: int, row_bytes: int) -> tuple[int, ...]:
    """16 MiB each, but larger ones where there would be very many."""
    size = max(_CHUNK_BYTES // max(row_bytes, 1), 1)
    while rows > size * _MANY_CHUNKS and 2 * size * row_bytes <= _LARGEST_CHUNK:
        size *= 2
    whole, rest = divmod(rows, size)
    return (size,) * whole + ((rest,) if rest or not whole else ())


def data_source(
    mimetype: str, family: str, structure: Mapping[str, Any] | None, assets: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Files that stay where they are, as Tiled wants to be told of them."""
    return {
        "structure_family": family,
        "structure": structure,
        "mimetype": mimetype,
        "parameters": {},
        "properties": {},
        "assets": list(assets),
        "management": "external",
    }


def asset(file: StoredFile, parameter: str, number: int | None) -> dict[str, Any]:
    """A file of a data source; its number orders the files of one array."""
    return {
        "data_uri": file.uri,
        "is_directory": False,
        "parameter": parameter,
        "num": number,
        "size": file.size,
    }
