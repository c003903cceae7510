"""What the two-time correlation tells: matrices, their diagonals' means, profiles against age."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError

from ._workers import OneThread, Workers

Floats = NDArray[np.float64]

# Blocks that the coarsest estimate of an error needs: its own error is 1 / sqrt(2 * (blocks - 1)).
_FEWEST_BLOCKS = 8
# Diagonals that share a cache line.
_TOGETHER = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwoTimeResult:
    """Two-time correlation of chosen dynamic bins. NaN where it is not defined.

    Parameters
    ----------
    bins, q
        Shape (nb,): the dynamic bins, from 1, and their q in the q-map's unit.
    c2
        Shape (nb, n, n), symmetric. 1 without correlation, 1 + contrast at short delays. The main diagonal
        holds the photon noise besides. NaN in a row without frames or counts, and for a bin without pixels.
    delays
        Shape (n - 1,), int64: `width` times 1, 2, ... n - 1 [frames].
    g2, g2_err
        Shape (n - 1, nb): mean of each diagonal of `c2` beside the main one, and its standard error. Values
        along a diagonal are correlated in time, so the error is the largest of those from single values and
        from means of 2, 4, ... neighbours, as long as there are 8 (blocking: Flyvbjerg and Petersen, J. Chem.
        Phys. 91 (1989) 461). NaN with fewer than two values. It does not know what is the same in all rows:
        a finite number of speckles.
    first, frames
        Shape (n,), int64: index of the frame at which each row begins, and how many of its frames came.
    width
        Frames of a row.
    """

    bins: NDArray[np.int64]
    q: Floats
    c2: Floats
    delays: NDArray[np.int64]
    g2: Floats
    g2_err: Floats
    first: NDArray[np.int64]
    frames: NDArray[np.int64]
    width: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AgeProfiles:
    """How the correlation decays at different ages of the sample.

    The age of a pair of rows is the mean of their times (Madsen, Fluerasu and Ruta, in Synchrotron Light
    Sources and Free-Electron Lasers, Springer 2016): cuts across the diagonal of C2.

    Parameters
    ----------
    age
        Shape (k,): middle of each age window [frames].
    delays
        Shape (n - 1,), int64 [frames].
    c2, c2_err
        Shape (k, n - 1, nb): means over the pairs of a delay and an age window, and their errors, as `g2` and
        `g2_err` of `TwoTimeResult`. NaN where a window has no pair.
    half_time, half_time_err
        Shape (k, nb) [frames]: the time in which C2 - 1 falls from its value at the shortest delay to half of
        that; ln 2 / rate for an exponential decay. NaN where it does not fall so far.
    """

    age: Floats
    delays: NDArray[np.int64]
    c2: Floats
    c2_err: Floats
    half_time: Floats
    half_time_err: Floats


def age_profiles(two_time: TwoTimeResult, *, windows: int = 8) -> AgeProfiles:
    """Decay of the correlation in age windows of equal length.

    Raises
    ------
    ReductionError
        Fewer than one window, or more than rows.
    """
    n = len(two_time.first)
    if not 1 <= windows <= n:
        raise ReductionError(f"{windows} age windows of {n} rows: give 1 to {n}")
    edges = np.linspace(0, 2 * n, windows + 1).round().astype(np.int64)
    c2, errors = diagonal_means(two_time.c2, edges)
    half, half_err = _half_times(c2, errors)
    return AgeProfiles(
        age=(edges[1:] + edges[:-1]) / 4 * two_time.width,
        delays=two_time.delays,
        c2=c2,
        c2_err=errors,
        half_time=half * two_time.width,
        half_time_err=half_err * two_time.width,
    )


def diagonal_means(
    c2: Floats, edges: NDArray[np.int64], workers: Workers | None = None
) -> tuple[Floats, Floats]:
    """Means and errors along the diagonals of c2 (nb, n, n), shape (k, n - 1, nb) each.

    Window w has the pairs of rows with ``edges[w] <= i + j + 1 < edges[w + 1]``, which is twice their age.
    """
    nb, n, _ = c2.shape
    means = np.full((len(edges) - 1, max(n - 1, 0), nb), np.nan)
    errors = means.copy()
    workers = workers or OneThread()

    def fill(part: int) -> None:
        for b in range(nb):
            fill_diagonal_means(c2[b], edges, part, workers.threads, means[:, :, b], errors[:, :, b])

    workers.run(fill, workers.threads)
    return means, errors


def _half_times(c2: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Lag, counted from the first, at which c2 - 1 (k, nlags, nb) is half of the first; and its error."""
    shape = (c2.shape[0], c2.shape[2])
    half, half_err = np.full(shape, np.nan), np.full(shape, np.nan)
    for w, b in np.ndindex(*shape):
        excess = c2[w, :, b] - 1
        if not (len(excess) and excess[0] > 0):
            continue
        below = np.flatnonzero(excess <= excess[0] / 2)
        if len(below) and np.isfinite(excess[below[0] - 1]):
            after = below[0]
            slope = excess[after - 1] - excess[after]
            half[w, b] = after - 1 + (excess[after - 1] - excess[0] / 2) / slope
            half_err[w, b] = np.hypot(errors[w, after, b], errors[w, 0, b] / 2) / slope
    return half, half_err


def _fill(c2: Floats, edges: NDArray[np.int64], part: int, parts: int, means: Floats, errors: Floats) -> None:
    """Means and errors of the diagonals of c2 (n, n) in age windows; means and errors (k, n - 1).

    Of every `parts` groups of neighbouring diagonals one: they are copied together, as they lie in memory.
    """
    n = len(c2)
    diagonals = np.empty((_TOGETHER, n))
    for first in range(1 + part * _TOGETHER, n, parts * _TOGETHER):
        for row in range(n - first):
            for k in range(min(_TOGETHER, n - first - row)):
                diagonals[k, row] = c2[row, row + first + k]
        for lag in range(first, min(first + _TOGETHER, n)):
            diagonal = diagonals[lag - first, : n - lag]
            fill_diagonal(diagonal, lag, edges, means[:, lag - 1], errors[:, lag - 1])


def _fill_diagonal(
    diagonal: Floats, lag: int, edges: NDArray[np.int64], means: Floats, errors: Floats
) -> None:
    values = np.empty(len(diagonal))
    row = 0
    for window in range(len(edges) - 1):
        number = 0
        while row < len(diagonal) and 2 * row + lag + 1 < edges[window + 1]:
            if 2 * row + lag + 1 >= edges[window] and not np.isnan(diagonal[row]):
                values[number] = diagonal[row]
                number += 1
            row += 1
        if number:
            means[window] = values[:number].mean()
            errors[window] = mean_error(values[:number])


def _mean_error(values: Floats) -> float:
    """Standard error of the mean of values that are correlated with their neighbours; changes them."""
    number, error = len(values), np.nan
    while number >= 2:
        mean = values[:number].mean()
        squares = 0.0
        for i in range(number):
            squares += (values[i] - mean) ** 2
        found = np.sqrt(squares / (number - 1) / number)
        if not error >= found:
            error = found
        if number < 2 * _FEWEST_BLOCKS:
            break
        number //= 2
        for i in range(number):
            values[i] = (values[2 * i] + values[2 * i + 1]) / 2
    return float(error)


mean_error: Any = njit(cache=True, nogil=True)(_mean_error)
fill_diagonal: Any = njit(cache=True, nogil=True)(_fill_diagonal)
fill_diagonal_means: Any = njit(cache=True, nogil=True)(_fill)
