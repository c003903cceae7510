"""Raw files of the Rigaku detectors: sorted 64-bit words, one a non-zero pixel and frame.

Words are little-endian: from bit 40 on the frame number, from bit 16 on the pixel (21 bits, row-major in the
module), from bit 0 on the count (12 bits); bits between are not read. In files of the six-module detector bit
36 of every word may be set: it is no part of the pixel (as boost-corr 0.1.7 reads them).

A module has 512 rows and 1,024 columns. The six-module detector (3M) writes one file a module, ``.bin.000``
to ``.bin.005``. Its modules stand in 3 rows and 2 columns, 70 rows and 52 columns apart; row by row these are
the files 5, 0 / 4, 1 / 3, 2: 1676 x 2100 pixels. Pixels between modules count nothing. (Geometry: boost-corr
0.1.7, the reduction in use at APS 8-ID.)
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numba
import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import COUNT_BITS, FRAME_SHIFT, PIXEL_BITS, PIXEL_SHIFT, EventBatch, FrameBatch
from apsdm_bluesky.reduction import event_offsets

from ._series import frames_within

__all__ = ["RigakuModule", "RigakuSixModules"]

_MODULE = (512, 1024)
_PIXELS = _MODULE[0] * _MODULE[1]
_GAPS = (70, 52)
_ORDER = (5, 0, 4, 1, 3, 2)
_COLUMNS = 2
_OFFSET_BIT = np.uint64(1 << 36)
_WORD = np.dtype("<u8")
_CHUNK_WORDS = 1 << 20
_MOST_COUNT = 2**16 - 1


class RigakuModule:
    """A `FrameSeries` of one module's file."""

    shape = _MODULE
    dtype = np.dtype(np.uint16)
    events = True
    period_s = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self.frames = _frame_count(path)
        if not self.frames:
            raise FormatError(f"{path}: is empty; give a file with frames")

    def batches(self, size: int) -> Iterator[EventBatch]:
        """See `FrameSeries.batches`."""
        with self._path.open("rb") as file:
            reader = _WordReader(self._path, file)
            for first in range(0, self.frames, size):
                count = min(size, self.frames - first)
                words, offsets = reader.take(first, count)
                yield EventBatch(
                    words=words, offsets=offsets, indices=np.arange(first, first + count), shape=self.shape
                )
            reader.refuse_rest()


class RigakuSixModules:
    """A `FrameSeries` of the six files of a 3M detector, whose frames are matched by number.

    Its images have more pixels than an event word can number, so they come dense.

    Parameters
    ----------
    path
        Any of the six files.
    """

    dtype = np.dtype(np.uint16)
    events = False
    period_s = None
    shape = (3 * _MODULE[0] + 2 * _GAPS[0], 2 * _MODULE[1] + _GAPS[1])

    def __init__(self, path: Path) -> None:
        self._paths = [path.with_suffix(f".{number:03d}") for number in _ORDER]
        missing = [each.name for each in self._paths if not each.is_file()]
        if missing:
            raise FormatError(
                f"{path}: {', '.join(sorted(missing))} of the six modules lack; give all six files"
            )
        self.frames = max(_frame_count(each) for each in self._paths)
        if not self.frames:
            raise FormatError(f"{path}: the six files are empty; give files with frames")

    def batches(self, size: int) -> Iterator[FrameBatch]:
        """See `FrameSeries.batches`."""
        size = frames_within(size, self.shape, self.dtype)
        files = [path.open("rb") for path in self._paths]
        try:
            yield from self._merged(
                [_WordReader(*each) for each in zip(self._paths, files, strict=True)], size
            )
        finally:
            for file in files:
                file.close()

    def _merged(self, readers: "list[_WordReader]", size: int) -> Iterator[FrameBatch]:
        frames = np.empty((size, *self.shape), self.dtype)
        for first in range(0, self.frames, size):
            part = frames[: min(size, self.frames - first)]
            part[:] = 0
            for place, reader in enumerate(readers):
                row, column = divmod(place, _COLUMNS)
                corner = row * (_MODULE[0] + _GAPS[0]), column * (_MODULE[1] + _GAPS[1])
                if not _place(*reader.take(first, len(part)), corner[0], corner[1], part):
                    raise FormatError(
                        f"{self._paths[place]}: its words of one pixel in one frame add up to more than "
                        f"{self.dtype} holds; give an intact Rigaku file"
                    )
            yield FrameBatch(frames=part, indices=np.arange(first, first + len(part)))
        for reader in readers:
            reader.refuse_rest()


