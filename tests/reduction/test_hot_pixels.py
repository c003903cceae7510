import numpy as np
import pytest

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.reduction import QMap, find_hot_pixels

from .reference import batch, real_frames

SHAPE = (256, 256)
QMAP = QMap.rings(SHAPE, (127.5, 127.5), r_max=180)


def expose(intensity, seed, number=20):
    rng = np.random.default_rng(seed)
    return rng.poisson(intensity, (number, *SHAPE)).astype(np.uint16)


def speckle(mean, seed):
    """Fully developed static speckle, one pixel a speckle: the broadest distribution there is."""
    return np.random.default_rng(1000 + seed).exponential(mean, SHAPE)


@pytest.mark.parametrize("mean", [0.005, 0.1, 5])
def test_bright_speckle_and_poisson_tails_are_not_hot(mean):
    assert not find_hot_pixels(batch(expose(speckle(mean, 1), 1)), QMAP).any()
    assert not find_hot_pixels(batch(expose(np.full(SHAPE, mean), 2)), QMAP).any()


@pytest.mark.parametrize("mean", [0.005, 0.1, 5])
def test_hot_pixels_are_found_among_bright_speckle(mean):
    hot = np.zeros(SHAPE, bool)
    hot.ravel()[np.random.default_rng(3).choice(hot.size, 300, replace=False)] = True
    intensity = np.where(hot, 50 * mean + 1, speckle(mean, 4))
    found = find_hot_pixels(batch(expose(intensity, 5)), QMAP)
    np.testing.assert_array_equal(found, hot & (QMAP.dynamic > 0))


def test_a_shadow_over_most_of_a_ring_does_not_make_the_rest_hot():
    x = np.arange(256)
    intensity = np.where(x < 230, 0, speckle(5, 6))
    assert not find_hot_pixels(batch(expose(intensity, 6)), QMAP).any()


def test_a_hot_pixel_in_a_dark_ring_is_found():
    intensity = np.where(QMAP.dynamic == 1, 0, speckle(0.5, 7))
    y, x = np.argwhere(QMAP.dynamic == 1)[5]
    intensity[y, x] = 100
    assert np.argwhere(find_hot_pixels(batch(expose(intensity, 7)), QMAP)).tolist() == [[y, x]]


def test_one_spike_in_one_frame_is_enough():
    frames = expose(np.full(SHAPE, 0.2), 8)
    frames[13, 60, 70] += 11_810
    assert np.argwhere(find_hot_pixels(batch(frames), QMAP)).tolist() == [[60, 70]]


def test_a_column_with_many_hot_pixels_is_bad_as_a_whole_and_its_neighbours_are_not():
    frames = expose(np.full(SHAPE, 1.0), 9)
    frames[:, ::9, 100] += 500
    found = find_hot_pixels(batch(frames), QMAP)
    assert found[:, 100].all()
    assert found.sum() == 256


def test_pixels_outside_the_bins_are_ignored():
    frames = expose(np.full(SHAPE, 1.0), 10)
    frames[:, 127, 127] = 60_000
    frames[:, 100, 100] = 60_000
    masked = np.zeros(SHAPE, bool)
    masked[100, 100] = True
    assert not find_hot_pixels(batch(frames), QMAP.without(masked)).any()


def test_the_bad_column_and_spikes_of_the_real_frames():
    """Column 143 is bad; (251, 29) and (156, 0) count thousands. Columns 142 and 144 are good."""
    frames = real_frames()
    qmap = QMap.rings(SHAPE, (143, 132), r_max=160)
    found = find_hot_pixels(batch(frames[:20]), qmap)
    np.testing.assert_array_equal(found[:, 143], qmap.dynamic[:, 143] > 0)
    assert found[29, 251]
    assert found[0, 156]
    assert not found[:, [142, 144]].any()
    elsewhere = found.copy()
    elsewhere[:, 143] = False
    assert elsewhere.sum() < 20


def test_nothing_to_look_at():
    assert not find_hot_pixels(batch(np.zeros((0, *SHAPE), np.uint16)), QMAP).any()
    assert not find_hot_pixels(batch(np.zeros((3, *SHAPE), np.uint16)), QMAP).any()
    with pytest.raises(ReductionError, match="shape"):
        find_hot_pixels(batch(np.zeros((3, 4, 4), np.uint16)), QMAP)
