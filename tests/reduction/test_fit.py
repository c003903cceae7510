from dataclasses import replace
from functools import partial

import lmfit
import numpy as np
import pytest

from apsdm_bluesky.reduction import MultiTau, MultiTauResult, QMap, fit_decays, multitau_delays

from .reference import batch

SHAPE = (80, 80)
QMAP = QMap.rings(SHAPE, (39.5, 39.5), dynamic_bins=3, static_per_dynamic=3, r_min=10, r_max=40)


def speckle_frames(rate, number, seed, counts=1.0):
    """Photon counts of a complex AR(1) field: <|E|^2> = 1, |g1(tau)|^2 = exp(-rate tau)."""
    rng = np.random.default_rng(seed)
    memory = np.exp(-rate / 2)
    kick = np.sqrt((1 - memory**2) / 2)
    field = (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE)) / np.sqrt(2)
    frames = np.empty((number, *SHAPE), np.uint16)
    for frame in frames:
        frame[:] = rng.poisson(counts * np.abs(field) ** 2)
        field = memory * field + kick * (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE))
    return frames


def stretched_frames(gamma, stretch, number, seed):
    """Photon counts of a field whose correlation is g1 = exp(-(gamma tau)^stretch), by its spectrum."""
    rng = np.random.default_rng(seed)
    lags = np.minimum(np.arange(2 * number), 2 * number - np.arange(2 * number))
    spectrum = np.fft.fft(np.exp(-((gamma * lags) ** stretch))).real.clip(0)
    noise = rng.standard_normal((2, np.prod(SHAPE), 2 * number))
    field = np.fft.fft((noise[0] + 1j * noise[1]) * np.sqrt(spectrum / (4 * number)))[:, :number]
    return rng.poisson(np.abs(field) ** 2).T.reshape(number, *SHAPE).astype(np.uint16)


def reduce(frames, qmap=QMAP, **options):
    reduction = MultiTau(qmap, **options)
    reduction.push(batch(frames))
    return reduction.result()


def radius():
    y, x = np.indices(SHAPE)
    return np.hypot(x - 39.5, y - 39.5)


def between_means(rate, tau, m, stretch=1.0):
    """Mean of exp(-2 (rate t / 2)^stretch) over all pairs of frames of two means of m frames, tau apart."""
    i = np.arange(m)
    return np.exp(-2 * (rate / 2 * (tau + i[:, None] - i)) ** stretch).mean()


def exact_result(gamma, *, frames=2000, contrast=0.3, baseline=1.02, spread=(1.0,), stretch=1.0):
    """What an endless detector would give: g2 by brute force, jackknife scatter next to nothing."""
    delays = multitau_delays(frames)
    levels = np.maximum(0, np.ceil(np.log2(delays / 8))).astype(np.int64)
    shape = [
        np.mean([between_means(2 * gamma * s, tau, m, stretch) for s in spread])
        for tau, m in zip(delays, 2**levels, strict=True)
    ]
    g2 = (baseline + contrast * np.array(shape))[:, None]
    noise = 1e-6 * np.random.default_rng(0).standard_normal((64, len(delays), 1))
    return MultiTauResult(
        delays=delays, levels=levels, pairs=frames - delays, g2=g2, g2_err=np.full(g2.shape, 1e-5),
        jackknife=g2 + noise / 64, frames=frames, q=np.array([2.0]),
        static_q=2 * np.sqrt(spread), parents=np.ones(len(spread), np.int64),
    )  # fmt: skip


def test_the_noise_of_a_frame_with_itself_is_left_out():
    result = exact_result(0.02)
    first = lambda values, axis=0: np.insert(values, 0, 9.0, axis=axis)  # noqa: E731
    with_zero = replace(
        result,
        delays=np.insert(result.delays, 0, 0),
        levels=np.insert(result.levels, 0, 0),
        pairs=np.insert(result.pairs, 0, 2000),
        g2=first(result.g2),
        g2_err=first(result.g2_err),
        jackknife=first(result.jackknife, 1) + np.linspace(0, 1e-6, 64)[:, None, None],
    )
    assert fit_decays(with_zero).gamma[0] == pytest.approx(0.02, rel=1e-4)


