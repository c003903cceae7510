"""Decay rates from g2: one exponential a bin, errors by jackknife."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from ._g2 import MultiTauResult

Floats = NDArray[np.float64]

# Parameters: baseline, contrast, rate. One delay more leaves a residual.
MIN_DELAYS = 4
# Fewer groups say too little about their own scatter.
MIN_GROUPS = 8
# A leave-one-out rate further from the rate of all groups than this factor is no perturbation of it.
MAX_STEP = np.log(4.0)
# Steps of ln(rate) in the first search, finer than any decay is wide.
GRID_STEP = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecayFit:
    """Decays ``g2 = baseline + contrast * exp(-2 gamma tau)`` of the dynamic bins, and ``gamma = D q^2``.

    Errors are one standard deviation, by jackknife over pixel groups. A bin that cannot be determined is NaN
    throughout and `reasons` says why.

    Parameters
    ----------
    gamma, gamma_err
        Shape (nq,) [1 / frame interval].
    baseline, baseline_err, contrast, contrast_err
        Shape (nq,).
    reasons
        One line a bin; empty where the fit holds.
    diffusion, diffusion_err
        Weighted mean of gamma / q^2 over the bins that hold [1 / (frame interval * q unit^2)]; the error is
        enlarged by the root of chi^2 / degrees of freedom where that exceeds 1. NaN if no bin holds.
    q
        Shape (nq,), in the q-map's unit.
    """

    gamma: Floats
    gamma_err: Floats
    baseline: Floats
    baseline_err: Floats
    contrast: Floats
    contrast_err: Floats
    reasons: tuple[str, ...]
    diffusion: float
    diffusion_err: float
    q: Floats


class _UndeterminedError(Exception):
    """The bin's data do not determine a decay; the message says why."""


def fit_decays(result: MultiTauResult) -> DecayFit:
    """Fit one exponential to every dynamic bin, and the diffusion coefficient to the rates.

    The model includes the averaging within a level's frames (see `_decay`), so that rates are not biased by
    it. The fit is weighted with `g2_err`; these weights do not make the errors, the jackknife does.
    """
    fits, reasons = [], []
    for i in range(len(result.q)):
        try:
            fits.append(_fit_bin(result, i))
            reasons.append("")
        except _UndeterminedError as error:
            fits.append(np.full((2, 3), np.nan))
            reasons.append(str(error))
    values = np.array(fits).reshape(-1, 2, 3)
    diffusion, diffusion_err = _fit_diffusion(result.q, values[:, 0, 0], values[:, 1, 0])
    return DecayFit(
        gamma=values[:, 0, 0],
        gamma_err=values[:, 1, 0],
        contrast=values[:, 0, 1],
        contrast_err=values[:, 1, 1],
        baseline=values[:, 0, 2],
        baseline_err=values[:, 1, 2],
        reasons=tuple(reasons),
        diffusion=diffusion,
        diffusion_err=diffusion_err,
        q=result.q,
    )


def _fit_bin(result: MultiTauResult, i: int) -> Floats:
    """Values and errors, shape (2, 3), of gamma, contrast and baseline of the i-th bin."""
    usable = np.isfinite(result.g2[:, i]) & (result.g2_err[:, i] > 0)
    if usable.sum() < MIN_DELAYS:
        raise _UndeterminedError(
            f"{usable.sum()} delays with a known error: at least {MIN_DELAYS} are needed"
        )
    jackknife = result.jackknife[:, usable, i]
    jackknife = jackknife[np.isfinite(jackknife).all(axis=1)]
    if len(jackknife) < MIN_GROUPS:
        raise _UndeterminedError(
            f"{len(jackknife)} groups of pixels: at least {MIN_GROUPS} are needed for an error"
        )
    model = _Model(result.delays[usable], np.exp2(result.levels[usable]), 1 / result.g2_err[usable, i] ** 2)
    g2 = result.g2[usable, i]
    start = model.search(g2)
    values = model.fit(g2, start, GRID_STEP)
    parts = np.array([model.fit(part, float(np.log(values[0])), MAX_STEP) for part in jackknife])
    errors = np.sqrt((len(parts) - 1) / len(parts) * ((parts - parts.mean(axis=0)) ** 2).sum(axis=0))
    _check(values, errors, parts)
    return np.stack([values, errors])


