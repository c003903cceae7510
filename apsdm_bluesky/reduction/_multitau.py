"""Multi-tau correlation of frames that arrive in batches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import Batch, EventBatch, FrameBatch

from ._checks import check_events, flat_frames
from ._dense_frames import highest_count
from ._g2 import Delays, G2Averages, MultiTauResult, rows_at
from ._g2_segments import SegmentedG2, Segments, Snapshot
from ._g2_sums import CellSums, read_sums
from ._kernels import add_to_image
from ._multitau_levels import Levels
from ._qmap import QMap
from ._scheme import Definition, first_lag, scheme
from ._workers import OneThread, Workers

# A pixel's total: with it every sum of counts fits 32 bits and every sum of products 64.
MAX_TOTAL = 2**32 - 1

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PixelSums:
    """Each used pixel's means over the valid pairs of every delay.

    Parameters
    ----------
    delays
        Shape (nt,), int64 [frames].
    pixels
        Shape (npix,), int64: row-major, ascending.
    G2, IP, IF
        Shape (nt, npix), float64: means of x_n x_(n+k), of x_n and of x_(n+k), where x are the means of
        2^level frames. NaN without a valid pair.
    """

    delays: NDArray[np.int64]
    pixels: NDArray[np.int64]
    G2: Floats
    IP: Floats
    IF: Floats


class MultiTau:
    """g2 by a multi-tau scheme, right also where frames are missing.

    With d delays a level, level 0 has the delays 1..2d and level l >= 1 has {d+1..2d} * 2^l frames, as long
    as a delay is less than floor(N / 2^l) * 2^l, where N is the last frame's index plus one. The frames of a
    level are means of two of the level below (kept as integer sums: the factor cancels in g2). A pair counts
    when both its frames are there, and a level's frame is there when both its halves are.

    The definition of boost-corr is the default. That of scikit-beam (`lazy_one_time` with 2d buffers) has
    the delays 0..2d-1 and {d..2d-1} * 2^l, and one ratio for a whole dynamic bin; see `MultiTauResult`. Here
    the number of levels follows from the number of frames, and a bin without counts is NaN by itself, where
    scikit-beam ends the curves of all bins.

    Memory: 52 bytes a used pixel and level (d = 4), log2(N) levels, whatever the number of frames; more where
    counts do not fit 16 bits, products not 32, or frames are missing. Up to 135 MB of events, and
    a batch, wait to make up a block (see `EventGather`).

    Parameters
    ----------
    delays_per_level
        d, 1 or more.
    groups
        Number of pixel groups for jackknife errors, 2 or more.
    definition
        Whose delays and normalisation.
    segment_frames
        Length of the time segments that g2 is also given for (see `SegmentedG2`); 0 for none. A segment's end
        costs as much as a result.
    workers
        Run the work; the results do not depend on their number.
    """

    def __init__(
        self,
        qmap: QMap,
        *,
        delays_per_level: int = 4,
        groups: int = 64,
        definition: Definition = "boost-corr",
        segment_frames: int = 0,
        workers: Workers | None = None,
    ) -> None:
        if delays_per_level < 1 or groups < 2:
            raise ReductionError(f"{delays_per_level} delays a level, {groups} groups: need at least 1 and 2")
        if segment_frames < 0:
            raise ReductionError(f"segments of {segment_frames} frames: give 1 or more, 0 for none")
        self._qmap, self._pixels = qmap, qmap.pixels
        self._delays_per_level, self._first_lag = delays_per_level, first_lag(definition)
        self._workers = workers or OneThread()
        self._averages = G2Averages(qmap, groups, definition)
        self._levels = Levels(self._pixels, qmap.shape, delays_per_level, self._first_lag, self._workers)
        self._segments = Segments(segment_frames) if segment_frames else None
        # No pixel's total is above this.
        self._highest_total = 0
        self._frames = 0
        self._last = -1

    def push(self, batch: Batch) -> None:
        """Add the batch's frames. An empty batch changes nothing. Integer dtypes may change on the way.

        Raises
        ------
        ReductionError
            Frames of another shape than the q-map, no integers, a negative count, a pixel outside the image,
            indices that do not increase, or a pixel whose total would pass 2^32 - 1 counts. Nothing was added
            then.
        """
        if len(batch) == 0:
            return
        if isinstance(batch, EventBatch):
            self._push_events(batch)
        else:
            self._push_frames(batch)

    def _push_frames(self, batch: FrameBatch) -> None:
        flat = flat_frames(batch, self._qmap.shape, self._last)
        highest = 2 ** (8 * flat.dtype.itemsize) - 1
        if flat.dtype.kind == "i" or flat.dtype.itemsize > 2:
            highest = highest_count(flat, self._pixels, self._levels.dense.runs, self._workers)
        self._check_totals(highest * len(flat), lambda: _sums_at(flat, self._pixels))
        indices = batch.indices.astype(np.int64)
        for part in self._parts(indices):
            self._levels.push_frames(indices[part], flat[part])
            self._count(indices[part])

    def _push_events(self, batch: EventBatch) -> None:
        highest = check_events(batch, self._qmap.shape, self._last)

        def sums() -> NDArray[np.uint64]:
            image = np.zeros(self._qmap.mask.size, np.int64)
            add_to_image(batch.words, image)
            return image[self._pixels].astype(np.uint64)

        self._check_totals(highest * len(batch.words), sums)
        indices = batch.indices.astype(np.int64)
        for part in self._parts(indices):
            offsets = batch.offsets[part.start : part.stop + 1]
            self._levels.push_events(indices[part], batch.words, offsets)
            self._count(indices[part])

    def _check_totals(self, most: int, sums: Callable[[], NDArray[np.uint64]]) -> None:
        """Refuse a batch that would bring a pixel's total beyond `MAX_TOTAL`.

        Parameters
        ----------
        most
            What the batch adds to no pixel more of.
        sums
            What it adds to each pixel exactly; asked for where the bound is not enough.
        """
        if self._highest_total + most > MAX_TOTAL:
            self._highest_total = int(self._totals().max())
        if self._highest_total + most <= MAX_TOTAL:
            self._highest_total += most
            return
        added = sums()
        totals = self._totals() + added
        if int(totals.max()) > MAX_TOTAL:
            y, x = divmod(int(self._pixels[int(np.argmax(added))]), self._qmap.shape[1])
            raise ReductionError(
                f"a pixel's total passes {MAX_TOTAL} counts (the brightest of this batch: x={x}, y={y}): "
                "mask it"
            )
        self._highest_total = int(totals.max())

    def _totals(self) -> NDArray[np.uint64]:
        self._levels.update()
        return self._levels.dense.totals()

    def _parts(self, indices: NDArray[np.int64]) -> Iterator[slice]:
        """The frames in parts that each lie in one segment; a snapshot is taken before the first of one."""
        start = 0
        while start < len(indices):
            stop = len(indices)
            if self._segments is not None:
                if indices[start] >= self._segments.end:
                    self._segments.begin(int(indices[start]), self._snapshot(self._sums()))
                stop = int(np.searchsorted(indices, self._segments.end))
            yield slice(start, stop)
            start = stop

    def _count(self, indices: NDArray[np.int64]) -> None:
        self._frames, self._last = self._frames + len(indices), int(indices[-1])

    def result(self) -> MultiTauResult:
        """g2 so far. Without a delay (fewer than two frames; scikit-beam: no frame) arrays of length 0."""
        sums, delays = self._sums(), self._delays()
        return self._averages.result(delays, sums, self._frames, self._segmented(sums, delays))

    def pixel_sums(self) -> PixelSums:
        """G2, IP and IF of every used pixel so far: 24 bytes a pixel and delay."""
        self._levels.update()
        delays = self._delays()
        found = [np.full((len(delays.frames), len(self._pixels)), np.nan) for _ in range(3)]
        products = self._levels.event_products()
        for i in np.flatnonzero(delays.pairs):
            row, level = int(delays.rows[i]), int(delays.levels[i])
            sums = self._levels.dense.lag_sums(level, row, products)
            for values, lag_sum, scale in zip(found, sums, (0.25, 0.5, 0.5), strict=True):
                values[i] = lag_sum * scale**level / delays.pairs[i]
        G2, IP, IF = found
        return PixelSums(delays=delays.frames, pixels=self._pixels, G2=G2, IP=IP, IF=IF)

    def _sums(self) -> CellSums:
        self._levels.update()
        dense = self._levels.dense
        return read_sums(
            dense.state,
            self._levels.event_products(),
            [clock.pairs for clock in dense.clocks],
            self._first_lag,
            self._averages.cells,
            self._workers,
        )

    def _delays(self) -> Delays:
        """Every delay shorter than the series."""
        d = self._delays_per_level
        listed = list(scheme(self._last + 1, d, self._first_lag))
        levels, numbers, lags = np.array(listed, np.int64).reshape(-1, 3).T
        rows = np.where(levels == 0, numbers, (levels + 1) * d + numbers)
        pairs = self._levels.dense.pairs()
        return Delays(
            frames=lags << levels, levels=levels, pairs=rows_at(pairs, rows).astype(np.int64), rows=rows
        )

    def _snapshot(self, sums: CellSums) -> Snapshot:
        return Snapshot(
            frames=self._frames, pairs=self._levels.dense.pairs(), sums=self._averages.static_sums(sums)
        )

    def _segmented(self, sums: CellSums, delays: Delays) -> SegmentedG2 | None:
        if self._segments is None:
            return None
        parts = self._segments.differences(self._snapshot(sums))
        if self._last // self._segments.width < len(parts) - 1:
            parts.pop()  # the present segment has not begun
        g2 = [self._averages.segment_g2(part, delays.rows) for part in parts]
        return SegmentedG2(
            first=np.arange(len(parts)) * self._segments.width,
            frames=np.array([part.frames for part in parts], np.int64),
            g2=np.reshape(g2, (len(parts), len(delays.rows), len(self._qmap.q))),
        )


def _sums_at(frames: NDArray[np.integer], pixels: NDArray[np.int64]) -> NDArray[np.uint64]:
    """What frames (n, places) add to each used pixel; if that is too much, more than `MAX_TOTAL`."""
    sums = np.zeros(len(pixels), np.uint64)
    for start in range(0, len(frames), 16):
        counts = np.take(frames[start : start + 16], pixels, axis=1).astype(np.uint64)
        sums += np.minimum(counts, np.uint64(MAX_TOTAL + 1)).sum(axis=0)
    return sums
