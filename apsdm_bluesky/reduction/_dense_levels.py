"""The levels of multi-tau for frames, or level frames, that come with all their pixels."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._dense_loops import NARROW, TILE
from ._dense_plan import Clocks, Slots
from ._dense_state import Runs, runs_of, zero_state
from ._dense_tiles import adopt_rows, push_tiles
from ._workers import Workers

# Rows taken through the levels at a time: with fewer, reading and writing the sums takes longer than adding
# to them; with more, a tile's rows leave the second-level cache.
CHUNK = 512
# Levels made at first, enough for 65,536 frames, and then at a time.
LEVELS, MORE_LEVELS = 16, 8
# Parts for each thread, so that the threads end together on a machine that does other things too.
PARTS = 4


class DenseLevels:
    """Correlates frames in tiles of pixels, in integers, with gaps.

    Parameters
    ----------
    pixels
        Shape (npix,), increasing: places of the used pixels in a frame.
    """

    def __init__(
        self, pixels: NDArray[np.int64], delays_per_level: int, first_lag: int, workers: Workers
    ) -> None:
        self._delays_per_level, self._first_lag = delays_per_level, first_lag
        self._tiles = -(-len(pixels) // TILE)
        self._npix, self.places = len(pixels), self._tiles * TILE
        self.runs, self._of_rows = runs_of(pixels), runs_of(np.arange(len(pixels)))
        self._workers = workers
        self.clocks = Clocks(delays_per_level, first_lag)
        self.state = zero_state(LEVELS, delays_per_level, self._tiles)

    def push_frames(self, slots: Slots, frames: NDArray[Any]) -> None:
        """Add frames, shape (n, places), of any unsigned dtype up to 32 bits. Slots increase."""
        self._push(0, slots, frames, self.runs)

    def push_rows(self, level: int, slots: Slots, rows: NDArray[Any]) -> None:
        """Add frames of a level, shape (n, npix): sums of 2^level frames at the used pixels."""
        self._push(level, slots, rows, self._of_rows)

    def adopt(
        self,
        frames: int,
        last_rows: Callable[[int, int], tuple[Slots, NDArray[np.uint32]]],
        levels: int,
        added: NDArray[np.uint32],
    ) -> None:
        """Know of frames that were correlated elsewhere in the lowest levels, but for the products.

        Parameters
        ----------
        frames
            The frame that comes next.
        last_rows
            Of a level, gives up to so many last frames, (n, npix).
        levels
            How many levels.
        added
            Shape (npix,): the counts since the last frame that is known.
        """
        counts = np.zeros(self.places, np.uint32)
        counts[: self._npix] = added
        before = self._incomplete(levels)
        for level in range(levels):
            self.clocks[level].skip_to(frames >> level)
            self._adopt_rows(level, last_rows(level, 2 * self._delays_per_level)[1])
        for level, (old, new) in enumerate(zip(before, self._incomplete(levels), strict=True)):
            total = self.state.total[level]
            total += counts.reshape(-1, TILE) + old - new

    def note_first(self, levels: int, counts_before: Callable[[int], NDArray[np.uint32]]) -> None:
        """Note the first frames of the lowest levels, which have no earlier partner: they were adopted.

        Parameters
        ----------
        counts_before
            Of a frame, gives the counts of all before it, (npix,); it is asked for later and later ones.
        """
        rows: dict[int, list[int]] = {}
        for level in range(levels):
            clock = self.clocks[level]
            for row, lag in enumerate(clock.lags.tolist(), clock.row):
                rows.setdefault(min(lag, clock.next) << level, []).append(row)
        counts = np.zeros(self.places, np.uint32)
        for frame in sorted(rows):
            counts[: self._npix] = counts_before(frame)
            for unit, j in (divmod(row, self._delays_per_level) for row in rows[frame]):
                self.state.no_earlier[unit, :, j] = counts.reshape(-1, TILE)

    def _adopt_rows(self, level: int, rows: NDArray[np.uint32]) -> None:
        state, runs = self.state, self._of_rows
        rows.flags.writeable = False
        self._run(lambda begin, end: adopt_rows(begin, end, rows, runs, level, state))

    def _incomplete(self, levels: int) -> list[NDArray[np.uint32]]:
        """For each level, the counts of the frames at the end that do not make up one of its frames."""
        found = [np.zeros((self._tiles, TILE), np.uint32)]
        for level in range(levels - 1):
            odd = self.clocks[level].next % 2
            found.append(found[-1] + self._history(level, 1)[:, 0] if odd else found[-1])
        return found

    def _history(self, level: int, rows: int) -> NDArray[np.uint32]:
        """A level's last frames, (tiles, rows, TILE)."""
        state, last = self.state, slice(2 * self._delays_per_level - rows, None)
        is_wide = (state.peak[level] > NARROW)[:, np.newaxis, np.newaxis]
        history: NDArray[np.uint32] = np.where(
            is_wide, state.wide[level, :, last], state.narrow[level, :, last]
        )
        return history

    def _run(self, task: Callable[[int, int], None]) -> None:
        """Call the task for parts of the tiles: (first, last + 1)."""
        parts = min(self._tiles, self._workers.threads * PARTS)
        edges = np.linspace(0, self._tiles, parts + 1).astype(int).tolist()
        self._workers.run(lambda part: task(edges[part], edges[part + 1]), parts)

    def _push(self, level: int, slots: Slots, rows: NDArray[Any], runs: Runs) -> None:
        while len(slots):
            n = self.clocks.fitting(level, slots, CHUNK)
            self._push_chunk(level, slots[:n], rows[:n], runs)
            slots, rows = slots[n:], rows[n:]

    def _push_chunk(self, level: int, slots: Slots, rows: NDArray[Any], runs: Runs) -> None:
        plan = self.clocks.plan(level, slots)
        self._make_levels(level + len(plan.lengths))
        chunk = np.ascontiguousarray(rows).view()
        chunk.flags.writeable = False
        state, first_lag = self.state, self._first_lag
        self._run(lambda begin, end: push_tiles(begin, end, chunk, runs, plan, state, first_lag))

    def pairs(self) -> NDArray[np.int64]:
        """The valid pairs of each lag, in the order of the rows of sums."""
        return np.concatenate([np.zeros(0, np.int64), *(clock.pairs for clock in self.clocks)])

    def totals(self) -> NDArray[np.uint64]:
        """Shape (npix,): the counts of each pixel."""
        return self._in_order(self.state.total[0]).astype(np.uint64)

    def lag_sums(
        self, level: int, row: int, extra: NDArray[np.unsignedinteger]
    ) -> tuple[NDArray[np.float64], ...]:
        """Sums of x_n x_(n+lag), of x_n and of x_(n+lag), shape (npix,): x are the level's sums of frames."""
        state, d = self.state, self._delays_per_level
        lag = int(self.clocks[level].lags[row if level == 0 else row % d])
        unit, j = divmod(row, d)
        tail = self._history(level, lag).sum(axis=1, dtype=np.uint32)
        total = state.total[level]
        products = state.low[unit, :, j] + state.high[unit, :, j]
        if row < len(extra):
            products += extra[row].reshape(products.shape)
        sums = (
            products,
            total - state.no_later[unit, :, j] - tail,
            total - state.no_earlier[unit, :, j],
        )
        return tuple(self._in_order(x).astype(np.float64) for x in sums)

    def _in_order(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values in tiles as (npix,)."""
        return values.reshape(-1)[: self._npix]

    def _make_levels(self, number: int) -> None:
        known = len(self.state.total)
        if number <= known:
            return
        steps = -(-(number - known) // MORE_LEVELS)
        more = zero_state(known + steps * MORE_LEVELS, self._delays_per_level, self._tiles)
        arrays: Iterable[tuple[NDArray[Any], NDArray[Any]]] = zip(self.state, more, strict=True)
        for old, new in arrays:
            for i in range(len(old)):
                if old[i].any():  # what is zero stays without memory
                    new[i] = old[i]
        self.state = more
