"""Stored events: a 64-bit word a non-zero pixel, ``pixel << 32 | value``; pixel row-major, value 32 bits."""

from typing import Any

import numba
import numpy as np
from numpy.typing import DTypeLike, NDArray

from apsdm_bluesky.errors import FormatError, StorageError
from apsdm_bluesky.model import COUNT_BITS, PIXEL_BITS, PIXEL_SHIFT

_PIXEL_MASK = np.uint64((1 << PIXEL_BITS) - 1)
_COUNT_MASK = np.uint64((1 << COUNT_BITS) - 1)
_PACKED_SHIFT = np.uint64(PIXEL_SHIFT)
_SHIFT = np.uint64(32)
_VALUE_BYTES = 4
_VALUE_MASK = np.uint64(2**32 - 1)


def storable(dtype: DTypeLike) -> bool:
    """Whether an event can hold the values of this pixel type: integers of at most 32 bits."""
    kind = np.dtype(dtype)
    return kind.kind in "iu" and kind.itemsize <= _VALUE_BYTES


def check_storable(dtype: DTypeLike) -> None:
    """Refuse pixel types whose values an event cannot hold.

    Raises
    ------
    StorageError
        It is another one than `storable` takes.
    """
    if not storable(dtype):
        raise StorageError(
            f"frames of {np.dtype(dtype)} cannot be stored as events (integers of at most 32 bits can); "
            "set raw_store to dense or auto"
        )


def gather(frame: NDArray[np.integer], events: NDArray[np.uint64]) -> int:
    """Fill `events` with the non-zero pixels of a frame; returns how many. There must be room for all."""
    flat = np.ascontiguousarray(frame).reshape(-1).view(f"u{frame.itemsize}")
    in_eight = 8 // flat.itemsize
    return int(_gather(flat, flat[: len(flat) // in_eight * in_eight].view(np.uint64), in_eight, events))


def scatter(events: NDArray[np.uint64], frame: NDArray[np.integer]) -> None:
    """Add events to a C-contiguous frame; those that name a pixel twice add up.

    Raises
    ------
    FormatError
        A pixel outside of the frame, or a sum that its type cannot hold.
    """
    flat = frame.reshape(-1)
    most = int(np.iinfo(frame.dtype).max)
    if (wrong := _scatter(events, flat.view(f"u{flat.itemsize}"), most)) >= 0:
        if int(events[wrong] >> _SHIFT) >= flat.size:
            raise FormatError(f"event {wrong} lies outside of the frame of {frame.shape}")
        raise too_many(frame.dtype)


def too_many(dtype: DTypeLike) -> FormatError:
    """The error of counts that are lost in this type."""
    return FormatError(f"the events of one pixel in one frame add up to more than {np.dtype(dtype)} holds")


def unpack(events: NDArray[np.uint64], dtype: DTypeLike) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The pixels and the values."""
    size = np.dtype(dtype).itemsize
    return (events >> _SHIFT).astype(np.int64), events.astype(f"u{size}").view(dtype)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def repack(words: NDArray[np.uint64], events: NDArray[np.uint64]) -> None:  # pragma: no cover - compiled
    """Packed words of a detector (`EventBatch`) as stored events."""
    for place in range(len(words)):
        pixel = (words[place] >> _PACKED_SHIFT) & _PIXEL_MASK
        events[place] = (pixel << _SHIFT) | (words[place] & _COUNT_MASK)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _gather(
    flat: NDArray[np.uint16], eights: NDArray[np.uint64], in_eight: int, events: NDArray[np.uint64]
) -> int:  # pragma: no cover - compiled
    """Eight bytes at once, as most are zero; then what does not fill them."""
    found = 0
    for eight in range(len(eights)):
        if eights[eight] != 0:
            for pixel in range(eight * in_eight, (eight + 1) * in_eight):
                if flat[pixel] != 0:
                    events[found] = (np.uint64(pixel) << _SHIFT) | np.uint64(flat[pixel])
                    found += 1
    for pixel in range(len(eights) * in_eight, len(flat)):
        if flat[pixel] != 0:
            events[found] = (np.uint64(pixel) << _SHIFT) | np.uint64(flat[pixel])
            found += 1
    return found


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _scatter(
    events: NDArray[np.uint64], flat: NDArray[np.uint16], most: int
) -> int:  # pragma: no cover - compiled
    """Returns -1, or the first event that does not fit. A lone one does: it may be a negative value."""
    for place in range(len(events)):
        pixel = np.int64(events[place] >> _SHIFT)
        if pixel >= len(flat):
            return place
        value = np.int64(events[place] & _VALUE_MASK)
        if flat[pixel] != 0:
            value += np.int64(flat[pixel])
            if value > most:
                return place
        flat[pixel] = value
    return -1
