"""Rows of the two-time correlation: sums of 2^k frames, in a bounded number of bytes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[Any]

_DTYPES = (np.uint8, np.uint16, np.uint32)


class Rows:
    """Sums of `width` consecutive frames, in columns that the caller chooses.

    The width is the smallest power of two with which the complete rows, in the narrowest of 1, 2 and 4 bytes
    a column, fit the budget. What they need at a width depends on counts and on the last frame's index only,
    and never falls as frames come: any split of the frames into batches ends at the same width. The row that
    is still open has 4 bytes a column besides; a row without frames has none.

    Parameters
    ----------
    budget
        Bytes for n complete rows, for `square` * n^2 and for the planes; at least `square`.
    packed
        The part of a row that is packed into planes at a time; they take at most 1.25 bytes a column.
    """

    def __init__(self, columns: int, budget: int, square: int, packed: float) -> None:
        self.width = 1
        self._budget, self._square = budget, square
        self._bytes_a_byte = 1 + 1.25 * packed
        self._closed: list[Counts | None] = []
        self._closed_bytes = 0
        self._frames: list[int] = []  # of the closed rows
        self._open = np.zeros(columns, np.uint32)
        self._single: Counts | None = None  # the open row instead, of one frame
        self._open_frames = 0

    def open(self, index: int) -> NDArray[np.uint32]:
        """The row of the frame `index`, for sums to be added to; `came` tells how many frames were."""
        while self._square * (index // self.width + 1) ** 2 > self._budget:
            self._double_width()
        while index // self.width > len(self._closed):
            self._close()
        return self._open

    def came(self, frames: int) -> None:
        """So many frames were added to the open row."""
        self._open_frames += frames

    def put(self, row: Counts) -> None:
        """The open row, of width 1, is this one, which has the narrowest dtype for its counts."""
        self._single = row
        self._open_frames = 1

    def totals(self) -> NDArray[np.uint64]:
        """The sum of all frames, shape (columns,)."""
        total = self._open.astype(np.uint64)
        for row in (*self._closed, self._single):
            if row is not None:
                total += row
        return total

    def result(self) -> tuple[NDArray[np.int64], list[Counts]]:
        """How many frames came, shape (n,), and the rows up to the last frame's, shape (columns,) each."""
        if not self._open_frames:
            return np.zeros(0, np.int64), []
        nothing = np.zeros(len(self._open), np.uint8)
        rows = [nothing if row is None else row for row in (*self._closed, self._opened())]
        return np.array([*self._frames, self._open_frames], np.int64), rows

    def _close(self) -> None:
        row = self._opened() if self._open_frames else None
        self._closed.append(row)
        self._closed_bytes += _bytes(row)
        self._frames.append(self._open_frames)
        if self._single is None:
            self._open[:] = 0
        self._single = None
        self._open_frames = 0
        while self._needed() > self._budget:
            self._double_width()

    def _opened(self) -> Counts:
        return _narrow(self._open) if self._single is None else self._single

    def _needed(self) -> float:
        return self._closed_bytes * self._bytes_a_byte + self._square * (len(self._closed) + 1) ** 2

    def _double_width(self) -> None:
        """Add up rows 2k and 2k + 1, each pair's memory freed before the next's is taken."""
        self.width *= 2
        if self._single is not None:
            self._open += self._single
            self._single = None
        if len(self._closed) % 2:
            last = self._closed.pop()
            if last is not None:
                self._open += last
            self._open_frames += self._frames.pop()
        half = len(self._closed) // 2
        for k in range(half):
            merged = _sum(self._closed[2 * k], self._closed[2 * k + 1])
            self._closed[2 * k] = self._closed[2 * k + 1] = None
            self._closed[k] = merged
        del self._closed[half:]
        self._frames = [self._frames[2 * k] + self._frames[2 * k + 1] for k in range(half)]
        self._closed_bytes = sum(map(_bytes, self._closed))


def _bytes(row: Counts | None) -> int:
    return 0 if row is None else row.nbytes


def _narrow(row: Counts) -> Counts:
    highest = int(row.max(initial=0))
    return row.astype(next(dtype for dtype in _DTYPES if highest <= np.iinfo(dtype).max))


def _sum(first: Counts | None, second: Counts | None) -> Counts | None:
    if first is None or second is None:
        return second if first is None else first
    return _narrow(np.add(first, second, dtype=np.uint32))
