"""How a running result is compared with targets."""

import dataclasses

import numpy as np
import pytest

from apsdm_bluesky.model import FrameBatch
from apsdm_bluesky.plans._convergence import Targets, check
from apsdm_bluesky.reduction import MultiTau, QMap, fit_decays
from apsdm_bluesky.sim import SpeckleSample
from tests.beamline import SIMULATION

FRAMES = 256


def correlated(seed):
    sample = SpeckleSample(SIMULATION.model_copy(update={"seed": seed}))
    qmap = QMap.rings(SIMULATION.shape, sample.center, dynamic_bins=3, r_min=13, r_max=23, mask=sample.mask)
    frames = np.empty((FRAMES, *SIMULATION.shape), np.uint16)
    sample.series(1).fill(frames)
    multitau = MultiTau(qmap)
    multitau.push(FrameBatch(frames=frames, indices=np.arange(FRAMES)))
    return multitau.result()


@pytest.fixture(scope="module")
def result():
    return correlated(1)


def test_rates_are_those_of_a_fit_of_all_bins(result):
    whole = fit_decays(result)
    told = check(result, Targets(rate_error=0.1, bins=(3, 1)))
    np.testing.assert_allclose(told.rate, whole.gamma[[2, 0]], rtol=1e-9)
    np.testing.assert_allclose(told.rate_error, (whole.gamma_err / whole.gamma)[[2, 0]], rtol=1e-9)
    assert told.g2_error is None


def test_the_error_of_g2_is_its_scatter_from_series_to_series(result):
    g2 = np.array([correlated(seed).g2 for seed in range(2, 26)])
    for delay in (1, 8, 20):
        at = int(np.searchsorted(result.delays, delay))
        scatter = (g2[:, at] / (g2[:, 0] - 1).mean(axis=0)).std(axis=0, ddof=1)
        told = check(result, Targets(g2_error=1.0, delay=delay)).g2_error
        # The scatter of 24 series is known to 15 %, the jackknife's error to about as much.
        np.testing.assert_allclose(np.log(told / scatter), 0, atol=0.9)


def test_the_median_over_the_delays(result):
    each = [check(result, Targets(g2_error=1.0, delay=int(delay))).g2_error for delay in result.delays]
    np.testing.assert_allclose(check(result, Targets(g2_error=1.0)).g2_error, np.median(each, axis=0))


@pytest.mark.parametrize(
    ("targets", "converged"),
    [
        (Targets(rate_error=10, bins=(2, 3)), True),
        (Targets(rate_error=10, g2_error=10, bins=(2, 3)), True),
        (Targets(rate_error=1e-9, g2_error=10), False),
        (Targets(rate_error=10, g2_error=1e-9), False),
        (Targets(g2_error=10, delay=FRAMES), False),  # not measured yet
    ],
)
def test_every_target_must_be_reached(result, targets, converged):
    assert check(result, targets).converged is converged


def test_what_is_not_known_has_not_converged(result):
    dark = dataclasses.replace(
        result,
        g2=np.full_like(result.g2, np.nan),
        jackknife=np.full_like(result.jackknife, np.nan),
    )
    told = check(dark, Targets(rate_error=10, g2_error=10))
    assert not told.converged
    assert "not known" in str(told)
    flat = dataclasses.replace(result, g2=np.full_like(result.g2, 0.9))  # no contrast
    assert not check(flat, Targets(g2_error=10)).converged


def test_nothing_has_been_measured():
    qmap = QMap.rings((48, 64), (31.5, 23.5), dynamic_bins=2)
    empty = MultiTau(qmap).result()
    assert not check(empty, Targets(g2_error=10)).converged
    assert not check(empty, Targets(rate_error=10)).converged
