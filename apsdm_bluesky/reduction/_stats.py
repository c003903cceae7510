"""Intensity against time."""

from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import FrameBatch

from ._checks import counts_at, flat_frames
from ._qmap import QMap

INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameStatsResult:
    """Intensity against time.

    Parameters
    ----------
    indices
        Shape (n,), int64: frame indices.
    total
        Shape (n,), int64: counts of the frame over the mask's good pixels, inside or outside the q bins.
    """

    indices: NDArray[np.int64]
    total: NDArray[np.int64]


class FrameStats:
    """Total counts of every frame over the mask's good pixels. Its memory grows by 16 bytes a frame."""

    def __init__(self, qmap: QMap) -> None:
        self._shape = qmap.shape
        self._pixels = np.flatnonzero(qmap.mask).astype(np.int64)
        self._indices = array("q")
        self._totals = array("q")

    def push(self, batch: FrameBatch) -> None:
        """Add the batch's frames.

        Raises
        ------
        ReductionError
            Frames that do not fit (see `MultiTau.push`), or a total that could leave int64. Nothing was added
            then.
        """
        if len(batch) == 0:
            return
        frames = flat_frames(batch, self._shape, self._indices[-1] if self._indices else -1)
        counts = counts_at(frames, self._pixels)
        if int(counts.max()) * len(self._pixels) > INT64_MAX:
            raise ReductionError(
                f"totals: counts up to {counts.max()} could exceed 64 bits; mask them in the q-map"
            )
        self._totals.frombytes(counts.sum(axis=1, dtype=np.int64).tobytes())
        self._indices.frombytes(batch.indices.astype(np.int64).tobytes())

    def result(self) -> FrameStatsResult:
        """The totals so far."""
        return FrameStatsResult(
            indices=np.array(self._indices, np.int64), total=np.array(self._totals, np.int64)
        )
