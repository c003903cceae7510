"""Compiled loops over pairs of rows: common bits of their planes, events that they share, the sum of all."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ._twotime_kernels import ROW_BITS, Events, Words, count_bits

# Words taken at a time: 12 kB of six rows, which stay in the first-level cache.
_SLAB = 256
# Numbers in a cache line.
_LINE = 8

_ROW_BITS, _ROW_MASK = np.uint32(ROW_BITS), np.uint32((1 << ROW_BITS) - 1)

Sums = NDArray[np.uint64]
Products = NDArray[np.float64]
Range = tuple[int, int]


def _add_common_bits(a: Words, b: Words, words: Range, shift: int, out: Sums) -> None:
    """Add the number of bits that ``a[i]`` and ``b[j]`` have in common, times 2^shift, to ``out[i, j]``.

    Shapes: a (ni, nwords) and b (nj, nwords); ni a multiple of 4, nj of 2: eight sums stay in registers, and
    each word that is read meets several.
    """
    power = np.uint64(shift)
    for begin in range(words[0], words[1], _SLAB):
        end = min(begin + _SLAB, words[1])
        for i in range(0, len(a), 4):
            a0, a1, a2, a3 = a[i, begin:end], a[i + 1, begin:end], a[i + 2, begin:end], a[i + 3, begin:end]
            for j in range(0, len(b), 2):
                b0, b1 = b[j, begin:end], b[j + 1, begin:end]
                s00 = s01 = s10 = s11 = s20 = s21 = s30 = s31 = np.uint64(0)
                for k in range(end - begin):
                    s00 += count_bits(a0[k] & b0[k])
                    s01 += count_bits(a0[k] & b1[k])
                    s10 += count_bits(a1[k] & b0[k])
                    s11 += count_bits(a1[k] & b1[k])
                    s20 += count_bits(a2[k] & b0[k])
                    s21 += count_bits(a2[k] & b1[k])
                    s30 += count_bits(a3[k] & b0[k])
                    s31 += count_bits(a3[k] & b1[k])
                out[i, j] += s00 << power
                out[i, j + 1] += s01 << power
                out[i + 1, j] += s10 << power
                out[i + 1, j + 1] += s11 << power
                out[i + 2, j] += s20 << power
                out[i + 2, j + 1] += s21 << power
                out[i + 3, j] += s30 << power
                out[i + 3, j + 1] += s31 << power


def _add_shared_events(
    starts: NDArray[np.int32],
    events: Events,
    other_starts: NDArray[np.int32],
    others: Events,
    columns: Range,
    top: int,
    out: Sums,
) -> None:
    """``out[i, j] += count * min(other, top)`` for every event of row i and other of row j in one column."""
    limit = np.uint64(top)
    for c in range(columns[0], columns[1]):
        first, last = np.uint32(other_starts[c]), np.uint32(other_starts[c + 1])
        for k in range(np.uint32(starts[c]), np.uint32(starts[c + 1])):
            sums, count = out[np.uint32(events[k] & _ROW_MASK)], np.uint64(events[k] >> _ROW_BITS)
            for m in range(first, last):
                other = min(np.uint64(others[m] >> _ROW_BITS), limit)
                sums[np.uint32(others[m] & _ROW_MASK)] += count * other


def _add_scaled(
    products: NDArray[Any],
    sums: NDArray[np.float64],
    others: NDArray[np.float64],
    size: int,
    out: Products,
) -> None:
    """``out += products * size^2 / (sums x others)``: pixels over their bin's mean, 0 where that is 0."""
    square = float(size) * float(size)
    for i in range(len(sums)):
        for j in range(len(others)):
            norm = sums[i] * others[j]
            if norm > 0:
                out[i, j] += float(products[i, j]) * square / norm


def _write_block(
    block: Products,
    weights: NDArray[np.float64],
    others: NDArray[np.float64],
    npix: float,
    out: Products,
    mirrored: Products,
) -> None:
    """``out = block * npix / (weights x others)``, NaN where that is 0, and the same mirrored."""
    for begin in range(0, len(weights), _LINE):
        for j in range(len(others)):
            for i in range(begin, min(begin + _LINE, len(weights))):
                norm = weights[i] * others[j]
                out[i, j] = block[i, j] * npix / norm if norm > 0 else np.nan
                mirrored[j, i] = out[i, j]


add_common_bits: Any = njit(cache=True, nogil=True)(_add_common_bits)
add_shared_events: Any = njit(cache=True, nogil=True)(_add_shared_events)
add_scaled: Any = njit(cache=True, nogil=True)(_add_scaled)
write_block: Any = njit(cache=True, nogil=True)(_write_block)
