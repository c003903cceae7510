"""Masks from files."""

from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError

from ._qmap import read_dataset

# Bytes: larger than any detector's mask, small enough to be read into memory.
_MAX_BYTES = 2**30


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask (ny, nx): True is a good pixel, which is any number but 0 in the file, as in pySimpleMask.

    Files: NumPy (.npy), TIFF (.tif, .tiff), or the q-map of pySimpleMask (.h5, .hdf, .hdf5), whose
    `/qmap/mask` and `/qmap/blemish` are both applied.

    Raises
    ------
    FormatError
        The file cannot be read, is of another kind, or holds no image of numbers; NaN is not allowed.
    """
    readers = {".npy": _npy, ".tif": _tiff, ".tiff": _tiff, ".h5": _hdf5, ".hdf": _hdf5, ".hdf5": _hdf5}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise FormatError(f"{path}: cannot tell what file this is; a mask ends in {', '.join(readers)}")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise FormatError(f"{path}: larger than {_MAX_BYTES} bytes, no mask of a detector")
        mask = reader(path)
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, EOFError, MemoryError) as error:
        raise FormatError(f"{path}: cannot be read as a mask ({error}); save it again") from error
    if mask.ndim != 2 or mask.dtype.kind not in "biuf" or np.isnan(mask).any():
        raise FormatError(
            f"{path}: holds {mask.dtype} of shape {mask.shape}: a mask is one image of numbers without NaN"
        )
    return mask.astype(np.bool_)


def _npy(path: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _tiff(path: Path) -> NDArray[Any]:
    return np.asarray(imagecodecs.tiff_decode(path.read_bytes()))


def _hdf5(path: Path) -> NDArray[Any]:
    with h5py.File(path, "r") as file:
        mask = read_dataset(path, file["qmap/mask"], 2, "biu").astype(np.bool_)
        if "qmap/blemish" in file:
            mask &= read_dataset(path, file["qmap/blemish"], 2, "biu").astype(np.bool_)
        return mask