def test_g2_of_ar1_speckle_is_the_truth_within_4_sigma():
    """g2 = 1 + r^tau, at level m = 2^l times r^(1-m) [(1 - r^m) / (m (1 - r))]^2."""
    result = reduce(speckle_frames(0.1, 400, seed=1), groups=32)
    truth = [1 + between_means(0.1, tau, m) for tau, m in zip(result.delays, 2**result.levels, strict=True)]
    error = np.sqrt(31 * result.jackknife.var(axis=0))
    z = (result.g2 - np.array(truth)[:, None]) / error
    assert np.abs(z).max() < 4
    assert 0.5 < np.sqrt(np.mean(z**2)) < 2
    assert error[0].max() < 0.03


@pytest.mark.parametrize("gamma", [0.3, 0.02, 1e-3])
def test_exact_decays_are_recovered(gamma):
    fit = fit_decays(exact_result(gamma))
    assert fit.reasons == ("",)
    assert fit.gamma[0] == pytest.approx(gamma, rel=1e-5)
    assert fit.contrast[0] == pytest.approx(0.3, rel=1e-5)
    assert fit.baseline[0] == pytest.approx(1.02, rel=1e-5)
    assert fit.diffusion == pytest.approx(gamma / 4, rel=1e-5)
    assert 0 < fit.gamma_err[0] < 1e-3 * gamma
    assert (fit.model, fit.stretch[0], fit.stretch_err[0]) == ("single", 1, 0)
    assert np.isnan(fit.exponent), "one bin has no power law"


@pytest.mark.parametrize("stretch", [0.7, 1.0, 1.5])
@pytest.mark.parametrize("gamma", [0.1, 3e-3])
def test_exact_stretched_decays_are_recovered(gamma, stretch):
    result = exact_result(gamma, stretch=stretch, spread=(0.8, 1.0, 1.3))
    fit = fit_decays(result, model="stretched")
    assert fit.reasons == ("",)
    assert fit.gamma[0] == pytest.approx(gamma, rel=1e-4)
    assert fit.stretch[0] == pytest.approx(stretch, rel=1e-4)
    assert fit.contrast[0] == pytest.approx(0.3, rel=1e-4)
    assert fit.baseline[0] == pytest.approx(1.02, rel=1e-4)
    assert 0 < fit.stretch_err[0] < 1e-3
    assert (fit_decays(result).chi2[0] > 1000 * fit.chi2[0]) == (stretch != 1)


@pytest.mark.parametrize("stretch", [0.7, 1.5])
def test_stretched_speckle_is_the_truth_within_4_sigma(stretch):
    no_spread = QMap.rings(SHAPE, (39.5, 39.5), dynamic_bins=3, static_per_dynamic=1, r_min=10, r_max=40)
    z, chi2, chi2_single = [], [], []
    for seed in range(2):
        result = reduce(stretched_frames(0.1, stretch, 300, seed), no_spread)
        fit = fit_decays(result, model="stretched")
        z.extend((fit.gamma - 0.1) / fit.gamma_err)
        z.extend((fit.stretch - stretch) / fit.stretch_err)
        chi2.extend(fit.chi2)
        chi2_single.extend(fit_decays(result).chi2)
        assert fit.stretch_err.max() < 0.1
    assert np.abs(z).max() < 4
    assert np.mean(chi2) < 1.3, "the model holds"
    assert np.mean(chi2_single) > 2 * np.mean(chi2), "a single exponential does not"


@pytest.mark.parametrize("model", ["single", "stretched"])
def test_errors_are_those_of_a_fit_by_lmfit_without_each_group(model):
    result = reduce(speckle_frames(0.1, 200, seed=2), groups=12)
    fit = fit_decays(result, model=model)
    alone = [fit_decays(replace(result, g2=group), model=model) for group in result.jackknife]
    for name in ("gamma", "contrast", "baseline", "stretch"):
        parts = np.array([getattr(one, name) for one in alone])
        error = np.sqrt(11 * parts.var(axis=0))
        np.testing.assert_allclose(getattr(fit, f"{name}_err"), error, rtol=1e-3, atol=1e-9)


