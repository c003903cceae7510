"""Compiled loops of the dense correlator: a tile of pixels goes through all levels while it is in the cache.

A tile's rows lie one after the other in a flat buffer, `TILE` places each, whatever the tile's pixels:
lengths and distances known to the compiler make the loops vector code. Indices are unsigned for that, too.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

TILE = 512
# Products of counts up to this fit 32 bits, eight of them added up. Rows with higher ones are 32 bits wide.
NARROW = 23_170
MAX_16, MAX_32 = 2**16 - 1, 2**32 - 1

_T = np.uintp(TILE)
_T2, _T3, _T4, _T5, _T6, _T7, _T8, _T9, _T10 = (np.uintp(k * TILE) for k in range(2, 11))

Rows = NDArray[np.unsignedinteger]
Sums = NDArray[np.unsignedinteger]


def _eight_lags(rows: Rows, start: int, stop: int, lag: int, sums: Sums, number: int) -> None:
    """Add the products at lags ``lag ... lag + 7`` to the sums from `number` on, four rows a turn."""
    g = np.uintp(number) * _T
    for row in range(start, stop, 4):
        later, earlier = np.uintp(row) * _T, np.uintp(row - lag - 7) * _T
        for pixel in range(TILE):
            p = np.uintp(pixel)
            a, b, s = later + p, earlier + p, g + p
            x0, x1, x2, x3 = rows[a], rows[a + _T], rows[a + _T2], rows[a + _T3]
            h0, h1, h2, h3 = rows[b], rows[b + _T], rows[b + _T2], rows[b + _T3]
            h4, h5, h6, h7 = rows[b + _T4], rows[b + _T5], rows[b + _T6], rows[b + _T7]
            h8, h9, h10 = rows[b + _T8], rows[b + _T9], rows[b + _T10]
            sums[s] += x0 * h7 + x1 * h8 + x2 * h9 + x3 * h10
            sums[s + _T] += x0 * h6 + x1 * h7 + x2 * h8 + x3 * h9
            sums[s + _T2] += x0 * h5 + x1 * h6 + x2 * h7 + x3 * h8
            sums[s + _T3] += x0 * h4 + x1 * h5 + x2 * h6 + x3 * h7
            sums[s + _T4] += x0 * h3 + x1 * h4 + x2 * h5 + x3 * h6
            sums[s + _T5] += x0 * h2 + x1 * h3 + x2 * h4 + x3 * h5
            sums[s + _T6] += x0 * h1 + x1 * h2 + x2 * h3 + x3 * h4
            sums[s + _T7] += x0 * h0 + x1 * h1 + x2 * h2 + x3 * h3


def _four_lags(rows: Rows, start: int, stop: int, lag: int, sums: Sums, number: int) -> None:
    """As `_eight_lags`, for four."""
    g = np.uintp(number) * _T
    for row in range(start, stop, 4):
        later, earlier = np.uintp(row) * _T, np.uintp(row - lag - 3) * _T
        for pixel in range(TILE):
            p = np.uintp(pixel)
            a, b, s = later + p, earlier + p, g + p
            x0, x1, x2, x3 = rows[a], rows[a + _T], rows[a + _T2], rows[a + _T3]
            h0, h1, h2, h3 = rows[b], rows[b + _T], rows[b + _T2], rows[b + _T3]
            h4, h5, h6 = rows[b + _T4], rows[b + _T5], rows[b + _T6]
            sums[s] += x0 * h3 + x1 * h4 + x2 * h5 + x3 * h6
            sums[s + _T] += x0 * h2 + x1 * h3 + x2 * h4 + x3 * h5
            sums[s + _T2] += x0 * h1 + x1 * h2 + x2 * h3 + x3 * h4
            sums[s + _T3] += x0 * h0 + x1 * h1 + x2 * h2 + x3 * h3


def _one_lag(rows: Rows, start: int, stop: int, lag: int, sums: Sums, number: int) -> None:
    g = np.uintp(number) * _T
    for row in range(start, stop, 4):
        later, earlier = np.uintp(row) * _T, np.uintp(row - lag) * _T
        for pixel in range(TILE):
            p = np.uintp(pixel)
            a, b = later + p, earlier + p
            sums[g + p] += (
                rows[a] * rows[b]
                + rows[a + _T] * rows[b + _T]
                + rows[a + _T2] * rows[b + _T2]
                + rows[a + _T3] * rows[b + _T3]
            )


eight_lags: Any = njit(cache=True, nogil=True)(_eight_lags)
four_lags: Any = njit(cache=True, nogil=True)(_four_lags)
one_lag: Any = njit(cache=True, nogil=True)(_one_lag)


def _add_products(rows: Rows, start: int, stop: int, lag: int, lags: int, sums: Sums) -> None:
    """``sums[j * TILE + p] += rows[t, p] * rows[t - lag - j, p]`` for rows from start to stop, all j < lags.

    Four rows are taken a turn: those beyond `stop` must be zeros.
    """
    j = 0
    while lags - j >= 8:
        eight_lags(rows, start, stop, lag + j, sums, j)
        j += 8
    while lags - j >= 4:
        four_lags(rows, start, stop, lag + j, sums, j)
        j += 4
    while j < lags:
        one_lag(rows, start, stop, lag + j, sums, j)
        j += 1


add_products: Any = njit(cache=True, nogil=True)(_add_products)


def _add_flat(out: Sums, flat: Rows, at: int) -> None:
    """Add the places from `at` on of a flat buffer to out (TILE,)."""
    a = np.uintp(at)
    for pixel in range(TILE):
        p = np.uintp(pixel)
        out[p] += flat[a + p]


def _copy(out: Rows, to: int, rows: Rows, at: int) -> None:
    """Copy `TILE` places."""
    b, a = np.uintp(to), np.uintp(at)
    for pixel in range(TILE):
        p = np.uintp(pixel)
        out[b + p] = rows[a + p]


def _highest(rows: Rows, begin: int, end: int, peaks: Rows) -> int:
    """The highest of the rows from begin to end; peaks (TILE,) is scratch of the rows' dtype."""
    peaks[:] = 0
    for row in range(begin, end):
        a = np.uintp(row) * _T
        for pixel in range(TILE):
            peaks[pixel] = max(peaks[pixel], rows[a + np.uintp(pixel)])
    return int(peaks.max())