def _check(values: Floats, errors: Floats, parts: Floats) -> None:
    if (np.abs(np.log(parts[:, 0] / values[0])) > 0.99 * MAX_STEP).any():
        raise _UndeterminedError("the rate hangs on a few pixels: it changes beyond bounds without them")
    if not values[1] > 3 * errors[1] or not values[0] > 2 * errors[0]:
        raise _UndeterminedError(
            f"no decay stands out: contrast {values[1]:.2g} +- {errors[1]:.2g}, "
            f"gamma {values[0]:.2g} +- {errors[0]:.2g}"
        )


class _Model:
    """Weighted least squares at given delays.

    For a given rate, baseline and contrast are linear: one unknown is left.
    """

    def __init__(self, delays: NDArray[np.int64], widths: Floats, weights: Floats) -> None:
        self._delays = delays
        self._widths = widths
        self._weights = weights / weights.sum()

    def search(self, g2: Floats) -> float:
        """ln(gamma) of the best fit with a positive contrast, on a grid."""
        slowest, fastest = 0.05 / self._delays[-1], 2.5 / self._delays[0]
        grid = np.arange(np.log(slowest), np.log(fastest), GRID_STEP)
        misfits = np.array([self._misfit(x, g2) for x in grid])
        best = int(np.argmin(misfits))
        if not misfits[best] < self._weights @ (g2 - self._weights @ g2) ** 2:
            raise _UndeterminedError("g2 does not decay")
        if best in (0, len(grid) - 1):
            raise _UndeterminedError(
                "the decay is slower than the series"
                if best == 0
                else "the decay is faster than the first delay"
            )
        return float(grid[best])

    def fit(self, g2: Floats, start: float, step: float) -> Floats:
        """gamma, contrast and baseline of the best fit with ln(gamma) within `step` of `start`."""
        found = minimize_scalar(
            self._misfit,
            args=(g2,),
            bounds=(start - step, start + step),
            method="bounded",
            options={"xatol": 1e-7},
        )
        if not found.success:
            raise _UndeterminedError(f"the fit did not converge: {found.message}")
        contrast, baseline, _ = self._linear(found.x, g2)
        return np.array([np.exp(found.x), contrast, baseline])

    def _misfit(self, log_gamma: float, g2: Floats) -> float:
        contrast, _, misfit = self._linear(log_gamma, g2)
        return misfit if contrast > 0 else float(self._weights @ (g2 - self._weights @ g2) ** 2)

    def _linear(self, log_gamma: float, g2: Floats) -> tuple[float, float, float]:
        """Contrast, baseline and weighted mean square residual of the straight line g2 against the decay."""
        decay = _decay(2 * np.exp(log_gamma), self._delays, self._widths)
        mean_decay, mean_g2 = self._weights @ decay, self._weights @ g2
        x, y = decay - mean_decay, g2 - mean_g2
        contrast = float(self._weights @ (x * y) / (self._weights @ x**2))
        return (
            contrast,
            float(mean_g2 - contrast * mean_decay),
            float(self._weights @ (y - contrast * x) ** 2),
        )


def _decay(rate: float, delays: NDArray[np.int64], widths: Floats) -> Floats:
    """``exp(-rate tau)`` as it appears between means of m frames.

    The mean over the m x m pairs of frames is the exponential times ``r^(1-m) [(1 - r^m) / (m (1 - r))]^2``
    with ``r = exp(-rate)``. Written with expm1 and the two exponentials joined, it neither cancels for small
    rates nor overflows for large m.
    """
    ratio = np.expm1(-rate * widths) / (widths * np.expm1(-rate))
    decay: Floats = np.exp(-rate * (delays - widths + 1)) * ratio**2
    return decay


def _fit_diffusion(q: Floats, gamma: Floats, gamma_err: Floats) -> tuple[float, float]:
    """Weighted least squares of gamma = D q^2."""
    good = np.isfinite(gamma) & (gamma_err > 0)
    x, y = q[good] ** 2 / gamma_err[good], gamma[good] / gamma_err[good]
    if not (x > 0).any():
        return np.nan, np.nan
    diffusion = float(x @ y / (x @ x))
    freedom = max(len(x) - 1, 1)
    scale = max(1.0, float(np.sum((y - diffusion * x) ** 2)) / freedom)
    return diffusion, float(np.sqrt(scale / (x @ x)))
