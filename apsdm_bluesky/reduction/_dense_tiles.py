"""A chunk of frames through all levels, tile by tile: the compiled heart of the dense correlator."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ._dense_loops import (
    MAX_16,
    MAX_32,
    NARROW,
    TILE,
    Rows,
    add_flat,
    add_pairs,
    add_products,
    copy,
    highest,
    sum_rows,
)
from ._dense_plan import UNROLLED, Plan
from ._dense_state import Runs, State
from ._prefetch import LINE, prefetch

# A tile's part of a frame is short and far from that of the next one: the processor does not see by itself
# which comes next. It is told so many frames before.
AHEAD = 8


class Lags(NamedTuple):
    """A level's lags: the first one, their number, and the unit in `State` where their sums begin."""

    level: int
    first: int
    number: int
    unit: int


class Scratch(NamedTuple):
    """Places of one tile: sums of products in 16, 32 and 64 bits, a level's total, highest counts."""

    sums: NDArray[np.uint16]
    wide_sums: NDArray[np.uint32]
    widest_sums: NDArray[np.uint64]
    total: NDArray[np.uint32]
    peaks: NDArray[np.uint16]
    wide_peaks: NDArray[np.uint32]


def _lags_of(level: int, first_lag: int, delays: int) -> Lags:
    if level == 0:
        return Lags(level, first_lag, 2 * delays, 0)
    return Lags(level, first_lag + delays, delays, level + 1)


def _new_scratch(history: int) -> Scratch:
    return Scratch(
        np.empty(history * TILE, np.uint16),
        np.empty(history * TILE, np.uint32),
        np.empty(history * TILE, np.uint64),
        np.empty(TILE, np.uint32),
        np.empty(TILE, np.uint16),
        np.empty(TILE, np.uint32),
    )


def _sources_of(plan: Plan, step: int) -> NDArray[np.int64]:
    """The plan's sources of a step's rows; none after the last step."""
    if step == len(plan.lengths):
        return plan.sources[:0]
    begin = plan.lengths[:step].sum()
    return plan.sources[begin : begin + plan.lengths[step]]


lags_of: Any = njit(cache=True, nogil=True)(_lags_of)
new_scratch: Any = njit(cache=True, nogil=True)(_new_scratch)
sources_of: Any = njit(cache=True, nogil=True)(_sources_of)


