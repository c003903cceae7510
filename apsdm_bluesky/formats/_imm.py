"""IMM, the multi-image files of the older detectors at APS 8-ID: for each frame a header and its pixels.

The header has 1,024 bytes, little-endian, of which these are read (byte offset, type): ``compression``
(4, i4; 6: sparse, else dense), ``rows`` (108, i4), ``cols`` (112, i4), ``bytes`` a pixel (116, i4),
``elapsed`` (128, f8, seconds), ``dlen`` (152, u4: pixels that follow). Then `dlen` pixels: sparse as i4
row-major indices and i2 counts, one array after the other; dense as u2. (Source: the APS readers in
boost-corr 0.1.7.)
"""

import math
import struct
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import (
    COUNT_BITS,
    FRAME_SHIFT,
    PIXEL_BITS,
    PIXEL_SHIFT,
    Batch,
    EventBatch,
    FrameBatch,
)

from ._series import MAX_FRAMES, frames_within

__all__ = ["ImmSeries"]

_HEADER_BYTES = 1024
# compression; rows, cols, bytes a pixel; elapsed; dlen
_HEADER = struct.Struct("<4xi100xiii8xd16xI868x")
_SPARSE = 6
_MAX_COUNT = (1 << COUNT_BITS) - 1


class ImmSeries:
    """A `FrameSeries` of an IMM file. Opening it reads every header, and keeps 24 bytes a frame."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self.events, self.shape = self._first_header(file)
            places, lengths, times = self._index(file, path.stat().st_size)
        self._places, self._lengths = places, lengths
        grows = np.isfinite(times).all() and (np.diff(times) > 0).all() and len(times) > 1
        self._times = times if grows else None
        self.dtype: np.dtype[Any] = np.dtype(np.uint16)
        self.frames = len(places)
        self.period_s = float(times[-1] - times[0]) / (len(times) - 1) if grows else None

    def batches(self, size: int) -> Iterator[Batch]:
        """See `FrameSeries.batches`."""
        size = size if self.events else frames_within(size, self.shape, self.dtype)
        with self._path.open("rb") as file:
            for first in range(0, self.frames, size):
                numbers = range(first, min(first + size, self.frames))
                yield self._sparse(file, numbers) if self.events else self._dense(file, numbers)

    def _first_header(self, file: IO[bytes]) -> tuple[bool, tuple[int, int]]:
        compression, rows, columns, width, _, _ = self._header(file, 0)
        if not (0 < rows <= 1 << 15 and 0 < columns <= 1 << 15):
            raise self._fault(0, f"an image of {rows} x {columns} pixels")
        if compression == _SPARSE and rows * columns > 1 << PIXEL_BITS:
            raise self._fault(0, f"{rows} x {columns} sparse pixels, at most {1 << PIXEL_BITS} can be read")
        if compression != _SPARSE and width != 2:
            raise self._fault(0, f"{width} bytes a pixel, 2 are expected")
        return compression == _SPARSE, (rows, columns)

    def _index(
        self, file: IO[bytes], size: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Where each frame's pixels begin, how many they are, and its time."""
        ny, nx = self.shape
        places, lengths, times = array("q"), array("q"), array("d")
        place = 0
        while place < size:
            file.seek(place)
            compression, rows, columns, _, elapsed, length = self._header(file, place)
            if (compression == _SPARSE, (rows, columns)) != (self.events, self.shape):
                raise self._fault(
                    place, f"{rows} x {columns} pixels, compression {compression}, unlike the first"
                )
            if length > ny * nx or (length != ny * nx and not self.events):
                raise self._fault(place, f"{length} pixels where the image has {ny * nx}")
            if len(places) == MAX_FRAMES:
                raise FormatError(f"{self._path}: has more than {MAX_FRAMES} frames; split it")
            places.append(place + _HEADER_BYTES)
            lengths.append(length)
            times.append(elapsed)
            place += _HEADER_BYTES + length * (6 if self.events else 2)
        if place > size:
            raise FormatError(f"{self._path}: frame {len(places) - 1} is truncated; give an intact IMM file")
        return np.asarray(places), np.asarray(lengths), np.asarray(times)

    def _header(self, file: IO[bytes], place: int) -> tuple[int, int, int, int, float, int]:
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            raise FormatError(f"{self._path}: ends in the header at byte {place}; give an intact IMM file")
        compression, rows, columns, width, elapsed, length = _HEADER.unpack(header)
        return compression, rows, columns, width, elapsed, length

    def _dense(self, file: IO[bytes], numbers: range) -> FrameBatch:
        frames = np.empty((len(numbers), *self.shape), self.dtype)
        for row, number in enumerate(numbers):
            frames[row] = self._array(file, number, "<u2", 0).reshape(self.shape)
        return FrameBatch(
            frames=frames, indices=np.array(numbers, np.int64), timestamps=self._stamps(numbers)
        )

    def _sparse(self, file: IO[bytes], numbers: range) -> EventBatch:
        words = [self._words(file, number) for number in numbers]
        return EventBatch(
            words=np.concatenate(words),
            offsets=np.cumsum([0, *(len(part) for part in words)], dtype=np.int64),
            indices=np.array(numbers, np.int64),
            shape=self.shape,
            timestamps=self._stamps(numbers),
        )

    def _words(self, file: IO[bytes], number: int) -> NDArray[np.uint64]:
        length = int(self._lengths[number])
        pixels = self._array(file, number, "<i4", 0)
        counts = self._array(file, number, "<i2", 4 * length)
        if length and (pixels.min() < 0 or pixels.max() >= math.prod(self.shape)):
            raise self._fault(int(self._places[number]), f"a pixel outside the {self.shape} of the image")
        if length and counts.min() < 0:
            raise self._fault(int(self._places[number]), "a negative count")
        if length and counts.max() > _MAX_COUNT:  # more than a word holds: several words, which add up
            pixels, counts = _split(pixels, counts)
        frame = np.uint64(number % (1 << 64 - FRAME_SHIFT))
        words: NDArray[np.uint64] = pixels.astype(np.uint64) << np.uint64(PIXEL_SHIFT)
        return words | counts.astype(np.uint64) | (frame << np.uint64(FRAME_SHIFT))

    def _array(self, file: IO[bytes], number: int, kind: str, skip: int) -> NDArray[Any]:
        file.seek(int(self._places[number]) + skip)
        values = np.fromfile(file, kind, int(self._lengths[number]))
        if len(values) != self._lengths[number]:
            raise FormatError(f"{self._path}: became shorter while it was read, at frame {number}")
        return values

    def _stamps(self, numbers: range) -> NDArray[np.float64] | None:
        return None if self._times is None else self._times[numbers.start : numbers.stop]

    def _fault(self, place: int, what: str) -> FormatError:
        return FormatError(f"{self._path}: the frame at byte {place} has {what}; give an intact IMM file")


def _split(pixels: NDArray[Any], counts: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    pieces = -(-counts.astype(np.int64) // _MAX_COUNT)
    nth = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    return np.repeat(pixels, pieces), np.minimum(np.repeat(counts, pieces) - nth * _MAX_COUNT, _MAX_COUNT)
