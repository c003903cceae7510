"""Frames on their way from a source to its consumers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The event word, as the Rigaku detectors write it: frame << 40 | pixel << 16 | count.
FRAME_SHIFT = 40
PIXEL_SHIFT = 16
PIXEL_BITS = 21
COUNT_BITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One message of a source: a detector image, or a stack of them.

    Parameters
    ----------
    unique_id
        The source's own number of the message (areaDetector: the camera's ArrayCounter).
    timestamp
        Seconds since the Unix epoch, as the source gave it.
    data
        Shape (ny, nx), or (n, ny, nx) for a stack. May be a view of the source's buffer: copy it before the
        call that brought it returns.
    """

    unique_id: int
    timestamp: float
    data: NDArray[Any]

    @property
    def count(self) -> int:
        """Images in the message."""
        return 1 if self.data.ndim == 2 else len(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFrame:
    """One message of a source that sends the non-zero pixels of many images, as packed words.

    Parameters
    ----------
    unique_id, timestamp
        As of `Frame`.
    words
        Shape (m,), uint64, one a non-zero pixel, in the order of the frames: from bit 40 on the frame number
        (24 bits), from bit 16 on the pixel (21 bits, row-major), from bit 0 on the count (12 bits). Every
        pixel lies in the image. May be a view, as in `Frame`.
    offsets
        Shape (n + 1,), int64: the words of image k are ``words[offsets[k]:offsets[k + 1]]``.
    shape
        (ny, nx) of each image.
    """

    unique_id: int
    timestamp: float
    words: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    shape: tuple[int, int]

    @property
    def count(self) -> int:
        """Images in the message, empty ones included."""
        return len(self.offsets) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptFrame:
    """An update that could not be decoded.

    Parameters
    ----------
    unique_id
        None where not even that could be read.
    reason
        What is wrong with it, in one line.
    payload
        The bytes as they came, to be kept aside; None where there are none.
    """

    unique_id: int | None
    reason: str
    payload: NDArray[np.uint8] | None = None


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

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of a frame."""
        return self.frames.shape[1], self.frames.shape[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBatch:
    """As `FrameBatch`, with the frames' non-zero pixels only.

    Parameters
    ----------
    words
        Shape (m,), uint64, read-only by agreement: as in `EventFrame`. The frame number in a word is the
        source's own and means nothing here: `offsets` tells.
    offsets
        Shape (n + 1,), int64: the words of frame k are ``words[offsets[k]:offsets[k + 1]]``.
    indices, timestamps
        Shape (n,), as of `FrameBatch`; empty frames have their place.
    shape
        (ny, nx) of a frame.
    """

    words: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    indices: NDArray[np.int64]
    shape: tuple[int, int]
    timestamps: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def pixels(self) -> NDArray[np.int64]:
        """Shape (m,): the row-major pixel of each word."""
        return ((self.words >> np.uint64(PIXEL_SHIFT)) & np.uint64((1 << PIXEL_BITS) - 1)).astype(np.int64)

    @property
    def counts(self) -> NDArray[np.uint16]:
        """Shape (m,): the count of each word."""
        return (self.words & np.uint64((1 << COUNT_BITS) - 1)).astype(np.uint16)


Batch = FrameBatch | EventBatch
