"""Indicators of beam damage and drift, each with its uncertainty."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ._stats import FrameStatsResult
from ._twotime_result import TwoTimeResult

Floats = NDArray[np.float64]

# Parts that a series is cut into. Means of parts that are longer than the correlation in time are
# independent, and their own scatter tells the error: of photons, speckles and beam alike.
_PARTS = 32
_AGE_PARTS = 16
_FEWEST_PARTS = 8
# Standard deviation of normal numbers over the median of their absolute values.
_DEVIATION_OF_MEDIAN = 1.4826
# Degrees of freedom a part of an error from that median: with it 4.7, 0.2 and 0.03 % of stationary series
# have a step beyond 2, 3 and 3.5 sigma (3,000 simulated; of a normal deviate 4.6, 0.3 and 0.05 %).
_STEP_FREEDOM = 0.6
_LEAST_CHANCE = 1e-300
# Relative: a series that varies by less is constant.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """One number that is 0 within its error in a stationary series.

    Parameters
    ----------
    name
        "intensity drift", "centroid drift in x" (or y), "intensity step" or "ageing".
    value, error
        In `unit`, with its standard error; both NaN where the series is too short or dark.
    unit
        Of value and error.
    significance
        Value in units of its error, as that of a normal deviate of the same chance (Student's t for the few
        parts, and for a step the chance that the largest of all is so large). NaN with the error.
    bin
        The dynamic bin, from 1; None for the whole frame.
    index
        The frame at which it is; None where it concerns the whole series.
    """

    name: str
    value: float
    error: float
    unit: str
    significance: float
    bin: int | None = None
    index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityResult:
    """All indicators of a series, in the order: drifts, step, ageing."""

    indicators: tuple[Indicator, ...]

    def beyond(self, sigma: float) -> tuple[Indicator, ...]:
        """Those whose significance is larger than `sigma`, either way."""
        return tuple(each for each in self.indicators if abs(each.significance) > sigma)


def assess_quality(stats: FrameStatsResult, two_time: TwoTimeResult | None = None) -> QualityResult:
    """Look for drift, jumps and ageing.

    "intensity drift": slope of a straight line through the intensity of each dynamic bin against time, and of
    the whole frame's, times the length of the series, over its mean. "intensity step": the largest change of
    the frame's total between neighbouring 32nds of the series, over the mean, with the frame at which it is
    the sharpest. "ageing" (with a two-time result): mean of C2 at delays up to a 16th of the series in its
    second half less that in its first: positive where the dynamics slow down.

    Every error comes from the scatter of the parts themselves, so it covers photon noise, speckle and beam
    alike, as long as the sample's correlation time is well below a 16th of the series; what is slower counts
    as drift. Series of fewer than 8 frames (rows, for ageing) have NaN.
    """
    return QualityResult(indicators=tuple(_indicators(stats, two_time)))


def _indicators(stats: FrameStatsResult, two_time: TwoTimeResult | None) -> Iterator[Indicator]:
    total = stats.total.astype(np.float64)
    yield _drift("intensity drift", stats.indices, total, scale=_mean(total))
    for number, values in enumerate(stats.iqt.T, 1):
        yield _drift("intensity drift", stats.iqt_first, values, scale=_mean(values), bin=number)
    for axis, values in zip("xy", stats.centroid.T, strict=True):
        yield _drift(f"centroid drift in {axis}", stats.indices, values, scale=1.0, unit="px over the series")
    yield _step(stats.indices, total)
    if two_time is not None:
        for matrix, number in zip(two_time.c2, two_time.bins.tolist(), strict=True):
            yield _ageing(matrix, number)


def _drift(
    name: str,
    indices: NDArray[np.int64],
    values: Floats,
    *,
    scale: float,
    unit: str = "of the mean, over the series",
    bin: int | None = None,  # noqa: A002 (the field's name)
) -> Indicator:
    """Slope by least squares through the means of the series' parts; their scatter is the error."""
    known = np.isfinite(values)
    indices, values = indices[known], values[known]
    slope = error = np.nan
    parts = min(_PARTS, len(values))
    if parts >= _FEWEST_PARTS and scale > 0:
        x = _part_means(indices / np.ptp(indices), parts)
        y = _part_means(values, parts) / scale
        x -= x.mean()
        slope = float(x @ y / (x @ x))
        rest = y - y.mean() - slope * x
        if np.ptp(y) < _ROUNDING * np.abs(y).max():
            rest[:] = slope = 0.0
        error = float(np.sqrt(rest @ rest / (parts - 2) / (x @ x)))
    return Indicator(
        name=name, value=slope, error=error, unit=unit, significance=_normal(slope, error, parts - 2), bin=bin
    )


