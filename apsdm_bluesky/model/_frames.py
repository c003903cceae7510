"""Frames on their way from a source to its consumers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One detector image as it came from a source.

    Parameters
    ----------
    unique_id
        The source's own frame number (areaDetector: the camera's ArrayCounter).
    timestamp
        Seconds since the Unix epoch, as the source gave it.
    data
        Shape (ny, nx). May be a view of the source's buffer: copy it before the call that brought it returns.
    """

    unique_id: int
    timestamp: float
    data: NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptFrame:
    """An update that could not be decoded. `unique_id` is None where not even that could be read."""

    unique_id: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameBatch:
    """Consecutively received frames of one acquisition. A gap shows in `indices` and never shifts a delay.

    Parameters
    ----------
    frames
        Shape (n, ny, nx), read-only by agreement.
    indices
        Shape (n,), int64, strictly increasing; 0 is the acquisition's first expected frame.
    timestamps
        Shape (n,), float64, seconds since the Unix epoch; None where the source has none.
    """

    frames: NDArray[Any]
    indices: NDArray[np.int64]
    timestamps: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.indices)