add_flat: Any = njit(cache=True, nogil=True)(_add_flat)
copy: Any = njit(cache=True, nogil=True)(_copy)
highest: Any = njit(cache=True, nogil=True)(_highest)


def _add_pairs(rows: Rows, sources: NDArray[np.int64], out: Rows, at: int, peaks: Rows) -> int:
    """Rows of the next level, from row `at` of out on: sums of two rows, or zeros.

    Returns the highest sum; peaks (TILE,) is scratch of out's dtype.
    """
    peaks[:] = 0
    for i in range(len(sources)):
        b = np.uintp(at + i) * _T
        if sources[i] < 0:
            for pixel in range(TILE):
                out[b + np.uintp(pixel)] = 0
            continue
        a = np.uintp(sources[i]) * _T
        for pixel in range(TILE):
            p = np.uintp(pixel)
            out[b + p] = rows[a + p] + rows[a + _T + p]
            peaks[pixel] = max(peaks[pixel], out[b + p])
    return int(peaks.max())


def _sum_rows(rows: Rows, begin: int, end: int, sums: NDArray[np.uint32]) -> None:
    """Add the rows from begin to end to sums (TILE,)."""
    for row in range(begin, end):
        a = np.uintp(row) * _T
        for pixel in range(TILE):
            p = np.uintp(pixel)
            sums[p] += rows[a + p]


add_pairs: Any = njit(cache=True, nogil=True)(_add_pairs)
sum_rows: Any = njit(cache=True, nogil=True)(_sum_rows)
