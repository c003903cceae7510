"""Which rows of a chunk meet which, level by level: worked out once, for all pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._scheme import level_lags

Slots = NDArray[np.int64]

# Rows of zeros below a level's last row: loops take four rows at a time.
UNROLLED = 4


class Plan(NamedTuple):
    """What the compiled loops do with a chunk. Positions count the history's rows first, then the new ones.

    Parameters
    ----------
    first
        The level that the chunk's rows enter.
    longest
        Most positions any level has.
    lengths
        Shape (levels,): new rows of each level, those of missing frames (zeros) included.
    sources
        The new rows of all levels, one level after the other. In the first level the number of the chunk's
        row; above, the position in the level below of the first of the two rows that add up; -1 is missing.
    carried
        Shape (levels,): 1 where the new rows of the level below all found their partner among themselves, so
        that their sum is this level's too.
    unmatched
        Shape (m, 2): (position, row of the lag's sums) of frames without an earlier partner, by level.
    passed
        Shape (m, 2): the same for frames without a later partner.
    unmatched_offsets, passed_offsets
        Shape (levels + 1,): where the levels' entries begin.
    """

    first: int
    longest: int
    lengths: NDArray[np.int64]
    sources: NDArray[np.int64]
    carried: NDArray[np.int64]
    unmatched: NDArray[np.int64]
    passed: NDArray[np.int64]
    unmatched_offsets: NDArray[np.int64]
    passed_offsets: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _LevelPlan:
    sources: NDArray[np.int64]
    carried: bool
    unmatched: NDArray[np.int64]
    passed: NDArray[np.int64]


class Clock:
    """The slots of one level that have come: a level's frame has an absolute number, its slot.

    A gap is a slot that never comes. It stands in the history as a row of zeros, which adds nothing to any
    product; a gap longer than the history fills it with such rows, and more are not needed.
    """

    def __init__(self, level: int, delays_per_level: int, first_lag: int) -> None:
        self.lags = level_lags(level, delays_per_level, first_lag)
        self.pairs = np.zeros(len(self.lags), np.int64)
        self.next = 0
        # Of the last slots, whether they came.
        self.came = np.zeros(2 * delays_per_level, np.bool_)
        # Of the first lag's sums.
        self.row = 0 if level == 0 else (level + 1) * delays_per_level

    def positions(self, slots: Slots) -> NDArray[np.int64]:
        """Positions of frames that come next."""
        missing = np.diff(slots, prepend=self.next - 1) - 1
        return len(self.came) - 1 + np.cumsum(np.minimum(missing, len(self.came)) + 1)

    def skip_to(self, slot: int) -> None:
        """Frames up to this slot have come elsewhere, without a gap, and so had those that they meet."""
        self.pairs += np.maximum(slot - np.maximum(self.next, self.lags), 0)
        self.next = slot
        self.came[max(len(self.came) - slot, 0) :] = True

    def tick(self, slots: Slots) -> tuple[NDArray[np.int64], "_Found", Slots, NDArray[np.int64]]:
        """Take frames.

        Returns their positions, what misses a partner, and of the next level's frames the slots and the
        position of their first halves.
        """
        at, history = self.positions(slots), len(self.came)
        came = np.zeros(at[-1] + 1, np.bool_)
        came[:history] = self.came
        came[at] = True
        earlier = came[at - self.lags[:, np.newaxis]]
        self.pairs += earlier.sum(axis=1)
        gone = np.flatnonzero(~came[history:]) + history
        found = _Found(
            unmatched=self._entries(at, ~earlier, shift=False),
            passed=self._entries(gone, came[gone - self.lags[:, np.newaxis]], shift=True),
        )
        second = (slots % 2 == 1) & came[at - 1]
        self.came, self.next = came[-history:], int(slots[-1]) + 1
        return at, found, slots[second] // 2, at[second] - 1

    def _entries(self, at: NDArray[np.int64], which: NDArray[np.bool_], *, shift: bool) -> NDArray[np.int64]:
        lag, number = np.nonzero(which)
        positions = at[number] - self.lags[lag] if shift else at[number]
        return np.stack([positions, lag + self.row], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    unmatched: NDArray[np.int64]
    passed: NDArray[np.int64]


class Clocks:
    """The clocks of all levels, and the plans of chunks."""

    def __init__(self, delays_per_level: int, first_lag: int) -> None:
        self._delays_per_level, self._first_lag = delays_per_level, first_lag
        self._history = 2 * delays_per_level
        self._clocks: list[Clock] = []

    def __getitem__(self, level: int) -> Clock:
        while level >= len(self._clocks):
            self._clocks.append(Clock(len(self._clocks), self._delays_per_level, self._first_lag))
        return self._clocks[level]

    def __len__(self) -> int:
        return len(self._clocks)

    def __iter__(self) -> Iterator[Clock]:
        return iter(self._clocks)

    def fitting(self, level: int, slots: Slots, limit: int) -> int:
        """How many of the frames can be taken with at most `limit` new rows: one or more."""
        rows = self[level].positions(slots) + 1 - self._history
        return max(1, int(np.searchsorted(rows, limit, side="right")))

    def plan(self, level: int, slots: Slots) -> Plan:
        """Take frames, shape (n,), increasing, n >= 1, into a level and into those above it."""
        levels = list(self._levels(level, slots))
        unmatched, passed = [x.unmatched for x in levels], [x.passed for x in levels]
        lengths = np.array([len(x.sources) for x in levels], np.int64)
        return Plan(
            first=level,
            longest=self._history + int(lengths.max()) + UNROLLED,
            lengths=lengths,
            sources=np.concatenate([x.sources for x in levels]),
            carried=np.array([x.carried for x in levels], np.int64),
            unmatched=np.concatenate(unmatched),
            passed=np.concatenate(passed),
            unmatched_offsets=_offsets(unmatched),
            passed_offsets=_offsets(passed),
        )

    def _levels(self, level: int, slots: Slots) -> Iterator[_LevelPlan]:
        origin, carried = np.arange(len(slots)), False
        while len(slots):
            at, found, next_slots, halves = self[level].tick(slots)
            sources = np.full(at[-1] + 1 - self._history, -1, np.int64)
            sources[at - self._history] = origin
            yield _LevelPlan(sources=sources, carried=carried, unmatched=found.unmatched, passed=found.passed)
            carried = 2 * len(next_slots) == len(slots) and bool((halves >= self._history).all())
            level, slots, origin = level + 1, next_slots, halves


def _offsets(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.cumsum([0, *map(len, parts)], dtype=np.int64)
