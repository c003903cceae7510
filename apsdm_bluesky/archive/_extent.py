"""Whether files on disk hold at least as much as the documents claim, without reading their content."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from apsdm_bluesky.errors import FormatError

_EVENTS = ("application/x-zarr;structure=events", "application/x-zarr;structure=sparse")
_BLOSC_HEADER = 16  # bytes 12-15: the length of the whole chunk, little endian


def check_extent(
    path: Path, files: Sequence[Path], mimetype: str, parameters: Mapping[str, Any], rows: int
) -> None:
    """Refuse a source that is empty, cut short or shorter than `rows` along its first axis.

    Zarr arrays (v2, v3), and the one that tells where events lie: the shape, and chunks that were cut short.
    HDF5: the dataset's shape. Other types, and HDF5 files as a whole: only that something is there.

    Parameters
    ----------
    path, files
        The source, and the plain files at or under it.

    Raises
    ------
    FormatError
        The source does not hold what the documents claim.
    """
    dataset = str(parameters.get("dataset", ""))
    if mimetype == "application/x-zarr":
        found = _zarr_rows(path / dataset.strip("/"), files)
    elif mimetype in _EVENTS:
        spans = path / "spans"
        found = _zarr_rows(spans, [file for file in files if file.parent == spans])
    elif mimetype == "application/x-hdf5" and dataset:
        found = _hdf5_rows(path, dataset)
    else:
        found = rows if any(file.stat().st_size for file in files) else 0
    if found < rows:
        raise FormatError(f"{path}: holds {found} rows, but the documents say {rows}")


def _hdf5_rows(path: Path, dataset: str) -> int:
    try:
        with h5py.File(path, "r", locking=False) as file:
            return int(file[dataset].shape[0])
    except (OSError, KeyError, AttributeError, IndexError, ValueError) as error:
        raise FormatError(f"{path}: dataset {dataset!r} is not readable ({error})") from error


def _zarr_rows(array: Path, files: Sequence[Path]) -> int:
    v3, v2 = array / "zarr.json", array / ".zarray"
    try:
        metadata = json.loads((v3 if v3.exists() else v2).read_bytes())
        rows = int(metadata["shape"][0])
        length = _length_v3(metadata) if v3.exists() else _length_v2(metadata)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise FormatError(f"{array}: is no readable Zarr array ({error!r})") from error
    for chunk in files:
        if chunk.name == "zarr.json" or chunk.name.startswith("."):  # metadata, and what was never finished
            continue
        size, expected = chunk.stat().st_size, length(chunk)
        if size < expected:
            raise FormatError(f"{chunk}: has {size} bytes, but its chunk had {expected}; it was cut short")
    return rows


def _length_v3(metadata: Mapping[str, Any]) -> Callable[[Path], int]:
    """How long a chunk file must be at least, as far as its codecs tell."""
    codecs = [codec["name"] for codec in metadata["codecs"]]
    if codecs[-1] == "blosc":
        return _blosc_length
    shape = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    return _plain_length(shape, metadata["data_type"]) if codecs == ["bytes"] else _not_empty


def _length_v2(metadata: Mapping[str, Any]) -> Callable[[Path], int]:
    compressor = metadata["compressor"]
    if compressor is not None:
        return _blosc_length if compressor["id"] == "blosc" else _not_empty
    return _not_empty if metadata.get("filters") else _plain_length(metadata["chunks"], metadata["dtype"])


def _plain_length(shape: Any, dtype: Any) -> Callable[[Path], int]:
    length = math.prod(int(n) for n in shape) * np.dtype(dtype).itemsize
    return lambda _: length


def _blosc_length(chunk: Path) -> int:
    with chunk.open("rb") as file:
        header = file.read(_BLOSC_HEADER)
    return int.from_bytes(header[12:], "little") if len(header) == _BLOSC_HEADER else _BLOSC_HEADER


def _not_empty(_: Path) -> int:
    return 1
