"""The model of a decay, and its least-squares fit to one g2 curve."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Floats = NDArray[np.float64]

# Steps of ln(rate) in the first search, finer than any decay is wide.
GRID_STEP = 0.05
# Rates that the delays can tell: from a fall of a tenth over the series to one of e^5 before the first delay.
SLOWEST, FASTEST = 0.05, 2.5


class UndeterminedError(Exception):
    """The data do not determine a decay; the message says why. Never leaves the room."""


class DecayModel:
    """Least squares of ``baseline + contrast * decay(gamma)`` at given delays and weights.

    For a given rate, baseline and contrast are linear: one unknown is left, ln(gamma).

    Parameters
    ----------
    delays, widths, weights
        Shape (nt,): delay [frames], frames in a mean (2^level), weight of each g2.
    spread
        Shape (n,): the rates in a bin over gamma; the model is the mean of their decays.
    """

    def __init__(self, delays: NDArray[np.int64], widths: Floats, weights: Floats, spread: Floats) -> None:
        self._delays = delays
        self._widths = widths
        self._weights = weights / weights.sum()
        self._spread = spread[:, np.newaxis]

    def search(self, g2: Floats) -> float:
        """Gamma of the best fit with a positive contrast, on a grid.

        Raises
        ------
        UndeterminedError
            g2 does not decay, or it decays at a rate outside what the delays can tell.
        """
        slowest, fastest = SLOWEST / self._delays[-1], FASTEST / self._delays[0]
        grid = np.arange(np.log(slowest), np.log(fastest), GRID_STEP)
        misfits = np.array([self._misfit(x, g2) for x in grid])
        best = int(np.argmin(misfits))
        if not misfits[best] < self._variance(g2):
            raise UndeterminedError("g2 does not decay")
        if best == 0:
            raise UndeterminedError("the decay is slower than the series is long")
        if best == len(grid) - 1:
            raise UndeterminedError("the decay is faster than the first delay")
        return float(np.exp(grid[best]))

    def fit(self, g2: Floats, start: float, factor: float) -> Floats:
        """Gamma, contrast and baseline of the best fit with gamma within a factor of `start`."""
        middle, reach = np.log(start), np.log(factor)
        found = minimize_scalar(
            self._misfit, args=(g2,), bounds=(middle - reach, middle + reach), options={"xatol": 1e-7}
        )
        if not found.success:
            raise UndeterminedError(f"the fit did not converge: {found.message}")
        contrast, baseline, _ = self._line(found.x, g2)
        return np.array([np.exp(found.x), contrast, baseline])

    def _misfit(self, log_gamma: float, g2: Floats) -> float:
        """Weighted mean square residual; without a positive contrast, that of no decay at all."""
        contrast, _, misfit = self._line(log_gamma, g2)
        return misfit if contrast > 0 else self._variance(g2)

    def _variance(self, g2: Floats) -> float:
        return float(self._weights @ (g2 - self._weights @ g2) ** 2)

    def _line(self, log_gamma: float, g2: Floats) -> tuple[float, float, float]:
        """Contrast, baseline and weighted mean square residual of g2 as a line against the decay."""
        shape = decay(2 * np.exp(log_gamma) * self._spread, self._delays, self._widths).mean(axis=0)
        mean_shape, mean_g2 = self._weights @ shape, self._weights @ g2
        x, y = shape - mean_shape, g2 - mean_g2
        contrast = self._weights @ (x * y) / (self._weights @ x**2)
        residual = self._weights @ (y - contrast * x) ** 2
        return float(contrast), float(mean_g2 - contrast * mean_shape), float(residual)


def decay(rate: float | Floats, delays: NDArray[np.int64], widths: Floats) -> Floats:
    """``exp(-rate tau)`` as it appears between means of m frames, for rates above 0.

    The mean over the m x m pairs of frames is the exponential times
    ``r^(1-m) [(1 - r^m) / (m (1 - r))]^2`` with ``r = exp(-rate)``. Written with expm1 and the exponentials
    joined, it neither cancels for small rates nor overflows for large m.
    """
    ratio = np.expm1(-rate * widths) / (widths * np.expm1(-rate))
    result: Floats = np.exp(-rate * (delays - widths + 1)) * ratio**2
    return result
