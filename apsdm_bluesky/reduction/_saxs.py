"""Intensity against q, averaged over time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import Batch, EventBatch

from ._checks import INT64_MAX, check_events, counts_at, flat_frames
from ._kernels import add_to_image
from ._qmap import QMap

_UINT32_MAX = 2**32 - 1


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
    """

    intensity: NDArray[np.float64]
    sum_image: NDArray[np.int64]
    frames: int
    static_q: NDArray[np.float64]


class Saxs:
    """Sums the image and averages it over static bins.

    Counts must not be negative where the q-map uses them; elsewhere (module gaps marked with -1) they are
    summed as they come.
    """

    def __init__(self, qmap: QMap) -> None:
        self._qmap = qmap
        self._pixels = qmap.pixels
        self._image = np.zeros(qmap.shape[0] * qmap.shape[1], np.int64)
        self._recent = np.zeros(self._image.size, np.uint32)  # events not yet in the image
        self._recent_bound = 0
        self._bound = 0
        self._frames = 0
        self._last = -1

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
        if isinstance(batch, EventBatch):
            highest = check_events(batch, self._qmap.shape, self._last)
            self._raise_bound(len(batch.words), highest)
            self._add_events(batch.words, len(batch.words) * highest)
        else:
            frames = flat_frames(batch, self._qmap.shape, self._last)
            counts_at(frames, self._pixels)
            self._raise_bound(len(frames), max(int(frames.max()), -int(frames.min())))
            self._image += frames.sum(axis=0, dtype=np.int64)
        self._frames += len(batch)
        self._last = int(batch.indices[-1])

    def _add_events(self, words: NDArray[np.uint64], bound: int) -> None:
        """Into 32 bits while they are sure to hold it: scattered additions are half as fast into 64."""
        if self._recent_bound + bound > _UINT32_MAX:
            self._add_recent()
        if bound > _UINT32_MAX:
            add_to_image(words, self._image)
            return
        add_to_image(words, self._recent)
        self._recent_bound += bound

    def _add_recent(self) -> None:
        self._image += self._recent
        self._recent[:] = 0
        self._recent_bound = 0

    def _raise_bound(self, number: int, highest: int) -> None:
        """What a pixel may have counted by now, with so many counts of at most `highest` more."""
        bound = self._bound + number * highest
        if bound > INT64_MAX:
            raise ReductionError(
                f"sum image: counts up to {highest} could exceed 64 bits; mask them at the source"
            )
        self._bound = bound

    def result(self) -> SaxsResult:
        """The averages so far."""
        self._add_recent()
        bins = self._qmap.static.ravel()[self._pixels]
        size = len(self._qmap.static_q) + 1
        counts = np.bincount(bins, self._image[self._pixels].astype(np.float64), size)[1:]
        exposures = self._frames * np.bincount(bins, minlength=size)[1:]
        return SaxsResult(
            intensity=np.divide(counts, exposures, out=np.full(size - 1, np.nan), where=exposures > 0),
            sum_image=self._image.reshape(self._qmap.shape).copy(),
            frames=self._frames,
            static_q=self._qmap.static_q,
        )
