"""The delays of the multi-tau scheme."""

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError

Definition = Literal["boost-corr", "scikit-beam"]


def first_lag(definition: Definition) -> int:
    """The first lag of level 0.

    Raises
    ------
    ReductionError
        There is no such definition.
    """
    if definition not in get_args(Definition):
        raise ReductionError(f"definition {definition!r}: choose one of {', '.join(get_args(Definition))}")
    return 1 if definition == "boost-corr" else 0


def level_lags(level: int, delays_per_level: int, first: int = 1) -> NDArray[np.int64]:
    """Lags of a level in units of its own frames: 2d from `first` on, above level 0 the upper d of them."""
    begin = 0 if level == 0 else delays_per_level
    return np.arange(first + begin, first + 2 * delays_per_level, dtype=np.int64)


def scheme(frames: int, delays_per_level: int, first: int = 1) -> Iterator[tuple[int, int, int]]:
    """(level, number of the lag in it, lag) of every delay shorter than a series of so many frames."""
    level = 0
    while (length := frames >> level) > (first if level == 0 else first + delays_per_level):
        for j, lag in enumerate(level_lags(level, delays_per_level, first)):
            if lag < length:
                yield level, j, int(lag)
        level += 1


def multitau_delays(
    frames: int, delays_per_level: int = 4, definition: Definition = "boost-corr"
) -> NDArray[np.int64]:
    """Delays [frames] of a series of so many frames, increasing, shape (nt,): what `MultiTau` will report.

    A level of 2^l frames goes to delays less than floor(frames / 2^l) * 2^l.
    """
    first = first_lag(definition)
    return np.array([lag << level for level, _, lag in scheme(frames, delays_per_level, first)], np.int64)
