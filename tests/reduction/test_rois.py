"""Counts in regions against numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.reduction import Intensities, QMap, Rectangle, RoiStats, pack_events

from .reference import batch, push_split

SHAPE = (12, 15)
CORNER = Rectangle(x=0, y=0, width=4, height=3)
DISC = np.hypot(*np.indices(SHAPE) - np.array([6, 7])[:, None, None]) < 4
ROIS = {"corner": CORNER, "disc": DISC, "all": np.ones(SHAPE, bool)}


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_sums_are_those_of_numpy_in_any_split(data):
    number = data.draw(st.integers(1, 20))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    frames = rng.poisson(0.4, (number, *SHAPE)).astype(np.uint16)
    indices = np.cumsum(rng.integers(1, 4, number))
    mask = rng.random(SHAPE) < 0.9
    rois = {f"random {i}": rng.random(SHAPE) < 0.5 for i in range(data.draw(st.integers(0, 6)))} | ROIS
    cuts = data.draw(st.lists(st.integers(0, number), max_size=3))
    dense = push_split(RoiStats(SHAPE, rois, mask=mask), frames, indices, cuts).result()
    sparse = RoiStats(SHAPE, rois, mask=mask)
    sparse.push(pack_events(batch(frames, indices)))
    for result in (dense, sparse.result()):
        assert result.names == tuple(rois)
        np.testing.assert_array_equal(result.indices, indices)
        for i, roi in enumerate(rois.values()):
            inside = np.zeros(SHAPE, bool)
            inside[(slice(0, 3), slice(0, 4)) if roi is CORNER else roi] = True
            np.testing.assert_array_equal(result.sums[:, i], frames[:, inside & mask].sum(axis=1))
            assert result.pixels[i] == (inside & mask).sum()


def test_along_with_all_else_over_the_masks_good_pixels():
    mask = np.ones(SHAPE, bool)
    mask[1, 1] = False
    qmap = QMap.rings(SHAPE, (6.3, 5.1), dynamic_bins=3, static_per_dynamic=2, r_min=0, r_max=9, mask=mask)
    frames = np.random.default_rng(0).poisson(1, (5, *SHAPE)).astype(np.int32)
    frames[:, 1, 1] = -1
    both, alone = Intensities(qmap, rois=ROIS), RoiStats(SHAPE, ROIS, mask=mask)
    for reduction in (both, alone):
        reduction.push(batch(frames))
    np.testing.assert_array_equal(both.rois.sums, alone.result().sums)
    np.testing.assert_array_equal(both.rois.pixels, [11, DISC.sum(), 179])
    np.testing.assert_array_equal(both.rois.sums[:, 2], both.stats.total)
    assert Intensities(qmap).rois is None


def test_negative_counts_are_refused_inside_the_regions_only():
    frames = np.zeros((1, *SHAPE), np.int32)
    frames[0, 11, 14] = -1
    stats = RoiStats(SHAPE, {"corner": CORNER})
    stats.push(batch(frames))
    assert stats.result().sums.tolist() == [[0]]
    frames[0, 2, 3] = -7
    with pytest.raises(ReductionError, match=r"pixel \(x=3, y=2\) counts -7 photons: mask it"):
        stats.push(batch(frames, start=1))
    assert stats.result().indices.tolist() == [0]


def test_nothing_pushed():
    result = RoiStats(SHAPE, ROIS).result()
    assert (result.indices.shape, result.sums.shape) == ((0,), (0, 3))


def test_regions_without_a_good_pixel_count_nothing():
    stats = RoiStats(SHAPE, {"corner": CORNER}, mask=np.zeros(SHAPE, bool))
    stats.push(batch(np.ones((2, *SHAPE), np.uint8)))
    result = stats.result()
    assert (result.pixels.tolist(), result.sums.tolist()) == ([0], [[0], [0]])


@pytest.mark.parametrize(
    ("rois", "message"),
    [
        ({}, "name at least one"),
        ({"a": Rectangle(x=12, y=0, width=4, height=1)}, "region 'a'.* does not lie in frames of 15 x 12"),
        ({"a": Rectangle(x=0, y=-1, width=4, height=1)}, "does not lie in"),
        ({"a": Rectangle(x=0, y=0, width=0, height=1)}, "does not lie in"),
        ({"a": np.zeros(SHAPE, bool)}, "region 'a' has no pixel"),
        ({"a": np.ones((15, 12), bool)}, "need bool"),
        ({"a": np.ones(SHAPE, np.uint8)}, "dtype uint8: need bool"),
    ],
)
def test_regions_that_are_refused(rois, message):
    with pytest.raises(ReductionError, match=message):
        RoiStats(SHAPE, rois)


def test_a_mask_that_does_not_fit_is_refused():
    with pytest.raises(ReductionError, match="the mask has shape"):
        RoiStats(SHAPE, ROIS, mask=np.ones((3, 3), bool))
