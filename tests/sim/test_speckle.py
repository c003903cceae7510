"""The sample's statistics against their formulas, each within 4 standard errors for a fixed seed."""

import hashlib
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.sim import SpeckleSample
from apsdm_bluesky.sim._kernels import normal_table


def frames(sample, n, first_id=1, blocks=None):
    out = np.empty((n, *sample.shape), np.uint16)
    series = sample.series(first_id)
    start = 0
    for size in blocks or [n]:
        series.fill(out[start : start + size])
        start += size
    return out


def sample_with_mean(mean, gamma=0.1, **changes):
    """Pixels that are nearly alike: so far from the centre that radius and mean hardly change."""
    radius = 20032.0
    profile = 32**2 / (32**2 + radius**2)  # of the mean at that radius
    return SpeckleSample(
        SimulationConfig(
            shape=(64, 64),
            center=(31.5 - radius, 31.5),
            seed=3,
            diffusion=gamma / radius**2,
            mean_counts=mean / profile,
            beam_stop_radius=0,
            dead_fraction=0,
            **changes,
        )
    )


def within(values, expected, sigmas=4.0):
    """Whether the mean of independent `values` agrees with `expected`."""
    return abs(values.mean() - expected) < sigmas * values.std() / np.sqrt(values.size)


def test_table_of_normals_has_the_moments_of_a_normal_variate():
    table = normal_table().astype(float)
    assert table.size == 4096
    assert np.array_equal(table, np.sort(table))
    assert table.mean() == pytest.approx(0, abs=1e-12)
    assert (table**2).mean() == pytest.approx(1, abs=1e-6)
    assert (table**4).mean() == pytest.approx(3, abs=1e-5)
    expected = NormalDist().inv_cdf(0.75), NormalDist().inv_cdf(0.99)
    assert np.allclose(np.quantile(table, [0.75, 0.99]), expected, atol=0.005)


@pytest.mark.parametrize("mean", [0.01, 0.5, 3.0, 12.0, 200.0])
def test_counts_are_poisson_with_gaussian_field(mean):
    """Negative binomial with one mode (Goodman): variance = mean + mean^2; P(0) = 1 / (1 + mean)."""
    counts = frames(sample_with_mean(mean, gamma=20), 40).astype(float)
    assert within(counts, mean)
    assert within((counts - mean) ** 2, mean + mean**2)
    assert within((counts == 0).astype(float), 1 / (1 + mean))
    assert within((counts > 2 * mean).astype(float), (mean / (1 + mean)) ** (int(2 * mean) + 1))


@pytest.mark.parametrize("mean", [0.3, 4.0, 11.9, 12.1, 40.0])
def test_counts_of_a_steady_intensity_are_poisson(mean):
    """With almost no contrast every moment is Poisson's: both ways to draw a count are checked."""
    counts = frames(sample_with_mean(mean, contrast=1e-12), 300).astype(float)
    assert within(counts, mean)
    assert within((counts - mean) ** 2, mean)
    assert within((counts - mean) ** 3, mean)
    assert within((counts == int(mean)).astype(float), np.exp(_log_poisson(int(mean), mean)))


def _log_poisson(k, mean):
    return k * np.log(mean) - mean - np.log(np.arange(1, k + 1)).sum()


@pytest.mark.parametrize("contrast", [1.0, 0.15])
def test_g2_of_single_pixels_is_the_known_exponential(contrast):
    """Pixels are independent, so the ensemble gives the standard error of each lag. gamma = 0.1 a frame."""
    mean = 2.0
    sample = sample_with_mean(mean, contrast=contrast)
    gamma = sample.gamma(sample.radius[32, 32])
    assert gamma == pytest.approx(0.1, rel=0.01)
    counts = frames(sample, 60).astype(float)
    for lag in (1, 2, 5, 10, 30):
        products = (counts[:-lag] * counts[lag:]).mean(axis=0)  # one value a pixel: independent of the others
        expected = mean**2 * (1 + contrast * np.exp(-2 * gamma * lag))
        assert within(products.ravel(), expected), lag


