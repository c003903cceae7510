from dataclasses import replace

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


def reduce(frames, qmap=QMAP, **options):
    reduction = MultiTau(qmap, **options)
    reduction.push(batch(frames))
    return reduction.result()


def radius():
    y, x = np.indices(SHAPE)
    return np.hypot(x - 39.5, y - 39.5)


def between_means(rate, tau, m):
    """Mean of exp(-rate |t|) over all pairs of frames of two means of m frames, tau apart."""
    i = np.arange(m)
    return np.exp(-rate * (tau + i[:, None] - i)).mean()


def exact_result(gamma, *, frames=2000, contrast=0.3, baseline=1.02, spread=(1.0,)):
    """What an endless detector would give: g2 by brute force, jackknife scatter next to nothing."""
    delays = multitau_delays(frames)
    levels = np.maximum(0, np.ceil(np.log2(delays / 8))).astype(np.int64)
    shape = [
        np.mean([between_means(2 * gamma * s, tau, m) for s in spread])
        for tau, m in zip(delays, 2**levels, strict=True)
    ]
    g2 = (baseline + contrast * np.array(shape))[:, None]
    noise = 1e-6 * np.random.default_rng(0).standard_normal((64, len(delays), 1))
    return MultiTauResult(
        delays=delays, levels=levels, pairs=frames - delays, g2=g2, g2_err=np.full(g2.shape, 1e-5),
        jackknife=g2 + noise / 64, frames=frames, q=np.array([2.0]),
        static_q=2 * np.sqrt(spread), parents=np.ones(len(spread), np.int64),
    )  # fmt: skip


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


def test_the_width_of_a_bin_does_not_bias_the_rate():
    spread = (0.7, 0.9, 1.0, 1.4)
    fit = fit_decays(exact_result(0.02, spread=spread))
    assert fit.gamma[0] == pytest.approx(0.02, rel=1e-5)
    plain = fit_decays(replace(exact_result(0.02, spread=spread), static_q=np.full(4, 2.0)))
    assert abs(plain.gamma[0] / 0.02 - 1) > 0.01, "the bias that the model takes away"


def test_rates_and_their_errors_are_right_over_many_series():
    """Gamma = D q^2 in every pixel: rates within 4 errors, and errors neither too small nor too large."""
    z, diffusion = [], []
    for seed in range(6):
        fit = fit_decays(reduce(speckle_frames(2 * 2e-4 * radius() ** 2, 300, seed)))
        assert fit.reasons == ("", "", "")
        z.extend((fit.gamma - 2e-4 * QMAP.q**2) / fit.gamma_err)
        diffusion.append((fit.diffusion - 2e-4) / fit.diffusion_err)
        assert fit.diffusion_err < 2e-5
    assert np.abs(z).max() < 4
    assert np.abs(diffusion).max() < 4
    assert 0.6 < np.std(z) < 1.5
    assert abs(np.mean(z)) < 1


def test_few_photons_give_a_rate_too():
    fit = fit_decays(reduce(speckle_frames(0.05, 500, seed=3, counts=0.05)))
    good = np.isfinite(fit.gamma)
    assert good.any()
    assert (np.abs(fit.gamma[good] - 0.025) < 4 * fit.gamma_err[good]).all()


def refused(result):
    fit = fit_decays(result)
    for name in ("gamma", "gamma_err", "contrast", "contrast_err", "baseline", "baseline_err"):
        assert np.isnan(getattr(fit, name)).all(), name
    assert np.isnan([fit.diffusion, fit.diffusion_err]).all()
    assert len(fit.reasons) == len(result.q)
    return " ".join(set(fit.reasons))


def test_nothing_is_made_up():
    """Every kind of data that determines no decay gets NaN and its reason."""
    rng = np.random.default_rng(4)
    assert "groups" in refused(MultiTau(QMAP).result())
    assert "groups" in refused(reduce(np.zeros((40, *SHAPE), np.uint16)))
    assert "known error" in refused(reduce(np.full((40, *SHAPE), 3, np.uint16)))
    assert "known error" in refused(reduce(rng.poisson(1, (3, *SHAPE)).astype(np.uint16)))
    static = rng.poisson(5 * rng.exponential(1, SHAPE), (60, *SHAPE)).astype(np.uint16)
    assert refused(reduce(static))
    assert "slower" in refused(exact_result(1e-7))
    assert "faster" in refused(exact_result(5.0))
    assert "does not decay" in refused(exact_result(0.1, contrast=-0.1))


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
