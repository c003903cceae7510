"""Intensity against q, averaged over time, as a whole and in segments."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.model import Batch

from ._columns import Columns, columns_of, sums_by
from ._frame_pass import FramePass, FrameSums
from ._qmap import QMap
from ._time_bins import TimeBins
from ._workers import OneThread, Workers

MAX_SEGMENTS = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SaxsResult:
    """Time-averaged intensity.

    Parameters
    ----------
    intensity
        Shape (ns,): mean of each static bin [counts / pixel / frame]; NaN for a bin without pixels or without
        frames.
    sum_image
        Shape (ny, nx), int64: sum of the frames, pixels outside the q-map included.
    frames
        Number of frames in it.
    static_q
        Shape (ns,): q of the static bins, in the q-map's unit.
    segments
        Shape (k, ns): `intensity` in each of k <= 64 time segments of equal width, which is the smallest
        power of two of frames with which 64 are enough. Their mean, weighted by `segment_frames`, is
        `intensity`. NaN in a segment without frames, and for a bin without pixels.
    segment_first, segment_frames
        Shape (k,), int64: the index at which each segment begins, and the number of its frames that came.
    """

    intensity: NDArray[np.float64]
    sum_image: NDArray[np.int64]
    frames: int
    static_q: NDArray[np.float64]
    segments: NDArray[np.float64]
    segment_first: NDArray[np.int64]
    segment_frames: NDArray[np.int64]

    @property
    def mean_image(self) -> NDArray[np.float64]:
        """Shape (ny, nx) [counts / frame]; NaN without frames."""
        mean: NDArray[np.float64] = self.sum_image / (self.frames or np.nan)
        return mean


class Saxs:
    """Sums the image and averages it over static bins, and these over time segments.

    Counts must not be negative at pixels that the mask calls good; elsewhere (module gaps marked with -1)
    they are summed into the image as they come. `Intensities` tells more from the same pass.
    """

    def __init__(self, qmap: QMap, *, workers: Workers | None = None) -> None:
        columns = columns_of(qmap)
        self._pass = FramePass(columns, workers or OneThread())
        self._record = SaxsRecord(qmap, columns)

    def push(self, batch: Batch) -> None:
        """Add the batch's frames; errors as of `Intensities.push`."""
        sums = self._pass.sums(batch)
        if sums is not None:
            self._record.add(sums)

    def result(self) -> SaxsResult:
        """The averages so far."""
        return self._record.result(self._pass.sum_image(), self._pass.frames)


class SaxsRecord:
    """What `Saxs` keeps of each frame's sums."""

    def __init__(self, qmap: QMap, columns: Columns) -> None:
        self._qmap = qmap
        self._static = columns.of(qmap.static)
        self._size = len(qmap.static_q) + 1  # with the pixels outside all bins
        self._pixels = np.bincount(qmap.static.ravel(), minlength=self._size)[1:]
        self._segments = TimeBins(self._size - 1, MAX_SEGMENTS)

    def add(self, sums: FrameSums) -> None:
        """Take the next frames."""
        self._segments.add(sums.indices, sums_by(self._static, sums.columns, self._size)[:, 1:])

    def result(self, sum_image: NDArray[np.int64], frames: int) -> SaxsResult:
        """With the image of the same frames."""
        segment_frames, counts = self._segments.result()
        return SaxsResult(
            intensity=means(counts.sum(axis=0), np.int64(frames) * self._pixels),
            sum_image=sum_image,
            frames=frames,
            static_q=self._qmap.static_q,
            segments=means(counts, segment_frames[:, np.newaxis] * self._pixels),
            segment_first=np.arange(len(counts), dtype=np.int64) * self._segments.width,
            segment_frames=segment_frames,
        )


def means(sums: NDArray[np.int64], exposures: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums per exposed pixel; NaN where nothing was exposed."""
    means = np.full(sums.shape, np.nan)
    np.divide(sums, exposures, out=means, where=exposures > 0)
    return means
