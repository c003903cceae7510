"""Sums against time in a bounded number of rows."""

import numpy as np
from numpy.typing import NDArray

# Finer than any screen, and 0.7 MB for 20 q bins.
MAX_TIME_BINS = 4096


class TimeBins:
    """Sums over time bins of `width` consecutive frames, at most `most` (a power of two) of them.

    The width is the smallest power of two that is enough for the frames so far: it depends on the last
    frame's index only, and integers add in any order, so any split gives the same sums. A frame that is
    missing is missing in its time bin's `frames`, and shifts nothing.
    """

    def __init__(self, columns: int, most: int) -> None:
        self.width = 1
        self._most = most
        self._sums = np.zeros((most, columns), np.int64)
        self._frames = np.zeros(most, np.int64)
        self._used = 0

    def add(self, indices: NDArray[np.int64], values: NDArray[np.int64]) -> None:
        """Add frames: indices (n,), increasing; values (n, columns)."""
        while int(indices[-1]) // self.width >= self._most:
            self._double_width()
        rows = indices // self.width
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        self._sums[rows[starts]] += np.add.reduceat(values, starts, axis=0)
        self._frames[rows[starts]] += np.diff(starts, append=len(rows))
        self._used = int(rows[-1]) + 1

    def result(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Frames, shape (b,), and sums, shape (b, columns), of the time bins up to the last frame's."""
        return self._frames[: self._used].copy(), self._sums[: self._used].copy()

    def _double_width(self) -> None:
        self.width *= 2
        half = self._most // 2
        for array in (self._sums, self._frames):
            array[:half] = array[0::2] + array[1::2]
            array[half:] = 0
