"""The products of all pairs of rows, by whatever is the fastest for the counts: the numbers are the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._twotime_blocks import Packed, Range, Survey
from ._twotime_kernels import Counts
from ._twotime_pairs import add_scaled, write_block
from ._workers import Workers

_BYTE, _HALF = 255, 65535

# Sums over a range of columns of the products of the rows of two blocks. Rows may follow that are none.
_Multiply = Callable[[int, int, Range], NDArray[Any]]


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
    survey = Survey.of(rows, columns, workers)
    planes = survey.best_planes()
    if planes is None:
        multiply: _Multiply = by_matrices(rows, survey)
    else:
        multiply = Packed(rows, survey, planes, workers).multiply
    sums, blocks = survey.sums, survey.blocks
    lit = (sums > 0).T @ sizes.astype(np.float64)
    npix = float(sizes.sum())
    pairs = [(i, j) for i in range(len(blocks)) for j in range(i, len(blocks))]

    def add_pair(part: int) -> None:
        first, second = (slice(*blocks[k]) for k in pairs[part])
        block = np.zeros((first.stop - first.start, second.stop - second.start))
        for k, size in enumerate(sizes):
            products = multiply(*pairs[part], (int(columns[k]), int(columns[k + 1])))
            add_scaled(products, sums[k, first], sums[k, second], int(size), block)
        write_block(block, lit[first], lit[second], npix, c2[first, second], c2[second, first])

    workers.run(add_pair, len(pairs))


def by_matrices(rows: list[Counts], survey: Survey) -> _Multiply:
    """Matrix products, exact: of so few columns at a time that every sum fits the mantissa.

    Counts above 16 bits are taken apart into two halves; their four products are exact and add up in one
    order, to the nearest float64.
    """

    def block(chosen: int, columns: Range) -> Counts:
        return np.stack([row[slice(*columns)] for row in rows[slice(*survey.blocks[chosen])]])

    def multiply(first: int, second: int, columns: Range) -> NDArray[np.float64]:
        a, b = block(first, columns), block(second, columns)
        if survey.highest <= _HALF:
            return _exact_product(a, b, survey.highest)
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
