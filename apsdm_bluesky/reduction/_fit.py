"""Decay rates from g2, with errors by jackknife, and their power law in q."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ._decay import DecayModel, UndeterminedError
from ._g2 import MultiTauResult

Floats = NDArray[np.float64]
Model = Literal["single", "stretched"]

# Delays needed: one more than parameters (baseline, contrast, rate, stretch) leaves a residual.
MIN_DELAYS: dict[Model, int] = {"single": 4, "stretched": 5}
# Fewer groups say too little about their own scatter.
MIN_GROUPS = 8
# Scatter below this is rounding.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecayFit:
    """Decays ``g2 = baseline + contrast * exp(-2 (gamma tau)^stretch)`` of the dynamic bins.

    Errors are one standard deviation, by jackknife over pixel groups. A bin that cannot be determined is NaN
    throughout and `reasons` says why. Fits of the rates against q are weighted with their errors; their own
    errors are enlarged by the root of chi^2 / degrees of freedom where that exceeds 1.

    Parameters
    ----------
    model
        "single": the stretch is 1; "stretched": it is fitted.
    gamma, gamma_err
        Shape (nq,) [1 / frame interval].
    contrast, contrast_err, baseline, baseline_err, stretch, stretch_err
        Shape (nq,).
    chi2
        Shape (nq,): chi^2 over the degrees of freedom, with the jackknife's variances of g2. Near delays have
        much of their noise in common, which a fit follows: 0.2 to 1.5 where the model holds (in simulation,
        0.6 on average), several and more where it does not.
    reasons
        One line a bin; empty where the fit holds.
    diffusion, diffusion_err
        D of ``gamma = D q^2`` [1 / (frame interval * q unit^2)]. NaN if no bin holds.
    exponent, exponent_err, prefactor, prefactor_err
        n and A of ``gamma = A q^n`` [A: 1 / (frame interval * q unit^n)]. NaN unless bins of two q hold
        and the fit converges.
    q
        Shape (nq,), in the q-map's unit.
    """

    model: Model
    gamma: Floats
    gamma_err: Floats
    contrast: Floats
    contrast_err: Floats
    baseline: Floats
    baseline_err: Floats
    stretch: Floats
    stretch_err: Floats
    chi2: Floats
    reasons: tuple[str, ...]
    diffusion: float
    diffusion_err: float
    exponent: float
    exponent_err: float
    prefactor: float
    prefactor_err: float
    q: Floats


def fit_decays(result: MultiTauResult, *, model: Model = "single") -> DecayFit:
    """Fit a decay to every dynamic bin with lmfit, and a power law to the rates.

    The model includes what would otherwise bias the rates by per cents: the averaging within a level's
    frames, and the width of a bin, in which rates are taken to go with the q^2 of its static bins (gamma is
    the rate at the dynamic bin's q). Weights are the jackknife's variances of g2, not `g2_err`: a pixel's own
    normalisation takes scatter away where pairs are few, all of it where there is one.
    """
    values, chi2, reasons = np.full((len(result.q), 2, 4), np.nan), np.full(len(result.q), np.nan), []
    for i in range(len(result.q)):
        try:
            values[i], chi2[i] = _fit_bin(result, i, model)
            reasons.append("")
        except UndeterminedError as error:
            reasons.append(str(error))
    gamma, contrast, baseline, stretch = values[:, 0].T
    gamma_err, contrast_err, baseline_err, stretch_err = values[:, 1].T
    diffusion, diffusion_err = _fit_diffusion(result.q, gamma, gamma_err)
    exponent, exponent_err, prefactor, prefactor_err = _fit_power(result.q, gamma, gamma_err)
    return DecayFit(
        model=model,
        gamma=gamma,
        gamma_err=gamma_err,
        contrast=contrast,
        contrast_err=contrast_err,
        baseline=baseline,
        baseline_err=baseline_err,
        stretch=stretch,
        stretch_err=stretch_err,
        chi2=chi2,
        reasons=tuple(reasons),
        diffusion=diffusion,
        diffusion_err=diffusion_err,
        exponent=exponent,
        exponent_err=exponent_err,
        prefactor=prefactor,
        prefactor_err=prefactor_err,
        q=result.q,
    )


def _fit_bin(result: MultiTauResult, i: int, model: Model) -> tuple[Floats, float]:
    """Values and errors, shape (2, 4), of the i-th bin's decay, and its reduced chi^2."""
    groups = result.jackknife[np.isfinite(result.jackknife[:, :, i]).any(axis=1), :, i]
    if len(groups) < MIN_GROUPS:
        raise UndeterminedError(f"{len(groups)} groups of pixels with counts: {MIN_GROUPS} are needed")
    variance = _jackknife_variance(groups)
    usable = (variance > ROUNDING**2) & (result.delays > 0)  # a frame with itself has the photons' noise
    if usable.sum() < MIN_DELAYS[model]:
        raise UndeterminedError(f"{usable.sum()} delays with a known error: {MIN_DELAYS[model]} are needed")
    decays = DecayModel(
        result.delays[usable],
        np.left_shift(1, result.levels[usable]),
        variance[usable],
        _rate_spread(result, i),
        stretched=model == "stretched",
    )
    best, chi2 = decays.fit(result.g2[usable, i])
    errors = np.sqrt(_jackknife_variance(decays.refit(groups[:, usable], best)))
    _check(best.contrast, errors[1], "contrast", 3)
    _check(best.gamma, errors[0], "gamma", 2)
    return np.stack([best, errors]), chi2


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


def _check(value: float, error: float, name: str, times: float) -> None:
    """Refuse what the jackknife shows to be no measurement."""
    if not value > times * error:
        raise UndeterminedError(f"no decay stands out: {name} {value:.2g} +- {error:.2g}")


def _fit_diffusion(q: Floats, gamma: Floats, gamma_err: Floats) -> tuple[float, float]:
    """D of ``gamma = D q^2`` and its error."""
    good = np.isfinite(q) & np.isfinite(gamma) & (gamma_err > 0)
    x, y = q[good] ** 2 / gamma_err[good], gamma[good] / gamma_err[good]
    if not (x > 0).any():
        return np.nan, np.nan
    diffusion = float(x @ y / (x @ x))
    chi2 = float(np.sum((y - diffusion * x) ** 2)) / max(len(x) - 1, 1)
    return diffusion, float(np.sqrt(max(1.0, chi2) / (x @ x)))


def _fit_power(q: Floats, gamma: Floats, gamma_err: Floats) -> tuple[float, float, float, float]:
    """Exponent n, its error, A and its error of ``gamma = A q^n``, by lmfit.

    The fit is of the rates, not of their logarithms, which would pull bins of large errors down.
    """
    good = (q > 0) & (gamma > 0) & (gamma_err > 0)
    q, gamma, gamma_err = q[good], gamma[good], gamma_err[good]
    if len(np.unique(q)) < 2:
        return np.nan, np.nan, np.nan, np.nan
    import lmfit  # takes half a second

    # About the middle q the two parameters hardly depend on each other.
    log_q = np.log(q)
    middle = float(np.average(log_q, weights=(gamma / gamma_err) ** 2))

    def residual(parameters: Any) -> Floats:
        values = parameters.valuesdict()
        line: Floats = values["log_rate"] + values["exponent"] * (log_q - middle)
        return (gamma - np.exp(line)) / gamma_err

    start, rate = np.polyfit(log_q - middle, np.log(gamma), 1, w=gamma / gamma_err)
    parameters = lmfit.create_params(log_rate=rate, exponent=start)
    found = lmfit.minimize(residual, parameters, method="leastsq", scale_covar=False)
    if not (found.success and found.errorbars):
        return np.nan, np.nan, np.nan, np.nan
    scale = np.sqrt(max(1.0, found.redchi))
    exponent = found.params["exponent"].value
    prefactor = float(np.exp(found.params["log_rate"].value - exponent * middle))
    # ln A = ln(rate) - n middle
    along = np.array([1.0, -middle])
    log_err = scale * np.sqrt(along @ found.covar @ along)
    exponent_err = scale * found.params["exponent"].stderr
    return float(exponent), float(exponent_err), prefactor, float(prefactor * log_err)