def _step(indices: NDArray[np.int64], total: Floats) -> Indicator:
    """The largest change between parts that have one part between them: a step in it shows in full."""
    value = error = significance = np.nan
    index = None
    parts = min(_PARTS, len(total))
    if parts >= 2 * _FEWEST_PARTS and total.any():
        means = _part_means(total, parts)
        changes = means[2:] - means[:-2]
        changes -= np.median(changes)  # a drift is no step
        where = int(np.argmax(np.abs(changes)))
        # The median does not see the step itself.
        error = float(np.median(np.abs(changes)) * _DEVIATION_OF_MEDIAN / total.mean())
        value = float(changes[where] / total.mean())
        significance = _normal(value, error, _STEP_FREEDOM * parts, trials=len(changes))
        edges = _edges(len(total), parts)[where : where + 4]
        index = int(indices[edges[0] + _sharpest(total[edges[0] : edges[-1]])])
    return Indicator(
        name="intensity step",
        value=value,
        error=error,
        unit="of the mean",
        significance=significance,
        index=index,
    )


def _ageing(c2: Floats, number: int) -> Indicator:
    """Late less early C2 at short delays: means over the pairs of rows within each of the series' parts."""
    value = error = np.nan
    edges = _edges(len(c2), _AGE_PARTS)
    freedom = 0
    if len(c2) >= 2 * _AGE_PARTS:
        means = np.array([_pair_mean(c2[a:b, a:b]) for a, b in pairwise(edges)])
        halves = [half[np.isfinite(half)] for half in np.split(means, 2)]
        if min(map(len, halves)) >= _FEWEST_PARTS // 2:
            value = float(halves[1].mean() - halves[0].mean())
            error = float(np.sqrt(sum(half.var(ddof=1) / len(half) for half in halves)))
            freedom = len(halves[0]) + len(halves[1]) - 2
    return Indicator(
        name="ageing",
        value=value,
        error=error,
        unit="of C2",
        significance=_normal(value, error, freedom),
        bin=number,
    )


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def _edges(number: int, parts: int) -> NDArray[np.int64]:
    return np.linspace(0, number, parts + 1).astype(np.int64)


def _part_means(values: Floats, parts: int) -> Floats:
    edges = _edges(len(values), parts)
    means: Floats = np.add.reduceat(values, edges[:-1]) / np.diff(edges)
    return means


def _pair_mean(block: Floats) -> float:
    """Mean over the pairs of different rows that are known; NaN without one."""
    pairs = block[np.triu_indices(len(block), 1)]
    return _mean(pairs)


def _sharpest(values: Floats) -> int:
    """The first value after the step that leaves the least scatter before and after it."""
    number = np.arange(1, len(values))
    before = np.cumsum(values)[:-1]
    after = values.sum() - before
    gain = before**2 / number + after**2 / (len(values) - number)
    return int(np.argmax(gain)) + 1


def _normal(value: float, error: float, freedom: float, trials: int = 1) -> float:
    """The normal deviate of the same chance as a value with an estimated error, the largest of trials."""
    if not error > 0:
        return np.nan
    chance = 2 * special.stdtr(freedom, -abs(value) / error)
    chance = -np.expm1(trials * np.log1p(-chance)) if chance < 1 else 1.0
    return float(np.copysign(-special.ndtri(max(chance / 2, _LEAST_CHANCE)), value))
