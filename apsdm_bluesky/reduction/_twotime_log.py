"""Two-time correlation on a logarithmic grid of delays, for series of any length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.model import Batch

from ._qmap import QMap
from ._scheme import level_lags
from ._twotime_intake import Intake
from ._twotime_layout import Layout
from ._workers import OneThread, Workers

Floats = NDArray[np.float64]
Slots = NDArray[np.int64]
Rows = NDArray[Any]

# Frames taken through the levels at a time.
_CHUNK = 16
# Sums kept side by side, so that compilers add several at a time in an order that is always the same.
_LANES = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MultiTauTwoTimeResult:
    """Correlation against age and delay. NaN where no pair came.

    Parameters
    ----------
    bins, q
        Shape (nb,): the dynamic bins, from 1, and their q in the q-map's unit.
    delays, levels
        Shape (nt,), int64: delays of the multi-tau scheme [frames], and their levels.
    c2
        Shape (nb, n, nt): mean of C2 over the pairs of an age row and a delay.
    pairs
        Shape (nb, n, nt), int64: how many pairs.
    g2
        Shape (nt, nb): mean over all pairs of a delay.
    first
        Shape (n,), int64: the age at which each row begins [frames].
    width
        Frames of an age row.
    """

    bins: NDArray[np.int64]
    q: Floats
    delays: NDArray[np.int64]
    levels: NDArray[np.int64]
    c2: Floats
    pairs: NDArray[np.int64]
    g2: Floats
    first: NDArray[np.int64]
    width: int


class MultiTauTwoTime:
    """C2 against age at multi-tau delays: what `TwoTime` computes, along a few of its diagonals only.

    For a delay k * 2^l of the multi-tau scheme, every pair (i, i + k) of level l's frames, which are sums
    of 2^l, has the C2 of `TwoTime`. It counts in the age row of the pair's middle, where values are averaged:
    the time-resolved correlation of Cipelletti et al., J. Phys.: Condens. Matter 15 (2003) S257, at the
    delays of a multi-tau correlator. The width of the age rows is the smallest power of two of frames with
    which `rows` are enough. Frames that are missing have no pairs.

    Memory: 2 * `delays_per_level` frames of 4 bytes a pixel of the bins and level, log2(N) levels, whatever
    the number of frames N; three times that while a batch is pushed.

    Parameters
    ----------
    bins
        Dynamic bins, from 1, in the order of the results; None: all.
    delays_per_level
        As of `MultiTau`.
    rows
        The most age rows, even, 2 or more.
    """

    def __init__(
        self,
        qmap: QMap,
        *,
        bins: Sequence[int] | None = None,
        delays_per_level: int = 4,
        rows: int = 1024,
        workers: Workers | None = None,
    ) -> None:
        if delays_per_level < 1 or rows < 2 or rows % 2:
            raise ReductionError(
                f"{delays_per_level} delays a level, {rows} age rows: need 1 or more, and 2 or more, even"
            )
        self._q, self._layout = qmap.q, Layout.of(qmap, bins)
        self._delays_per_level = delays_per_level
        self._limit, self._width = rows, 1
        self._levels: list[_Level] = []
        self._totals = np.zeros(int(self._layout.columns[-1]), np.uint64)
        self._workers = workers or OneThread()
        self._intake = Intake(qmap, self._layout, self._workers, lambda: self._totals)
        self._last = -1

    def push(self, batch: Batch) -> None:
        """Add the batch's frames. An empty batch changes nothing.

        Raises
        ------
        ReductionError
            As of `TwoTime.push`. Nothing was added then.
        """
        if len(batch) == 0:
            return
        self._intake.check(batch)
        indices = batch.indices.astype(np.int64)
        start = 0
        while start < len(indices):
            while indices[start] >= self._limit * self._width:
                self._double_width()
            # No further than the rows reach: when they are merged must not depend on batches.
            end = np.searchsorted(indices, self._limit * self._width)
            stop = min(start + _CHUNK, int(end))
            rows = np.zeros((stop - start, len(self._totals)), np.uint32)
            for k in range(start, stop):
                self._intake.add(batch, k, k + 1, rows[k - start])
            self._totals += rows.sum(axis=0, dtype=np.uint64)
            self._push_levels(indices[start:stop], rows)
            start = stop
        self._last = int(indices[-1])

    def _push_levels(self, slots: Slots, rows: Rows) -> None:
        depth = 0
        while len(slots):
            if depth == len(self._levels):
                lags = level_lags(depth, self._delays_per_level)
                self._levels.append(_Level(depth, lags, self._layout, self._limit))
            slots, rows = self._levels[depth].push(slots, rows, self._width, self._workers)
            depth += 1

    def _double_width(self) -> None:
        self._width *= 2
        for level in self._levels:
            level.merge_ages()

    def result(self) -> MultiTauTwoTimeResult:
        """The correlations so far; without a pair, arrays of length 0."""
        number = self._last // self._width + 1
        found = [(level, j) for level in self._levels for j in range(len(level.lags)) if level.pairs[j].any()]
        shape = (len(found), number, len(self._layout.bins))
        sums, pairs = np.zeros(shape), np.zeros(shape, np.int64)
        for i, (level, j) in enumerate(found):
            sums[i], pairs[i] = level.sums[j, :number], level.pairs[j, :number]
        c2, g2 = np.full(shape, np.nan), np.full((shape[0], shape[2]), np.nan)
        np.divide(sums, pairs, out=c2, where=pairs > 0)
        np.divide(sums.sum(axis=1), pairs.sum(axis=1), out=g2, where=pairs.sum(axis=1) > 0)
        return MultiTauTwoTimeResult(
            bins=self._layout.bins,
            q=self._q[self._layout.bins - 1],
            delays=np.array([level.lags[j] << level.depth for level, j in found], np.int64),
            levels=np.array([level.depth for level, _ in found], np.int64),
            c2=c2.transpose(2, 1, 0),
            pairs=pairs.transpose(2, 1, 0),
            g2=g2,
            first=np.arange(number, dtype=np.int64) * self._width,
            width=self._width,
        )


class _Level:
    """Pairs of one level's frames, and their sums in age rows: (nlags, rows, nb)."""

    def __init__(self, depth: int, lags: NDArray[np.int64], layout: Layout, rows: int) -> None:
        self.depth, self.lags = depth, lags
        self.sums = np.zeros((len(lags), rows, len(layout.bins)))
        self.pairs = np.zeros(self.sums.shape, np.int64)
        self._layout = layout
        self._sizes = layout.sizes.astype(np.float64)
        members = [(part.start, part.stop) for part in layout.members]
        numbers = np.arange(len(self._sizes))
        self._members = np.array([(numbers >= a) & (numbers < b) for a, b in members], np.float64)
        self._slots: Slots = np.zeros(0, np.int64)
        self._rows: Rows = np.zeros((0, int(layout.columns[-1])), np.uint32)

    def push(self, slots: Slots, rows: Rows, width: int, workers: Workers) -> tuple[Slots, Rows]:
        """Add frames and return those of the next level: sums of complete pairs (2j, 2j + 1), in slots j."""
        known = len(self._slots)
        slots, rows = np.concatenate([self._slots, slots]), np.concatenate([self._rows, rows])
        later, lag = (axis.ravel() for axis in np.mgrid[known : len(slots), : len(self.lags)])
        earlier = np.searchsorted(slots, slots[later] - self.lags[lag])
        found = slots[earlier] == slots[later] - self.lags[lag]
        if found.any():
            self._add(slots, rows, earlier[found], later[found], lag[found], width, workers)
        kept = slots > slots[-1] - self.lags[-1]
        second = np.flatnonzero((slots % 2 == 1) & (np.diff(slots, prepend=-2) == 1))
        second = second[second >= known]
        self._slots, self._rows = slots[kept], rows[kept]
        return slots[second] // 2, rows[second - 1] + rows[second]

    def _add(
        self,
        slots: Slots,
        rows: Rows,
        earlier: NDArray[np.int64],
        later: NDArray[np.int64],
        lag: NDArray[np.int64],
        width: int,
        workers: Workers,
    ) -> None:
        """Add the C2 of pairs to the age rows of their middles, in the order of their later frames."""
        sums = np.add.reduceat(rows, self._layout.columns[:-1], axis=1, dtype=np.uint64).astype(np.float64)
        products = np.empty((len(earlier), len(self._sizes)))
        parts = np.linspace(0, len(earlier), workers.threads + 1).astype(int)

        def multiply(part: int) -> None:
            own = slice(parts[part], parts[part + 1])
            _multiply_pairs(rows, earlier[own], later[own], self._layout.columns, products[own])

        workers.run(multiply, workers.threads)
        norm = sums[earlier] * sums[later]
        scaled = np.divide(products * self._sizes**2, norm, out=np.zeros_like(norm), where=norm > 0)
        lit = ((sums > 0) * self._sizes) @ self._members.T
        norm = lit[earlier] * lit[later]
        known = norm > 0
        size = self._members @ self._sizes
        c2 = np.divide(_per_bin(scaled, self._layout) * size, norm, out=np.zeros_like(norm), where=known)
        ages = ((slots[earlier] + slots[later] + 1) << self.depth) // 2 // width
        np.add.at(self.sums, (lag, ages), c2)
        np.add.at(self.pairs, (lag, ages), known)

    def merge_ages(self) -> None:
        """Twice the width: age rows 2k and 2k + 1 become one."""
        half = self.sums.shape[1] // 2
        for array in (self.sums, self.pairs):
            array[:, :half] = array[:, 0::2] + array[:, 1::2]
            array[:, half:] = 0


def _per_bin(values: Floats, layout: Layout) -> Floats:
    """Sums over each dynamic bin's static bins, one after the other; (n, m) to (n, nb)."""
    sums = np.zeros((len(values), len(layout.bins)))
    for b, members in enumerate(layout.members):
        for k in members:
            sums[:, b] += values[:, k]
    return sums


def _multiply(
    rows: Rows, first: NDArray[np.int64], second: NDArray[np.int64], columns: NDArray[np.int64], out: Floats
) -> None:
    """``out[i, k]``: the product of rows first[i] and second[i], summed over the columns of static bin k."""
    lanes = np.empty(_LANES)
    for i in range(len(first)):
        for k in range(len(columns) - 1):
            x = rows[first[i], columns[k] : columns[k + 1]]
            y = rows[second[i], columns[k] : columns[k + 1]]
            lanes[:] = 0
            for start in range(0, len(x), _LANES):
                for lane in range(_LANES):
                    lanes[lane] += float(x[start + lane]) * float(y[start + lane])
            out[i, k] = lanes.sum()


_multiply_pairs: Any = njit(cache=True, nogil=True)(_multiply)
