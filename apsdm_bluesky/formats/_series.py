"""What every reader of frames gives: a lazy series with bounded memory."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.model import Batch, FrameBatch

__all__ = ["MAX_FRAMES", "ArraySeries", "FrameSeries", "frames_within"]

# What is kept for each frame (its place, its time) stays small even where a damaged file claims very many.
MAX_FRAMES = 1 << 24
# A batch of images, at most.
_BATCH_BYTES = 64 * 2**20


class FrameSeries(Protocol):
    """The frames of a file, read while they are asked for; it may be larger than the memory."""

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of a frame."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a frame's pixels; uint16 where `events` is true."""
        ...

    @property
    def frames(self) -> int:
        """Number of the last frame plus one: missing ones count."""
        ...

    @property
    def events(self) -> bool:
        """Whether batches are `EventBatch`, or `FrameBatch`."""
        ...

    @property
    def period_s(self) -> float | None:
        """Mean time between frames [s] as the file tells it."""
        ...

    def batches(self, size: int) -> Iterator[Batch]:
        """The frames in order, `size` of them at a time, the last batch may be shorter.

        Batches of images are shorter too where they would be large. Batches of events hold every frame of
        their part, empty ones included. The arrays are valid until the next batch is taken.

        Raises
        ------
        FormatError
            The file is not intact; the message says where.
        """
        ...


class ArraySeries:
    """A `FrameSeries` of an array in memory, or mapped: `images`, shape (n, ny, nx)."""

    events = False
    period_s = None

    def __init__(self, frames: NDArray[Any]) -> None:
        self.images = frames
        self.shape = (frames.shape[1], frames.shape[2])
        self.dtype = frames.dtype
        self.frames = len(frames)

    def batches(self, size: int) -> Iterator[FrameBatch]:
        """See `FrameSeries.batches`."""
        size = frames_within(size, self.shape, self.dtype)
        for first in range(0, self.frames, size):
            part = self.images[first : first + size]
            yield FrameBatch(frames=part, indices=np.arange(first, first + len(part)))


def frames_within(size: int, shape: tuple[int, int], dtype: np.dtype[Any]) -> int:
    """At most `size` images, and at least one, that a batch may hold."""
    return max(1, min(size, _BATCH_BYTES // (shape[0] * shape[1] * dtype.itemsize)))
