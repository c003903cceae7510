"""Single frames of a Rigaku module's file: only what is asked for is read."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import COUNT_BITS, FRAME_SHIFT, PIXEL_BITS, PIXEL_SHIFT

from ._rigaku import _MODULE, _OFFSET_BIT, _PIXELS, _WORD, _frame_count

_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SAMPLE_WORDS = 4096
_MOST_COUNT = 2**16 - 1


class RigakuFrames:
    """The frames of one module's file by number. Files are opened anew for each reading.

    Attributes
    ----------
    shape, dtype
        (frames, 512, 1024), as counts of 16 bits. Frames after the last one with an event are not known.

    Raises
    ------
    FormatError
        The file is empty, is no regular one, or has no whole words.
    """

    dtype = np.dtype(np.uint16)

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            frames = _frame_count(path)
        except OSError as error:
            raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
        if not frames:
            raise FormatError(f"{path}: is empty; give a file with frames")
        self.shape = (frames, *_MODULE)

    def frames(self, rows: range) -> Iterator[NDArray[Any]]:
        """The frames of some rows, one by one. The array is the same each time: copy what must last.

        Raises
        ------
        FormatError
            The file is damaged there, has no such row, or cannot be read.
        """
        if len(rows) and not (min(rows[0], rows[-1]) >= 0 and max(rows[0], rows[-1]) < self.shape[0]):
            raise FormatError(f"{self._path}: has {self.shape[0]} frames, not rows {rows[0]} to {rows[-1]}")
        try:
            fd = os.open(self._path, _READING)
            try:
                yield from self._frames(_Words(fd), rows)
            finally:
                os.close(fd)
        except OSError as error:
            raise FormatError(f"{self._path}: cannot be read ({error.strerror})") from error

    def _frames(self, words: "_Words", rows: range) -> Iterator[NDArray[Any]]:
        frame = np.zeros(_MODULE, self.dtype)
        end, behind = 0, -1
        for row in rows:
            begin = end if row == behind else words.first_of(row)
            behind = row + 1
            end = words.first_of(behind, begin)
            pixels, counts = self._events(words.read(begin, end), row)
            frame[:] = 0
            np.add.at(frame.reshape(-1), pixels, counts)
            yield frame

    def _events(self, words: NDArray[np.uint64], row: int) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
        """Pixels and counts of a frame."""
        pixels = (words >> np.uint64(PIXEL_SHIFT) & np.uint64((1 << PIXEL_BITS) - 1)).astype(np.int64)
        counts = words & np.uint64((1 << COUNT_BITS) - 1)
        wrong = (pixels >= _PIXELS) | (words >> np.uint64(FRAME_SHIFT) != row)
        if wrong.any() or (counts.sum() > _MOST_COUNT and _overflows(pixels, counts)):
            raise FormatError(f"{self._path}: frame {row} is damaged; give an intact Rigaku file")
        return pixels, counts.astype(np.uint16)


class _Words:
    """Reads by position: a file that became shorter is an error, where a memory map would end the process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._count = os.fstat(fd).st_size // _WORD.itemsize
        self._flip = self._word(0) & int(_OFFSET_BIT) if self._count else 0

    def first_of(self, frame: int, low: int = 0) -> int:
        """The first word of that frame or of a later one, by halving what may be."""
        high = self._count
        while low < high:
            middle = (low + high) // 2
            if self._word(middle) >> FRAME_SHIFT < frame:
                low = middle + 1
            else:
                high = middle
        return low

    def read(self, begin: int, end: int) -> NDArray[np.uint64]:
        """The words from `begin` on, before `end`, without the bit that belongs to none."""
        data = bytearray()
        wanted = (end - begin) * _WORD.itemsize
        while len(data) < wanted:
            part = os.pread(self._fd, wanted - len(data), begin * _WORD.itemsize + len(data))
            if not part:
                raise FormatError("a Rigaku file became shorter while it was read")
            data += part
        return np.frombuffer(data, _WORD).astype(np.uint64, copy=False) ^ np.uint64(self._flip)

    def _word(self, place: int) -> int:
        return int.from_bytes(os.pread(self._fd, _WORD.itemsize, place * _WORD.itemsize), "little")


def looks_like_rigaku(path: Path) -> bool:
    """Whether a file begins and ends with words that a Rigaku module could have written.

    False also where it cannot be read.
    """
    try:
        fd = os.open(path, _READING)
        try:
            size = os.fstat(fd).st_size
            if not size or size % _WORD.itemsize:
                return False
            words, count = _Words(fd), size // _WORD.itemsize
            begin = words.read(0, min(count, _SAMPLE_WORDS))
            end = words.read(max(count - _SAMPLE_WORDS, 0), count)
        finally:
            os.close(fd)
    except (OSError, FormatError):
        return False
    return _are_events(begin) and _are_events(end) and bool(begin[0] <= end[0])


def _are_events(words: NDArray[np.uint64]) -> bool:
    """In order, each with a pixel of the module and a count."""
    places = words >> np.uint64(PIXEL_SHIFT)
    pixels = places & np.uint64((1 << PIXEL_BITS) - 1)
    counts = words & np.uint64((1 << COUNT_BITS) - 1)
    frames = words >> np.uint64(FRAME_SHIFT)
    ordered = bool((frames[1:] >= frames[:-1]).all())
    return ordered and bool((pixels < _PIXELS).all()) and bool(counts.all())


def _overflows(pixels: NDArray[np.int64], counts: NDArray[np.uint64]) -> bool:
    return bool(np.bincount(pixels, counts.astype(float), minlength=1).max() > _MOST_COUNT)
