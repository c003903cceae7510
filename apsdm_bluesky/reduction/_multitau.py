"""Multi-tau correlation of frames that arrive in batches."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import Batch, EventBatch, FrameBatch

from ._checks import check_events, counts_at, flat_frames
from ._g2 import Delay, G2Averages, MultiTauResult
from ._kernels import add_to_image, scatter
from ._level import Level
from ._qmap import QMap
from ._scheme import level_lags, scheme

# A pixel's total: with it every sum of counts fits 32 bits and every sum of products 64 (see Level).
MAX_TOTAL = 2**32 - 1
# Frames taken through the levels at a time: they are widened to 32 bits, so this bounds the memory a batch
# needs.
CHUNK = 64

# Counts of the used pixels, shape (stop - start, npix), of the frames from start to stop of a batch.
RowsOf = Callable[[int, int], NDArray[np.uint32]]


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
        self._places = np.full(qmap.mask.size, -1, np.int32)
        self._places[self._pixels] = np.arange(len(self._pixels))
        self._delays_per_level = delays_per_level
        self._averages = G2Averages(qmap, groups)
        self._levels: list[Level] = []
        self._totals = np.zeros(len(self._pixels), np.uint64)
        self._frames = 0
        self._last = -1

    def push(self, batch: Batch) -> None:
        """Add the batch's frames. An empty batch changes nothing.

        Packed events are spread over the used pixels, `CHUNK` frames at a time.

        Raises
        ------
        ReductionError
            Frames of another shape than the q-map, no integers, a negative count, a pixel outside the image,
            indices that do not increase, or a pixel whose total would pass 2^32 - 1 counts. Nothing was added
            then.
        """
        if len(batch) == 0:
            return
        rows_of = self._rows_of_events(batch) if isinstance(batch, EventBatch) else self._rows_of(batch)
        indices = batch.indices.astype(np.int64)
        for start in range(0, len(indices), CHUNK):
            stop = min(start + CHUNK, len(indices))
            self._push_levels(indices[start:stop], rows_of(start, stop))
        self._frames += len(indices)
        self._last = int(indices[-1])

    def _rows_of(self, batch: FrameBatch) -> RowsOf:
        counts = counts_at(flat_frames(batch, self._qmap.shape, self._last), self._pixels)
        highest = counts.max(axis=0)
        if int(highest.max()) > MAX_TOTAL:
            raise self._too_bright(highest)
        self._add_to_totals(counts.sum(axis=0, dtype=np.uint64), highest)
        return lambda start, stop: counts[start:stop].astype(np.uint32)

    def _rows_of_events(self, batch: EventBatch) -> RowsOf:
        check_events(batch, self._qmap.shape, self._last)
        image = np.zeros(self._qmap.mask.size, np.int64)
        add_to_image(batch.words, image)
        sums = image[self._pixels]
        self._add_to_totals(sums.astype(np.uint64), sums)

        def rows_of(start: int, stop: int) -> NDArray[np.uint32]:
            rows = np.zeros((stop - start, len(self._pixels)), np.uint32)
            scatter(batch.words, batch.offsets[start : stop + 1], self._places, rows, MAX_TOTAL)
            return rows

        return rows_of

    def _add_to_totals(self, sums: NDArray[np.uint64], brightness: NDArray[np.integer]) -> None:
        totals: NDArray[np.uint64] = self._totals + sums
        if int(totals.max()) > MAX_TOTAL:
            raise self._too_bright(brightness)
        self._totals = totals

    def _too_bright(self, brightness: NDArray[np.integer]) -> ReductionError:
        y, x = divmod(int(self._pixels[int(np.argmax(brightness))]), self._qmap.shape[1])
        return ReductionError(
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