def exact_bins(gammas, q):
    """The results of several bins side by side."""
    results = [exact_result(gamma) for gamma in gammas]
    columns = {
        name: np.concatenate([getattr(r, name) for r in results], axis=-1) for name in ("g2", "g2_err")
    }
    jackknife = np.concatenate([r.jackknife for r in results], axis=-1)
    parents = np.arange(1, len(q) + 1)
    return replace(results[0], q=q, static_q=q, parents=parents, jackknife=jackknife, **columns)


def test_the_power_law_of_the_rates():
    q = np.array([0.1, 0.15, 0.2, 0.3])
    fit = fit_decays(exact_bins(4 * q**2.6, q))
    assert fit.exponent == pytest.approx(2.6, rel=1e-4)
    assert fit.prefactor == pytest.approx(4, rel=1e-3)
    assert 0 < fit.exponent_err < 1e-3
    assert 0 < fit.prefactor_err < 1e-2
    diffusive = fit_decays(exact_bins(4 * q**2, q))
    assert diffusive.exponent == pytest.approx(2, rel=1e-4)
    assert diffusive.prefactor == pytest.approx(diffusive.diffusion, rel=1e-3)
    scattered = fit_decays(exact_bins(4 * q**2 * [1, 1.3, 0.8, 1.1], q))
    assert scattered.exponent_err > 0.1, "scatter beyond the errors of the rates enlarges its error"


def test_a_power_law_needs_two_q_where_the_fits_hold():
    q = np.array([0.1, 0.2])
    fit = fit_decays(exact_bins([0.04, 0.16], q))
    assert fit.exponent == pytest.approx(2, rel=1e-4)
    one = fit_decays(exact_bins([0.04, 1e-7], q))
    assert np.isfinite(one.diffusion)
    assert np.isnan([one.exponent, one.exponent_err, one.prefactor, one.prefactor_err]).all()
    assert np.isnan(fit_decays(exact_bins([0.04, 0.05], np.array([0.1, 0.1]))).exponent)


def test_the_width_of_a_bin_does_not_bias_the_rate():
    spread = (0.7, 0.9, 1.0, 1.4)
    fit = fit_decays(exact_result(0.02, spread=spread))
    assert fit.gamma[0] == pytest.approx(0.02, rel=1e-5)
    plain = fit_decays(replace(exact_result(0.02, spread=spread), static_q=np.full(4, 2.0)))
    assert abs(plain.gamma[0] / 0.02 - 1) > 0.01, "the bias that the model takes away"


def test_rates_and_their_errors_are_right_over_many_series():
    """Gamma = D q^2 in every pixel: rates within 4 errors, and errors neither too small nor too large."""
    z, diffusion, exponents, chi2 = [], [], [], []
    for seed in range(6):
        fit = fit_decays(reduce(speckle_frames(2 * 2e-4 * radius() ** 2, 300, seed)))
        assert fit.reasons == ("", "", "")
        z.extend((fit.gamma - 2e-4 * QMAP.q**2) / fit.gamma_err)
        diffusion.append((fit.diffusion - 2e-4) / fit.diffusion_err)
        exponents.append((fit.exponent - 2) / fit.exponent_err)
        chi2.extend(fit.chi2)
        assert fit.diffusion_err < 2e-5
        assert fit.exponent_err < 0.2
    assert np.abs(z).max() < 4
    assert np.abs(diffusion).max() < 4
    assert np.abs(exponents).max() < 4
    assert 0.1 < np.mean(chi2) < 1.3
    assert 0.6 < np.std(z) < 1.5
    assert abs(np.mean(z)) < 1


def test_few_photons_give_a_rate_too():
    fit = fit_decays(reduce(speckle_frames(0.05, 500, seed=3, counts=0.05)))
    good = np.isfinite(fit.gamma)
    assert good.any()
    assert (np.abs(fit.gamma[good] - 0.025) < 4 * fit.gamma_err[good]).all()


