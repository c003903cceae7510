"""Which delays a pair of frames counts at: the table that stands in for the low levels' frames."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError

Slots = NDArray[np.uint8]

# Pairs grow with the reach, and the table with its square: it should stay in the second-level cache.
MAX_REACH = 1280


class PairTable:
    """The slots of every pair of frames: the lags, of all levels, at which it counts.

    Frames n - d and n lie (n >> l) - ((n - d) >> l) frames of level l apart. This depends on n's last bits
    (its phase) and on d only. A pair counts at a level when that distance is one of the level's lags, so it
    may count at several levels or at none. The slots are the lags of level 0, then
    those of level 1, and so on.

    Parameters
    ----------
    lags
        For each level, from 0 on, its lags in units of its own frames, increasing.

    Raises
    ------
    ReductionError
        Distances up to more than `MAX_REACH` frames.
    """

    def __init__(self, lags: Sequence[NDArray[np.int64]]) -> None:
        self.lags = lags
        self.levels = len(lags)
        self.phases = 1 << self.levels
        self.first_slot = [0, *np.cumsum([len(of_level) for of_level in lags]).tolist()]
        self.none = self.first_slot[-1]
        # The longest distance at which two frames may still share a lag.
        self.reach = max(((int(of_level[-1]) + 1) << level) - 1 for level, of_level in enumerate(lags))
        if self.reach > MAX_REACH:
            raise ReductionError(
                f"delays of {self.reach} frames are too long for events: use fewer low levels"
            )
        self.all_slots = self.slots()

    def slots(self, open_at: int | None = None) -> tuple[Slots, Slots]:
        """The slots of pairs of words, and of a word with itself.

        Shapes: (phases, reach + 1, m), (phases, k). What is left of the last axis, at least one place, holds
        `none`. Two words in one frame of a level count twice at lag 0: in both orders.

        Parameters
        ----------
        open_at
            Only the slots of level frames that a next frame of this phase finds incomplete.
        """
        phases, distances = np.arange(self.phases)[:, None], np.arange(self.reach + 1)
        pairs, own = [np.full((self.phases, self.reach + 1), self.none)], [np.full(self.phases, self.none)]
        for level, of_level in enumerate(self.lags):
            slot_of = np.full((self.reach >> level) + 2, self.none)
            slot_of[of_level] = np.arange(*self.first_slot[level : level + 2])
            lag = (phases >> level) - ((phases - distances) >> level)
            counts = np.ones_like(phases, np.bool_)
            if open_at is not None:
                counts = (phases < open_at) & (phases >> level == open_at >> level)
            found = np.where(counts, slot_of[lag], self.none)
            pairs += [found, np.where(lag == 0, found, self.none)]
            own.append(np.where(counts[:, 0], slot_of[0], self.none))
        return _filled_first(pairs, self.none), _filled_first(own, self.none)


def _filled_first(columns: list[NDArray[np.int64]], none: int) -> Slots:
    """The columns side by side, sorted: `none` is the highest, and one column of nothing else is left."""
    table = np.sort(np.stack(columns, axis=-1), axis=-1)
    used = int((table != none).sum(axis=-1).max())
    return np.ascontiguousarray(table[..., : used + 1]).astype(np.uint8)
