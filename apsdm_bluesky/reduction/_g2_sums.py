"""Reads the dense correlator: sums over cells of pixels, and the scatter of pixels, in one pass."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ._dense_loops import NARROW, TILE, add_flat
from ._dense_state import State
from ._dense_tiles import lag_sums
from ._workers import Workers

Floats = NDArray[np.float64]


class Cells(NamedTuple):
    """To which cell (of static bin and jackknife group) and to which dynamic bin, from 0, each pixel belongs.

    Parameters
    ----------
    cell, bin
        Shape (tiles, TILE), int32. Places without a pixel belong to one cell, and one bin, beyond the others.
    cells, bins
        Their numbers, without those.
    """

    cell: NDArray[np.int32]
    bin: NDArray[np.int32]
    cells: int
    bins: int


class CellSums(NamedTuple):
    """Sums over the valid pairs of every lag; a lag's row is that of `State`.

    Parameters
    ----------
    products, past, future
        Shape (rows, cells + 1): sums over a cell's pixels of x_n x_(n+lag), of x_n and of x_(n+lag).
    lit, shift, first, second
        Shape (rows, bins + 1): number of a bin's pixels that are not dark; the ratio G2 / (IP IF) of one of
        them; sums of the ratios less this one, and of their squares.
    """

    products: Floats
    past: Floats
    future: Floats
    lit: Floats
    shift: Floats
    first: Floats
    second: Floats


def zero_sums(rows: int, cells: Cells) -> CellSums:
    """No sums yet."""
    shapes = [(rows, cells.cells + 1)] * 3 + [(rows, cells.bins + 1)] * 4
    return CellSums(*(np.zeros(shape) for shape in shapes))


def _take_lag(
    state: State,
    extra: NDArray[np.unsignedinteger],
    tile: int,
    row: int,
    pairs: int,
    level: int,
    tail: NDArray[np.uint32],
    values: Floats,
) -> None:
    """Values (5, TILE): sums of products, of x_n and of x_(n+lag); 1 where lit, 0 else; G2 / (IP IF)."""
    low, high = lag_sums(state.low, tile, 0, row), lag_sums(state.high, tile, 0, row)
    no_later, no_earlier = lag_sums(state.no_later, tile, 0, row), lag_sums(state.no_earlier, tile, 0, row)
    total = state.total[level, tile]
    products, past, future, lit, ratio = values[0], values[1], values[2], values[3], values[4]
    if row < len(extra):
        more = extra[row, tile * TILE : (tile + 1) * TILE]
        for p in range(TILE):
            products[p] = np.float64(low[p] + high[p] + more[p])
    elif state.spilled[level, tile]:
        for p in range(TILE):
            products[p] = np.float64(low[p] + high[p])
    else:
        for p in range(TILE):
            products[p] = np.float64(low[p])
    for p in range(TILE):
        past[p] = np.float64(np.uint32(total[p] - no_later[p] - tail[p]))
        future[p] = np.float64(np.uint32(total[p] - no_earlier[p]))
    for p in range(TILE):
        norm = past[p] * future[p]
        lit[p] = 1.0 if norm > 0 else 0.0
        ratio[p] = pairs * products[p] / (norm if norm > 0 else 1.0)


take_lag: Any = njit(cache=True, nogil=True, error_model="numpy")(_take_lag)


def _add_to_cells(cells: Cells, tile: int, row: int, values: Floats, sums: CellSums) -> None:
    """Add a tile's values to the sums. Neighbours mostly share a cell: sums are kept until it changes."""
    cell, bins = cells.cell[tile], cells.bin[tile]
    shift = sums.shift[row]
    begin = 0
    while begin < TILE:
        c, b = np.intp(cell[begin]), np.intp(bins[begin])
        p = begin
        while sums.lit[row, b] == 0 and p < TILE and cell[p] == c:
            if values[3, p] > 0:
                shift[b] = values[4, p]
                break
            p += 1
        one = shift[b]
        products = past = future = lit = first = second = 0.0
        p = begin
        while p < TILE and cell[p] == c:
            products += values[0, p]
            past += values[1, p]
            future += values[2, p]
            lit += values[3, p]
            distance = values[3, p] * (values[4, p] - one)
            first += distance
            second += distance * distance
            p += 1
        sums.products[row, c] += products
        sums.past[row, c] += past
        sums.future[row, c] += future
        sums.lit[row, b] += lit
        sums.first[row, b] += first
        sums.second[row, b] += second
        begin = p


add_to_cells: Any = njit(cache=True, nogil=True)(_add_to_cells)


def _sum_unit(
    state: State,
    extra: NDArray[np.unsignedinteger],
    unit: int,
    lag: int,
    pairs: NDArray[np.int64],
    cells: Cells,
    sums: CellSums,
) -> None:
    """Add up the d lags of a unit, from `lag` on; pairs (d,)."""
    level, history = max(unit - 1, 0), state.narrow.shape[2]
    tail, values = np.empty(TILE, np.uint32), np.empty((5, TILE))
    for tile in range(state.low.shape[1]):
        tail[:] = 0
        added = 0
        for j in range(len(pairs)):
            while added < lag + j:
                added += 1
                if state.peak[level, tile] > NARROW:
                    add_flat(tail, state.wide[level, tile, history - added], 0)
                else:
                    add_flat(tail, state.narrow[level, tile, history - added], 0)
            if pairs[j] > 0:
                row = unit * len(pairs) + j
                take_lag(state, extra, tile, row, pairs[j], level, tail, values)
                add_to_cells(cells, tile, row, values, sums)


sum_unit: Any = njit(cache=True, nogil=True)(_sum_unit)


def read_sums(
    state: State,
    extra: NDArray[np.unsignedinteger],
    pairs: Sequence[NDArray[np.int64]],
    first_lag: int,
    cells: Cells,
    workers: Workers,
) -> CellSums:
    """The sums of every lag. Each part sums whole lags, in the order of the pixels: threads do not show.

    Parameters
    ----------
    extra
        Shape (m, n): sums of products that come in addition to the state's first m rows.
    pairs
        For each level, the valid pairs of its lags.
    """
    delays = state.low.shape[2]
    units = [(0, first_lag, pairs[0][:delays]), (1, first_lag + delays, pairs[0][delays:])] if pairs else []
    units += [(level + 1, first_lag + delays, of_level) for level, of_level in enumerate(pairs) if level]
    sums = zero_sums(len(units) * delays, cells)
    workers.run(lambda part: sum_unit(state, extra, *units[part], cells, sums), len(units))
    return sums
