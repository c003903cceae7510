"""Frames in HDF5 as areaDetector's NDFileHDF5 writes them: ``/entry/data/data``, shape (n, ny, nx).

Every filter of hdf5plugin is read. Frame numbers and times are taken from ``/entry/instrument/NDAttributes``
(``NDArrayUniqueId``; ``NDArrayEpicsTSSec`` and ``NDArrayEpicsTSnSec``, seconds since 1990) where they are.
(Layout: areaDetector, NDFileHDF5's default layout.)
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import FrameBatch

from ._series import MAX_FRAMES, frames_within

__all__ = ["AreaDetectorHdf5"]

logger = logging.getLogger(__name__)

_DATASET = "entry/data/data"
_ATTRIBUTES = "entry/instrument/NDAttributes"
_EPICS_EPOCH = 631152000  # 1990-01-01 in seconds of the Unix epoch
_SIZES = (1, 2, 4)
_MAX_CHUNK_BYTES = 2**30
_CACHE_BYTES = 64 * 2**20
# What h5py raises on damaged files.
_DAMAGE = (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError, MemoryError)


class AreaDetectorHdf5:
    """A `FrameSeries` of an areaDetector HDF5 file."""

    events = False

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with self._opened() as file:
                self._inspect(file)
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def batches(self, size: int) -> Iterator[FrameBatch]:
        """See `FrameSeries.batches`."""
        size = frames_within(size, self.shape, self.dtype)
        # Whole chunks are read, or each would be unpacked again and again.
        step = max(self._chunk_frames, size // self._chunk_frames * self._chunk_frames)
        for first in range(0, self._count, step):
            part = self._read(first, min(first + step, self._count))
            for start in range(0, len(part), size):
                rows = slice(first + start, first + min(start + size, len(part)))
                yield FrameBatch(
                    frames=part[start : start + size],
                    indices=self._indices[rows],
                    timestamps=None if self._times is None else self._times[rows],
                )

    def _opened(self) -> h5py.File:
        import hdf5plugin  # noqa: F401 - registers the filters; only where a file is read

        return h5py.File(self._path, "r", rdcc_nbytes=_CACHE_BYTES)

    def _inspect(self, file: h5py.File) -> None:
        data = file.get(_DATASET)
        if not isinstance(data, h5py.Dataset):
            raise FormatError(f"{self._path}: has no dataset /{_DATASET}; give an areaDetector file")
        if data.ndim != 3 or 0 in data.shape:
            raise FormatError(
                f"{self._path}: /{_DATASET} has shape {data.shape}; (n, rows, columns) is expected"
            )
        if data.dtype.kind not in "ui" or data.dtype.itemsize not in _SIZES:
            raise FormatError(
                f"{self._path}: /{_DATASET} is {data.dtype}; uint8, uint16 or uint32 are expected"
            )
        self._count, ny, nx = (int(length) for length in data.shape)
        self.shape = (ny, nx)
        self.dtype: np.dtype[Any] = np.dtype(f"u{data.dtype.itemsize}")
        if self._count > MAX_FRAMES:
            raise FormatError(f"{self._path}: says {self._count} frames, more than {MAX_FRAMES}; split it")
        self._chunk_frames = data.chunks[0] if data.chunks else 1
        chunk_bytes = self._chunk_frames * ny * nx * self.dtype.itemsize
        if chunk_bytes > _MAX_CHUNK_BYTES:
            raise FormatError(
                f"{self._path}: {chunk_bytes / 2**30:.1f} GiB of frames in one chunk are too many"
            )
        self._indices = self._frame_numbers(file)
        self._times = self._frame_times(file)
        self.frames = int(self._indices[-1]) + 1

    @property
    def period_s(self) -> float | None:
        """See `FrameSeries.period_s`."""
        if self._times is None or len(self._times) < 2:
            return None
        return float(self._times[-1] - self._times[0]) / float(self._indices[-1])

    def _frame_numbers(self, file: h5py.File) -> NDArray[np.int64]:
        """From 0 on, with the gaps of the unique ids; without usable ids as they stand in the file."""
        ids = self._attribute(file, "NDArrayUniqueId")
        if ids is not None and (np.diff(ids.astype(np.int64)) > 0).all():
            numbers: NDArray[np.int64] = (ids - ids[0]).astype(np.int64)
            return numbers
        if ids is not None:
            logger.warning("%s: its unique ids do not grow and are not used", self._path)
        return np.arange(self._count)

    def _frame_times(self, file: h5py.File) -> NDArray[np.float64] | None:
        seconds = self._attribute(file, "NDArrayEpicsTSSec")
        nanoseconds = self._attribute(file, "NDArrayEpicsTSnSec")
        if seconds is None or nanoseconds is None:
            return None
        times: NDArray[np.float64] = seconds.astype(float) + 1e-9 * nanoseconds.astype(float) + _EPICS_EPOCH
        if (np.diff(times) > 0).all():
            return times
        logger.warning("%s: its time stamps do not grow and are not used", self._path)
        return None

    def _attribute(self, file: h5py.File, name: str) -> NDArray[Any] | None:
        values = file.get(f"{_ATTRIBUTES}/{name}")
        if (
            not isinstance(values, h5py.Dataset)
            or values.shape != (self._count,)
            or values.dtype.kind not in "uif"
        ):
            return None
        array: NDArray[Any] = values[:]
        return array if array.dtype.kind != "f" or np.isfinite(array).all() else None

    def _read(self, first: int, stop: int) -> NDArray[Any]:
        try:
            with self._opened() as file:
                frames: NDArray[Any] = file[_DATASET][first:stop]
        except _DAMAGE as error:
            raise self._damaged(error, f" in frames {first} to {stop - 1}") from error
        if frames.dtype.kind == "i" and frames.min() < 0:
            raise FormatError(f"{self._path}: frames {first} to {stop - 1} hold negative values; save counts")
        return frames.astype(self.dtype, copy=False)

    def _damaged(self, error: BaseException, where: str = "") -> FormatError:
        reason = " ".join(str(error).split()) or type(error).__name__
        return FormatError(f"{self._path}: cannot be read{where} ({reason}); give an intact HDF5 file")
