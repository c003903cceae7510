"""Compiled loops of the two-time correlation: rows of counts, bit-planes and their products.

A plane holds one bit of the counts, of 16 pixels in a word: the product of two rows is the number of bits
that their planes have in common, weighted by the bits' values. One row's words meet those of many rows, which
stand side by side: the processor counts the bits of several rows at a time, and skips words without a bit.
"""

from typing import Any

import numpy as np
from numba import njit
from numba.extending import intrinsic
from numpy.typing import NDArray

from apsdm_bluesky.model import COUNT_BITS, PIXEL_BITS, PIXEL_SHIFT

_SHIFT = np.uint64(PIXEL_SHIFT)
_PIXEL_MASK = np.uint64((1 << PIXEL_BITS) - 1)
_COUNT_MASK = np.uint64((1 << COUNT_BITS) - 1)

# Words taken at a time: as many stay in the first-level cache with the rows of a block.
_WORDS = 32
# 2^k. A table, for compilers shift 64 bits where they see that a factor is a power of two.
_WEIGHTS = np.array([1 << k for k in range(16)], np.uint16)
# Times this, the lowest bits of eight bytes meet in the highest byte.
_GATHER = np.uint64(0x0102040810204080)
_LOWEST, _BYTE, _TOP = np.uint64(0x0101010101010101), np.uint64(8), np.uint64(56)

Planes = NDArray[np.uint16]
Products = NDArray[np.float64]
Range = tuple[int, int]


def _add_frames(
    frames: NDArray[Any],
    pixels: NDArray[np.int32],
    places: NDArray[np.int32],
    row: NDArray[np.uint32],
) -> None:
    """``row[places[k]] += frame[pixels[k]]`` for every frame; frames (n, ny * nx)."""
    for frame in frames:
        for k in range(len(pixels)):
            row[places[k]] += np.uint32(frame[pixels[k]])


def _add_events(words: NDArray[np.uint64], places: NDArray[np.int32], row: NDArray[np.uint32]) -> None:
    """``row[places[pixel]] += count`` for every word whose place is not negative."""
    for i in range(len(words)):
        place = places[np.intp((words[i] >> _SHIFT) & _PIXEL_MASK)]
        if place >= 0:
            row[place] += np.uint32(words[i] & _COUNT_MASK)


def _pack_planes(rows: NDArray[np.uint64], planes: Planes) -> None:
    """Take rows apart: rows (n, 2 * nwords), each element 8 counts; planes (p, n, nwords)."""
    for bit in range(len(planes)):
        shift = np.uint64(bit)
        for i in range(len(rows)):
            for word in range(planes.shape[2]):
                low, high = rows[i, 2 * word] >> shift, rows[i, 2 * word + 1] >> shift
                bits = ((low & _LOWEST) * _GATHER) >> _TOP
                bits |= (((high & _LOWEST) * _GATHER) >> _TOP) << _BYTE
                planes[bit, i, word] = np.uint16(bits)


@intrinsic  # type: ignore[untyped-decorator]
def _count_bits(_context: Any, number: Any) -> Any:
    """The number of bits that are set: one instruction, for many numbers at a time."""
    return number(number), lambda _, builder, __, args: builder.ctpop(args[0])


def _find_filled(fours: NDArray[np.uint64], filled: NDArray[np.uint16], place: NDArray[np.intp]) -> int:
    """How many words have a bit; writes them and where they are."""
    number = 0
    for k in range(len(fours)):
        if fours[k]:
            for m in range(4):
                bits = np.uint16(fours[k] >> np.uint64(16 * m))
                filled[number] = bits
                place[number] = 4 * k + m
                number += int(bits != 0)
    return number


