"""Compiled loops. They release the interpreter's lock: the acquisition goes on beside them."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Pixels of a tile: the last 9 frames (uint32) and the 8 sums (uint64) of so many pixels stay in 48 kB of
# first-level cache.
TILE = 384


def _add_products(
    rows: NDArray[np.uint32],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    lag: NDArray[np.int64],
    products: NDArray[np.uint64],
) -> None:
    """``products[lag[i]] += rows[first[i]] * rows[second[i]]`` for every pair i, in order, pixel by pixel.

    Shapes: rows (n, npix); first, second, lag (npairs,); products (nlags, npix), changed in place.
    """
    for start in range(0, rows.shape[1], TILE):
        stop = min(start + TILE, rows.shape[1])
        for i in range(len(first)):
            x = rows[first[i], start:stop]
            y = rows[second[i], start:stop]
            out = products[lag[i], start:stop]
            for p in range(stop - start):
                out[p] += np.uint64(x[p]) * np.uint64(y[p])


add_products: Any = njit(cache=True, nogil=True)(_add_products)