BIN_FIELDS = ("gamma", "contrast", "baseline", "stretch")
ONE_FIELDS = ("diffusion", "exponent", "prefactor")


def refused(result, model="single"):
    fit = fit_decays(result, model=model)
    for name in (*BIN_FIELDS, *ONE_FIELDS):
        assert np.isnan(getattr(fit, name)).all(), name
        assert np.isnan(getattr(fit, f"{name}_err")).all(), name
    assert np.isnan(fit.chi2).all()
    assert len(fit.reasons) == len(result.q)
    return " ".join(set(fit.reasons))


@pytest.mark.parametrize("model", ["single", "stretched"])
def test_nothing_is_made_up(model):
    """Every kind of data that determines no decay gets NaN and its reason."""
    reason = partial(refused, model=model)
    rng = np.random.default_rng(4)
    assert "groups" in reason(MultiTau(QMAP).result())
    assert "groups" in reason(reduce(np.zeros((40, *SHAPE), np.uint16)))
    assert "known error" in reason(reduce(np.full((40, *SHAPE), 3, np.uint16)))
    assert "known error" in reason(reduce(rng.poisson(1, (3, *SHAPE)).astype(np.uint16)))
    static = rng.poisson(5 * rng.exponential(1, SHAPE), (60, *SHAPE)).astype(np.uint16)
    assert reason(reduce(static))
    assert "slower" in reason(exact_result(1e-7))
    assert ("faster" if model == "single" else "apart") in reason(exact_result(5.0))
    assert "does not decay" in reason(exact_result(0.1, contrast=-0.1))
    holes = exact_result(0.1)
    holes.g2[:], holes.jackknife[:] = np.nan, np.nan
    assert "groups" in reason(holes)


def test_delays_without_g2_are_left_out():
    result = exact_result(0.02)
    result.g2[[3, -1]], result.jackknife[:, [3, -1]] = np.nan, np.nan
    assert fit_decays(result).gamma[0] == pytest.approx(0.02, rel=1e-5)


def test_a_stretch_beyond_any_decay_is_refused():
    assert "stretch exponent" in refused(exact_result(0.01, stretch=6.0), "stretched")


@pytest.mark.parametrize("model", ["single", "stretched"])
def test_a_fit_that_does_not_converge_says_so(monkeypatch, model):
    """lmfit itself, stopped after too few evaluations."""
    monkeypatch.setattr(lmfit, "minimize", partial(lmfit.minimize, max_nfev=2))
    assert "did not converge" in refused(exact_result(0.02), model)


def test_a_rate_that_hangs_on_one_group_is_refused():
    result = exact_result(0.02)
    result.jackknife[5] = exact_result(0.2).g2
    assert "few pixels" in refused(result)


@pytest.mark.parametrize("seed", [0, 22, 28, 1])
def test_photon_noise_has_no_decay(seed):
    """In the first three seeds a rate seems to stand out of the noise, its contrast does not."""
    refused(reduce(np.random.default_rng(seed).poisson(1, (60, *SHAPE)).astype(np.uint16)))


def test_a_bin_of_a_few_pixels_is_refused_and_does_not_spoil_the_others():
    few = (QMAP.dynamic == 1) & (np.cumsum(QMAP.dynamic == 1).reshape(SHAPE) > 60)
    fit = fit_decays(reduce(speckle_frames(0.1, 200, seed=5), QMAP.without(few)))
    assert "groups" in fit.reasons[0]
    assert fit.reasons[1:] == ("", "")
    assert np.isnan(fit.gamma).tolist() == [True, False, False]
    assert np.isfinite(fit.diffusion)


def test_a_masked_static_ring_does_not_bias_the_rate():
    """g2 is then the mean over the rings that are left; gamma is still that at the bin's q."""
    gamma, spread = 0.02, (0.7, 0.9, 1.4)
    result = exact_result(gamma, spread=spread)
    masked = replace(result, static_q=2 * np.sqrt([*spread, 3.0]), parents=np.array([1, 1, 1, 0]))
    assert fit_decays(masked).gamma[0] == pytest.approx(gamma, rel=1e-5)