def _add_common(
    a: NDArray[np.uint64], b: Planes, words: Range, i: Range, j: Range, shift: int, sums: NDArray[np.uint16]
) -> None:
    """Add the bits that a[i] and b[:, j] have in common, times 2^shift, to ``sums[i, j]``.

    Shapes: a (nrows, nwords / 4), four words in one; b (nwords, nrows); sums (ni, nj). Ranges of words begin
    and end at multiples of four.

    Words of `a` without a bit cost next to nothing.
    """
    factor = _WEIGHTS[shift]
    filled = np.empty(_WORDS, np.uint16)
    place = np.empty(_WORDS, np.intp)
    # A copy without gaps: rows a power of two apart would share few places of the cache.
    others = np.empty((_WORDS, j[1] - j[0]), np.uint16)
    for begin in range(words[0], words[1], _WORDS):
        part = min(_WORDS, words[1] - begin)
        others[:part] = b[begin : begin + part, j[0] : j[1]]
        for k in range(i[1] - i[0]):
            number = find_filled(a[i[0] + k, begin // 4 : (begin + part) // 4], filled, place)
            out = sums[k]
            fours = number // 4 * 4
            for m in range(0, fours, 4):
                a0, a1, a2, a3 = filled[m], filled[m + 1], filled[m + 2], filled[m + 3]
                b0, b1, b2, b3 = (
                    others[place[m]],
                    others[place[m + 1]],
                    others[place[m + 2]],
                    others[place[m + 3]],
                )
                for n in range(len(out)):
                    out[n] += (
                        _count_bits(np.uint16(a0 & b0[n]))
                        + _count_bits(np.uint16(a1 & b1[n]))
                        + _count_bits(np.uint16(a2 & b2[n]))
                        + _count_bits(np.uint16(a3 & b3[n]))
                    ) * factor
            for m in range(fours, number):
                a0, b0 = filled[m], others[place[m]]
                for n in range(len(out)):
                    out[n] += _count_bits(np.uint16(a0 & b0[n])) * factor


def _multiply_planes(
    by_row: NDArray[np.uint64], by_word: Planes, words: Range, step: int, i: Range, j: Range
) -> Products:
    """Sums of the products of the rows i and j over some words, shape (ni, nj).

    Shapes: by_row (p, nrows, nwords / 4); by_word, the same planes, (p, nwords, nrows). The sums over `step`
    words must fit 16 bits. Of two planes the higher, whose words are emptier, is always the one whose words
    may be skipped.
    """
    products = np.zeros((i[1] - i[0], j[1] - j[0]))
    sums = np.empty(products.shape, np.uint16)
    crossed = np.empty((j[1] - j[0], i[1] - i[0]), np.uint16)
    for begin in range(words[0], words[1], step):
        part = (begin, min(begin + step, words[1]))
        sums[:] = 0
        crossed[:] = 0
        for high in range(len(by_row)):
            add_common(by_row[high], by_word[high], part, i, j, 2 * high, sums)
            for low in range(high):
                add_common(by_row[high], by_word[low], part, i, j, high + low, sums)
                add_common(by_row[high], by_word[low], part, j, i, high + low, crossed)
        for m in range(len(sums)):
            for n in range(len(crossed)):
                products[m, n] += float(sums[m, n]) + float(crossed[n, m])
    return products


def _add_scaled(
    products: NDArray[np.float64],
    sums: NDArray[np.float64],
    others: NDArray[np.float64],
    size: int,
    out: NDArray[np.float64],
) -> None:
    """``out += products * size^2 / (sums x others)``: pixels over their bin's mean, 0 where that is 0."""
    square = float(size) * float(size)
    for i in range(len(sums)):
        for j in range(len(others)):
            norm = sums[i] * others[j]
            if norm > 0:
                out[i, j] += products[i, j] * square / norm


add_frames: Any = njit(cache=True, nogil=True)(_add_frames)
add_events: Any = njit(cache=True, nogil=True)(_add_events)
pack_planes: Any = njit(cache=True, nogil=True)(_pack_planes)
find_filled: Any = njit(cache=True, nogil=True)(_find_filled)
add_common: Any = njit(cache=True, nogil=True)(_add_common)
multiply_planes: Any = njit(cache=True, nogil=True)(_multiply_planes)
add_scaled: Any = njit(cache=True, nogil=True)(_add_scaled)