class _WordReader:
    """Reads a module's words in large pieces and hands them out by frame."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file
        self._rest: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._given = 0  # words handed out
        self._flip: np.uint64 | None = None

    def take(self, first: int, count: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """The words of `count` frames from number `first` on, and each frame's first word (count + 1,)."""
        last = np.uint64(((first + count) << FRAME_SHIFT) - 1)
        pieces = [self._rest]
        size = self._rest.size
        while not (pieces[-1].size and pieces[-1][-1] > last):
            piece = self._read()
            if not piece.size:
                break
            pieces.append(piece)
            size += piece.size
            if size > count * _PIXELS + _CHUNK_WORDS:
                raise FormatError(
                    f"{self._path}: has more words than pixels in frame {first} and on; is it raw?"
                )
        words = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
        cut = int(np.searchsorted(words, last, side="right"))
        words, self._rest = words[:cut], words[cut:]
        words.flags.writeable = False  # as what comes from PVA is: one compiled kernel for both
        offsets = np.empty(count + 1, np.int64)
        wrong = event_offsets(words, first, _PIXELS, offsets)
        if wrong >= 0:
            raise self._fault(words[wrong], self._given + wrong)
        self._given += cut
        return words, offsets

    def refuse_rest(self) -> None:
        """Words left behind the last frame's are out of order."""
        if self._rest.size:
            raise self._fault(self._rest[0], self._given)

    def _read(self) -> NDArray[np.uint64]:
        piece = np.fromfile(self._file, _WORD, _CHUNK_WORDS).astype(np.uint64, copy=False)
        if piece.size:
            if self._flip is None:
                self._flip = piece[0] & _OFFSET_BIT
            if self._flip:
                piece ^= self._flip
        return piece

    def _fault(self, word: np.uint64, place: int) -> FormatError:
        frame, pixel = int(word) >> FRAME_SHIFT, int(word) >> PIXEL_SHIFT & ((1 << PIXEL_BITS) - 1)
        return FormatError(
            f"{self._path}: word {place} (byte {8 * place}) is of frame {frame}, pixel {pixel}: out of "
            f"order or outside the {_MODULE[0]} x {_MODULE[1]} pixels; give an intact Rigaku file"
        )


def _frame_count(path: Path) -> int:
    """From the last word; 0 for an empty file."""
    size = path.stat().st_size
    if size % _WORD.itemsize:
        raise FormatError(
            f"{path}: {size} bytes are no whole 64-bit words; it is truncated or no Rigaku file"
        )
    if not size:
        return 0
    with path.open("rb") as file:
        file.seek(-_WORD.itemsize, 2)
        return (int.from_bytes(file.read(_WORD.itemsize), "little") >> FRAME_SHIFT) + 1


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _place(
    words: NDArray[np.uint64], offsets: NDArray[np.int64], row: int, column: int, frames: NDArray[Any]
) -> bool:  # pragma: no cover - compiled
    """Add a module's counts at its corner of the image; False where a sum exceeds 16 bits."""
    for frame in range(len(frames)):
        for place in range(offsets[frame], offsets[frame + 1]):
            pixel = np.int64((words[place] >> np.uint64(PIXEL_SHIFT)) & np.uint64((1 << PIXEL_BITS) - 1))
            y, x = row + pixel // _MODULE[1], column + pixel % _MODULE[1]
            count = np.int64(frames[frame, y, x]) + np.int64(words[place] & np.uint64((1 << COUNT_BITS) - 1))
            if count > _MOST_COUNT:
                return False
            frames[frame, y, x] = count
    return True
