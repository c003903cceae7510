"""Compiled loops. They release the interpreter's lock: the acquisition goes on beside them.

Loops over event words index by the pixel that a word names; `_checks.check_events` has looked at all of them.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from apsdm_bluesky.model import COUNT_BITS, PIXEL_BITS, PIXEL_SHIFT

_SHIFT = np.uint64(PIXEL_SHIFT)
_PIXEL_MASK = np.uint64((1 << PIXEL_BITS) - 1)
_PIXEL_FIELD = np.uint64(((1 << PIXEL_BITS) - 1) << PIXEL_SHIFT)
_COUNT_MASK = np.uint64((1 << COUNT_BITS) - 1)

Words = NDArray[np.uint64]
Offsets = NDArray[np.int64]


def _highest(words: Words) -> tuple[int, int]:
    """The highest pixel that a word names, and the highest count; 0 without words."""
    pixel = count = np.uint64(0)
    for i in range(len(words)):
        pixel = max(pixel, words[i] & _PIXEL_FIELD)
        count = max(count, words[i] & _COUNT_MASK)
    return int(pixel >> _SHIFT), int(count)


def _add_to_image(words: Words, image: NDArray[np.integer]) -> None:
    """``image[pixel] += count`` for every word; image (ny * nx,)."""
    for i in range(len(words)):
        word = words[i]
        image[np.intp((word >> _SHIFT) & _PIXEL_MASK)] += np.int64(word & _COUNT_MASK)


def _scatter(
    words: Words, offsets: Offsets, places: NDArray[np.int32], rows: NDArray[np.unsignedinteger], limit: int
) -> bool:
    """``rows[frame, places[pixel]] += count`` where the place is not negative; rows (n, nplaces).

    False as soon as an element would exceed `limit`, the most that its dtype holds.
    """
    for frame in range(len(offsets) - 1):
        row = rows[frame]
        for i in range(offsets[frame], offsets[frame + 1]):
            word = words[i]
            place = places[np.intp((word >> _SHIFT) & _PIXEL_MASK)]
            if place >= 0:
                count = np.int64(row[place]) + np.int64(word & _COUNT_MASK)
                if count > limit:
                    return False
                row[place] = count
    return True


highest: Any = njit(cache=True, nogil=True)(_highest)
add_to_image: Any = njit(cache=True, nogil=True)(_add_to_image)
scatter: Any = njit(cache=True, nogil=True)(_scatter)
