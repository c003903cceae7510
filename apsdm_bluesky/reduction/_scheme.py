"""The delays of the multi-tau scheme."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def level_lags(level: int, delays_per_level: int) -> NDArray[np.int64]:
    """Lags of a level in units of its own frames: 1..2d at level 0, d+1..2d above (d delays a level)."""
    first = 1 if level == 0 else delays_per_level + 1
    return np.arange(first, 2 * delays_per_level + 1, dtype=np.int64)


def scheme(frames: int, delays_per_level: int) -> Iterator[tuple[int, int, int]]:
    """(level, number of the lag in it, lag) of every delay shorter than a series of so many frames."""
    level = 0
    while (length := frames >> level) > 1:
        for j, lag in enumerate(level_lags(level, delays_per_level)):
            if lag < length:
                yield level, j, int(lag)
        level += 1


def multitau_delays(frames: int, delays_per_level: int = 4) -> NDArray[np.int64]:
    """Delays [frames] of a series of so many frames, increasing, shape (nt,): what `MultiTau` will report.

    A level of 2^l frames goes to delays less than floor(frames / 2^l) * 2^l.
    """
    return np.array([lag << level for level, _, lag in scheme(frames, delays_per_level)], np.int64)