def _fetch(counts: NDArray[Any], runs: Runs, tile: int) -> None:
    """Have a tile's counts of a frame (places,) brought to the cache."""
    for near in range(runs.near_offsets[tile], runs.near_offsets[tile + 1]):
        for place in range(runs.near_begin[near], runs.near_end[near], LINE // counts.itemsize):
            prefetch(counts, place)


fetch: Any = njit(cache=True, nogil=True)(_fetch)


def _load(
    frames: NDArray[Any], sources: NDArray[np.int64], runs: Runs, tile: int, rows: Rows, at: int
) -> None:
    """Copy a tile's counts of the frames to the rows from `at` on; -1 stands for a frame that is missing."""
    begin, end = runs.offsets[tile], runs.offsets[tile + 1]
    full = runs.place[end - 1] + runs.length[end - 1] == TILE
    for i in range(len(sources)):
        if i + AHEAD < len(sources) and sources[i + AHEAD] >= 0:
            fetch(frames[sources[i + AHEAD]], runs, tile)
        row = np.uintp(at + i) * np.uintp(TILE)
        if sources[i] < 0 or not full:
            for p in range(TILE):
                rows[row + np.uintp(p)] = 0
        if sources[i] < 0:
            continue
        counts = frames[sources[i]]
        for run in range(begin, end):
            first, place = np.uintp(runs.begin[run]), row + np.uintp(runs.place[run])
            for p in range(runs.length[run]):
                rows[place + np.uintp(p)] = counts[first + np.uintp(p)]


load: Any = njit(cache=True, nogil=True)(_load)


def _spill(state: State, lags: Lags, tile: int) -> None:
    """Move a level's sums of products from 32 to 64 bits."""
    for j in range(lags.number):
        low, high = lag_sums(state.low, tile, lags.unit, j), lag_sums(state.high, tile, lags.unit, j)
        for p in range(TILE):
            high[p] += low[p]
            low[p] = 0
    state.bound[lags.level, tile] = 0
    state.spilled[lags.level, tile] = True


def _lag_sums(sums: NDArray[Any], tile: int, unit: int, j: int) -> NDArray[Any]:
    """The sums (TILE,) of the j-th lag from a unit on."""
    delays = sums.shape[2]
    of_lag: NDArray[Any] = sums[unit + j // delays, tile, j % delays]
    return of_lag


lag_sums: Any = njit(cache=True, nogil=True)(_lag_sums)
spill: Any = njit(cache=True, nogil=True)(_spill)


def _add_block(state: State, lags: Lags, tile: int, sums: NDArray[np.unsignedinteger], most: int) -> None:
    """Add products, none above `most`, to a level's 32-bit sums."""
    if state.bound[lags.level, tile] + most > MAX_32:
        spill(state, lags, tile)
    state.bound[lags.level, tile] += most
    for j in range(lags.number):
        add_flat(lag_sums(state.low, tile, lags.unit, j), sums, j * TILE)


add_block: Any = njit(cache=True, nogil=True)(_add_block)


def _correlate_narrow(
    state: State,
    lags: Lags,
    tile: int,
    rows: NDArray[np.uint16],
    length: int,
    high: int,
    sums: NDArray[np.uint16],
    wide_sums: NDArray[np.uint32],
) -> None:
    """Add up products in 16 bits, in blocks so short that they fit, or in 32 where not even 8 rows do."""
    history = state.narrow.shape[2]
    square = max(high * high, 1)
    narrow = MAX_16 // square >= 8
    step = min(((MAX_16 if narrow else MAX_32) // square) // 4 * 4, (length + 3) // 4 * 4)
    for begin in range(0, length, step):
        first, end = history + begin, history + min(begin + step, length)
        if narrow:
            sums[: lags.number * TILE] = 0
            add_products(rows, first, end, lags.first, lags.number, sums)
            add_block(state, lags, tile, sums, (end - first) * square)
        else:
            wide_sums[: lags.number * TILE] = 0
            add_products(rows, first, end, lags.first, lags.number, wide_sums)
            add_block(state, lags, tile, wide_sums, (end - first) * square)


def _correlate_wide(
    state: State, lags: Lags, tile: int, rows: NDArray[np.uint32], length: int, sums: NDArray[np.uint64]
) -> None:
    """Add up products in 64 bits."""
    history = state.narrow.shape[2]
    sums[: lags.number * TILE] = 0
    add_products(rows, history, history + length, lags.first, lags.number, sums)
    for j in range(lags.number):
        add_flat(lag_sums(state.high, tile, lags.unit, j), sums, j * TILE)
    state.spilled[lags.level, tile] = True


correlate_narrow: Any = njit(cache=True, nogil=True)(_correlate_narrow)
correlate_wide: Any = njit(cache=True, nogil=True)(_correlate_wide)


def _recall(state: State, level: int, tile: int, rows: Rows) -> None:
    """The level's last frames, as the first rows."""
    for k in range(state.narrow.shape[2]):
        if state.peak[level, tile] > NARROW:
            copy(rows, k * TILE, state.wide[level, tile, k], 0)
        else:
            copy(rows, k * TILE, state.narrow[level, tile, k], 0)


def _remember(state: State, level: int, tile: int, rows: Rows, length: int, peaks: Rows) -> None:
    """Keep the last of so many new rows."""
    history = state.narrow.shape[2]
    high = highest(rows, length, length + history, peaks)
    state.peak[level, tile] = high
    for k in range(history):
        if high > NARROW:
            copy(state.wide[level, tile, k], 0, rows, (length + k) * TILE)
        else:
            copy(state.narrow[level, tile, k], 0, rows, (length + k) * TILE)


recall: Any = njit(cache=True, nogil=True)(_recall)
remember: Any = njit(cache=True, nogil=True)(_remember)


def _adopt_rows(
    first_tile: int, last_tile: int, rows: NDArray[np.uint32], runs: Runs, level: int, state: State
) -> None:
    """Make rows (n, npix) a level's last frames."""
    history = state.narrow.shape[2]
    last, peaks = np.zeros(history * TILE, np.uint32), np.empty(TILE, np.uint32)
    for tile in range(first_tile, last_tile):
        load(rows, np.arange(len(rows)), runs, tile, last, history - len(rows))
        remember(state, level, tile, last, 0, peaks)


adopt_rows: Any = njit(cache=True, nogil=True)(_adopt_rows)


def _note_missing(state: State, plan: Plan, step: int, tile: int, rows: Rows) -> None:
    """Add up the frames without an earlier, and those without a later partner."""
    for i in range(plan.unmatched_offsets[step], plan.unmatched_offsets[step + 1]):
        add_flat(lag_sums(state.no_earlier, tile, 0, plan.unmatched[i, 1]), rows, plan.unmatched[i, 0] * TILE)
    for i in range(plan.passed_offsets[step], plan.passed_offsets[step + 1]):
        add_flat(lag_sums(state.no_later, tile, 0, plan.passed[i, 1]), rows, plan.passed[i, 0] * TILE)


note_missing: Any = njit(cache=True, nogil=True)(_note_missing)


def _add_rows(
    rows: Rows, begin: int, end: int, high: int, sums: NDArray[np.uint16], total: NDArray[np.uint32]
) -> None:
    """``total = `` sum of the rows from begin to end, none above `high`."""
    if (end - begin) * high > MAX_16:
        total[:] = 0
        sum_rows(rows, begin, end, total)
        return
    sums[:TILE] = 0
    sum_rows(rows, begin, end, sums)
    copy(total, 0, sums, 0)


add_rows: Any = njit(cache=True, nogil=True)(_add_rows)


def _copy_rows(rows: Rows, begin: int, end: int, out: Rows) -> None:
    """Copy rows to others of another width."""
    for row in range(begin, end):
        copy(out, row * TILE, rows, row * TILE)


copy_rows: Any = njit(cache=True, nogil=True)(_copy_rows)


def _narrow_step(
    state: State,
    plan: Plan,
    step: int,
    lags: Lags,
    tile: int,
    high: int,
    rows: NDArray[np.uint16],
    next_rows: NDArray[np.uint16],
    scratch: Scratch,
) -> int:
    """Take a level's new rows, none above `high`; make those of the next level, and return their highest."""
    history, length = state.narrow.shape[2], plan.lengths[step]
    if not plan.carried[step]:
        add_rows(rows, history, history + length, high, scratch.sums, scratch.total)
    recall(state, lags.level, tile, rows)
    rows[(history + length) * TILE : (history + length + UNROLLED) * TILE] = 0
    high = max(high, state.peak[lags.level, tile])
    if high > 0:
        correlate_narrow(state, lags, tile, rows, length, high, scratch.sums, scratch.wide_sums)
    note_missing(state, plan, step, tile, rows)
    next_high: int = add_pairs(rows, sources_of(plan, step + 1), next_rows, history, scratch.peaks)
    remember(state, lags.level, tile, rows, length, scratch.peaks)
    return next_high


def _wide_step(
    state: State,
    plan: Plan,
    step: int,
    lags: Lags,
    tile: int,
    rows: NDArray[np.uint32],
    next_rows: NDArray[np.uint32],
    scratch: Scratch,
) -> int:
    """As `_narrow_step`, for counts of up to 32 bits."""
    history, length = state.narrow.shape[2], plan.lengths[step]
    if not plan.carried[step]:
        scratch.total[:] = 0
        sum_rows(rows, history, history + length, scratch.total)
    recall(state, lags.level, tile, rows)
    rows[(history + length) * TILE : (history + length + UNROLLED) * TILE] = 0
    correlate_wide(state, lags, tile, rows, length, scratch.widest_sums)
    note_missing(state, plan, step, tile, rows)
    next_high: int = add_pairs(rows, sources_of(plan, step + 1), next_rows, history, scratch.wide_peaks)
    remember(state, lags.level, tile, rows, length, scratch.wide_peaks)
    return next_high


narrow_step: Any = njit(cache=True, nogil=True)(_narrow_step)
wide_step: Any = njit(cache=True, nogil=True)(_wide_step)


def _load_narrow(
    frames: NDArray[Any],
    plan: Plan,
    runs: Runs,
    tile: int,
    history: int,
    rows: NDArray[np.uint16],
    wide: NDArray[np.uint32],
    scratch: Scratch,
) -> int:
    """Load a tile of the frames into `rows`, or into `wide` if they do not fit; return the highest count."""
    sources, end = sources_of(plan, 0), history + plan.lengths[0]
    if frames.itemsize <= 2:
        load(frames, sources, runs, tile, rows, history)
        high: int = highest(rows, history, end, scratch.peaks)
        return high
    load(frames, sources, runs, tile, wide, history)
    high = highest(wide, history, end, scratch.wide_peaks)
    if high <= NARROW:
        copy_rows(wide, history, end, rows)
    return high


load_narrow: Any = njit(cache=True, nogil=True)(_load_narrow)


def _push_tiles(
    first_tile: int,
    last_tile: int,
    frames: NDArray[Any],
    runs: Runs,
    plan: Plan,
    state: State,
    first_lag: int,
) -> None:
    """Take the tiles from `first_tile` to before `last_tile` through the levels of the plan.

    Frames are (n, places), uint8, uint16 or uint32.
    """
    history = state.narrow.shape[2]
    # Rows of this level and of the next one, in 16 and in 32 bits: what is not touched is not stored.
    rows, next_rows = np.empty(plan.longest * TILE, np.uint16), np.empty(plan.longest * TILE, np.uint16)
    wide, next_wide = np.empty(plan.longest * TILE, np.uint32), np.empty(plan.longest * TILE, np.uint32)
    scratch = new_scratch(history)
    for tile in range(first_tile, last_tile):
        high = load_narrow(frames, plan, runs, tile, history, rows, wide, scratch)
        is_wide = frames.itemsize > 2 and high > NARROW
        for step in range(len(plan.lengths)):
            lags = lags_of(plan.first + step, first_lag, history // 2)
            if not is_wide and max(high, state.peak[lags.level, tile]) > NARROW:
                copy_rows(rows, history, history + plan.lengths[step], wide)
                is_wide = True
            if is_wide:
                high = wide_step(state, plan, step, lags, tile, wide, next_wide, scratch)
                wide, next_wide = next_wide, wide
            else:
                high = narrow_step(state, plan, step, lags, tile, high, rows, next_rows, scratch)
                rows, next_rows = next_rows, rows
            add_flat(state.total[lags.level, tile], scratch.total, 0)


push_tiles: Any = njit(cache=True, nogil=True)(_push_tiles)
