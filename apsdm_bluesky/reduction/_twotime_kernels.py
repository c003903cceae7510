"""Compiled loops of the two-time correlation: rows of counts, bit-planes and their products.

A plane holds one bit of the counts of 64 pixels in a word: the product of two rows is the number of bits that
they have in common, weighted by the bits' values. Planes stand word by word, with the rows of one word side by
side, so the processor counts the bits of several rows at a time and skips words without a bit.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from apsdm_bluesky.model import COUNT_BITS, PIXEL_BITS, PIXEL_SHIFT

_SHIFT = np.uint64(PIXEL_SHIFT)
_PIXEL_MASK = np.uint64((1 << PIXEL_BITS) - 1)
_COUNT_MASK = np.uint64((1 << COUNT_BITS) - 1)

# Words that stay in the first-level cache with the rows of a block.
_WORDS = 8

# Constants of the bit count; compilers know this sequence and have an instruction for it.
_PAIRS, _NIBBLES = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_BYTES, _ONES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_ONE, _TWO, _FOUR, _TOP = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
# Times this, the lowest bits of eight bytes meet in the highest byte.
_GATHER = np.uint64(0x0102040810204080)

Planes = NDArray[np.uint64]
Products = NDArray[np.int64]
Range = tuple[int, int]


def _add_frames(
    frames: NDArray[Any],
    pixels: NDArray[np.int32],
    starts: NDArray[np.int64],
    columns: NDArray[np.int64],
    row: NDArray[np.uint32],
) -> None:
    """Add frames (n, ny * nx) up: the pixels from ``starts[k]`` on into the columns from ``columns[k]`` on."""
    for frame in frames:
        for k in range(len(starts) - 1):
            part = pixels[starts[k] : starts[k + 1]]
            sums = row[columns[k] : columns[k] + len(part)]
            for i in range(len(part)):
                sums[i] += np.uint32(frame[part[i]])


def _add_events(words: NDArray[np.uint64], places: NDArray[np.int32], row: NDArray[np.uint32]) -> None:
    """``row[places[pixel]] += count`` for every word whose place is not negative."""
    for i in range(len(words)):
        place = places[np.intp((words[i] >> _SHIFT) & _PIXEL_MASK)]
        if place >= 0:
            row[place] += np.uint32(words[i] & _COUNT_MASK)


def _pack_planes(rows: NDArray[np.uint64], planes: Planes, first: int) -> None:
    """Take rows apart into planes: rows (n, 8 * nwords), each word 8 counts; planes (p, nwords, nrows)."""
    for bit in range(len(planes)):
        shift = np.uint64(bit)
        for word in range(planes.shape[1]):
            for i in range(len(rows)):
                bits = np.uint64(0)
                for part in range(8):
                    counts = rows[i, 8 * word + part]
                    bits = (bits << np.uint64(8)) | ((((counts >> shift) & _ONES) * _GATHER) >> _TOP)
                planes[bit, word, first + i] = bits


def _add_common(a: Planes, b: Planes, words: Range, i: Range, j: Range, shift: int, out: Products) -> None:
    """``out[i, j] += bits that a[:, i] and b[:, j] have in common << shift``; planes (nwords, nrows).

    Words of `a` without a bit cost nothing.
    """
    for begin in range(words[0], words[1], _WORDS):
        for k in range(i[1] - i[0]):
            sums = out[k]
            for word in range(begin, min(begin + _WORDS, words[1])):
                bits = a[word, i[0] + k]
                if bits:
                    others = b[word, j[0] : j[1]]
                    for m in range(len(others)):
                        x = bits & others[m]
                        x -= (x >> _ONE) & _PAIRS
                        x = (x & _NIBBLES) + ((x >> _TWO) & _NIBBLES)
                        x = (x + (x >> _FOUR)) & _BYTES
                        sums[m] += np.int64(((x * _ONES) >> _TOP) << np.uint64(shift))


def _multiply_planes(planes: Planes, words: Range, i: Range, j: Range) -> Products:
    """Sums of the products of the rows i and j over some words, shape (ni, nj); planes (p, nwords, nrows).

    Of two planes the higher, whose words are emptier, is always the one whose words may be skipped.
    """
    products = np.zeros((i[1] - i[0], j[1] - j[0]), np.int64)
    crossed = np.zeros((j[1] - j[0], i[1] - i[0]), np.int64)
    for high in range(len(planes)):
        add_common(planes[high], planes[high], words, i, j, 2 * high, products)
        for low in range(high):
            add_common(planes[high], planes[low], words, i, j, high + low, products)
            add_common(planes[high], planes[low], words, j, i, high + low, crossed)
    return products + crossed.T


def _add_scaled(
    products: NDArray[np.float64],
    sums: NDArray[np.float64],
    others: NDArray[np.float64],
    size: int,
    out: NDArray[np.float64],
) -> None:
    """``out += products * size^2 / (sums x others)``, nothing where a sum is 0: a pixel over its bin's mean."""
    square = float(size) * float(size)
    for i in range(len(sums)):
        for j in range(len(others)):
            norm = sums[i] * others[j]
            if norm > 0:
                out[i, j] += products[i, j] * square / norm


add_frames: Any = njit(cache=True, nogil=True)(_add_frames)
add_events: Any = njit(cache=True, nogil=True)(_add_events)
pack_planes: Any = njit(cache=True, nogil=True)(_pack_planes)
add_common: Any = njit(cache=True, nogil=True)(_add_common)
multiply_planes: Any = njit(cache=True, nogil=True)(_multiply_planes)
add_scaled: Any = njit(cache=True, nogil=True)(_add_scaled)
