"""Two detectors of the facility, with simulated speckle of known dynamics and Poisson counts."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.model import FRAME_SHIFT, EventBatch, FrameBatch
from apsdm_bluesky.reduction import QMap, pack_events
from apsdm_bluesky.sim import SpeckleSample

BATCH = 256  # frames, as the receiver hands them over
_BLOCK = 64  # frames made at a time
_MAKERS = 2  # threads that make frames


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A detector behind a sample that fills it with light.

    Parameters
    ----------
    counts
        Photons a frame, about.
    """

    shape: tuple[int, int]
    counts: float

    @cached_property
    def sample(self) -> SpeckleSample:
        config = SimulationConfig(shape=self.shape, contrast=0.3, diffusion=1e-6)
        mean = self.counts / SpeckleSample(config).mean.sum()
        return SpeckleSample(config.model_copy(update={"mean_counts": float(mean)}))

    @cached_property
    def qmap(self) -> QMap:
        """20 dynamic and 100 static rings, out to the corners: every good pixel is used."""
        return QMap.rings(
            self.shape,
            self.sample.center,
            dynamic_bins=20,
            static_per_dynamic=5,
            r_min=12,
            r_max=float(self.sample.radius.max()) + 1,
            mask=self.sample.mask,
        )

    def frames(self, count: int) -> NDArray[np.uint16]:
        """Shape (count, ny, nx). Made in two threads: in the middle the speckle begins anew."""
        frames = np.empty((count, *self.shape), np.uint16)
        with ThreadPoolExecutor(_MAKERS) as pool:
            list(pool.map(self._fill, range(_MAKERS), np.array_split(frames, _MAKERS)))
        return frames

    def events(self, count: int) -> EventBatch:
        """As `frames`, packed."""
        with ThreadPoolExecutor(_MAKERS) as pool:
            parts = list(pool.map(self._packed, range(_MAKERS), np.array_split(np.arange(count), _MAKERS)))
        return joined([batch for part in parts for batch in part])

    def _fill(self, number: int, frames: NDArray[np.uint16]) -> None:
        series = self.sample.series(number)
        for start in range(0, len(frames), _BLOCK):
            series.fill(frames[start : start + _BLOCK])

    def _packed(self, number: int, indices: NDArray[np.int64]) -> list[EventBatch]:
        series = self.sample.series(number)
        frames = np.empty((_BLOCK, *self.shape), np.uint16)
        batches = []
        for start in range(0, len(indices), _BLOCK):
            some = indices[start : start + _BLOCK]
            series.fill(frames[: len(some)])
            batches.append(pack_events(FrameBatch(frames=frames[: len(some)], indices=some)))
        return batches


LAMBDA_750K = Detector(shape=(516, 1556), counts=0.1 * 516 * 1556)
RIGAKU_500K = Detector(shape=(512, 1024), counts=2500)


def joined(batches: Sequence[EventBatch]) -> EventBatch:
    """One batch of several; the words carry their frame's number, as a detector writes them."""
    counts = np.concatenate([np.diff(batch.offsets) for batch in batches])
    indices = np.concatenate([batch.indices for batch in batches])
    rest = np.uint64((1 << FRAME_SHIFT) - 1)
    words = np.concatenate([batch.words & rest for batch in batches])
    words |= np.repeat(indices.astype(np.uint64) << np.uint64(FRAME_SHIFT), counts)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return EventBatch(words=words, offsets=offsets, indices=indices, shape=batches[0].shape)


def repeated(events: EventBatch, times: int) -> EventBatch:
    """A longer series in memory of its own: the same frames again and again, numbered on."""
    count = len(events)
    return joined(
        [
            EventBatch(
                words=events.words,
                offsets=events.offsets,
                indices=events.indices + i * count,
                shape=events.shape,
            )
            for i in range(times)
        ]
    )


def frame_batches(frames: NDArray[Any], count: int) -> Iterator[FrameBatch]:
    """`count` frames in batches, read round and round."""
    for first in range(0, count, BATCH):
        part = frames[first % len(frames) :][: min(BATCH, count - first)]
        yield FrameBatch(frames=part, indices=np.arange(first, first + len(part)))


def event_batches(events: EventBatch, size: int = BATCH) -> Iterator[EventBatch]:
    """The batch in smaller ones."""
    for start in range(0, len(events), size):
        stop = min(start + size, len(events))
        begin, end = events.offsets[start], events.offsets[stop]
        yield EventBatch(
            words=events.words[begin:end],
            offsets=events.offsets[start : stop + 1] - begin,
            indices=events.indices[start:stop],
            shape=events.shape,
        )
