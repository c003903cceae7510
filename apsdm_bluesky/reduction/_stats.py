"""Intensity against time, of the frame and of its q bins."""

from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.model import Batch

from ._checks import INT64_MAX
from ._columns import Columns, columns_of, sums_by
from ._frame_pass import FramePass, FrameSums
from ._qmap import QMap
from ._saxs import means
from ._time_bins import MAX_TIME_BINS, TimeBins
from ._workers import OneThread, Workers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameStatsResult:
    """Intensity against time.

    Parameters
    ----------
    indices
        Shape (n,), int64: frame indices.
    total
        Shape (n,), int64: counts of the frame over the mask's good pixels, inside or outside the q bins.
    centroid
        Shape (n, 2): x and y (column, row) [px], the mean over the same counts; NaN for a frame without
        counts, or with more than 64 bits hold when multiplied by the longer side of the image.
    iqt
        Shape (b, nq): I(q, t), the mean of each dynamic bin in each of b <= 4096 time bins [counts / pixel /
        frame]; NaN in a time bin without frames, and for a bin without pixels.
    iqt_first, iqt_frames
        Shape (b,), int64: the index at which each time bin begins, and the number of its frames that came.
    """

    indices: NDArray[np.int64]
    total: NDArray[np.int64]
    centroid: NDArray[np.float64]
    iqt: NDArray[np.float64]
    iqt_first: NDArray[np.int64]
    iqt_frames: NDArray[np.int64]


class FrameStats:
    """Total counts and centroid of every frame over the mask's good pixels, and I(q, t) of the dynamic bins.

    I(q, t) stands in time bins: one a frame in series of up to 4,096 frames; beyond, each holds the smallest
    power of two of frames with which 4,096 are enough. So only totals and centroids grow, by 32 bytes a
    frame. `Intensities` tells more from the same pass.
    """

    def __init__(self, qmap: QMap, *, workers: Workers | None = None) -> None:
        columns = columns_of(qmap)
        self._pass = FramePass(columns, workers or OneThread())
        self._record = FrameRecord(qmap, columns)

    def push(self, batch: Batch) -> None:
        """Add the batch's frames; errors as of `Intensities.push`."""
        sums = self._pass.sums(batch)
        if sums is not None:
            self._record.add(sums)

    def result(self) -> FrameStatsResult:
        """The intensities so far."""
        return self._record.result()


class FrameRecord:
    """What `FrameStats` keeps of each frame's sums."""

    def __init__(self, qmap: QMap, columns: Columns) -> None:
        self._dynamic = columns.of(qmap.dynamic)
        self._size = len(qmap.q) + 1  # with the pixels outside all bins
        self._pixels = np.bincount(qmap.dynamic.ravel(), minlength=self._size)[1:]
        self._indices = array("q")
        self._totals = array("q")
        self._centroids = array("d")
        # Totals up to this cannot have made the moments pass 64 bits.
        self._safe_total = INT64_MAX // max(qmap.shape)
        self._time_bins = TimeBins(self._size - 1, MAX_TIME_BINS)

    def add(self, sums: FrameSums) -> None:
        """Take the next frames."""
        totals = sums.columns.sum(axis=1)
        known = (totals > 0) & (totals <= self._safe_total)
        centroids = np.full(sums.moments.shape, np.nan)
        np.divide(sums.moments, totals[:, np.newaxis], out=centroids, where=known[:, np.newaxis])
        self._indices.frombytes(sums.indices.tobytes())
        self._totals.frombytes(totals.tobytes())
        self._centroids.frombytes(centroids.tobytes())
        self._time_bins.add(sums.indices, sums_by(self._dynamic, sums.columns, self._size)[:, 1:])

    def result(self) -> FrameStatsResult:
        """The intensities so far."""
        frames, sums = self._time_bins.result()
        return FrameStatsResult(
            indices=np.array(self._indices, np.int64),
            total=np.array(self._totals, np.int64),
            centroid=np.array(self._centroids, np.float64).reshape(-1, 2),
            iqt=means(sums, frames[:, np.newaxis] * self._pixels),
            iqt_first=np.arange(len(frames), dtype=np.int64) * self._time_bins.width,
            iqt_frames=frames,
        )
