"""Two-time correlation of frames that arrive in batches."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import Batch, EventBatch

from ._checks import check_events, counts_at, flat_frames
from ._kernels import add_to_image
from ._qmap import QMap
from ._twotime_kernels import add_events, add_frames
from ._twotime_layout import Layout
from ._twotime_products import correlate
from ._twotime_result import TwoTimeResult, diagonal_means
from ._twotime_rows import Rows
from ._workers import OneThread, Workers

# A pixel's total: with it the sum of any frames fits 32 bits.
MAX_TOTAL = 2**32 - 1
# Fewer rows than these, of the widest counts, are no two-time correlation: a budget must hold them.
_FEWEST_ROWS = 16


class TwoTime:
    """C2 of chosen dynamic bins, in time bins (rows) that are as fine as the memory allows.

    Each pixel is divided by its static bin's mean in the row; then ``C2[i, j] = Npix * sum_p X_i X_j /
    (sum_p X_i * sum_p X_j)`` (as boost-corr; Bikondoa, J. Appl. Cryst. 50 (2017) 357). Pixels of a static bin
    without a count in a row have X = 0. The products of counts are integers and are scaled when all are
    summed, so the numbers do not depend on batches, threads, or how they were computed: from bit-planes, or
    by matrix products of larger counts.

    A row is the sum of `width` consecutive frames: one, until the rows are full; then the smallest power of
    two with which they fit.

    Parameters
    ----------
    bins
        Dynamic bins, from 1, in the order of the results; None: all.
    budget
        Bytes for the rows of counts (1, 2 or 4 a used pixel, by the row's highest count, and half as many to
        multiply them) and the matrices (8 n^2 a bin; two of them while one is made). n rows of 1-byte counts
        take ``1.5 * n * npix + 8 * n^2 * (nb + 2)`` bytes. 2^30 hold 680 rows of 800,000 pixels in 20 bins,
        or 4,000 of 40,000 in one. A batch is not copied.
    workers
        Who runs the products of `result`.
    """

    def __init__(
        self,
        qmap: QMap,
        *,
        bins: Sequence[int] | None = None,
        budget: int = 1 << 30,
        workers: Workers | None = None,
    ) -> None:
        self._qmap = qmap
        self._layout = Layout.of(qmap, bins)
        self._workers = workers or OneThread()
        columns, square = int(self._layout.columns[-1]), 8 * (len(self._layout.bins) + 2)
        needed = _FEWEST_ROWS * (6 * columns + _FEWEST_ROWS * square)
        if budget < needed:
            raise ReductionError(f"two-time in {budget} bytes: needs {needed}, or fewer bins")
        self._places = self._layout.places(qmap.mask.size)
        self._rows = Rows(columns, budget, square)
        self._bound = 0
        self._last = -1

    def push(self, batch: Batch) -> None:
        """Add the batch's frames. An empty batch changes nothing.

        Raises
        ------
        ReductionError
            Frames that do not fit (see `MultiTau.push`), or a pixel whose total could pass 2^32 - 1 counts.
            Nothing was added then.
        """
        if len(batch) == 0:
            return
        if isinstance(batch, EventBatch):
            highest = check_events(batch, self._qmap.shape, self._last)
            self._raise_bound(batch, len(batch.words) * highest)
        else:
            frames = flat_frames(batch, self._qmap.shape, self._last)
            self._raise_bound(batch, len(frames) * self._highest(frames))
        self._add(batch)
        self._last = int(batch.indices[-1])

    def _highest(self, frames: NDArray[np.integer]) -> int:
        """A bound of the used pixels' counts: that of a narrow dtype, else what they are."""
        if frames.dtype.kind == "u" and frames.itemsize <= 2:
            return int(np.iinfo(frames.dtype).max)
        pixels = self._layout.pixels.astype(np.int64)
        return max(int(counts_at(frames[k : k + 1], pixels).max()) for k in range(len(frames)))

    def _raise_bound(self, batch: Batch, counts: int) -> None:
        """What a pixel may have counted by now; the pixels are added up only when that seems too much."""
        bound = self._bound + counts
        if bound > MAX_TOTAL:
            totals = self._rows.totals()[self._places[self._layout.pixels]] + self._sums(batch)
            bound = int(totals.max())
        if bound > MAX_TOTAL:
            y, x = divmod(int(self._layout.pixels[int(totals.argmax())]), self._qmap.shape[1])
            raise ReductionError(f"two-time: pixel (x={x}, y={y}) passes {MAX_TOTAL} counts: mask it")
        self._bound = bound

    def _sums(self, batch: Batch) -> NDArray[np.uint64]:
        """The batch's total of each used pixel; at most 2^32 a frame, which is too much already."""
        if isinstance(batch, EventBatch):
            image = np.zeros(self._places.size, np.int64)
            add_to_image(batch.words, image)
            return image[self._layout.pixels].astype(np.uint64)
        sums = np.zeros(len(self._layout.pixels), np.uint64)
        for frame in batch.frames:
            sums += np.minimum(frame.ravel()[self._layout.pixels].astype(np.uint64), np.uint64(MAX_TOTAL + 1))
        return sums

    def _add(self, batch: Batch) -> None:
        indices = batch.indices.astype(np.int64)
        start = 0
        while start < len(indices):
            row = self._rows.open(int(indices[start]))
            after = (int(indices[start]) // self._rows.width + 1) * self._rows.width
            stop = int(np.searchsorted(indices, after))
            self._add_to_row(batch, start, stop, row)
            self._rows.came(stop - start)
            start = stop

    def _add_to_row(self, batch: Batch, start: int, stop: int, row: NDArray[np.uint32]) -> None:
        if isinstance(batch, EventBatch):
            words = batch.words[batch.offsets[start] : batch.offsets[stop]]
            add_events(words, self._places, row)
            return
        frames = batch.frames[start:stop].reshape(stop - start, -1)
        starts, columns = self._layout.starts, self._layout.columns
        cuts = np.searchsorted(starts, np.linspace(0, starts[-1], self._workers.threads + 1))

        def add_part(part: int) -> None:
            own = slice(cuts[part], cuts[part + 1] + 1)
            add_frames(frames, self._layout.pixels, starts[own], columns[own], row)

        self._workers.run(add_part, self._workers.threads)

    def result(self) -> TwoTimeResult:
        """The correlations so far; without a frame, arrays of length 0.

        Costs a product of all pairs of rows, each time.
        """
        came, rows = self._rows.result()
        n, layout = len(came), self._layout
        c2 = np.full((len(layout.bins), n, n), np.nan)
        for matrix, members in zip(c2, layout.members, strict=True):
            if members and n:
                columns = layout.columns[members.start : members.stop + 1]
                part = [row[columns[0] : columns[-1]] for row in rows]
                sizes = layout.sizes[members.start : members.stop]
                correlate(part, columns - columns[0], sizes, self._workers, matrix)
        g2, g2_err = diagonal_means(c2, np.array([0, 2 * n]))
        return TwoTimeResult(
            bins=layout.bins,
            q=self._qmap.q[layout.bins - 1],
            c2=c2,
            delays=np.arange(1, n, dtype=np.int64) * self._rows.width,
            g2=g2[0],
            g2_err=g2_err[0],
            first=np.arange(n, dtype=np.int64) * self._rows.width,
            frames=came,
            width=self._rows.width,
        )
