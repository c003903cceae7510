"""The model of a decay between means of frames, and its least-squares fit to one g2 curve."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Steps of ln(rate) in the first search, finer than any decay is wide.
GRID_STEP = 0.05
# Rates that the delays can tell: from a fall of a tenth over the series to one of e^5 before the first delay.
SLOWEST, FASTEST = 0.05, 2.5
# Stretch exponents: what they may be, and where the first search looks. Outside, a curve is no decay.
STRETCH_LIMITS = 0.2, 4.0
STRETCH_STARTS = (0.6, 0.8, 1.0, 1.4, 2.0)
# Places within a mean of frames at which the decay is taken, see `_places_in_mean`.
PLACES = 4
# A rate without one group that is further from the rate of all than this factor is no perturbation of it.
FAR = 4.0
# Steps of the replicates' fits: they begin next to their solutions.
MAX_STEPS = 30
# ln(rate) and stretch are found to this.
TOLERANCE = 1e-8


class UndeterminedError(Exception):
    """The data do not determine a decay; the message says why. Never leaves the room."""


class Decay(NamedTuple):
    """``baseline + contrast * exp(-2 (gamma tau)^stretch)``."""

    gamma: float
    contrast: float
    baseline: float
    stretch: float


class DecayModel:
    """Least squares of ``baseline + contrast * <exp(-2 (gamma tau)^stretch)>`` at given delays and weights.

    <> is the mean over the pairs of frames within two means of 2^level frames, and over the rates in a bin.

    Parameters
    ----------
    delays, widths, variances
        Shape (nt,): delay [frames], frames in a mean (2^level), variance of each g2.
    spread
        Shape (n,): the rates in a bin over gamma.
    stretched
        The stretch exponent is fitted too; otherwise it is 1.
    """

    def __init__(
        self,
        delays: NDArray[np.int64],
        widths: NDArray[np.int64],
        variances: Floats,
        spread: Floats,
        *,
        stretched: bool,
    ) -> None:
        self._roots = 1 / np.sqrt(variances)
        self._weights = self._roots**2 / (self._roots**2).sum()
        self._slowest, self._fastest = np.log(SLOWEST / delays[-1]), np.log(FASTEST / delays[0])
        offsets, shares = zip(*(_places_in_mean(int(m)) for m in widths), strict=True)
        times = np.concatenate([tau + offset for tau, offset in zip(delays, offsets, strict=True)])
        self._log_times = np.log(times) + np.log(spread)[:, np.newaxis]
        self._shares = np.concatenate(shares) / len(spread)
        self._starts = np.cumsum([0, *map(len, offsets[:-1])])
        self._stretched = stretched

    def fit(self, g2: Floats) -> tuple[Decay, float]:
        """The best decay, and its chi^2 over the degrees of freedom.

        Raises
        ------
        UndeterminedError
            g2 does not decay, its rate or stretch is outside what can be told, or the fit does not converge.
        """
        import lmfit  # takes half a second

        start = self._search(g2)
        parameters = lmfit.Parameters()
        # Wider than what is accepted: a fit that wants to leave must not look like one that stays.
        parameters.add("log_gamma", np.log(start.gamma), min=self._slowest - 1, max=self._fastest + 1)
        parameters.add("contrast", start.contrast)
        parameters.add("baseline", start.baseline)
        low, high = STRETCH_LIMITS
        parameters.add("stretch", start.stretch, vary=self._stretched, min=low / 2, max=2 * high)
        found = lmfit.minimize(self._residual, parameters, args=(g2,), method="leastsq", calc_covar=False)
        if not found.success:
            raise UndeterminedError(f"the fit did not converge: {found.message}".rstrip(". "))
        values = found.params.valuesdict()
        self._check_range(values["log_gamma"], values["stretch"])
        gamma = float(np.exp(values["log_gamma"]))
        best = Decay(gamma, values["contrast"], values["baseline"], values["stretch"])
        return best, float(found.redchi)

    def refit(self, curves: Floats, best: Decay) -> Floats:
        """The decays (n, 4) of curves (n, nt) that differ little from one whose best decay is known.

        All at once, by Gauss and Newton with the linear parameters projected out (Golub and Pereyra, Inverse
        Problems 19, R1 (2003)); Kaufman's approximation of the Jacobian.

        Raises
        ------
        UndeterminedError
            A curve's fit does not converge: it is no small change.
        """
        nonlinear = np.tile([np.log(best.gamma), best.stretch], (len(curves), 1))
        free = slice(None) if self._stretched else slice(1)
        for _ in range(MAX_STEPS):
            steps = self._steps(curves, nonlinear, free)
            nonlinear[:, free] += np.clip(steps, -0.5, 0.5)
            far = np.abs(nonlinear[:, 0] - np.log(best.gamma)) > np.log(FAR)
            if far.any() or (nonlinear[:, 1] < STRETCH_LIMITS[0]).any():
                break
            if np.abs(steps).max() < TOLERANCE:
                contrast, baseline, _ = self._line(self._shape(*nonlinear.T), curves)
                return np.stack([np.exp(nonlinear[:, 0]), contrast, baseline, nonlinear[:, 1]], axis=1)
        raise UndeterminedError("the decay hangs on a few pixels: without them it changes beyond bounds")

    def _search(self, g2: Floats) -> Decay:
        """The best decay with a positive contrast on a grid of rates (and stretch exponents)."""
        grid = np.arange(self._slowest, self._fastest, GRID_STEP)
        decays, misfits = [], []
        for stretch in STRETCH_STARTS if self._stretched else (1.0,):
            contrast, baseline, misfit = self._line(self._shape(grid, np.full(len(grid), stretch)), g2)
            misfit[~(contrast > 0)] = np.inf
            best = int(np.argmin(misfit))
            decays.append(Decay(np.exp(grid[best]), contrast[best], baseline[best], stretch))
            misfits.append(misfit[best])
        start, misfit = decays[int(np.argmin(misfits))], min(misfits)
        if not misfit < self._weights @ (g2 - self._weights @ g2) ** 2:
            raise UndeterminedError("g2 does not decay")
        self._check_range(np.log(start.gamma), start.stretch, margin=GRID_STEP)
        return start

    def _check_range(self, log_gamma: float, stretch: float, margin: float = 0.0) -> None:
        if log_gamma < self._slowest + margin / 2:
            raise UndeterminedError("the decay is slower than the series is long")
        if log_gamma > self._fastest - 1.5 * margin:
            raise UndeterminedError("the decay is faster than the first delay")
        low, high = STRETCH_LIMITS
        if not low < stretch < high:
            raise UndeterminedError(f"a stretch exponent of {stretch:.2g}: no decay between {low} and {high}")

    def _residual(self, parameters: Any, g2: Floats) -> Floats:
        values = parameters.valuesdict()
        shape = self._shape(np.array([values["log_gamma"]]), np.array([values["stretch"]]))[0]
        residual: Floats = (g2 - values["baseline"] - values["contrast"] * shape) * self._roots
        return residual

    def _steps(self, curves: Floats, nonlinear: Floats, free: slice) -> Floats:
        """The next steps of ln(gamma) and stretch, shape (n, 1 or 2)."""
        shape, *slopes = self._shape_and_slopes(*nonlinear.T)
        contrast, baseline, _ = self._line(shape, curves)
        residual = curves - baseline[:, np.newaxis] - contrast[:, np.newaxis] * shape
        centred = self._centred(shape)
        norm = self._mean(centred**2)
        jacobian = []
        for slope in slopes[free]:
            change = contrast[:, np.newaxis] * self._centred(slope)
            jacobian.append(change - (self._mean(centred * change) / norm)[:, np.newaxis] * centred)
        columns = np.stack(jacobian, axis=1)
        normal = np.einsum("git,gjt,t->gij", columns, columns, self._weights)
        right = np.einsum("git,gt,t->gi", columns, residual, self._weights)
        try:
            return np.linalg.solve(normal, right[..., np.newaxis])[..., 0]
        except np.linalg.LinAlgError as error:
            raise UndeterminedError("g2 does not tell the parameters of a decay apart") from error

    def _shape(self, log_gamma: Floats, stretch: Floats) -> Floats:
        """<exp(-2 (gamma tau)^stretch)> for n decays, shape (n, nt)."""
        return self._average(np.exp(-self._exponents(log_gamma, stretch)[0]))

    def _shape_and_slopes(self, log_gamma: Floats, stretch: Floats) -> tuple[Floats, Floats, Floats]:
        """The same, and its derivatives by ln(gamma) and stretch."""
        exponent, log_times = self._exponents(log_gamma, stretch)
        decay = np.exp(-exponent)
        slope = -exponent * decay
        by_log_gamma = stretch[:, np.newaxis] * self._average(slope)
        return self._average(decay), by_log_gamma, self._average(slope * log_times)

    def _exponents(self, log_gamma: Floats, stretch: Floats) -> tuple[Floats, Floats]:
        """2 (gamma tau)^stretch and ln(gamma tau), shape (n, rates, times)."""
        log_times = log_gamma[:, np.newaxis, np.newaxis] + self._log_times
        return 2 * np.exp(stretch[:, np.newaxis, np.newaxis] * log_times), log_times

    def _average(self, values: Floats) -> Floats:
        """Over the rates, and over the times that belong to a delay."""
        average: Floats = np.add.reduceat(values.sum(axis=1) * self._shares, self._starts, axis=1)
        return average

    def _line(self, shape: Floats, g2: Floats) -> tuple[Floats, Floats, Floats]:
        """Contrast, baseline and weighted mean square residual (n,) of g2 as a line against the shapes."""
        x, y = self._centred(shape), self._centred(g2)
        norm = self._mean(x**2)
        contrast = np.divide(self._mean(x * y), norm, out=np.zeros_like(norm), where=norm > 0)
        misfit = self._mean((y - contrast[:, np.newaxis] * x) ** 2)
        return contrast, self._mean(g2) - contrast * self._mean(shape), misfit

    def _mean(self, values: Floats) -> Floats:
        mean: Floats = values @ self._weights
        return mean

    def _centred(self, values: Floats) -> Floats:
        centred: Floats = values - self._mean(values)[..., np.newaxis]
        return centred


def _places_in_mean(m: int) -> tuple[Floats, Floats]:
    """Differences of time within two means of m frames, and their shares in the mean over all m x m pairs.

    Gauss quadrature for the discrete uniform distribution (its polynomials' recurrence: Gautschi, Orthogonal
    Polynomials, 2004, section 1.5), in both means: exact up to m = PLACES, elsewhere for polynomials of
    degree 2 PLACES - 1 in each. Decays are smooth over a mean, as no delay is shorter than two.
    """
    k = np.arange(1, min(m, PLACES))
    side = np.sqrt(k**2 * (m**2 - k**2) / (4.0 * (4 * k**2 - 1)))
    nodes, vectors = np.linalg.eigh(np.diag(side, 1) + np.diag(side, -1))
    shares = np.outer(vectors[0] ** 2, vectors[0] ** 2).ravel()
    offsets, place = np.unique(np.subtract.outer(nodes, nodes).ravel().round(9), return_inverse=True)
    return offsets.astype(np.float64), np.bincount(place, shares).astype(np.float64)
