"""The products of all pairs of rows, by whatever is the fastest for the counts: the numbers are the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._twotime_kernels import add_scaled, multiply_planes, pack_planes
from ._workers import Workers

Counts = NDArray[Any]
Range = tuple[int, int]

# Rows of two blocks that are multiplied: their products stay in the second-level cache.
_BLOCK, _WIDE_BLOCK = 256, 512
# Rows that are packed at a time: their words fill cache lines.
_PACKED = 32
# Counts with more bits than five are left to matrix products, unless most of their planes' words are empty.
_MAX_PLANE_COUNT = 31
_BYTE, _HALF = 255, 65535
# A full set of planes costs the same as a matrix product when about so many pairs of planes are counted.
_MAX_PLANE_PAIRS = 5.0
_WORD = 16

# Sums over a range of columns of the products of two ranges of rows, float64.
_Multiply = Callable[[Range, Range, Range], NDArray[np.float64]]


def correlate(
    rows: list[Counts],
    columns: NDArray[np.int64],
    sizes: NDArray[np.int64],
    workers: Workers,
    c2: NDArray[np.float64],
) -> None:
    """Write the two-time correlation of one dynamic bin into `c2`, (n, n); NaN for rows without a count.

    Parameters
    ----------
    rows
        n arrays of the bin's columns.
    columns
        Shape (m + 1,): where its static bins begin, multiples of 64 from 0 on; zeros fill the rest.
    sizes
        Shape (m,): pixels of the static bins.
    """
    n = len(rows)
    sums = np.stack([np.add.reduceat(row, columns[:-1], dtype=np.uint64) for row in rows], axis=1).astype(
        np.float64
    )
    lit = (sums > 0).T @ sizes.astype(np.float64)
    pairs = _block_pairs(n)
    multiply = by_planes(rows, int(sums.max()), workers) or by_matrices(rows)

    def add_pair(part: int) -> None:
        first, second = slice(*pairs[part][0]), slice(*pairs[part][1])
        block = np.zeros((first.stop - first.start, second.stop - second.start))
        for k, size in enumerate(sizes):
            products = multiply(*pairs[part], (int(columns[k]), int(columns[k + 1])))
            add_scaled(products, sums[k, first], sums[k, second], int(size), block)
        norm = np.outer(lit[first], lit[second])
        c2[first, second] = np.divide(
            block * float(sizes.sum()), norm, out=np.full_like(block, np.nan), where=norm > 0
        )
        c2[second, first] = c2[first, second].T

    workers.run(add_pair, len(pairs))


def _block_pairs(n: int) -> list[tuple[Range, Range]]:
    """Ranges of rows that cover every pair (i, j) with j >= i."""
    return [
        ((i, min(i + _BLOCK, n)), (j, min(j + _WIDE_BLOCK, n)))
        for i in range(0, n, _BLOCK)
        for j in range(i, n, _WIDE_BLOCK)
    ]


def by_planes(rows: list[Counts], brightest: int, workers: Workers) -> _Multiply | None:
    """Common bits of packed planes; None where a matrix product is faster: many bits, and few of them empty.

    `brightest` is the highest sum over a range of columns that is asked for.
    """
    highest = max(int(row.max()) for row in rows)
    if highest > _MAX_PLANE_COUNT:
        return None
    by_row = np.empty((highest.bit_length(), len(rows), len(rows[0]) // _WORD), np.uint16)
    by_word = np.empty((by_row.shape[0], by_row.shape[2], by_row.shape[1]), np.uint16)

    def pack(part: int) -> None:
        own = slice(part * _PACKED, (part + 1) * _PACKED)
        pack_planes(np.stack(rows[own]).view(np.uint64), by_row[:, own])
        by_word[:, :, own] = by_row[:, own].transpose(0, 2, 1)

    workers.run(pack, -(-len(rows) // _PACKED))
    filled = [np.count_nonzero(plane) / plane.size for plane in by_row]
    if sum(part * (0.5 + bit) for bit, part in enumerate(filled)) > _MAX_PLANE_PAIRS:
        return None

    fours = by_row.view(np.uint64)  # the machine's own order of bytes: least first
    step = max(_HALF // (4 * _WORD * highest**2), 1) * 4 if brightest * highest > _HALF else by_row.shape[2]

    def multiply(first: Range, second: Range, columns: Range) -> NDArray[np.float64]:
        words = (columns[0] // _WORD, columns[1] // _WORD)
        products: NDArray[np.float64] = multiply_planes(fours, by_word, words, step, first, second)
        return products

    return multiply


def by_matrices(rows: list[Counts]) -> _Multiply:
    """Matrix products, exact: of so few columns at a time that every sum fits the mantissa.

    Counts above 16 bits are taken apart into two halves; their four products are exact and add up in one
    order, to the nearest float64.
    """
    highest = max(int(row.max()) for row in rows)

    def block(chosen: Range, columns: Range) -> Counts:
        return np.stack([row[slice(*columns)] for row in rows[slice(*chosen)]])

    def multiply(first: Range, second: Range, columns: Range) -> NDArray[np.float64]:
        a, b = block(first, columns), block(second, columns)
        if highest <= _HALF:
            return _exact_product(a, b, highest)
        a_low, b_low = a & _HALF, b & _HALF
        a_high, b_high = a >> 16, b >> 16
        middle = _exact_product(a_high, b_low, _HALF) + _exact_product(a_low, b_high, _HALF)
        ends = _exact_product(a_high, b_high, _HALF) * 2.0**32 + _exact_product(a_low, b_low, _HALF)
        total: NDArray[np.float64] = ends + middle * 2.0**16
        return total

    return multiply


def _exact_product(a: Counts, b: Counts, highest: int) -> NDArray[np.float64]:
    dtype, bits = (np.float32, 24) if highest <= _BYTE else (np.float64, 53)
    step = max(2**bits // max(highest, 1) ** 2, 1)
    total = np.zeros((len(a), len(b)))
    for start in range(0, a.shape[1], step):
        part = slice(start, start + step)
        x: NDArray[Any] = a[:, part].astype(dtype)
        y: NDArray[Any] = b[:, part].astype(dtype)
        total += x @ y.T
    return total
