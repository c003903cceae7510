"""Everything that is computed of one XPCS series, from one pass over its frames."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.model import Batch

from ._batches import copied, first_frames
from ._fit import DecayFit, fit_decays
from ._g2 import MultiTauResult
from ._hot_pixels import hot_pixels_in
from ._multitau import MultiTau
from ._qmap import QMap
from ._saxs import Saxs, SaxsResult
from ._stats import FrameStats, FrameStatsResult


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningResult:
    """What is told of a series while its frames come."""

    multitau: MultiTauResult
    saxs: SaxsResult


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesResult(RunningResult):
    """The results of one series.

    Parameters
    ----------
    qmap
        As used: without the hot pixels.
    hot_pixels
        (ny, nx) bool, True where a pixel was found to be hot.
    sha256
        Hash of the numbers (not of the fit): equal for a live and a replayed reduction of the same frames.
    """

    qmap: QMap
    hot_pixels: NDArray[np.bool_]
    stats: FrameStatsResult
    decays: DecayFit
    sha256: str


class SeriesReduction:
    """Masks hot pixels found in the first frames, then reduces every frame, those first ones included.

    Any split of the frames into batches gives the same result, bit for bit.

    Parameters
    ----------
    qmap
        The pixels to use and their bins.
    delays_per_level
        Of the multi-tau scheme.
    hot_pixel_frames
        Frames used to find hot pixels; 0 does not look. They are held back until so many have come.
    """

    def __init__(self, qmap: QMap, *, delays_per_level: int = 4, hot_pixel_frames: int = 20) -> None:
        self._qmap = qmap
        self._delays_per_level = delays_per_level
        self._wanted = hot_pixel_frames
        self._held: list[Batch] = []
        self._parts: _Parts | None = None

    @property
    def masked(self) -> tuple[QMap, NDArray[np.bool_]] | None:
        """The q-map in use and the hot pixels; None while they are being looked for."""
        return (self._parts.qmap, self._parts.hot) if self._parts else None

    def push(self, batch: Batch) -> None:
        """Take frames.

        Raises
        ------
        ReductionError
            As the single reductions do: wrong shape or dtype, indices out of order.
        """
        if self._parts is not None:
            self._parts.push(batch)
            return
        self._held.append(copied(batch))
        if sum(map(len, self._held)) >= self._wanted:
            self._begin()

    def running(self) -> RunningResult | None:
        """What is known so far; None while hot pixels are being looked for."""
        if self._parts is None:
            return None
        return RunningResult(multitau=self._parts.multitau.result(), saxs=self._parts.saxs.result())

    def result(self) -> SeriesResult:
        """The results of what has come so far."""
        parts = self._parts or self._begin()
        multitau, saxs, stats = parts.multitau.result(), parts.saxs.result(), parts.stats.result()
        return SeriesResult(
            qmap=parts.qmap,
            hot_pixels=parts.hot,
            multitau=multitau,
            saxs=saxs,
            stats=stats,
            decays=fit_decays(multitau),
            sha256=_hash(
                multitau.delays,
                multitau.g2,
                multitau.g2_err,
                saxs.sum_image,
                saxs.intensity,
                stats.total,
                stats.iqt,
                stats.iqt_frames,
            ),
        )

    def _begin(self) -> "_Parts":
        first = Saxs(self._qmap)
        for batch in first_frames(self._held, self._wanted):
            first.push(batch)
        hot = hot_pixels_in(first.result().sum_image, self._qmap)
        self._parts = _Parts(
            self._qmap.without(hot) if hot.any() else self._qmap, hot, self._delays_per_level
        )
        for batch in self._held:
            self._parts.push(batch)
        self._held.clear()
        return self._parts


class _Parts:
    def __init__(self, qmap: QMap, hot: NDArray[np.bool_], delays_per_level: int) -> None:
        self.qmap, self.hot = qmap, hot
        self.multitau = MultiTau(qmap, delays_per_level=delays_per_level)
        self.saxs = Saxs(qmap)
        self.stats = FrameStats(qmap)

    def push(self, batch: Batch) -> None:
        for part in (self.multitau, self.saxs, self.stats):
            part.push(batch)


def _hash(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
