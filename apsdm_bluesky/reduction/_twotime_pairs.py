"""Compiled loops over pairs of rows: common bits of their planes, events that they share, the sum of all."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ._twotime_kernels import ROW_BITS, Events, Words, count_bits

# Words taken at a time: 8 kB of six rows, which stay in the first-level cache.
_SLAB = 128

_ROW_BITS, _ROW_MASK = np.uint32(ROW_BITS), np.uint32((1 << ROW_BITS) - 1)

Products = NDArray[np.float64]
Range = tuple[int, int]


def _add_common_bits(a: Words, b: Words, words: Range, weight: float, out: Products) -> None:
    """Add the number of bits that ``a[i]`` and ``b[j]`` have in common, times the weight, to ``out[i, j]``.

    Shapes: a (ni, nwords) and b (nj, nwords); ni a multiple of 4, nj of 2: eight sums stay in registers, and
    each word that is read meets several.
    """
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
                out[i, j] += weight * float(s00)
                out[i, j + 1] += weight * float(s01)
                out[i + 1, j] += weight * float(s10)
                out[i + 1, j + 1] += weight * float(s11)
                out[i + 2, j] += weight * float(s20)
                out[i + 2, j + 1] += weight * float(s21)
                out[i + 3, j] += weight * float(s30)
                out[i + 3, j + 1] += weight * float(s31)


def _add_shared_events(
    starts: NDArray[np.int32],
    events: Events,
    other_starts: NDArray[np.int32],
    others: Events,
    columns: Range,
    top: int,
    out: Products,
) -> None:
    """``out[i, j] += count * min(other, top)`` for every event of row i and other of row j in one column."""
    limit = np.uint32(top)
    for c in range(columns[0], columns[1]):
        for k in range(starts[c], starts[c + 1]):
            sums, count = out[np.intp(events[k] & _ROW_MASK)], float(events[k] >> _ROW_BITS)
            for m in range(other_starts[c], other_starts[c + 1]):
                sums[np.intp(others[m] & _ROW_MASK)] += count * float(min(others[m] >> _ROW_BITS, limit))


def _add_scaled(
    products: Products, sums: NDArray[np.float64], others: NDArray[np.float64], size: int, out: Products
) -> None:
    """``out += products * size^2 / (sums x others)``: pixels over their bin's mean, 0 where that is 0."""
    square = float(size) * float(size)
    for i in range(len(sums)):
        for j in range(len(others)):
            norm = sums[i] * others[j]
            if norm > 0:
                out[i, j] += products[i, j] * square / norm


add_common_bits: Any = njit(cache=True, nogil=True)(_add_common_bits)
add_shared_events: Any = njit(cache=True, nogil=True)(_add_shared_events)
add_scaled: Any = njit(cache=True, nogil=True)(_add_scaled)