def test_decay_rate_grows_with_the_square_of_the_radius():
    config = SimulationConfig(shape=(128, 128), diffusion=4e-5, dead_fraction=0.01, mean_counts=2, seed=11)
    sample = SpeckleSample(config)
    counts = frames(sample, 200).astype(float)
    lag = 4
    for r in (20, 40, 60):
        ring = sample.mask & (np.abs(sample.radius - r) < 1.0)
        scaled = counts[:, ring] / sample.mean[ring]
        g2 = (scaled[:-lag] * scaled[lag:]).mean(axis=0)
        assert within(g2, (1 + np.exp(-2 * sample.gamma(sample.radius[ring]) * lag)).mean()), r
    assert sample.gamma(60) == pytest.approx(9 * sample.gamma(20))


def test_very_slow_decay_is_not_lost_in_rounding():
    """1 - rho = 1e-8 is below the precision of rho in float32; the field must neither freeze nor drift."""
    mean, gamma, lag = 50.0, 1e-5, 5000
    sample = sample_with_mean(mean, gamma=gamma)
    series = sample.series(1)
    block = np.empty((1000, *sample.shape), np.uint16)
    series.fill(block[:1])
    first = block[0].astype(float)
    for _ in range(lag // 1000):
        series.fill(block)
    last = block[-1].astype(float)
    assert within(first * last, mean**2 * (1 + np.exp(-2 * gamma * lag)))
    assert within(last, mean)


def test_mean_image_mask_and_dead_pixels():
    config = SimulationConfig(
        shape=(100, 80), center=(30.5, 60.0), dead_fraction=0.05, diffusion=1e-2, seed=5
    )
    sample = SpeckleSample(config)
    total = frames(sample, 400).astype(float).mean(axis=0)
    y, x = np.mgrid[:100, :80]
    assert np.allclose(sample.radius, np.hypot(x - 30.5, y - 60.0))
    stop = sample.radius < config.beam_stop_radius
    assert not sample.mask[stop].any()
    assert 0.03 < (~sample.mask[~stop]).mean() < 0.07
    assert (total[~sample.mask] == 0).all()
    assert sample.mean.max() == pytest.approx(config.mean_counts, rel=0.02)
    assert within((total / sample.mean.clip(1e-9))[sample.mask], 1.0)
    far, near = sample.radius > 60, sample.radius < 20
    assert total[far & sample.mask].mean() < 0.5 * total[near & sample.mask].mean()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=6), st.integers(-(2**31), 2**31 - 1))
def test_frames_do_not_depend_on_blocks(blocks, first_id):
    sample = SpeckleSample(SimulationConfig(shape=(33, 47), diffusion=1e-3, mean_counts=3))
    n = sum(blocks)
    assert np.array_equal(frames(sample, n, first_id, blocks), frames(sample, n, first_id))


def test_frames_are_reproducible_and_depend_on_seed_and_first_id():
    config = SimulationConfig(shape=(64, 64))
    other_seed = config.model_copy(update={"seed": 2})
    made = [
        frames(SpeckleSample(c), 3, first_id)
        for c, first_id in ((config, 1), (config, 1), (config, 2), (other_seed, 1))
    ]
    digests = [hashlib.sha256(each.tobytes()).hexdigest() for each in made]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    two_seeds = [SpeckleSample(c).mask for c in (config, other_seed)]
    assert not np.array_equal(*two_seeds)


def test_bright_pixels_saturate():
    counts = frames(sample_with_mean(1e6, contrast=1e-12), 2)
    assert (counts == 65535).all()


def test_a_buffer_that_would_be_copied_is_refused():
    sample = SpeckleSample(SimulationConfig(shape=(16, 16)))
    with pytest.raises(ValueError, match="copy"):
        sample.series(1).fill(np.empty((4, 16, 32), np.uint16)[:, :, :16])
