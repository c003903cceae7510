"""What the dense correlator keeps, and where a tile finds its pixels in a row of counts."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._dense_loops import TILE

# Pixels this near to each other mostly share a cache line, or lie in neighbouring ones.
_NEAR = 64


class State(NamedTuple):
    """All that is kept of the frames so far, tile by tile.

    The sums of lags stand in units of d lags: two units of level 0, then one of each level. 32 bits hold
    every sum of counts because the caller keeps each pixel's total below 2^32; a product sum is at most that
    total squared, so 64 bits hold it. Levels are made beforehand: zeros that nobody wrote take no memory.

    Parameters
    ----------
    low, high
        Shape (units, tiles, d, TILE), uint32 and uint64: sums of products, in two parts. `low`
        takes them as long as `bound` shows that 32 bits are enough, then it is emptied into `high`.
    total
        Shape (levels, tiles, TILE), uint32: sums of the levels' frames.
    no_earlier, no_later
        Shape (units, tiles, d, TILE), uint32: sums of the frames whose earlier, and later, partner is known
        to be missing.
    narrow, wide
        Shape (levels, tiles, 2d, TILE), uint16 and uint32: the last frames, the newest one last; in `wide`
        where `peak` is above `NARROW`.
    peak, bound
        Shape (levels, tiles), int64: the highest count of the last frames, and what no sum in `low` exceeds.
    spilled
        Shape (levels, tiles): whether anything is in `high`.
    """

    low: NDArray[np.uint32]
    high: NDArray[np.uint64]
    total: NDArray[np.uint32]
    no_earlier: NDArray[np.uint32]
    no_later: NDArray[np.uint32]
    narrow: NDArray[np.uint16]
    wide: NDArray[np.uint32]
    peak: NDArray[np.int64]
    bound: NDArray[np.int64]
    spilled: NDArray[np.bool_]


def zero_state(levels: int, delays_per_level: int, tiles: int) -> State:
    """The state of so many levels before the first frame."""
    lags = (levels + 1, tiles, delays_per_level, TILE)
    history = (levels, tiles, 2 * delays_per_level, TILE)
    return State(
        low=np.zeros(lags, np.uint32),
        high=np.zeros(lags, np.uint64),
        total=np.zeros((levels, tiles, TILE), np.uint32),
        no_earlier=np.zeros(lags, np.uint32),
        no_later=np.zeros(lags, np.uint32),
        narrow=np.zeros(history, np.uint16),
        wide=np.zeros(history, np.uint32),
        peak=np.zeros((levels, tiles), np.int64),
        bound=np.zeros((levels, tiles), np.int64),
        spilled=np.zeros((levels, tiles), np.bool_),
    )


class Runs(NamedTuple):
    """Where the used pixels lie in a row of counts: runs of neighbours.

    Parameters
    ----------
    begin, length, place
        Shape (runs,): first place in the row of counts, number of pixels, place in the tile.
    offsets
        Shape (tiles + 1,): each tile's first run.
    near_begin, near_end, near_offsets
        Shapes (n,), (n,), (tiles + 1,): stretches of the row that hold a tile's runs, to be fetched from
        memory. Runs that are near each other share one.
    """

    begin: NDArray[np.int64]
    length: NDArray[np.int64]
    place: NDArray[np.int64]
    offsets: NDArray[np.int64]
    near_begin: NDArray[np.int64]
    near_end: NDArray[np.int64]
    near_offsets: NDArray[np.int64]


def runs_of(pixels: NDArray[np.int64]) -> Runs:
    """The runs of pixels (npix,), increasing."""
    starts, offsets = _stretches(pixels, 1)
    near, near_offsets = _stretches(pixels, _NEAR)
    return Runs(
        begin=pixels[starts],
        length=np.diff(starts, append=len(pixels)),
        place=starts % TILE,
        offsets=offsets,
        near_begin=pixels[near],
        near_end=pixels[np.append(near, len(pixels))[1:] - 1] + 1,
        near_offsets=near_offsets,
    )


def _stretches(pixels: NDArray[np.int64], step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where a tile begins, or a pixel lies more than `step` after the one before; and each tile's first."""
    column = np.arange(len(pixels))
    far = np.diff(pixels, prepend=0) > step
    starts = np.flatnonzero(far | (column % TILE == 0))
    return starts, np.searchsorted(starts, np.arange(0, len(pixels) + TILE, TILE)).astype(np.int64)
