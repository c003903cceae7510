"""Compiled loops that sum frames and events. They release the interpreter's lock.

One loop does all: a lit pixel counts in the sum image, in its column and in the moments of its frame. The
image stands in two arrays: the sums' lowest 8 bits in `low`, which stays in second-level cache, the rest in
`high`, which few counts reach. Two loops, and an image of 32 bits, took twice as long.

Sums wrap modulo 2^64 and mean nothing beyond: `FramePass` looks whether they could.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from apsdm_bluesky.model import COUNT_BITS, PIXEL_BITS, PIXEL_SHIFT

from ._lit import BLOCK, LIST_SIZE, find_lit

_PIXEL = np.uint64(PIXEL_SHIFT)
_PIXEL_MASK = np.uint64((1 << PIXEL_BITS) - 1)
_COUNT_MASK = np.uint64((1 << COUNT_BITS) - 1)
# pixel // nx = pixel * ceil(2^42 / nx) >> 42 for pixels below 2^21: a division takes ten times as long.
_RECIPROCAL = np.uint64(2 * PIXEL_BITS)
_ABOVE_LOW = ~np.int64(0xFF)


def _sum_events(
    words: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    nx: int,
    table: NDArray[np.unsignedinteger],
    sums: NDArray[np.uint64],
    moments: NDArray[np.uint64],
    low: NDArray[np.uint8],
    high: NDArray[np.int64],
) -> None:
    """Add each frame's counts to the image and by column; and write the sums of count * x and count * y.

    The last column takes what is not good and is left out of the moments.

    Shapes: offsets (n + 1,); table, low, high (ny * nx,); sums (n, ncolumns + 1); moments (n, 2).
    """
    reciprocal = np.uint64(((1 << np.int64(_RECIPROCAL)) + nx - 1) // nx)
    masked = sums.shape[1] - 1
    for k in range(len(offsets) - 1):
        row, by_pixel, by_y = sums[k], np.uint64(0), np.uint64(0)
        for i in range(offsets[k], offsets[k + 1]):
            word = words[i]
            pixel, count = (word >> _PIXEL) & _PIXEL_MASK, word & _COUNT_MASK
            place = np.intp(pixel)
            total = np.int64(low[place]) + np.int64(count)
            low[place] = np.uint8(total)
            if total & _ABOVE_LOW:
                high[place] += total & _ABOVE_LOW
            column = np.intp(table[place])
            row[column] += count
            good = count if column != masked else np.uint64(0)
            by_pixel += good * pixel
            by_y += good * ((pixel * reciprocal) >> _RECIPROCAL)
        moments[k, 0] = by_pixel - np.uint64(nx) * by_y
        moments[k, 1] = by_y


def _sum_frames(
    flat: NDArray[np.integer],
    nx: int,
    table: NDArray[np.unsignedinteger],
    sums: NDArray[np.uint64],
    moments: NDArray[np.uint64],
    low: NDArray[np.uint8],
    high: NDArray[np.int64],
) -> tuple[int, int]:
    """As `_sum_events`, of dense frames (n, ny * nx); returns the lowest and the highest good count, or 0.

    A count above 2^63 - 1 shows as a negative one.
    """
    lit = np.empty(LIST_SIZE, np.uint32)
    masked = sums.shape[1] - 1
    lowest = highest = np.int64(0)
    for k in range(len(flat)):
        frame, row, by_x, by_y = flat[k], sums[k], np.int64(0), np.int64(0)
        for y in range(len(frame) // nx):
            end, row_sum = (y + 1) * nx, np.int64(0)
            for start in range(y * nx, end, BLOCK):
                found = find_lit(frame, start, min(start + BLOCK, end), lit)
                for i in range(found):
                    place = np.intp(lit[i])
                    count = np.int64(frame[place])
                    total = np.int64(low[place]) + count
                    low[place] = np.uint8(total & np.int64(0xFF))
                    if total & _ABOVE_LOW:
                        high[place] += total & _ABOVE_LOW
                    column = np.intp(table[place])
                    row[column] += np.uint64(count)
                    good = count if column != masked else np.int64(0)
                    lowest, highest = min(lowest, good), max(highest, good)
                    by_x += good * (place - y * nx)
                    row_sum += good
            by_y += row_sum * y
        moments[k, 0] = np.uint64(by_x)
        moments[k, 1] = np.uint64(by_y)
    return int(lowest), int(highest)


sum_events: Any = njit(cache=True, nogil=True)(_sum_events)
sum_frames: Any = njit(cache=True, nogil=True)(_sum_frames)
