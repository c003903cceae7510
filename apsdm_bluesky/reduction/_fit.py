"""Decay rates from g2: one exponential a bin, errors by jackknife."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._decay import DecayModel, UndeterminedError
from ._g2 import MultiTauResult

Floats = NDArray[np.float64]

# Parameters: baseline, contrast, rate. One delay more leaves a residual.
MIN_DELAYS = 4
# Fewer groups say too little about their own scatter.
MIN_GROUPS = 8
# Scatter below this is rounding.
ROUNDING = 1e-12
# The grid's best rate is refined within this factor.
NEAR = 1.1
# A rate without one group that is further from the rate of all than this factor is no perturbation of it.
FAR = 4.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecayFit:
    """Decays ``g2 = baseline + contrast * exp(-2 gamma tau)`` of the dynamic bins, and ``gamma = D q^2``.

    Errors are one standard deviation, by jackknife over pixel groups. A bin that cannot be determined is NaN
    throughout and `reasons` says why.

    Parameters
    ----------
    gamma, gamma_err
        Shape (nq,) [1 / frame interval].
    contrast, contrast_err, baseline, baseline_err
        Shape (nq,).
    reasons
        One line a bin; empty where the fit holds.
    diffusion, diffusion_err
        D, by weighted least squares over the bins that hold [1 / (frame interval * q unit^2)]. The error is
        enlarged by the root of chi^2 / degrees of freedom where that exceeds 1. NaN if no bin holds.
    q
        Shape (nq,), in the q-map's unit.
    """

    gamma: Floats
    gamma_err: Floats
    contrast: Floats
    contrast_err: Floats
    baseline: Floats
    baseline_err: Floats
    reasons: tuple[str, ...]
    diffusion: float
    diffusion_err: float
    q: Floats


def fit_decays(result: MultiTauResult) -> DecayFit:
    """Fit one exponential to every dynamic bin, and the diffusion coefficient to the rates.

    The model includes what would otherwise bias the rates by per cents: the averaging within a level's frames
    (see `decay`), and the width of a bin, in which rates are taken to go with the q^2 of its static bins
    (gamma is the rate at the dynamic bin's q). Weights are the jackknife's variances of g2, not `g2_err`:
    a pixel's own normalisation takes scatter away where pairs are few, all of it where there is one.
    """
    values, reasons = np.full((len(result.q), 2, 3), np.nan), []
    for i in range(len(result.q)):
        try:
            values[i] = _fit_bin(result, i)
            reasons.append("")
        except UndeterminedError as error:
            reasons.append(str(error))
    gamma, contrast, baseline = values[:, 0].T
    gamma_err, contrast_err, baseline_err = values[:, 1].T
    diffusion, diffusion_err = _fit_diffusion(result.q, gamma, gamma_err)
    return DecayFit(
        gamma=gamma,
        gamma_err=gamma_err,
        contrast=contrast,
        contrast_err=contrast_err,
        baseline=baseline,
        baseline_err=baseline_err,
        reasons=tuple(reasons),
        diffusion=diffusion,
        diffusion_err=diffusion_err,
        q=result.q,
    )


def _fit_bin(result: MultiTauResult, i: int) -> Floats:
    """Values and errors, shape (2, 3), of gamma, contrast and baseline of the i-th bin."""
    groups = result.jackknife[np.isfinite(result.jackknife[:, :, i]).any(axis=1), :, i]
    if len(groups) < MIN_GROUPS:
        raise UndeterminedError(f"{len(groups)} groups of pixels with counts: {MIN_GROUPS} are needed")
    variance = _jackknife_variance(groups)
    usable = variance > ROUNDING**2
    if usable.sum() < MIN_DELAYS:
        raise UndeterminedError(f"{usable.sum()} delays with a known error: {MIN_DELAYS} are needed")
    delays, widths = result.delays[usable], np.exp2(result.levels[usable])
    model = DecayModel(delays, widths, 1 / variance[usable], _rate_spread(result, i))
    g2 = result.g2[usable, i]
    best = model.fit(g2, model.search(g2), NEAR)
    parts = np.array([model.fit(group[usable], best[0], FAR) for group in groups])
    errors = np.sqrt(_jackknife_variance(parts))
    _check(best, errors, parts[:, 0])
    return np.stack([best, errors])


def _jackknife_variance(parts: Floats) -> Floats:
    """Variance of an estimate from its values without each group (axis 0); NaN where one of them is."""
    n = len(parts)
    variance: Floats = (n - 1) / n * ((parts - parts.mean(axis=0)) ** 2).sum(axis=0)
    return variance


def _rate_spread(result: MultiTauResult, i: int) -> Floats:
    """(q_s / q)^2 of the static bins in the i-th bin; 1 where q is not known or not positive."""
    static_q = result.static_q[result.parents == i + 1]
    if not (result.q[i] > 0 and (static_q > 0).all()):
        return np.ones(1)
    spread: Floats = (static_q / result.q[i]) ** 2
    return spread


def _check(best: Floats, errors: Floats, gammas: Floats) -> None:
    """Refuse what the jackknife shows to be no measurement."""
    if (np.abs(np.log(gammas / best[0])) > 0.99 * np.log(FAR)).any():
        raise UndeterminedError("the rate hangs on a few pixels: without them it changes beyond bounds")
    (gamma, contrast, _), (gamma_err, contrast_err, _) = best, errors
    if not (contrast > 3 * contrast_err and gamma > 2 * gamma_err):
        raise UndeterminedError(
            f"no decay stands out: contrast {contrast:.2g} +- {contrast_err:.2g}, "
            f"gamma {gamma:.2g} +- {gamma_err:.2g}"
        )


def _fit_diffusion(q: Floats, gamma: Floats, gamma_err: Floats) -> tuple[float, float]:
    """Weighted least squares of gamma = D q^2."""
    good = np.isfinite(q) & np.isfinite(gamma) & (gamma_err > 0)
    x, y = q[good] ** 2 / gamma_err[good], gamma[good] / gamma_err[good]
    if not (x > 0).any():
        return np.nan, np.nan
    diffusion = float(x @ y / (x @ x))
    chi2 = float(np.sum((y - diffusion * x) ** 2)) / max(len(x) - 1, 1)
    return diffusion, float(np.sqrt(max(1.0, chi2) / (x @ x)))
