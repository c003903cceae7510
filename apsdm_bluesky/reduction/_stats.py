"""Intensity against time, of the frame and of its q bins."""

from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import Batch, EventBatch

from ._checks import INT64_MAX, check_events, counts_at, flat_frames
from ._kernels import add_to_columns
from ._qmap import QMap
from ._time_bins import TimeBins


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameStatsResult:
    """Intensity against time.

    Parameters
    ----------
    indices
        Shape (n,), int64: frame indices.
    total
        Shape (n,), int64: counts of the frame over the mask's good pixels, inside or outside the q bins.
    iqt
        Shape (b, nq): I(q, t), the mean of each dynamic bin in each of b <= 4096 time bins [counts / pixel /
        frame]; NaN in a time bin without frames, and for a bin without pixels.
    iqt_first, iqt_frames
        Shape (b,), int64: the index at which each time bin begins, and the number of its frames that came.
    """

    indices: NDArray[np.int64]
    total: NDArray[np.int64]
    iqt: NDArray[np.float64]
    iqt_first: NDArray[np.int64]
    iqt_frames: NDArray[np.int64]


class FrameStats:
    """Total counts of every frame over the mask's good pixels, and I(q, t) of the dynamic bins.

    I(q, t) stands in time bins: one a frame in series of up to 4,096 frames; beyond, each holds the smallest
    power of two of frames with which 4,096 are enough. So only the totals grow, by 16 bytes a frame.
    """

    def __init__(self, qmap: QMap) -> None:
        self._shape = qmap.shape
        good, dynamic = np.flatnonzero(qmap.mask), qmap.dynamic.ravel()
        self._nq = len(qmap.q)
        # Good pixels ordered by their bin, 0 for those outside all: a bin's pixels stand together.
        self._pixels = good[np.argsort(dynamic[good], kind="stable")].astype(np.int64)
        self._sizes = np.bincount(dynamic[good], minlength=self._nq + 1)
        # The same as the bin of each pixel; one column more takes what is masked.
        columns = np.where(qmap.mask.ravel(), dynamic, self._nq + 1)
        self._columns = columns.astype(np.min_scalar_type(self._nq + 1))
        self._indices = array("q")
        self._totals = array("q")
        self._grand_total = 0
        self._time_bins = TimeBins(self._nq)

    def push(self, batch: Batch) -> None:
        """Add the batch's frames.

        Raises
        ------
        ReductionError
            Frames that do not fit (see `MultiTau.push`), or a sum that could leave int64. Nothing was added
            then.
        """
        if len(batch) == 0:
            return
        last = self._indices[-1] if self._indices else -1
        sums = self._sums(batch, last)
        totals = sums.sum(axis=1)
        grand_total = self._grand_total + sum(totals.tolist())  # Python's integers: they cannot overflow
        if grand_total > INT64_MAX:
            raise ReductionError("intensity: the sum of all counts exceeds 64 bits; mask the bright pixels")
        indices = batch.indices.astype(np.int64)
        self._totals.frombytes(totals.tobytes())
        self._indices.frombytes(indices.tobytes())
        self._time_bins.add(indices, sums[:, 1:])
        self._grand_total = grand_total

    def _sums(self, batch: Batch, last: int) -> NDArray[np.int64]:
        """Counts of each frame outside the bins and in each of them, shape (n, nq + 1)."""
        if isinstance(batch, EventBatch):
            check_events(batch, self._shape, last)
            sums = np.zeros((len(batch), self._nq + 2), np.int64)
            add_to_columns(batch.words, batch.offsets, self._columns, sums)
            return sums[:, :-1]
        counts = counts_at(flat_frames(batch, self._shape, last), self._pixels)
        if int(counts.max(initial=0)) * len(self._pixels) > INT64_MAX:
            raise ReductionError(
                f"totals: counts up to {counts.max()} could exceed 64 bits; mask them in the q-map"
            )
        parts = np.split(counts, np.cumsum(self._sizes)[:-1], axis=1)
        return np.stack([part.sum(axis=1, dtype=np.int64) for part in parts], axis=1)

    def result(self) -> FrameStatsResult:
        """The intensities so far."""
        frames, sums = self._time_bins.result()
        exposures = frames[:, np.newaxis] * self._sizes[1:]
        return FrameStatsResult(
            indices=np.array(self._indices, np.int64),
            total=np.array(self._totals, np.int64),
            iqt=np.divide(sums, exposures, out=np.full(sums.shape, np.nan), where=exposures > 0),
            iqt_first=np.arange(len(frames), dtype=np.int64) * self._time_bins.width,
            iqt_frames=frames,
        )
