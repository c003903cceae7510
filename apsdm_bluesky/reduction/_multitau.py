"""Multi-tau correlation of frames that arrive in batches."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import FrameBatch

from ._checks import counts_at, flat_frames
from ._g2 import Delay, G2Averages, MultiTauResult
from ._level import Level
from ._qmap import QMap
from ._scheme import level_lags, scheme

# A pixel's total: with it every sum of counts fits 32 bits and every sum of products 64 (see Level).
MAX_TOTAL = 2**32 - 1
# Frames taken through the levels at a time: they are widened to 32 bits, so this bounds the memory a batch
# needs.
CHUNK = 64


class MultiTau:
    """g2 by the multi-tau scheme of boost-corr, right also where frames are missing.

    With d delays a level, level 0 has the delays 1..2d and level l >= 1 has {d+1..2d} * 2^l frames, as long
    as a delay is less than floor(N / 2^l) * 2^l, where N is the last frame's index plus one. The frames of a
    level are means of two of the level below (kept as integer sums: the factor cancels in g2). A pair counts
    when both its frames are there, and a level's frame is there when both its halves are.

    Memory: 100 bytes a used pixel and level (d = 4), log2(N) levels, whatever the number of frames.

    Parameters
    ----------
    delays_per_level
        d, 1 or more.
    groups
        Number of pixel groups for jackknife errors, 2 or more.
    """

    def __init__(self, qmap: QMap, *, delays_per_level: int = 4, groups: int = 64) -> None:
        if delays_per_level < 1 or groups < 2:
            raise ReductionError(f"{delays_per_level} delays a level, {groups} groups: need at least 1 and 2")
        self._qmap = qmap
        self._pixels = qmap.pixels
        self._delays_per_level = delays_per_level
        self._averages = G2Averages(qmap, groups)
        self._levels: list[Level] = []
        self._totals = np.zeros(len(self._pixels), np.uint64)
        self._frames = 0
        self._last = -1

    def push(self, batch: FrameBatch) -> None:
        """Add the batch's frames. An empty batch changes nothing.

        Raises
        ------
        ReductionError
            Frames of another shape than the q-map, no integers, a negative count, indices that do not
            increase, or a pixel whose total would pass 2^32 - 1 counts. Nothing was added then.
        """
        if len(batch) == 0:
            return
        frames = flat_frames(batch, self._qmap.shape, self._last)
        counts = counts_at(frames, self._pixels)
        self._totals = self._checked_totals(counts)
        indices = batch.indices.astype(np.int64)
        for start in range(0, len(indices), CHUNK):
            self._push_levels(indices[start : start + CHUNK], counts[start : start + CHUNK].astype(np.uint32))
        self._frames += len(indices)
        self._last = int(indices[-1])

    def _checked_totals(self, counts: NDArray[np.integer]) -> NDArray[np.uint64]:
        """Counts of every pixel with this batch."""
        if int(counts.max()) <= MAX_TOTAL:
            totals: NDArray[np.uint64] = self._totals + counts.sum(axis=0, dtype=np.uint64)
            if int(totals.max()) <= MAX_TOTAL:
                return totals
        column = int(np.argmax(counts.max(axis=0)))
        y, x = divmod(int(self._pixels[column]), self._qmap.shape[1])
        raise ReductionError(
            f"a pixel's total passes {MAX_TOTAL} counts (the brightest of this batch: x={x}, y={y}): mask it"
        )

    def _push_levels(self, slots: NDArray[np.int64], rows: NDArray[np.uint32]) -> None:
        depth = 0
        while len(slots):
            if depth == len(self._levels):
                self._levels.append(Level(level_lags(depth, self._delays_per_level), len(self._pixels)))
            slots, rows = self._levels[depth].push(slots, rows)
            depth += 1

    def result(self) -> MultiTauResult:
        """g2 so far. With fewer than two frames it has no delays: arrays of length 0."""
        return self._averages.result(self._delays(), self._frames)

    def _delays(self) -> Iterator[Delay]:
        """Every delay shorter than the series, with its sums if any pair may have been seen."""
        for level, j, lag in scheme(self._last + 1, self._delays_per_level):
            sums = self._levels[level].lag_sums(j) if level < len(self._levels) else None
            yield Delay(frames=lag << level, level=level, sums=sums)
