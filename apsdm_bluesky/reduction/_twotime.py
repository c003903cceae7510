"""Two-time correlation of frames that arrive in batches."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import Batch

from ._qmap import QMap
from ._twotime_intake import Intake
from ._twotime_layout import Layout
from ._twotime_products import correlate
from ._twotime_result import TwoTimeResult, diagonal_means
from ._twotime_rows import Rows
from ._workers import OneThread, Workers

# Fewer rows than these, of the widest counts, are no two-time correlation: a budget must hold them.
_FEWEST_ROWS = 16
# Frames that become rows at a time.
_SINGLE_ROWS = 64


class TwoTime:
    """C2 of chosen dynamic bins, in time bins (rows) that are as fine as the memory allows.

    Each pixel is divided by its static bin's mean in the row; then ``C2[i, j] = Npix * sum_p X_i X_j /
    (sum_p X_i * sum_p X_j)`` (as boost-corr; Bikondoa, J. Appl. Cryst. 50 (2017) 357). Pixels of a static bin
    without a count in a row have X = 0. The products of counts are integers and are scaled when all are
    summed, so the numbers do not depend on batches, threads, or how they were computed: from events, from
    bit-planes, or by matrix products.

    A row is the sum of `width` consecutive frames: one, until the rows are full; then the smallest power of
    two with which they fit.

    Parameters
    ----------
    bins
        Dynamic bins, from 1, in the order of the results; None: all.
    budget
        Bytes for the rows of counts (1, 2 or 4 a pixel of the bins, by the row's highest count; those of the
        largest bin 2.25 times, to be packed) and the matrices (8 n^2 a bin): n rows of counts up to 255
        take ``n * (npix + 1.25 * npix of the largest bin) + 8 * n^2 * (nb + 1)``. 2^30 hold 1,000 rows of
        800,000 pixels in 20 equal bins, or 5,500 of 40,000 in one. Batches come besides.
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
        columns, square = int(self._layout.columns[-1]), 8 * (len(self._layout.bins) + 1)
        needed = _FEWEST_ROWS * (6 * columns + _FEWEST_ROWS * square)
        if budget < needed:
            raise ReductionError(f"two-time in {budget} bytes: needs {needed}, or fewer bins")
        self._rows = Rows(columns, budget, square, self._layout.largest_part)
        self._intake = Intake(qmap, self._layout, self._workers, self._rows.totals)

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
        self._intake.check(batch)
        indices = batch.indices.astype(np.int64)
        start = self._push_single(batch, indices)
        while start < len(indices):
            row = self._rows.open(int(indices[start]))
            after = (int(indices[start]) // self._rows.width + 1) * self._rows.width
            stop = int(np.searchsorted(indices, after))
            self._intake.add(batch, start, stop, row)
            self._rows.came(stop - start)
            start = stop

    def _push_single(self, batch: Batch, indices: NDArray[np.int64]) -> int:
        """Add frames as long as each is a row; returns how many."""
        for start in range(0, len(indices), _SINGLE_ROWS):
            if self._rows.width > 1:
                return start
            stop = min(start + _SINGLE_ROWS, len(indices))
            for k, taken in enumerate(self._intake.rows(batch, start, stop), start):
                row = self._rows.open(int(indices[k]))
                if self._rows.width > 1:
                    return k
                if taken is not None:
                    self._rows.put(taken)
                else:
                    self._intake.add(batch, k, k + 1, row)
                    self._rows.came(1)
        return len(indices)

    def result(self) -> TwoTimeResult:
        """The correlations so far; without a frame, arrays of length 0.

        Costs a product of all pairs of rows, each time.
        """
        came, rows = self._rows.result()
        n, layout = len(came), self._layout
        c2 = np.empty((len(layout.bins), n, n))
        for matrix, members in zip(c2, layout.members, strict=True):
            if not members:
                matrix[:] = np.nan
            elif n:
                columns = layout.columns[members.start : members.stop + 1]
                part = [row[columns[0] : columns[-1]] for row in rows]
                sizes = layout.sizes[members.start : members.stop]
                correlate(part, columns - columns[0], sizes, self._workers, matrix)
        g2, g2_err = diagonal_means(c2, np.array([0, 2 * n]), self._workers)
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
