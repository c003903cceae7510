"""Everything that is computed of one XPCS series, from one pass over its frames."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.model import Batch

from ._batches import copied, first_frames
from ._fit import DecayFit, fit_decays
from ._g2 import MultiTauResult
from ._hot_pixels import hot_pixels_in
from ._intensities import Intensities
from ._multitau import MultiTau
from ._qmap import QMap
from ._quality import QualityResult, assess_quality
from ._rois import RoiStatsResult
from ._saxs import Saxs, SaxsResult
from ._settings import SeriesSettings
from ._stats import FrameStatsResult
from ._twotime import TwoTime
from ._twotime_result import TwoTimeResult
from ._workers import Workers


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
    rois, two_time
        None where none were asked for.
    sha256
        Hash of the numbers that come of the frames alone (not of fits and indicators): equal for a live and a
        replayed reduction of the same frames.
    """

    qmap: QMap
    hot_pixels: NDArray[np.bool_]
    stats: FrameStatsResult
    rois: RoiStatsResult | None
    two_time: TwoTimeResult | None
    decays: DecayFit
    quality: QualityResult
    sha256: str


class SeriesReduction:
    """Masks hot pixels found in the first frames, then reduces every frame, those first ones included.

    Any split of the frames into batches, and any number of workers, gives the same result, bit for bit.

    Parameters
    ----------
    qmap
        The pixels to use and their bins.
    settings
        What to compute.
    workers
        Run the work; default: the caller's thread.
    """

    def __init__(
        self, qmap: QMap, settings: SeriesSettings | None = None, *, workers: Workers | None = None
    ) -> None:
        self._qmap = qmap
        self._settings = settings or SeriesSettings()
        self._workers = workers
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
            As the single reductions do: wrong shape or dtype, indices out of order. Some of them may have
            taken the batch and others not: the series should not go on.
        """
        if self._parts is not None:
            self._parts.push(batch)
            return
        self._held.append(copied(batch))
        if sum(map(len, self._held)) >= self._settings.hot_pixel_frames:
            self._begin()

    def running(self) -> RunningResult | None:
        """What is known so far; None while hot pixels are being looked for."""
        if self._parts is None:
            return None
        return RunningResult(multitau=self._parts.multitau.result(), saxs=self._parts.intensities.saxs)

    def result(self) -> SeriesResult:
        """The results of what has come so far."""
        parts = self._parts or self._begin()
        multitau, saxs, stats = parts.multitau.result(), parts.intensities.saxs, parts.intensities.stats
        rois, two_time = parts.intensities.rois, parts.two_time.result() if parts.two_time else None
        return SeriesResult(
            qmap=parts.qmap,
            hot_pixels=parts.hot,
            multitau=multitau,
            saxs=saxs,
            stats=stats,
            rois=rois,
            two_time=two_time,
            decays=fit_decays(multitau, model=self._settings.model),
            quality=assess_quality(stats, two_time),
            sha256=_hash(_numbers(multitau, saxs, stats, rois, two_time)),
        )

    def _begin(self) -> "_Parts":
        first = Saxs(self._qmap)
        for batch in first_frames(self._held, self._settings.hot_pixel_frames):
            first.push(batch)
        hot = hot_pixels_in(first.result().sum_image, self._qmap)
        qmap = self._qmap.without(hot) if hot.any() else self._qmap
        self._parts = _Parts(qmap, hot, self._settings, self._workers)
        for batch in self._held:
            self._parts.push(batch)
        self._held.clear()
        return self._parts


class _Parts:
    """The reductions, once it is known which pixels count."""

    def __init__(
        self, qmap: QMap, hot: NDArray[np.bool_], settings: SeriesSettings, workers: Workers | None
    ) -> None:
        self.qmap, self.hot = qmap, hot
        self.multitau = MultiTau(
            qmap,
            delays_per_level=settings.delays_per_level,
            definition=settings.definition,
            segment_frames=settings.segment_frames,
            workers=workers,
        )
        self.intensities = Intensities(qmap, rois=settings.rois, workers=workers)
        self.two_time = (
            TwoTime(qmap, bins=settings.two_time_bins, budget=settings.two_time_budget, workers=workers)
            if settings.two_time_bins
            else None
        )

    def push(self, batch: Batch) -> None:
        self.multitau.push(batch)
        self.intensities.push(batch)
        if self.two_time is not None:
            self.two_time.push(batch)


def _numbers(
    multitau: MultiTauResult,
    saxs: SaxsResult,
    stats: FrameStatsResult,
    rois: RoiStatsResult | None,
    two_time: TwoTimeResult | None,
) -> Iterator[NDArray[Any]]:
    """All that comes of the frames alone."""
    yield from (multitau.delays, multitau.g2, multitau.g2_err)
    if multitau.segments is not None:
        yield from (multitau.segments.first, multitau.segments.g2)
    yield from (saxs.sum_image, saxs.intensity)
    yield from (stats.total, stats.centroid, stats.iqt, stats.iqt_frames)
    if rois is not None:
        yield rois.sums
    if two_time is not None:
        yield from (two_time.first, two_time.c2)


def _hash(arrays: Iterator[NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
